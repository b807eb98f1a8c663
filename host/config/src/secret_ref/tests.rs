use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn file(folder: &Path, content: impl AsRef<[u8]>, mode: u32) -> SecretRef {
    let path = folder.join("secret");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    SecretRef::File(path)
}

#[test]
fn references_are_read_and_shown() {
    for text in
        ["env:KOSMOS_URL", "env:_x9", "file:/run/secrets/a b", "file:relative", "kubernetes:ns/postgres/password"]
    {
        assert_eq!(SecretRef::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn what_is_no_reference_is_refused_without_being_shown() {
    for (text, message) in [
        (
            "hunter2",
            "a secret must be given by reference (env:NAME, file:PATH or kubernetes:NAMESPACE/SECRET/KEY), not by itself",
        ),
        (
            "vault:hunter2",
            "a secret must be given by reference (env:NAME, file:PATH or kubernetes:NAMESPACE/SECRET/KEY), not by itself",
        ),
        (
            "env:",
            "env: needs the name of an environment variable (letters, digits and \"_\"), as in env:KOSMOS_PASSWORD",
        ),
        (
            "env:A-B",
            "env: needs the name of an environment variable (letters, digits and \"_\"), as in env:KOSMOS_PASSWORD",
        ),
        ("file:", "file: needs a path, as in file:/run/secrets/kosmos"),
        (
            "kubernetes:ns/secret",
            "kubernetes: needs a namespace, a secret and a key, as in kubernetes:kosmos-db/postgres/password",
        ),
        (
            "kubernetes:ns//key",
            "kubernetes: needs a namespace, a secret and a key, as in kubernetes:kosmos-db/postgres/password",
        ),
    ] {
        assert_eq!(SecretRef::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_variable_is_read() {
    let reference = SecretRef::parse("env:KOSMOS_PASSWORD").unwrap();
    let secret = reference.resolve_with(|name| (name == "KOSMOS_PASSWORD").then(|| "c4nary-variable".into())).unwrap();
    assert_eq!(secret.expose(), "c4nary-variable");
    assert_eq!(rota_telemetry::mask("c4nary-variable"), "***");
    for absent in [None, Some(OsString::new())] {
        let error = reference.resolve_with(|_| absent.clone()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the environment variable KOSMOS_PASSWORD is not set, and a secret is read from it (env:KOSMOS_PASSWORD)"
        );
    }
}

#[test]
fn a_file_is_read_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    for (content, secret) in
        [("c4nary-a", "c4nary-a"), ("c4nary-b\n", "c4nary-b"), ("c4nary-c\r\n", "c4nary-c"), (" x\n\n", " x\n")]
    {
        assert_eq!(file(folder.path(), content, 0o600).resolve().unwrap().expose(), secret);
    }
}

#[test]
fn what_a_file_should_not_hold_is_refused_without_being_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret").display().to_string();
    for (content, message) in [
        (b"".to_vec(), format!("the secret in file:{path} is empty")),
        (b"\n".to_vec(), format!("the secret in file:{path} is empty")),
        (b"c4nary\xff".to_vec(), format!("the secret in file:{path} is not UTF-8 text")),
        (b"c4na\0ry".to_vec(), format!("the secret in file:{path} holds a NUL byte")),
        (
            vec![b'x'; 70_000],
            format!("the secret in file:{path} is larger than 64 KiB, so it is probably another file"),
        ),
    ] {
        assert_eq!(file(folder.path(), content, 0o600).resolve().unwrap_err().to_string(), message);
    }
}

#[test]
fn a_file_that_others_can_read_or_change_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret").display().to_string();
    for (mode, problem) in [
        (0o644, "can be read by everyone (mode 0644)"),
        (0o640, "can be read by its group (mode 0640)"),
        (0o604, "can be read by everyone (mode 0604)"),
        (0o620, "can be changed by its group (mode 0620)"),
        (0o602, "can be changed by everyone (mode 0602)"),
    ] {
        let error = file(folder.path(), "c4nary", mode).resolve().unwrap_err().to_string();
        assert_eq!(error, format!("the secret file {path} {problem}; run: chmod 600 {path}"));
    }
    assert!(file(folder.path(), "c4nary", 0o400).resolve().is_ok());
}

#[test]
fn a_mounted_secret_of_kubernetes_may_be_readable() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("..2026_11_23_10_00_00.1");
    fs::create_dir(&data).unwrap();
    file(&data, "c4nary-mounted\n", 0o644);
    symlink(&data, folder.path().join("..data")).unwrap();
    symlink("..data/secret", folder.path().join("password")).unwrap();
    let secret = SecretRef::File(folder.path().join("password")).resolve().unwrap();
    assert_eq!(secret.expose(), "c4nary-mounted");
}

#[test]
fn what_is_no_readable_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = SecretRef::File(missing.clone()).resolve().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("the secret file {} cannot be read: No such file or directory (os error 2)", missing.display())
    );
    let error = SecretRef::File(folder.path().to_owned()).resolve().unwrap_err().to_string();
    assert!(error.ends_with("cannot be read: it is not a file, but a folder"), "{error}");
    let fifo = folder.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = SecretRef::File(fifo).resolve().unwrap_err().to_string();
    assert!(error.ends_with("cannot be read: it is not a file, but a pipe"), "{error}");
}

#[test]
fn a_kubernetes_secret_is_read_by_whoever_speaks_with_clusters() {
    let secret = |text: &str| SecretRef::parse(text).unwrap().resolve();
    let error = secret("kubernetes:ns/postgres/password").unwrap_err().to_string();
    assert_eq!(
        error,
        "the secret kubernetes:ns/postgres/password cannot be read: this program speaks with no cluster; mount the \
         secret and use file:PATH"
    );
    super::read_kubernetes_secrets_with(|namespace, secret, key| match (namespace, secret, key) {
        ("ns", "postgres", "password") => Ok(b"c4nary\n".to_vec()),
        ("ns", "postgres", "large") => Ok(vec![b'x'; 70_000]),
        _ => Err("there is no such Secret".into()),
    });
    assert_eq!(secret("kubernetes:ns/postgres/password").unwrap().expose(), "c4nary", "without its last line end");
    let error = secret("kubernetes:ns/other/password").unwrap_err().to_string();
    assert_eq!(error, "the secret kubernetes:ns/other/password cannot be read: there is no such Secret");
    let error = secret("kubernetes:ns/postgres/large").unwrap_err().to_string();
    assert!(error.contains("larger than 64 KiB"), "{error}");
}
