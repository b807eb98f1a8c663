//! `rota plugins sign` and `rota plugins keygen`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `rota plugins sign`.
#[derive(Debug, Args)]
#[command(after_help = "\
The signature of FILE.wasm is written to FILE.wasm.sigstore.json, where rota and cosign look for it.

Examples:
  rota plugins keygen growth                              # growth.key stays with you, growth.pub goes into rota.toml
  rota plugins sign report.wasm --key growth.key
  cosign verify-blob report.wasm --bundle report.wasm.sigstore.json --key growth.pub --insecure-ignore-tlog")]
pub(crate) struct SignArgs {
    /// A component's file, or a package in a registry (registry.example/growth/report@1.4.2)
    #[arg(value_name = "FILE.wasm|PACKAGE")]
    pub(crate) what: String,
    /// The private key: a file, or a reference to one (env:NAME, file:PATH). PKCS#8 PEM, or as cosign generate-key-pair writes it
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
    /// The password of an encrypted key, by reference (env:NAME, file:PATH) [default: env:COSIGN_PASSWORD]
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) password: Option<String>,
}

/// `rota plugins keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// What the two files are called: NAME.key and NAME.pub
    #[arg(value_name = "NAME", default_value = "rota", value_hint = ValueHint::FilePath)]
    pub(crate) name: PathBuf,
    /// Encrypt the private key with a password, given by reference (env:NAME, file:PATH) [default: env:COSIGN_PASSWORD, if it is set]
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) password: Option<String>,
}
