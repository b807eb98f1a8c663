//! Bindings that are wrong, and what the right ones mean.

use super::{config, errors, refused};
use rota_config::{Binding, BucketService, SqlHost, StorageLocation, TlsMode, ToolProfile};

fn binding(rest: &str) -> String {
    format!("[bindings.b]\n{rest}\n")
}

#[test]
fn a_kind_is_needed_and_known() {
    refused(
        &binding("url = \"x\""),
        "rota.toml:1:1: bindings.b needs the key \"kind\" (the kinds are sql, storage, tool, key, cache, kubernetes and jetstream)",
    );
    refused(
        &binding("kind = \"sqll\""),
        "rota.toml:2:8: bindings.b.kind: \"sqll\" is not a kind of binding (did you mean \"sql\"?)",
    );
    refused(
        &binding("kind = \"jetstreams\""),
        "rota.toml:2:8: bindings.b.kind: \"jetstreams\" is not a kind of binding (did you mean \"jetstream\"?)",
    );
}

#[test]
fn a_name_keeps_to_the_rule() {
    refused(
        "[bindings.\"Kosmos DB\"]\nkind = \"tool\"\npath = \"/usr/bin/pg_dump\"\n",
        "rota.toml:1:11: bindings: \"Kosmos DB\" cannot name a binding: only small letters, digits, \"-\" and \"_\" may be in it",
    );
}

#[test]
fn a_sql_binding_that_cannot_be_is_refused() {
    let sql = |rest: &str| binding(&format!("kind = \"sql\"\n{rest}"));
    let url = |url: &str| sql(&format!("url = \"{url}\""));
    for (text, line) in [
        (
            sql(""),
            "rota.toml:1:1: bindings.b needs the key \"url\": a URL, or a reference to one (env:NAME, file:PATH)",
        ),
        (url("db.example"), "rota.toml:3:7: bindings.b.url: this is not a URL (relative URL without a base)"),
        (
            url("mysql://h/d"),
            "rota.toml:3:7: bindings.b.url: PostgreSQL needs a URL that begins with postgres://, and the scheme here is \"mysql\"",
        ),
        (url("postgres://h:99999/d"), "rota.toml:3:7: bindings.b.url: this is not a URL (invalid port number)"),
        (url("postgres://h/d?port=x"), "rota.toml:3:7: bindings.b.url: the port \"x\" is not a number from 1 to 65535"),
        (
            url("postgres://h/d?sslmod=require"),
            "rota.toml:3:7: bindings.b.url: the URL has an unknown parameter, \"sslmod\": did you mean \"sslmode\"?",
        ),
        (
            url("postgres://h/d?sslmode=allow"),
            "rota.toml:3:7: bindings.b.url: the sslmode \"allow\" is none: the modes are disable, prefer, require, verify-ca and verify-full",
        ),
        (
            url("postgres://h/d?options=-c%20x"),
            "rota.toml:3:7: bindings.b.url: the URL has an unknown parameter, \"options\": the parameters are host, port, dbname, user, password, sslmode, sslrootcert, sslcert and sslkey",
        ),
        (
            url("postgres://h/d?sslkey=relative"),
            "rota.toml:3:7: bindings.b.url: sslrootcert, sslcert and sslkey need absolute paths",
        ),
        (
            url("postgres://h/d?host=a,b"),
            "rota.toml:3:7: bindings.b.url: a binding is one server; the URL names several hosts",
        ),
        (
            url("postgres://h/%zz"),
            "rota.toml:3:7: bindings.b.url: the path of the URL has a \\\"%\\\" that encodes nothing; write %25 for it",
        ),
        (url("postgres://h/%ff"), "rota.toml:3:7: bindings.b.url: the path of the URL is not UTF-8 text without NUL"),
        (
            url("env:"),
            "rota.toml:3:7: bindings.b.url: env: needs the name of an environment variable (letters, digits and \"_\"), as in env:KOSMOS_PASSWORD",
        ),
        (
            sql("url = \"postgres://h\"\ntls = \"verify\""),
            "rota.toml:4:7: bindings.b.tls: \"verify\" is not a TLS mode (did you mean \"verify-ca\"?)",
        ),
        (
            sql("url = \"postgres://h\"\nclient_cert = \"/c\""),
            "rota.toml:4:15: bindings.b needs client_cert and client_key together",
        ),
        (
            sql("url = \"postgres://h\"\naccess = [\"read\", \"delete\"]"),
            "rota.toml:4:10: bindings.b.access: a sql binding has no access \"delete\" (it has read, write, maintain, index, ddl, signal, promote, copy-out, copy-in and alter-system)",
        ),
        (
            sql("url = \"postgres://h\"\nmax_connections = 0"),
            "rota.toml:4:19: bindings.b.max_connections must be between 1 and 1000, not 0",
        ),
        (
            sql("url = \"postgres://h\"\nalter_system = [\"work_mem\", \"archive_command\"]"),
            "rota.toml:4:16: bindings.b.alter_system: \"archive_command\" is never set by ALTER SYSTEM: the server runs it as a program (name parameters of memory, planning, writing and vacuuming)",
        ),
        (sql("url = \"postgres://h\"\nrole = \"\""), "rota.toml:1:1: bindings.b.role must be the name of a role"),
    ] {
        refused(&text, &line.replace("\\\"", "\""));
    }
}

