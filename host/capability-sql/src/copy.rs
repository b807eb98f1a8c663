//! COPY, as streams of bytes.

use crate::cell::{Cell, Lease, Work};
use crate::connection::{Block, Connection};
use crate::error;
use crate::execute::conclude;
use crate::query::Batches;
use crate::session::{Session, Shared};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::StreamExt as _;
use rota_authority::{Authorized, Permit, Sql};
use rota_capability::streams::{Reader, error_of, stream_error};
use rota_contract::Error;
use sqlx::postgres::PgConnection;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::mpsc;

/// How much goes to the reader at once: the server sends a message a row.
const CHUNK: usize = 64 << 10;
/// How many chunks wait for the reader.
const CHUNKS: usize = 16;
/// How much goes to the server at once.
const PIECE: usize = 256 << 10;

impl Session {
    /// What a COPY ... TO STDOUT sends, read in a READ ONLY transaction. The reader fails where the COPY does; dropped before its
    /// end, the COPY is cancelled.
    ///
    /// # Errors
    /// What the server says before the first byte; `conflict` while the session is busy.
    pub async fn copy_out(&self, authorized: &Authorized<Sql>, statement: String) -> Result<CopyReader, Error> {
        self.0.check(authorized)?;
        let mut lease = self.0.take(Work::Stream).await?;
        lease.undrainable();
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let shared = self.0.clone();
        let cell: &Arc<Cell> = &self.0.cell;
        let mut reader =
            CopyReader { chunks: Batches::new(receiver, cell.clone()), current: Bytes::new(), ended: false };
        cell.sessions.spawn(async move { shared.listening(send_out(&shared, lease, &statement, sender)).await });
        // The first word of the server: an error here is the call's.
        match reader.chunks.recv().await {
            Some(Ok(first)) => {
                reader.current = first;
                Ok(reader)
            }
            Some(Err(error)) => Err(error),
            None => {
                reader.ended = true;
                Ok(reader)
            }
        }
    }

    /// Send bytes to a COPY ... FROM STDIN; gives the rows that were stored.
    ///
    /// # Errors
    /// What the server says, or why the reader failed: then the COPY is aborted and nothing is stored.
    pub async fn copy_in(&self, permit: Permit<Sql>, statement: String, data: Reader) -> Result<u64, Error> {
        let result = match self.0.check_permit(&permit) {
            Ok(()) => match self.0.take(Work::Call).await {
                Ok(lease) => take_in(&self.0, lease, &statement, data).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        conclude(permit, result).await
    }
}

type Chunk = Result<Bytes, Error>;

/// The task of a COPY OUT. The connection is in order (or gone) before the reader sees the end.
async fn send_out(shared: &Shared, mut lease: Lease, statement: &str, sender: mpsc::Sender<Chunk>) {
    let result = match lease.connection() {
        Ok(connection) => tokio::select! {
            result = copy_out(connection, statement, &sender) => result,
            () = sender.closed() => Ok(false),
        },
        Err(error) => {
            let _ = sender.send(Err(error)).await;
            return;
        }
    };
    match result {
        Ok(true) => {
            let ended = match lease.connection() {
                Ok(connection) => connection.end_query(true).await,
                Err(_) => Ok(()),
            };
            if let Err(error) = lease.settle(ended) {
                let _ = sender.send(Err(error)).await;
            }
        }
        // Nobody reads: dropping the lease cancels.
        Ok(false) => drop(lease),
        Err(Failure { error, in_order }) => {
            let seen = error::of_statement(shared.binding(), &error);
            if in_order && error::survives(&error) {
                if let Ok(connection) = lease.connection()
                    && connection.end_query(false).await.is_ok()
                {
                    lease.finish();
                } else {
                    lease.lose(seen.clone());
                }
            } else {
                lease.lose(Error::Cancelled);
            }
            let _ = sender.send(Err(seen)).await;
        }
    }
}

struct Failure {
    error: sqlx::Error,
    /// Whether sqlx has read the answer to its end. (Where a COPY does not even begin, it has not.)
    in_order: bool,
}

/// True at the end, false when nobody reads any more.
async fn copy_out(connection: &mut Connection, statement: &str, sender: &mpsc::Sender<Chunk>) -> Result<bool, Failure> {
    let failed = |in_order| move |error| Failure { error, in_order };
    connection.simple("BEGIN READ ONLY").await.map_err(failed(true))?;
    connection.block = Block::Query;
    let mut chunks = connection.pg.copy_out_raw(statement).await.map_err(failed(false))?;
    let mut gathered = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(failed(true))?;
        gathered.extend_from_slice(&chunk);
        if gathered.len() >= CHUNK && sender.send(Ok(gathered.split().freeze())).await.is_err() {
            return Ok(false);
        }
    }
    Ok(gathered.is_empty() || sender.send(Ok(gathered.freeze())).await.is_ok())
}

/// The bytes of a COPY OUT.
pub struct CopyReader {
    chunks: Batches<Chunk>,
    current: Bytes,
    ended: bool,
}

impl AsyncRead for CopyReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.current.is_empty() && !self.ended {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                None => self.ended = true,
            }
        }
        let length = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current[..length]);
        self.current.advance(length);
        Poll::Ready(Ok(()))
    }
}

async fn take_in(shared: &Shared, mut lease: Lease, statement: &str, data: Reader) -> Result<u64, Error> {
    // From here on a drop leaves the server waiting for data.
    lease.undrainable();
    let result = shared.listening(copy_in(&mut lease.connection()?.pg, statement, data)).await;
    match result {
        Ok(result) => lease.settle(result),
        Err(error) => {
            // Aborted in order: the server has forgotten all of it.
            lease.finish();
            Err(error)
        }
    }
}

/// The outer error is the reader's.
async fn copy_in(pg: &mut PgConnection, statement: &str, mut data: Reader) -> Result<Result<u64, sqlx::Error>, Error> {
    let mut copy = match pg.copy_in_raw(statement).await {
        Ok(copy) => copy,
        Err(error) => return Ok(Err(error)),
    };
    let mut piece = BytesMut::with_capacity(PIECE);
    loop {
        match data.read_buf(&mut piece).await {
            Ok(0) => break,
            Ok(_) if piece.len() < PIECE / 2 => {}
            Ok(_) => {
                if let Err(error) = copy.send(piece.split()).await {
                    return Ok(Err(error));
                }
                piece.reserve(PIECE);
            }
            Err(error) => {
                let why = error_of(&error);
                return match copy.abort("the source of the data failed").await {
                    Ok(()) => Err(why),
                    Err(error) => Ok(Err(error)),
                };
            }
        }
    }
    if !piece.is_empty()
        && let Err(error) = copy.send(piece).await
    {
        return Ok(Err(error));
    }
    Ok(copy.finish().await)
}
