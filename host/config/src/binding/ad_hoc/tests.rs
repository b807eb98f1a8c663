use rota_telemetry::mask;

use super::*;
use crate::{BucketService, SqlHost, StorageLocation, ToolProfile};

fn ad_hoc(text: &str) -> Binding {
    match BindArgument::parse(text) {
        Ok(BindArgument::AdHoc(binding)) => *binding,
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn a_name_is_a_configured_binding() {
    let name = |text: &str| BindArgument::parse(text).unwrap();
    assert_eq!(name("kosmos"), BindArgument::Configured("kosmos".parse().unwrap()));
    assert_eq!(name("pg_dump"), BindArgument::Configured("pg_dump".parse().unwrap()));
}

#[test]
fn a_postgres_url_may_hold_a_password_which_is_a_secret_from_then_on() {
    let binding = ad_hoc("postgres://rota:c4nary%20adhoc@db.example/kosmos");
    assert!(!format!("{binding:?}").contains("c4nary") && !serde_json::to_string(&binding).unwrap().contains("c4nary"));
    for text in ["c4nary adhoc", "c4nary%20adhoc", "postgres://rota:c4nary%20adhoc@db.example/kosmos"] {
        assert_eq!(mask(text), "***");
    }
    let Binding::Sql(sql) = binding else { panic!("no sql binding") };
    let target = sql.target().unwrap();
    assert_eq!(target.host, SqlHost::Tcp("db.example".to_owned()));
    assert_eq!(target.password.unwrap().expose(), "c4nary adhoc");
    assert_eq!(sql.statement_timeout.to_string(), "5m");
    assert_eq!(ad_hoc("postgresql:///kosmos").kind().as_str(), "sql");
}

#[test]
fn storage_urls_and_programs_make_bindings() {
    let Binding::Storage(storage) = ad_hoc("file:///srv/backups") else { panic!("no storage binding") };
    assert_eq!(storage.target().unwrap().location, StorageLocation::Folder("/srv/backups".into()));
    let Binding::Storage(storage) = ad_hoc("s3://AK:c4nary-sk@bucket/a/b?endpoint=http://127.0.0.1:9000&region=x")
    else {
        panic!("no storage binding");
    };
    let target = storage.target().unwrap();
    let endpoint = Some("http://127.0.0.1:9000".to_owned());
    let location = StorageLocation::Bucket {
        service: BucketService::S3,
        bucket: "bucket".to_owned(),
        endpoint,
        region: Some("x".to_owned()),
    };
    assert_eq!((target.location, target.prefix.as_str()), (location, "a/b/"));
    assert_eq!(target.secret_key.unwrap().expose(), "c4nary-sk");
    let Binding::Tool(tool) = ad_hoc("/opt/pg/bin/pg_restore") else { panic!("no tool") };
    assert_eq!(tool.profile(), ToolProfile::PgRestore);
}

#[test]
fn a_reference_stands_for_the_url_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "postgres://u:c4nary-ref@h/d\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let binding = ad_hoc(&format!("file:{}", path.display()));
    let Binding::Sql(sql) = binding else { panic!("no sql binding") };
    assert_eq!(sql.target().unwrap().password.unwrap().expose(), "c4nary-ref");
}

#[test]
fn an_age_identity_makes_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.txt");
    std::fs::write(&path, "# created: 2026-11-23\n# public key: age1x\nAGE-SECRET-KEY-1C4NARYFILE\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let Binding::Key(key) = ad_hoc(&format!("file:{}", path.display())) else { panic!("no key") };
    assert!(key.identity.resolve().unwrap().expose().ends_with("AGE-SECRET-KEY-1C4NARYFILE"));
    assert_eq!(mask("AGE-SECRET-KEY-1C4NARYFILE"), "***");
    let Binding::Key(key) = ad_hoc("AGE-SECRET-KEY-1C4NARYTEXT") else { panic!("no key") };
    assert!(!format!("{key:?}").contains("C4NARY"));
}

#[test]
fn what_is_no_binding_says_what_to_do() {
    for (text, message) in [
        (
            "Kosmos",
            "\"Kosmos\" cannot name a binding: only small letters, digits, \"-\" and \"_\" may be in it; --bind takes the name of a binding, a URL (postgres://, s3://, file:/// ...) or the absolute path of a program",
        ),
        ("postgress://h/d", "postgress:// is no address that --bind takes: did you mean postgres://?"),
        (
            "mysql://h/d",
            "mysql:// is no address that --bind takes: it takes postgres://, redis://, s3://, oss://, gcs://, azblob://, file:///, kubernetes:/// and nats://",
        ),
        ("redis://h/x", "the database \"x\" is not a number from 0 to 255"),
        ("nats://h/x", "a URL of NATS has no path"),
        (
            "./pg_dump",
            "\"./pg_dump\" is not an absolute path; a program is named by its whole path, as in /usr/bin/pg_dump",
        ),
        (
            "/usr/bin/rsync",
            "no rules are known for the arguments of \"/usr/bin/rsync\"; --bind takes pg_dump, pg_dumpall and pg_restore, any other program is declared in rota.toml with profile = \"custom\"",
        ),
        ("oss://b", "oss needs an endpoint, as in oss://b/PREFIX?endpoint=https://oss-cn-hangzhou.aliyuncs.com"),
        ("file://backups", "a folder is written with three slashes, as in file:///srv/backups"),
        ("s3://b/../c", "a prefix is made of names between single slashes; \".\" and \"..\" are none"),
        (
            "env:NO_SUCH_VARIABLE_HERE",
            "the environment variable NO_SUCH_VARIABLE_HERE is not set, and a secret is read from it (env:NO_SUCH_VARIABLE_HERE)",
        ),
    ] {
        assert_eq!(BindArgument::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn no_error_shows_a_password() {
    for text in [
        "postgres://u:c4n#ary@h/d",
        "postgres://u:c4n/ary@h/d",
        "postgres://u:c4n@ary@h:x/d",
        "mysql://u:c4nary@h/d",
        "s3://AK:c4nary@b/../x",
        "oss://AK:c4nary@b",
        "postgres://u:c4n%zzary@h/d",
        "postgres://u@h/d?password=c4nary&sslmode=c4nary",
    ] {
        let error = BindArgument::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("c4n"), "{error}");
    }
}