#[test]
fn a_password_in_a_file_is_refused_and_not_shown() {
    let told = errors(&binding("kind = \"sql\"\nurl = \"postgres://u:c4nary-pw@h/d\""));
    assert_eq!(
        told,
        [
            "rota.toml:3:7: bindings.b.url holds a password, which a configuration file must not (put the whole URL into an \
          environment variable or a file (url = \"env:NAME\" or \"file:PATH\"), or leave the password out and set password \
          = \"env:NAME\")"
        ]
    );
    for key in ["password = \"c4nary-pw\"", "password = \"c4nary://pw\""] {
        let told = errors(&binding(&format!("kind = \"sql\"\nurl = \"postgres://h\"\n{key}")));
        assert_eq!(
            told,
            ["rota.toml:4:12: bindings.b.password: a secret must be given by reference (env:NAME, file:PATH or \
              kubernetes:NAMESPACE/SECRET/KEY), not by itself"]
        );
    }
    let told = errors(&binding("kind = \"storage\"\nurl = \"s3://b/p?secret_key=c4nary-pw\""));
    assert!(told[0].starts_with("rota.toml:3:7: bindings.b.url holds a password"), "{told:?}");
}

#[test]
fn a_password_with_unencoded_characters_is_explained() {
    let told = errors(&binding("kind = \"sql\"\nurl = \"postgres://user@name@ho#st/d\""));
    assert!(told[0].contains("must be percent-encoded, as %40 for @"), "{told:?}");
}

#[test]
fn a_storage_binding_that_cannot_be_is_refused() {
    let storage = |rest: &str| binding(&format!("kind = \"storage\"\n{rest}"));
    let url = |url: &str| storage(&format!("url = \"{url}\""));
    for (text, line) in [
        (
            url("http://h/x"),
            "rota.toml:3:7: bindings.b.url: a storage binding needs a URL that begins with oss://, s3://, gcs://, azblob:// or file:///, and the scheme here is \"http\"",
        ),
        (url("s3:///x"), "rota.toml:3:7: bindings.b.url: the URL names no bucket; write s3://BUCKET/PREFIX"),
        (
            url("s3://h:9000/x"),
            "rota.toml:3:7: bindings.b.url: write s3://BUCKET/PREFIX?endpoint=https://HOST:PORT for a server of your own",
        ),
        (
            url("oss://b/p"),
            "rota.toml:3:7: bindings.b.url: oss needs an endpoint, as in oss://b/PREFIX?endpoint=https://oss-cn-hangzhou.aliyuncs.com",
        ),
        (
            url("s3://b/p?endpont=x"),
            "rota.toml:3:7: bindings.b.url: the URL has an unknown parameter, \"endpont\": did you mean \"endpoint\"?",
        ),
        (
            url("s3://b?endpoint=ftp://h"),
            "rota.toml:3:7: bindings.b.url: an endpoint is written as https://HOST or http://HOST:PORT",
        ),
        (
            url("s3://b/a/../../c"),
            "rota.toml:3:7: bindings.b.url: a prefix is made of names between single slashes; \".\" and \"..\" are none",
        ),
        (
            url("s3://b/a/%2e%2E/c"),
            "rota.toml:3:7: bindings.b.url: a prefix is made of names between single slashes; \".\" and \"..\" are none",
        ),
        (
            url("s3://b/a//c"),
            "rota.toml:3:7: bindings.b.url: a prefix is made of names between single slashes; \".\" and \"..\" are none",
        ),
        (
            url("file://srv/x"),
            "rota.toml:3:7: bindings.b.url: a folder is written with three slashes, as in file:///srv/backups",
        ),
        (
            storage("url = \"s3://b\"\nprefix = \"../x\""),
            "rota.toml:4:10: bindings.b.prefix: a prefix is made of names between single slashes; \".\" and \"..\" are none",
        ),
        (
            storage("url = \"s3://b\"\nprefix = \"a\\\\b\""),
            "rota.toml:4:10: bindings.b.prefix: a prefix holds no control characters or backslashes",
        ),
        (
            storage("url = \"s3://b\"\npart_size = \"1MiB\""),
            "rota.toml:4:13: bindings.b.part_size must be between 5MiB and 1GiB, not 1MiB",
        ),
        (
            storage("url = \"s3://b\"\nregoin = \"x\""),
            "rota.toml:4:1: bindings.b.regoin is not a key of [bindings.b] (did you mean \"region\"?)",
        ),
    ] {
        refused(&text, line);
    }
}

