//! The service file and the password file.

use super::{PgAddress, PrivateFolder, Unfit};
use std::io;

/// The service's name; also what `--dbname=service=...` says.
pub(crate) const SERVICE: &str = "rota";

/// A line of a service file is read into 1024 bytes (256 before version 14, for which lines are not kept shorter).
const LONGEST_LINE: usize = 1000;

/// Why a connection could not be written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the connection could not be written into the private folder: {0}")]
    Io(#[from] io::Error),
}

/// Write both files; answers the environment that leads to them.
pub(crate) fn write_files(
    folder: &PrivateFolder,
    address: &PgAddress,
    database: Option<&str>,
    application: &str,
) -> Result<Vec<(String, String)>, WriteError> {
    let mut lines = format!("[{SERVICE}]\n");
    let port = address.port.map(|port| port.to_string());
    let standing = [
        ("host", address.host.as_deref()),
        ("port", port.as_deref()),
        ("user", address.user.as_deref()),
        ("application_name", Some(application)),
    ];
    let standing = standing.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let settings = address.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in standing.chain(settings) {
        lines.push_str(&service_line(key, value)?);
    }
    if let Some(password) = &address.password {
        let path = folder.write("password", password_line(password.expose())?.as_bytes())?;
        lines.push_str(&service_line("passfile", &path.to_string_lossy())?);
    }
    let service = folder.write("service", lines.as_bytes())?;
    let mut environment = vec![
        ("PGSERVICEFILE".to_owned(), service.to_string_lossy().into_owned()),
        ("PGSERVICE".to_owned(), SERVICE.to_owned()),
    ];
    if let Some(database) = database.or(address.database.as_deref()).or(address.user.as_deref()) {
        environment.push(("PGDATABASE".to_owned(), database.to_owned()));
    }
    Ok(environment)
}

/// `key=value`, where libpq takes everything after the first `=` but white space at the end.
fn service_line(key: &str, value: &str) -> Result<String, Unfit> {
    let unfit = |why| Err(Unfit::Value { what: key.to_owned(), why });
    if value.contains(['\n', '\0']) {
        return unfit("it holds a line end or a NUL");
    }
    // C's isspace, which is not quite Rust's.
    if value.ends_with([' ', '\t', '\r', '\x0b', '\x0c']) {
        return unfit("it ends with white space, which libpq's service file cannot hold");
    }
    let line = format!("{key}={value}\n");
    if line.len() > LONGEST_LINE { unfit("it is too long for libpq's service file") } else { Ok(line) }
}

/// One line for every host, port, database and user: the file serves this connection alone.
fn password_line(password: &str) -> Result<String, Unfit> {
    // libpq takes carriage returns off the end of a line.
    if password.contains(['\n', '\0']) || password.ends_with('\r') {
        return Err(Unfit::Value {
            what: "password".into(),
            why: "it holds a line end or a NUL, which libpq's password file cannot hold",
        });
    }
    Ok(format!("*:*:*:*:{}\n", password.replace('\\', "\\\\").replace(':', "\\:")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_telemetry::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn both_files_are_private_and_the_environment_holds_no_password() {
        let base = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::new(base.path()).unwrap();
        let address = PgAddress {
            host: Some("db.internal".into()),
            port: Some(5433),
            user: Some("kosmos".into()),
            password: Some(Secret::new(r"c4nary:of\files")),
            settings: vec![("sslmode".into(), "require".into())],
            ..PgAddress::default()
        };
        let environment = write_files(&folder, &address, Some("-x"), "rota/job/run").unwrap();
        assert!(!format!("{environment:?}").contains("c4nary"));
        assert!(environment.contains(&("PGDATABASE".into(), "-x".into())));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("password"), "*:*:*:*:c4nary\\:of\\\\files\n");
        let service = read("service");
        let passfile = folder.path().join("password").display().to_string();
        assert_eq!(
            service,
            format!(
                "[rota]\nhost=db.internal\nport=5433\nuser=kosmos\napplication_name=rota/job/run\nsslmode=require\npassfile={passfile}\n"
            )
        );
        for (path, mode) in [
            (folder.path().to_owned(), 0o700),
            (folder.path().join("password"), 0o600),
            (folder.path().join("service"), 0o600),
        ] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{path:?}");
        }
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_value_cannot_bring_a_line_of_its_own() {
        assert!(service_line("user", "a\nhost=evil").is_err());
        assert!(service_line("user", "a ").is_err());
        assert!(service_line("user", &"x".repeat(1000)).is_err());
        assert_eq!(service_line("user", " a=b #c").unwrap(), "user= a=b #c\n");
        assert!(password_line("a\nb").is_err() && password_line("a\r").is_err() && password_line("a\rb ").is_ok());
    }
}
