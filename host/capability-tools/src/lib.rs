//! The capability `tools`: programs that the operator declared by absolute path. Never a shell.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`host`](Tools) | the WIT side |
//! | [`client`](Client) | what it does: authorise, judge the arguments, put the effect on record, start |
//! | [`profile`] | which arguments a plugin may give, and what they need; pure |
//! | `program`, `libraries` | what must hold of a program's file, and what it reads |
//! | `connection` | the private folder with libpq's service and password file |
//! | `binding` | from the configured bindings to what this crate works with |
//! | `child` | a running program: streams, end, kill |
//! | [`launch`] | the process between host and program, which holds it and ends it |
//!
//! What holds a program, and what does not:
//! - It gets exactly the arguments that its profile wrote, an environment of `HOME` and `LC_ALL` and the way to libpq's files,
//!   and three pipes. The password is in a file of 0600 in a folder of 0700 that goes with the program.
//! - It cannot gain privileges, dump core, write outside its private folder, read outside the system's and its own folders, or
//!   signal others (the last three by Landlock; where the kernel has none they do not hold, see [`launch::landlock_available`]).
//! - It and every process it started are gone when it ends, when the child is dropped, and when the host dies in any way.
//! - The network is open to it: Landlock cannot name a host, and a database may be anywhere.

mod binding;
mod child;
mod client;
mod connection;
mod host;
pub mod launch;
mod libraries;
mod limits;
pub mod profile;
mod program;
mod version;

pub use child::{Ended, Finished};
pub use client::{Child, Client, Connection, Judged, Output, Shared, judge};
pub use connection::sweep;
pub use host::Tools;
pub use limits::ProgramLimits;
pub use program::Unusable;
pub use version::Version;

use std::path::PathBuf;

/// Where the capability finds its launcher, and where it makes private folders.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An executable whose `main` calls [`launch::run_if_asked`] first. By default this process's own.
    pub launcher: PathBuf,
    /// The folder for private folders; by default the system's for temporary files. One that only this user may enter is better.
    pub folder: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        // The link, not what it names: it stays good when the executable is replaced under a running host.
        Self { launcher: "/proc/self/exe".into(), folder: std::env::temp_dir() }
    }
}
