//! What host and launcher say to each other: a request with the program's standard input attached, then replies, a line each.

use crate::Ended;
use crate::limits::ProgramLimits;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Where it works, and may write.
    pub(crate) folder: PathBuf,
    pub(crate) confinement: Confinement,
    /// Whether its standard input comes with the request.
    pub(crate) stdin: bool,
}

/// What holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) limits: ProgramLimits,
    /// Files and folders that it may read and execute, besides the system's.
    pub(crate) reads: Vec<PathBuf>,
}

/// What the launcher answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The program runs.
    Started,
    /// It could not be started.
    Refused(String),
    /// It ended, and nothing of it is left.
    Ended(Ended),
}

/// The longest request: arguments are bounded by the profile, the rest is the host's own.
const LONGEST: u32 = 1 << 20;

/// Send a request. The socket is fresh and blocking, and the launcher reads as soon as it runs.
pub(crate) fn send_request(socket: &UnixStream, request: &Request, stdin: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let body = serde_json::to_vec(request).map_err(io::Error::other)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length <= LONGEST)
        .ok_or_else(|| io::Error::other("the request is too long"))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = stdin.into_iter().collect();
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    // The four bytes of the length cannot be split: the socket is empty.
    rustix::net::sendmsg(socket, &[IoSlice::new(&length.to_le_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    let mut socket = socket;
    socket.write_all(&body)
}

/// The launcher's side of [`send_request`].
pub(super) fn receive_request(mut socket: &UnixStream) -> io::Result<(Request, Option<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes != length.len() {
        return Err(io::Error::other("the host went away before it said what to start"));
    }
    let stdin = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other("the request is too long"));
    }
    let mut body = vec![0; length as usize];
    socket.read_exact(&mut body)?;
    let request: Request = serde_json::from_slice(&body).map_err(io::Error::other)?;
    if request.stdin && stdin.is_none() {
        return Err(io::Error::other("the request came without its standard input"));
    }
    Ok((request, stdin))
}

/// Answer the host. A host that is gone is no error: its end closes the socket, which is seen next.
pub(super) fn reply(mut socket: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    line.push(b'\n');
    match socket.write_all(&line) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The next reply; none when the launcher is gone.
pub(crate) async fn read_reply(socket: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Reply>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(io::Error::other)
}
