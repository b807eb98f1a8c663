//! Commands in pods. A command has succeeded only when the cluster's Status says so: the end of its output, and a connection that
//! closes in good order, say nothing.

use crate::client::Client;
use crate::error::{clean, fault};
use crate::output::{Reports, Running, said};
use crate::reach::Place;
use crate::request::segment;
use crate::verify::{Stderr, Verification};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use kube::client::Connection;
use kube::core::Status;
use kube::core::response::StatusSummary;
use rota_authority::{Kubernetes, Permit};
use rota_capability::ChildEnded;
use rota_capability::streams::{Reader, error_of};
use rota_contract::Error;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use url::form_urlencoded::Serializer;

/// The channels of the protocol, the first byte of each message.
pub(crate) const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const CLOSE: u8 = 255;

/// How much of the input goes into one message.
const PIECE: usize = 32 << 10;
/// How long what remains of an input may take to come after the command that it was sent to has ended.
const REST: Duration = Duration::from_secs(5);
/// How often a silent connection is shown to live.
pub(crate) const PING: Duration = Duration::from_secs(20);

/// A command, checked.
pub(crate) struct Command {
    pub(crate) pod: Place,
    pub(crate) container: Option<String>,
    pub(crate) words: Vec<String>,
    pub(crate) verified: bool,
}

impl Command {
    /// As a person reads it.
    pub(crate) fn shown(&self) -> String {
        let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%*".contains(c);
        let word = |word: &String| {
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        };
        clean(&self.words.iter().map(word).collect::<Vec<_>>().join(" "))
    }

    fn path(&self, words: &[String], stdin: bool) -> Result<String, Error> {
        let path = format!("{}/exec?", self.pod.path());
        let start = path.len();
        let mut query = Serializer::for_suffix(path, start);
        if let Some(container) = &self.container {
            query.append_pair("container", segment("the container", container)?);
        }
        query.append_pair("stdout", "true").append_pair("stderr", "true");
        if stdin {
            query.append_pair("stdin", "true");
        }
        for word in words {
            query.append_pair("command", word);
        }
        Ok(query.finish())
    }
}

impl Client {
    /// Run a command; answers when the connection stands.
    pub(crate) async fn exec(
        &self,
        permit: Permit<Kubernetes>,
        command: Command,
        stdin: Option<Reader>,
    ) -> Result<Running, Error> {
        let what = format!("exec in {}", command.pod.shown());
        let (words, verification) = Verification::of(&command.words, command.verified);
        match self.begin_exec(&what, command.path(&words, stdin.is_some()), stdin.is_some()).await {
            Err(error) => permit.conclude(Err(error), |_: &Running| String::new()).await,
            Ok(connection) => {
                let client = self.clone();
                Ok(Running::start(what.clone(), move |reports| async move {
                    let result = client.attend(&what, connection, stdin, verification, &reports).await;
                    reports.end(permit.conclude(result, said).await);
                }))
            }
        }
    }

    /// Connect; `closes` when the input must be able to end before the connection does.
    pub(crate) async fn begin_exec(
        &self,
        what: &str,
        path: Result<String, Error>,
        closes: bool,
    ) -> Result<Connection, Error> {
        let request = http::Request::get(path?).body(Vec::new());
        let request =
            request.map_err(|_| Error::InvalidArgument(format!("{what}: no request can be made of the command")))?;
        let connection = match tokio::time::timeout(self.requests.timeout, self.requests.client.connect(request)).await
        {
            Err(_) => return Err(self.requests.cluster.timed_out(what, self.requests.timeout)),
            Ok(connected) => connected.map_err(|error| self.requests.cluster.of(what, &error))?,
        };
        if closes && !connection.supports_stream_close() {
            // With an older protocol only a closed connection ends the input, and what the command says then is lost.
            let text = "the cluster does not speak v5.channel.k8s.io, without which the input of a command cannot end (Kubernetes 1.30 and later do)";
            return Err(fault("protocol", format!("{what}: {text}"), false));
        }
        Ok(connection)
    }

