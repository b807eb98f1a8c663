//! The host's say over a launcher: kill, or hang up.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A second handle on the socket to the launcher.
#[derive(Clone)]
pub(super) struct Control(Arc<UnixStream>);

impl Control {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(Arc::new(socket))
    }

    /// Have the program and its children killed, and be told how it ended. One that has ended is no error.
    pub(super) fn kill(&self) {
        let _ = (&*self.0).write(b"k");
    }

    /// Have them killed, and hear nothing more.
    pub(super) fn hang_up(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
