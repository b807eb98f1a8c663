//! A connection of our own, for MONITOR: it turns a connection into an endless stream, which fred's client cannot read binary-safely.
//! Nothing is kept of a line but what may be shown.

use crate::connect::Settings;
use crate::shape::shape;
use crate::wit::CommandShape;
use rota_contract::Error;
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// How much of a word is kept, and of how many words: what tells a command, and the beginning of its key.
const KEPT_BYTES: usize = 64;
const KEPT_WORDS: usize = 34;

/// The longest answer to a command of ours.
const LONGEST_ANSWER: u64 = 4096;

/// How long a server may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// A connection in MONITOR.
pub(crate) struct Monitor {
    stream: BufReader<Box<dyn Socket>>,
}

/// One line of MONITOR.
pub(crate) struct Line {
    pub(crate) at: i64,
    pub(crate) database: u32,
    pub(crate) client: String,
    pub(crate) command: CommandShape,
}

impl Monitor {
    /// Connect to a node, log in, and begin.
    pub(crate) async fn begin(settings: &Settings, host: &str, port: u16) -> Result<Self, Error> {
        let begin = async {
            let place = &settings.place;
            let tcp = TcpStream::connect((host, port)).await.map_err(|error| place.unreachable(&error.to_string()))?;
            let socket: Box<dyn Socket> = match &settings.tls {
                None => Box::new(tcp),
                Some(config) => {
                    let name = rustls::pki_types::ServerName::try_from(host.to_owned())
                        .map_err(|error| place.untrusted(&error.to_string()))?;
                    let connecting = tokio_rustls::TlsConnector::from(config.clone()).connect(name, tcp);
                    Box::new(connecting.await.map_err(|error| place.untrusted(&error.to_string()))?)
                }
            };
            let mut monitor = Self { stream: BufReader::new(socket) };
            if let Some(password) = &settings.target.password {
                let mut words = vec!["AUTH"];
                words.extend(settings.target.username.as_deref());
                words.push(password.expose());
                monitor.command(settings, &words).await?;
            }
            monitor.command(settings, &["MONITOR"]).await?;
            Ok(monitor)
        };
        tokio::time::timeout(settings.connect_timeout, begin).await.unwrap_or_else(|_| Err(settings.place.timed_out()))
    }

    /// Send a command whose answer is one line.
    async fn command(&mut self, settings: &Settings, words: &[&str]) -> Result<(), Error> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        let broke = |error: std::io::Error| settings.place.unreachable(&error.to_string());
        self.stream.write_all(&request).await.map_err(broke)?;
        self.stream.flush().await.map_err(broke)?;
        let mut answer = Vec::new();
        (&mut self.stream).take(LONGEST_ANSWER).read_until(b'\n', &mut answer).await.map_err(broke)?;
        match answer.split_first() {
            Some((b'+', _)) if answer.ends_with(b"\n") => Ok(()),
            Some((b'-', text)) => Err(settings.place.said(String::from_utf8_lossy(text).trim_end())),
            Some(_) => Err(settings.place.nonsense()),
            None => Err(settings.place.unreachable("the connection was closed")),
        }
    }

    /// The next line; what cannot be read as one is passed over.
    pub(crate) async fn next(&mut self) -> std::io::Result<Line> {
        loop {
            if let Some(line) = line(&mut self.stream).await? {
                return Ok(line);
            }
        }
    }

    /// Close, and see that the server has: it watches for nobody any more.
    pub(crate) async fn close(mut self) -> bool {
        let closing = async {
            self.stream.shutdown().await?;
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await
        };
        // A connection that is reset is closed, too.
        tokio::time::timeout(CLOSING, closing).await.is_ok()
    }
}