    /// Stay with a command to its end.
    async fn attend(
        &self,
        what: &str,
        connection: Connection,
        stdin: Option<Reader>,
        verification: Option<Verification>,
        reports: &Reports,
    ) -> Result<ChildEnded, Error> {
        let (sink, stream) = connection.into_stream().split();
        let mut stdin = stdin;
        let mut receiving = std::pin::pin!(self.receive(what, stream, verification, reports));
        let ended = tokio::select! {
            ended = &mut receiving => ended,
            // It only ends in failure: the connection is dropped, because the command must not take half an input for a whole one.
            failed = feed(sink, stdin.as_mut()) => match failed {
                Some(error) => return Err(error),
                // The connection broke; the other end says how.
                None => receiving.await,
            },
        };
        if let Some(stdin) = &mut stdin {
            // A command may end with the last byte, before it was told that it was the last: whoever wrote the stream must not be
            // told then that it was not read to its end.
            let _ = tokio::time::timeout(REST, stdin.read_u8()).await;
        }
        ended
    }

    pub(crate) async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        what: &str,
        mut stream: SplitStream<WebSocketStream<S>>,
        verification: Option<Verification>,
        reports: &Reports,
    ) -> Result<ChildEnded, Error> {
        let mut stderr = Stderr::new(verification);
        loop {
            let message = match stream.next().await {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(Error::Unavailable(format!(
                        "{what}: the connection ended before the cluster said how the command did; whether it did is not known"
                    )));
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(self.requests.cluster.unreachable(what, &error)),
            };
            let Some((channel, rest)) = message.split_first() else { continue };
            if rest.is_empty() && *channel != STATUS {
                continue;
            }
            match *channel {
                STDOUT => {
                    stderr.output(rest);
                    // Nobody reads it: it is thrown away.
                    let _ = reports.output.send(message.slice(1..)).await;
                }
                STDERR => stderr.push(rest),
                STATUS => {
                    let status = serde_json::from_slice(rest)
                        .map_err(|_| fault("answer", format!("{what}: the cluster's Status is not JSON"), true))?;
                    let code = self.code(what, &status)?;
                    return stderr.finish(what, code);
                }
                _ => {}
            }
        }
    }

    /// The command's own code, when the cluster tells one.
    fn code(&self, what: &str, status: &Status) -> Result<i32, Error> {
        if status.status == Some(StatusSummary::Success) {
            return Ok(0);
        }
        if status.reason == "NonZeroExitCode" {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let code = causes.filter(|cause| cause.reason == "ExitCode").find_map(|cause| cause.message.parse().ok());
            // A failure without a code is one all the same.
            return Ok(code.filter(|code| *code != 0).unwrap_or(255));
        }
        Err(self.requests.cluster.of_status(what, status))
    }
}

/// Send the input and its end, then pings, for ever. An error when the input broke; none when the connection did.
async fn feed<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    stdin: Option<&mut Reader>,
) -> Option<Error> {
    if let Some(stdin) = stdin {
        loop {
            let mut piece = Vec::with_capacity(PIECE + 1);
            piece.push(STDIN);
            let mut part = (&mut *stdin).take(PIECE as u64);
            let read = tokio::select! {
                read = part.read_buf(&mut piece) => read,
                () = tokio::time::sleep(PING) => {
                    sink.send(Message::Ping(bytes::Bytes::new())).await.ok()?;
                    continue;
                }
            };
            match read {
                Ok(0) => break,
                Ok(_) => sink.send(Message::binary(piece)).await.ok()?,
                Err(error) => return Some(error_of(&error)),
            }
        }
        sink.send(Message::binary(vec![CLOSE, STDIN])).await.ok()?;
    }
    loop {
        tokio::time::sleep(PING).await;
        sink.send(Message::Ping(bytes::Bytes::new())).await.ok()?;
    }
}
