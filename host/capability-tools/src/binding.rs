//! From the configured bindings to what this crate works with. The one place that knows how they are configured.

use crate::connection::PgAddress;
use crate::limits::ProgramLimits;
use crate::profile::{Custom, Profile};
use rota_config::{SqlBinding, SqlHost, TargetError, TlsMode, ToolBinding, ToolProfile};
use rota_contract::Error;
use std::path::Path;

/// The certificate bundles of distributions, for `verify-*` without a bundle of its own: libpq has no default.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The profile of a tool binding.
pub(crate) fn profile_of(tool: &ToolBinding) -> Profile {
    match tool.profile() {
        ToolProfile::PgDump => Profile::PgDump,
        ToolProfile::PgDumpall => Profile::PgDumpall,
        ToolProfile::PgRestore => Profile::PgRestore,
        ToolProfile::Custom => Profile::Custom(Custom {
            allowed: tool.arguments.clone(),
            looks: tool.looks.clone(),
            // The words of the configuration are those of the authority; one that were not is needed by nothing that can be granted.
            needs: tool
                .connection
                .as_ref()
                .map(|needs| needs.iter().filter_map(|need| need.as_str().parse().ok()).collect()),
        }),
    }
}

/// The limits of a tool binding.
pub(crate) fn limits_of(tool: &ToolBinding) -> ProgramLimits {
    // A part of a second counts as one: 0 would end the program at once.
    let cpu_seconds = Some(tool.cpu.as_millis().div_ceil(1000));
    ProgramLimits { cpu_seconds, memory: Some(tool.memory.as_u64()), ..ProgramLimits::default() }
}

/// Where a program connects for a sql binding. Reads the binding's secrets.
pub(crate) fn address_of(name: &str, sql: &SqlBinding) -> Result<PgAddress, Error> {
    let target = sql.target().map_err(|error| {
        let text = format!("binding `{name}`: {error}");
        match error {
            TargetError::Secret(_) => Error::Unavailable(text),
            TargetError::Url(_) => Error::InvalidArgument(text),
        }
    })?;
    let host = match target.host {
        SqlHost::Tcp(host) => host,
        SqlHost::Socket(folder) => folder.to_string_lossy().into_owned(),
    };
    // libpq takes 0 for "without end", and 1 for 2.
    let timeout = sql.connect_timeout.as_millis().div_ceil(1000).max(2);
    let mut settings = vec![
        ("connect_timeout".to_owned(), timeout.to_string()),
        ("sslmode".to_owned(), target.tls.mode.as_str().to_owned()),
    ];
    let verifies = matches!(target.tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    let bundle = || BUNDLES.iter().map(Path::new).find(|path| verifies && path.exists()).map(Path::to_owned);
    let mut reads = Vec::new();
    for (key, file) in [
        ("sslrootcert", target.tls.ca_file.or_else(bundle)),
        ("sslcert", target.tls.client_cert),
        ("sslkey", target.tls.client_key),
    ] {
        if let Some(path) = file {
            settings.push((key.to_owned(), path.to_string_lossy().into_owned()));
            reads.push(path);
        }
    }
    Ok(PgAddress {
        lock_timeout: sql.lock_timeout.as_millis(),
        host: Some(host),
        port: Some(target.port),
        user: target.user,
        password: target.password,
        database: target.database,
        role: sql.role.clone(),
        settings,
        reads,
    })
}