#[test]
fn a_tool_that_cannot_be_is_refused() {
    let tool = |rest: &str| binding(&format!("kind = \"tool\"\n{rest}"));
    for (text, line) in [
        (tool(""), "rota.toml:1:1: bindings.b needs the key \"path\": the absolute path of a program"),
        (
            tool("path = \"pg_dump\""),
            "rota.toml:3:8: bindings.b.path must be the absolute path of a program, not \"pg_dump\" (\"which PROGRAM\" tells it)",
        ),
        (
            tool("path = \"/\""),
            "rota.toml:3:8: bindings.b.path must be the absolute path of a program, not \"/\" (\"which PROGRAM\" tells it)",
        ),
        (
            tool("path = \"/usr/bin/rsync\""),
            "rota.toml:3:8: bindings.b needs the key \"profile\", as no rules are known for \"/usr/bin/rsync\" (set profile = \"custom\" and list the arguments that are allowed)",
        ),
        (
            tool("path = \"/usr/bin/pg_dump\"\nprofile = \"pgdump\""),
            "rota.toml:4:11: bindings.b.profile: \"pgdump\" is not a profile of a tool (did you mean \"pg_dump\"?)",
        ),
        (
            tool("path = \"/usr/bin/pg_dump\"\narguments = [\"-v\"]"),
            "rota.toml:4:13: bindings.b.arguments goes with profile = \"custom\"; \"pg_dump\" has its own rules",
        ),
        (
            tool("path = \"/x\"\nprofile = \"custom\"\narguments = [\"*\"]"),
            "rota.toml:5:14: bindings.b.arguments[0]: a rule of only \"*\" allows every argument; say what it begins with, as in \"--jobs=*\"",
        ),
        (
            tool("path = \"/x\"\nprofile = \"custom\"\nenv = [\"HOME\"]"),
            "rota.toml:5:1: bindings.b.env is not a key of [bindings.b] (the keys there are kind, path, profile, arguments, connection, looks, reads, place, memory, cpu and concurrency)",
        ),
    ] {
        refused(&text, line);
    }
}

fn only(text: &str) -> Binding {
    config(&binding(text)).bindings.values().next().unwrap().clone()
}

#[test]
fn a_sql_url_says_where_to_connect() {
    let Binding::Sql(sql) = only(
        "kind = \"sql\"\nurl = \"env:URL\"\npassword = \"env:PW\"\ntls = \"verify-full\"\nca_file = \"/ca.pem\"\n",
    ) else {
        panic!("no sql binding");
    };
    let target = |url: &'static str| {
        sql.target_with(move |name| Some(if name == "URL" { url.into() } else { "c4nary-own".into() }))
    };
    let found =
        target("postgresql://r%40ta:c4nary-url@[::1]:6543/my%20db?sslmode=disable&sslrootcert=/other.pem").unwrap();
    assert_eq!((found.host, found.port), (SqlHost::Tcp("::1".to_owned()), 6543));
    assert_eq!((found.user.as_deref(), found.database.as_deref()), (Some("r@ta"), Some("my db")));
    assert_eq!(found.password.unwrap().expose(), "c4nary-own");
    assert_eq!((found.tls.mode, found.tls.ca_file.unwrap().to_str()), (TlsMode::VerifyFull, Some("/ca.pem")));

    let found = target("postgres:///-x?host=/run/postgresql&user=rota").unwrap();
    assert_eq!(found.host, SqlHost::Socket("/run/postgresql".into()));
    assert_eq!((found.user.as_deref(), found.database.as_deref()), (Some("rota"), Some("-x")));
    assert_eq!(target("postgres://%2Frun%2Fpg/d").unwrap().host, SqlHost::Socket("/run/pg".into()));
    assert_eq!(target("postgres://h").unwrap().database, None);
}