/// Bytes one by one, of a line whose length is not bounded.
async fn byte(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<u8> {
    let found = stream.fill_buf().await?.first().copied();
    stream.consume(1);
    found.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// Read `+1711112222.333444 [0 10.0.0.1:5000] "SET" "key" "value"` to its end, and keep its shape.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Line>> {
    let mut head = Vec::new();
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut lengths: Vec<usize> = Vec::new();
    loop {
        match byte(stream).await? {
            b'\n' => break,
            b'"' => {
                let (kept, length) = word(stream).await?;
                if words.len() < KEPT_WORDS {
                    words.push(kept);
                }
                lengths.push(length);
                lengths.truncate(1 << 16);
            }
            other if lengths.is_empty() && head.len() < 256 => head.push(other),
            _ => {}
        }
    }
    Ok(read_head(&head).filter(|_| !words.is_empty()).map(|(at, database, client)| {
        let mut command = shape(&words, lengths.len());
        let skipped = lengths.len() - command.argument_count as usize;
        // The words were cut: their lengths were counted.
        for (measured, length) in command.arguments.iter_mut().zip(&lengths[skipped..]) {
            *measured = u32::try_from(*length).unwrap_or(u32::MAX);
        }
        Line { at, database, client, command }
    }))
}

/// A quoted word: its beginning, and how many bytes it has.
async fn word(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<(Vec<u8>, usize)> {
    let (mut kept, mut length) = (Vec::new(), 0);
    loop {
        let one = match byte(stream).await? {
            b'"' => return Ok((kept, length)),
            b'\\' => match byte(stream).await? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                b'x' => {
                    let digits = [byte(stream).await?, byte(stream).await?];
                    std::str::from_utf8(&digits)
                        .ok()
                        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                        .unwrap_or(0)
                }
                other => other,
            },
            other => other,
        };
        length += 1;
        if kept.len() < KEPT_BYTES {
            kept.push(one);
        }
    }
}

/// The instant in microseconds, the database, and who.
fn read_head(head: &[u8]) -> Option<(i64, u32, String)> {
    let text = std::str::from_utf8(head).ok()?.strip_prefix('+')?;
    let (at, rest) = text.split_once(' ')?;
    let (seconds, fraction) = at.split_once('.').unwrap_or((at, "0"));
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let at = seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?;
    let (inside, _) = rest.strip_prefix('[')?.split_once(']')?;
    let (database, client) = inside.split_once(' ')?;
    Some((at, database.parse().ok()?, client.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8]) -> Option<Line> {
        line(&mut BufReader::new(text)).await.unwrap()
    }

    #[tokio::test]
    async fn a_line_is_measured_and_not_kept() {
        let text = b"+1631469940.785623 [3 127.0.0.1:46998] \"set\" \"user:\\\"\\n\\x00\\\\ 1\" \"c4nary\"\r\n";
        let line = read(text).await.unwrap();
        assert_eq!((line.at, line.database, line.client.as_str()), (1_631_469_940_785_623, 3, "127.0.0.1:46998"));
        assert_eq!((line.command.name.as_str(), line.command.arguments.clone()), ("SET", vec![11, 6]));
        assert_eq!(line.command.key_prefix.as_deref(), Some("user:"));
        assert!(!format!("{:?}", line.command).contains("c4nary"));
    }

    #[tokio::test]
    async fn a_long_word_is_counted_to_its_end() {
        let text = format!("+1.5 [0 lua] \"GET\" \"{}\"\r\n", "x".repeat(100_000));
        let line = read(text.as_bytes()).await.unwrap();
        assert_eq!((line.at, line.command.arguments), (1_500_000, vec![100_000]));
    }

    #[tokio::test]
    async fn what_is_no_line_is_none() {
        for text in [&b"+OK\r\n"[..], b"-ERR x\r\n", b"\r\n", b"+1.1 [x y] \"GET\"\r\n", b"+\xff\xff\r\n"] {
            assert!(read(text).await.is_none());
        }
        assert!(line(&mut BufReader::new(&b"+1.1 [0 a] \"GE"[..])).await.is_err(), "a line that is cut is an error");
    }
}
