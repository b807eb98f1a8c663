//! The protocol of caches (RESP 2), as much of it as tests need: to look into a server without the client that is tested, and to answer
//! in one's stead.

use anyhow::{Context, bail};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resp {
    /// `+OK`
    Simple(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Integer(i64),
    /// Bytes, whatever they are.
    Bulk(Vec<u8>),
    /// Nothing.
    Null,
    /// Values.
    Array(Vec<Resp>),
}

impl Resp {
    /// Bulk bytes of a text.
    #[must_use]
    pub fn bulk(text: impl AsRef<[u8]>) -> Self {
        Self::Bulk(text.as_ref().to_vec())
    }

    /// A number.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// Values.
    #[must_use]
    pub fn array(self) -> Vec<Self> {
        match self {
            Self::Array(values) => values,
            _ => Vec::new(),
        }
    }

    /// Reads one; none where the other side has closed.
    ///
    /// # Errors
    /// When the connection breaks, or it is not RESP.
    pub async fn read(stream: &mut (impl AsyncBufRead + Unpin + Send)) -> anyhow::Result<Option<Self>> {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await?;
        let Some((kind, rest)) = line.split_first() else { return Ok(None) };
        let rest = String::from_utf8_lossy(rest.strip_suffix(b"\r\n").context("a line is cut")?).into_owned();
        Ok(Some(match kind {
            b'+' => Self::Simple(rest),
            b'-' => Self::Error(rest),
            b':' => Self::Integer(rest.parse()?),
            b'$' => match rest.parse::<i64>()? {
                -1 => Self::Null,
                length => {
                    let mut bytes = vec![0; usize::try_from(length)? + 2];
                    stream.read_exact(&mut bytes).await?;
                    bytes.truncate(bytes.len() - 2);
                    Self::Bulk(bytes)
                }
            },
            b'*' => {
                let mut values = Vec::new();
                for _ in 0..rest.parse::<i64>()?.max(0) {
                    values.push(Box::pin(Self::read(stream)).await?.context("an array is cut")?);
                }
                Self::Array(values)
            }
            other => bail!("{other} begins no value of RESP"),
        }))
    }

    /// As bytes.
    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => to.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Self::Error(text) => to.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            Self::Integer(number) => to.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Self::Null => to.extend_from_slice(b"$-1\r\n"),
            Self::Bulk(bytes) => {
                to.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                to.extend_from_slice(bytes);
                to.extend_from_slice(b"\r\n");
            }
            Self::Array(values) => {
                to.extend_from_slice(format!("*{}\r\n", values.len()).as_bytes());
                for value in values {
                    value.write(to);
                }
            }
        }
    }

    /// Sends it.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(&self, stream: &mut (impl AsyncWrite + Unpin)) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        stream.write_all(&bytes).await?;
        Ok(stream.flush().await?)
    }
}

/// A plain client.
#[derive(Debug)]
pub struct RespClient(BufReader<TcpStream>);

impl RespClient {
    /// Connects to a port of 127.0.0.1, and logs in where there is a password.
    ///
    /// # Errors
    /// When nobody listens, or the password is wrong.
    pub async fn connect(port: u16, password: Option<&str>) -> anyhow::Result<Self> {
        let mut client = Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?));
        if let Some(password) = password {
            client.call(&["AUTH", password]).await?;
        }
        Ok(client)
    }

    /// Sends a command, and gives the answer as it is, an error too.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> anyhow::Result<Resp> {
        Resp::Array(words.iter().map(Resp::bulk).collect()).send(&mut self.0).await?;
        Resp::read(&mut self.0).await?.context("the server closed the connection")
    }

    /// The same, where the server's error is an error.
    ///
    /// # Errors
    /// When the server says so, or the connection breaks.
    pub async fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> anyhow::Result<Resp> {
        match self.ask(words).await? {
            Resp::Error(text) => bail!("{}: {text}", String::from_utf8_lossy(words[0].as_ref())),
            answer => Ok(answer),
        }
    }

    /// Sends many commands before it reads their answers.
    ///
    /// # Errors
    /// When the server refuses one, or the connection breaks.
    pub async fn many(&mut self, commands: impl IntoIterator<Item = Vec<Vec<u8>>>) -> anyhow::Result<()> {
        let commands: Vec<Resp> =
            commands.into_iter().map(|words| Resp::Array(words.into_iter().map(Resp::Bulk).collect())).collect();
        for some in commands.chunks(500) {
            let mut bytes = Vec::new();
            some.iter().for_each(|command| command.write(&mut bytes));
            self.0.write_all(&bytes).await?;
            for _ in some {
                if let Resp::Error(text) = Resp::read(&mut self.0).await?.context("the server closed the connection")? {
                    bail!(text);
                }
            }
        }
        Ok(())
    }
}
