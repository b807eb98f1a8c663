//! A launcher alone, for tests that run the capability outside the `rota` binary (which is its own launcher).

use std::process::ExitCode;

fn main() -> ExitCode {
    rota_capability_tools::launch::run_if_asked().unwrap_or_else(|| {
        eprintln!("rota-launch is started by Rota, not by hand");
        ExitCode::from(2)
    })
}
