//! From a stream to a program's standard input.

use crate::limits::READ;
use rota_capability::streams::{Reader, error_of};
use rota_contract::{Error, Fault};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

/// Write all of it, then close. A program that closes its input early has read what it wanted. A stream that fails is an
/// error: the program must not take what came until then for the whole.
pub(super) async fn pump(mut reader: Reader, mut pipe: pipe::Sender) -> Result<(), Error> {
    let mut buffer = vec![0; READ];
    loop {
        let read = reader.read(&mut buffer).await.map_err(|error| error_of(&error))?;
        if read == 0 {
            return Ok(());
        }
        match pipe.write_all(&buffer[..read]).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(Error::Failed(Fault {
                    code: format!("{:?}", error.kind()),
                    message: format!("the program could not be fed: {error}"),
                    detail: None,
                    retryable: false,
                }));
            }
        }
    }
}
