//! From a stream to a program's standard input.

use crate::limits::READ;
use rota_capability::streams::{Reader, error_of};
use rota_contract::{Error, Fault};
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

/// How much is written to a file at a time.
const SPOOL: usize = 1 << 20;

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

/// Write all of it to a new file that only its owner can read.
pub(super) async fn write_to(mut reader: Reader, path: PathBuf) -> Result<(), Error> {
    let failed = |error: io::Error| {
        Error::Failed(Fault {
            code: format!("{:?}", error.kind()),
            message: format!("what the program is fed could not be written to {}: {error}", path.display()),
            detail: None,
            retryable: false,
        })
    };
    let mut file =
        tokio::fs::File::options().write(true).create_new(true).mode(0o600).open(&path).await.map_err(failed)?;
    let mut buffer = vec![0; SPOOL];
    loop {
        let read = reader.read(&mut buffer).await.map_err(|error| error_of(&error))?;
        if read == 0 {
            return file.flush().await.map_err(failed);
        }
        file.write_all(&buffer[..read]).await.map_err(failed)?;
    }
}
