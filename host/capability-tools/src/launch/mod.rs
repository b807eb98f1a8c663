//! The launcher: a tiny process between the host and a program, which ends the program and all its children.
//!
//! The host starts its own executable again with `__launch` ([`run_if_asked`]), and gives it a socket as standard input. The
//! launcher receives what to start, confines the child and starts it, and from then on waits for one of two things:
//!
//! | what happens | what the launcher does |
//! | --- | --- |
//! | the program ends | kills what it left behind, reports how it ended |
//! | the host asks, drops the child, or dies in any way (SIGKILL too) | kills the program and every descendant |
//!
//! A death signal (`PR_SET_PDEATHSIG`) from the host alone would not do: it is tied to the thread that spawned, and reaches
//! the child but not the child's children. The launcher is a *subreaper*: a descendant whose parent dies becomes the launcher's
//! own child, in whatever session or process group it hides, so the tree is complete when the launcher has no child left.
//! The death signal guards the other case: when somebody kills the launcher, the program goes with it. (The program's own
//! children then stay until their pipes break. That takes a person with the right to kill the launcher.)
//!
//! Being one thread, the launcher may do between fork and exec what the host, with its many, must not.

mod confine;
mod family;
mod message;
mod supervise;

pub use confine::landlock_available;
pub(crate) use message::{Confinement, Reply, Request, read_reply, send_request};

use std::process::ExitCode;

/// The argument that makes an executable a launcher.
pub(crate) const WORD: &str = "__launch";

/// Be the launcher if this process was started as one: then the exit code is to be returned from `main` at once.
///
/// It must be the first thing that `main` does, before any thread is started.
pub fn run_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os().nth(1).is_some_and(|word| word == WORD);
    asked.then(|| match supervise::supervise() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rota: the launcher failed: {error}");
            ExitCode::FAILURE
        }
    })
}
