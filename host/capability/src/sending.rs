//! Bytes on their way to a target, counted for a team before they go.

use crate::guest::not_allowed;
use crate::streams::{Reader, stream_error};
use bytes::{Buf, Bytes};
use rota_authority::{Allowance, AllowanceError};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// So many bytes are counted at once.
const CHUNK: usize = 256 * 1024;

type Asked = Pin<Box<dyn Future<Output = Result<(), AllowanceError>> + Send>>;

/// A reader that hands on only what was counted.
pub(crate) struct Counted {
    inner: Reader,
    allowance: Arc<dyn Allowance>,
    /// What was read and may go on once it is counted.
    read: Bytes,
    asked: Option<Asked>,
}

impl Counted {
    pub(crate) fn new(inner: Reader, allowance: Arc<dyn Allowance>) -> Self {
        Self { inner, allowance, read: Bytes::new(), asked: None }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            let mut chunk = vec![0; CHUNK.min(buffer.remaining().max(1))];
            let mut filled = ReadBuf::new(&mut chunk);
            ready!(self.inner.as_mut().poll_read(cx, &mut filled))?;
            let length = filled.filled().len();
            if length == 0 {
                return Poll::Ready(Ok(()));
            }
            chunk.truncate(length);
            self.read = chunk.into();
            let allowance = self.allowance.clone();
            self.asked = Some(Box::pin(async move { allowance.send(length as u64).await }));
        }
        if let Some(asked) = &mut self.asked {
            let counted = ready!(asked.as_mut().poll(cx));
            self.asked = None;
            if let Err(error) = counted {
                self.read = Bytes::new();
                return Poll::Ready(Err(stream_error(not_allowed(error))));
            }
        }
        let take = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..take]);
        self.read.advance(take);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::error_of;
    use rota_authority::UsedUp;
    use rota_contract::Error;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use tokio::io::AsyncReadExt as _;

    /// So many bytes may leave.
    struct Left(AtomicU64);

    #[async_trait::async_trait]
    impl Allowance for Left {
        async fn send(&self, bytes: u64) -> Result<(), AllowanceError> {
            tokio::task::yield_now().await;
            let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
            let used_up =
                UsedUp { team: "growth".into(), setting: "bytes_out_per_day", limit: "1MiB".into(), what: "sent out" };
            left.map(drop).map_err(|_| used_up.into())
        }

        fn covers(&self, _: Duration) -> bool {
            true
        }

        async fn cover(&self, _: Duration) -> Result<(), UsedUp> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_within_the_quota_passes_whole_and_what_is_not_breaks_off() {
        let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let left = Arc::new(Left(AtomicU64::new(1_000_000)));
        let mut whole = Vec::new();
        Counted::new(Box::pin(std::io::Cursor::new(data.clone())), left.clone()).read_to_end(&mut whole).await.unwrap();
        assert!(whole == data && left.0.load(Ordering::Relaxed) == 0, "to the last byte, and no further");
        let mut none = Vec::new();
        let error = Counted::new(Box::pin(std::io::Cursor::new(data)), left).read_to_end(&mut none).await.unwrap_err();
        assert!(none.is_empty());
        let Error::Quota(said) = error_of(&error) else { panic!("{error:?}") };
        assert!(said.contains("teams.growth.quotas.bytes_out_per_day"), "{said}");
    }
}
