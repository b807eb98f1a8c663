//! The life of a launcher.

use super::message::{Reply, Request, receive_request, reply};
use super::{confine, family};
use crate::Ended;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::CString;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Start what the host asks for, and stay until nothing of it is left.
pub(super) fn supervise() -> io::Result<()> {
    // Away from the terminal of the host: Ctrl-C there is the host's to handle.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a launcher must be one thread: call run_if_asked first in main"));
    }
    let (request, stdin) = receive_request(&socket)?;
    let program = request.program.clone();
    let main = match start(request, stdin) {
        Ok(main) => main,
        Err(error) => {
            return reply(&socket, &Reply::Refused(format!("{} could not be started: {error}", program.display())));
        }
    };
    reply(&socket, &Reply::Started)?;
    let asked = wait_for_end(&socket, main)?;
    let ended = family::end(main)?;
    match (asked, ended) {
        (Asked::HostGone, _) => Ok(()),
        (_, Some(status)) => reply(&socket, &Reply::Ended(status)),
        // Its status was lost to nobody we know of; the host must not take that for success.
        (_, None) => reply(&socket, &Reply::Ended(Ended::Signal(9))),
    }
}

fn start(request: Request, stdin: Option<OwnedFd>) -> io::Result<Pid> {
    let image = Image::of(&request)?;
    let mut command = Command::new(&request.program);
    command.current_dir(&request.folder).process_group(0);
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let launcher = rustix::process::getpid();
    #[allow(unsafe_code)]
    // SAFETY: the closure runs between fork and exec. What is unsafe there is to rely on other threads (a lock, the
    // allocator's included, that one of them held at the fork stays locked); this process has one thread, which
    // `supervise` has checked. The closure touches no descriptor but those it opens.
    unsafe {
        command.pre_exec(move || {
            confine::confine(&request.confinement, &request.folder, &request.program, launcher)?;
            Err(image.execute())
        });
    }
    let child = command.spawn()?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("a process without a number"))
    // `child` is dropped here, which neither waits nor kills: `family` reaps it with all others.
}

/// What becomes of the child: the program, its arguments with its own name first, its environment.
///
/// It is executed here and not by the standard library, whose `execvp` hands a file that the kernel cannot execute to a shell.
struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn of(request: &Request) -> io::Result<Self> {
        let program = CString::new(request.program.as_os_str().as_bytes())?;
        let arguments = std::iter::once(Ok(program.clone()))
            .chain(request.arguments.iter().map(|argument| CString::new(argument.as_str())));
        let environment = request.environment.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok(Self {
            arguments: arguments.collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
            program,
        })
    }

    /// Become the program; comes back only when that failed.
    fn execute(&self) -> io::Error {
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        #[allow(unsafe_code)]
        // SAFETY: the three pointers lead to texts that end in NUL and to arrays of such that end in a null pointer; all
        // of them live until the call ends, for it ends only by failing.
        unsafe {
            libc::execve(self.program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        }
        io::Error::last_os_error()
    }
}

enum Asked {
    /// The program has ended by itself.
    Nothing,
    /// The host wants it to end, and to know how it did.
    Kill,
    /// The host is gone, or has dropped the child.
    HostGone,
}

fn wait_for_end(mut socket: &UnixStream, main: Pid) -> io::Result<Asked> {
    let watched = pidfd_open(main, PidfdFlags::empty())?;
    loop {
        let mut events = [PollFd::new(socket, PollFlags::IN), PollFd::new(&watched, PollFlags::IN)];
        match poll(&mut events, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // The end first: a host that asks for it and goes wants it no less than one that is there.
        if !events[0].revents().is_empty() {
            let mut word = [0];
            return Ok(match socket.read(&mut word) {
                Ok(1) => Asked::Kill,
                _ => Asked::HostGone,
            });
        }
        if !events[1].revents().is_empty() {
            return Ok(Asked::Nothing);
        }
    }
}