#[test]
fn a_secret_url_that_is_wrong_is_not_shown() {
    let Binding::Sql(sql) = only("kind = \"sql\"\nurl = \"env:URL\"") else { panic!("no sql binding") };
    for url in
        ["c4nary", "c4nary://h", "postgres://u:c4n#ary@h/d", "postgres://h/d?c4nary=1", "postgres://h?port=c4nary"]
    {
        let error = sql.target_with(|_| Some(url.into())).unwrap_err().to_string();
        assert!(!error.contains("c4n"), "{error}");
    }
    let error = sql.target_with(|_| None).unwrap_err().to_string();
    assert_eq!(error, "the environment variable URL is not set, and a secret is read from it (env:URL)");
}

#[test]
fn a_storage_url_says_where_objects_lie() {
    let target = |rest: &str| {
        let Binding::Storage(storage) = only(&format!("kind = \"storage\"\n{rest}")) else {
            panic!("no storage binding")
        };
        storage.target_with(|_| Some("c4nary-key".into())).unwrap()
    };
    let found = target(
        "url = \"oss://kosmos-backups/postgres/?endpoint=oss.example.com\"\nprefix = \"/a/b/\"\nsecret_key = \"env:K\"",
    );
    assert_eq!(
        found.location,
        StorageLocation::Bucket {
            service: BucketService::Oss,
            bucket: "kosmos-backups".to_owned(),
            endpoint: Some("https://oss.example.com".to_owned()),
            region: None,
        }
    );
    assert_eq!((found.prefix.as_str(), found.secret_key.unwrap().expose()), ("postgres/a/b/", "c4nary-key"));
    let found = target("url = \"gs://b\"\nregion = \"eu\"");
    assert!(matches!(found.location, StorageLocation::Bucket { service: BucketService::Gcs, region: Some(_), .. }));
    assert_eq!(found.prefix, "");
    let found = target("url = \"file:///srv/my%20backups/\"\nprefix = \"x\"");
    assert_eq!((found.location, found.prefix.as_str()), (StorageLocation::Folder("/srv/my backups/".into()), "x/"));
}

#[test]
fn a_tools_profile_follows_from_its_name() {
    let profile = |rest: &str| match only(&format!("kind = \"tool\"\n{rest}")) {
        Binding::Tool(tool) => tool.profile(),
        other => panic!("{other:?}"),
    };
    assert_eq!(profile("path = \"/opt/pg16/bin/pg_dumpall\""), ToolProfile::PgDumpall);
    assert_eq!(profile("path = \"/opt/wrapped\"\nprofile = \"pg_restore\""), ToolProfile::PgRestore);
}

#[test]
fn a_kubernetes_binding_that_cannot_be_is_refused() {
    let kubernetes = |rest: &str| binding(&format!("kind = \"kubernetes\"\n{rest}"));
    let rule = |rest: &str| kubernetes(&format!("in_cluster = true\nallow = [{{ {rest} }}]"));
    for (text, line) in [
        (
            kubernetes(""),
            "rota.toml:1:1: bindings.b needs one way to its cluster: kubeconfig, server or in_cluster = true",
        ),
        (
            kubernetes("in_cluster = true\nserver = \"https://a\""),
            "rota.toml:1:1: bindings.b needs one way to its cluster: kubeconfig, server or in_cluster = true",
        ),
        (
            kubernetes("server = \"http://a\""),
            "rota.toml:1:1: bindings.b.server: an API server is written as https://HOST:PORT",
        ),
        (
            kubernetes("in_cluster = true\nservice_account = \"rota\""),
            "rota.toml:4:19: bindings.b.service_account: a service account is written as NAMESPACE/NAME",
        ),
        (
            kubernetes("in_cluster = true\ntoken = \"env:T\""),
            "rota.toml:1:1: bindings.b: token and ca_file go with server",
        ),
        (
            rule("verbs = [\"gte\"], resources = [\"pods\"]"),
            "rota.toml:4:9: bindings.b.allow.verbs: \"gte\" is no verb of a rule; there are *, get, list, watch, create, patch, delete, exec, log, scale, restart, run, lock",
        ),
        (
            rule("verbs = [\"get\"], resources = [\"pods\"], labels = [\"app=web,tier\"]"),
            "rota.toml:4:9: bindings.b.allow.labels: \"app=web,tier\" is not KEY=VALUE",
        ),
        (
            rule("verbs = [\"get\"], resources = [\"pods\"], names = [\"a*b*\"]"),
            "rota.toml:4:9: bindings.b.allow.names: \"a*b*\" has more than one *",
        ),
    ] {
        refused(&text, line);
    }
}
