//! A connection as libpq's variables, for programs that run where the host has no file.

use super::{PgAddress, Unfit};

/// Everything but the password. Settings that name files of this machine are left out: the place says which files it has.
pub(crate) fn variables(
    address: &PgAddress,
    database: Option<&str>,
    application: &str,
    ca_file: Option<&str>,
) -> Result<Vec<(&'static str, String)>, Unfit> {
    let port = address.port.map(|port| port.to_string());
    let database = database.or(address.database.as_deref()).or(address.user.as_deref());
    let mut all: Vec<(&'static str, &str)> = Vec::new();
    let standing = [
        ("PGHOST", address.host.as_deref()),
        ("PGPORT", port.as_deref()),
        ("PGUSER", address.user.as_deref()),
        ("PGDATABASE", database),
        ("PGAPPNAME", Some(application)),
        ("PGSSLROOTCERT", ca_file),
    ];
    all.extend(standing.into_iter().filter_map(|(name, value)| Some((name, value?))));
    for (key, value) in &address.settings {
        let name = match key.as_str() {
            "connect_timeout" => "PGCONNECT_TIMEOUT",
            "sslmode" => "PGSSLMODE",
            "options" => "PGOPTIONS",
            _ => continue,
        };
        all.push((name, value));
    }
    let mut variables = vec![("LC_ALL", "C".to_owned())];
    for (name, value) in all {
        if value.contains(['\n', '\0']) {
            return Err(Unfit::Value { what: name.to_owned(), why: "it holds a line end or a NUL" });
        }
        variables.push((name, value.to_owned()));
    }
    Ok(variables)
}

/// What a session is set to, for programs that know no `--role` and no timeouts: a migration that waits for a lock would hold up all who come
/// after it.
pub(crate) fn options(role: Option<&str>, lock_timeout_ms: u64) -> String {
    let mut options = format!("-c lock_timeout={lock_timeout_ms}");
    for (n, c) in role.unwrap_or_default().chars().enumerate() {
        if n == 0 {
            options.push_str(" -c role=");
        }
        if c.is_whitespace() || c == '\\' {
            options.push('\\');
        }
        options.push(c);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_telemetry::Secret;

    #[test]
    fn the_variables_hold_the_way_and_no_password() {
        let address = PgAddress {
            host: Some("db".into()),
            port: Some(5433),
            user: Some("kosmos".into()),
            password: Some(Secret::new("c4nary-of-variables")),
            settings: vec![("sslmode".into(), "verify-full".into()), ("sslrootcert".into(), "/here/ca.pem".into())],
            ..PgAddress::default()
        };
        let found = variables(&address, None, "rota/job/run", Some("/there/ca.pem")).unwrap();
        assert!(!format!("{found:?}").contains("c4nary") && !format!("{found:?}").contains("/here"));
        for (name, value) in [
            ("PGHOST", "db"),
            ("PGPORT", "5433"),
            ("PGDATABASE", "kosmos"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/there/ca.pem"),
        ] {
            assert!(found.contains(&(name, value.into())), "{name}: {found:?}");
        }
        assert!(variables(&address, Some("a\nPGHOST=evil"), "", None).is_err());
        assert_eq!(options(Some(r"a b\c"), 10_000), r"-c lock_timeout=10000 -c role=a\ b\\c");
        assert_eq!(options(None, 1), "-c lock_timeout=1");
    }
}
