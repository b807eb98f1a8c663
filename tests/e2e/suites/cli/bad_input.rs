//! Wrong names, types and forms: found before anything is contacted or recorded, with the nearest name that is right.

use super::{probe, refused, schema};
use crate::rota;
use rota_tests::Rota;
use serde_json::{Value, json};
use std::net::TcpListener;

/// A server that counts who comes: whatever is refused beforehand never does.
struct Nobody(TcpListener);

impl Nobody {
    fn listen() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("postgres://rota:geheim-4711@{}/shop", listener.local_addr().unwrap());
        (Self(listener), url)
    }

    fn came(&self) -> bool {
        self.0.accept().is_ok()
    }
}

async fn nothing_is_recorded(rota: &Rota) {
    assert_eq!(rota.json(&["runs", "list"]).await.unwrap(), json!([]));
}

#[tokio::test]
async fn unknown_names_are_refused_with_the_nearest() {
    let rota = rota();
    rota.configure("[bindings.kosmos]\nkind = \"sql\"\nurl = \"postgres://rota@db.example/kosmos\"\n").unwrap();
    let (nobody, url) = Nobody::listen();
    let bind = format!("database={url}");
    let cases: &[(&[&str], &[&str])] = &[
        (&["jobs", "pause", "nightly"], &["--note is missing", "rota jobs pause nightly --note \"moving the table\""]),
        (&["run", "postgres-vacum"], &["no plugin or job `postgres-vacum`", "did you mean `postgres-vacuum`?"]),
        (&["run", "postgres-health@9", "--bind", &bind], &["postgres-health", "not `^9`"]),
        (&["run", "postgres-health", "--bind", "databse=x"], &["no slot `databse`", "did you mean `database`?"]),
        (&["run", "postgres-health", "--bind", "database=kosmo"], &["`kosmo`", "did you mean `kosmos`?"]),
        (&["run", "postgres-health", "--bind", &bind, "--grant", "database=raed"], &["`raed`", "did you mean `read`?"]),
        (&["run", "postgres-health", "--bind", &bind, "--grant", "databse=read"], &["did you mean `database`?"]),
        (
            &["run", "postgres-health", "--bind", &bind, "--grant", "database=maintain"],
            &["does not declare the access `maintain`"],
        ),
        (
            &["run", "postgres-health", "--bind", &bind, "-p", "expected_replica=1"],
            &["no parameter `expected_replica`", "did you mean `expected_replicas`?"],
        ),
        (&["run", "postgres-health", "--bind", &bind, "--limit", "memmory=1GiB"], &["did you mean `memory`?"]),
        (&["runs", "list", "--status", "suceeded"], &["suceeded"]),
        (&["run", "postgres-health"], &["needs a binding in slot `database`", "--bind database="]),
    ];
    for (arguments, texts) in cases {
        let answer = refused(&rota, arguments, 2, texts).await;
        assert!(!answer.to_string().contains("geheim-4711"), "{answer}");
    }
    assert!(!nobody.came(), "nothing is contacted before everything is right");
    nothing_is_recorded(&rota).await;
}

#[tokio::test]
async fn wrong_types_ranges_and_forms_are_refused_before_anything_is_contacted() {
    let rota = rota();
    let (nobody, url) = Nobody::listen();
    let bind = format!("database={url}");
    let file = rota.path("work/parameters.json");
    std::fs::write(&file, "[1]").unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["-p", "expected_replicas=many"], &["`expected_replicas`"]),
        (&["-p", "expected_replicas=-1"], &["`expected_replicas`", "minimum"]),
        (&["-p", "warn_connections=1.5"], &["`warn_connections`", "maximum"]),
        (&["-p", "checks=sise"], &["`checks"]),
        (&["-p", "expected_replicas"], &["write -p key=value"]),
        (&["-p", "largest=1", "-p", "largest=2"], &["`largest` is given twice"]),
        (&["-p", "@missing.json"], &["missing.json", "cannot be read"]),
        (&["-p", "@parameters.json"], &["does not hold a JSON object"]),
        (&["--bind", "database"], &["--bind SLOT=BINDING"]),
        (&["--bind", "canary=file:///tmp"], &["slot `canary`", "sql"]),
        (&["--bind", "canary=relative/path"], &["absolute path"]),
        (&["--bind", "canary=postgers://x/y"], &["did you mean postgres://?"]),
        (&["--bind", "canary=nats://x/y"], &["a URL of NATS has no path"]),
        (&["--grant", "database"], &["--grant SLOT=ACCESS"]),
        (&["--timeout", "soon"], &["`soon` is no length of time"]),
        (&["--limit", "memory"], &["--limit memory=512MiB"]),
        (&["--limit", "memory=many"], &["`memory` cannot be `many`"]),
        (&["--limit", "memory=1TiB"], &["`memory` cannot be `1TiB`", "between 1MiB and 4GiB"]),
    ];
    for (more, texts) in cases {
        let mut arguments = vec!["run", "postgres-health", "--bind", &bind];
        arguments.extend(*more);
        let answer = refused(&rota, &arguments, 2, texts).await;
        assert!(!answer.to_string().contains("geheim-4711"), "{answer}");
    }
    assert!(!nobody.came(), "nothing is contacted before everything is right");
    nothing_is_recorded(&rota).await;
}

#[tokio::test]
async fn limits_that_no_run_can_have_are_refused() {
    let rota = rota();
    for limit in ["memory=0", "handles=0", "host_calls_in_flight=0", "wall=0s", "report_bytes=0", "log_bytes=1"] {
        let name = limit.split_once('=').unwrap().0;
        let path = rota_tests::probe::path();
        refused(&rota, &["run", path.to_str().unwrap(), "--limit", limit], 2, &[&format!("`{name}` cannot be")]).await;
    }
}

#[tokio::test]
async fn a_configuration_with_an_unknown_key_names_file_line_and_nearest() {
    let rota = rota();
    rota.configure("[limits]\nmemroy = \"64MiB\"\n").unwrap();
    let answer = refused(&rota, &["run", "postgres-health"], 2, &["memroy", "rota.toml:2", "memory"]).await;
    assert_eq!(answer["error"]["kind"], "usage");
    let said = rota.run(&["config", "check"]).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
    let check = schema::valid("config_check", &said);
    assert_eq!(check["ok"], false);
    let problem = &check["problems"][0];
    assert_eq!(problem["line"], 2);
    assert!(problem["file"].as_str().unwrap().ends_with("rota.toml"), "{problem}");
    assert!(problem["advice"].as_str().unwrap().contains("memory"), "{problem}");
}

#[tokio::test]
async fn a_job_that_could_not_run_is_found_by_config_check() {
    let rota = rota();
    let toml = |slot: &str, access: &str| {
        format!(
            "[bindings.shop]\nkind = \"sql\"\nurl = \"postgres://rota@127.0.0.1/shop\"\n\n\
             [jobs.check]\nplugin = \"postgres-health@0.1\"\nslots.{slot} = {{ binding = \"shop\", access = [\"{access}\"] }}\n"
        )
    };
    for (slot, access, text) in [("databse", "read", "did you mean `database`?"), ("database", "maintain", "maintain")]
    {
        rota.configure(&toml(slot, access)).unwrap();
        let said = rota.run(&["config", "check"]).await.unwrap();
        assert_eq!(said.status, Some(2), "{said:?}");
        let check = schema::valid("config_check", &said);
        let messages = check["problems"].to_string();
        assert!(messages.contains(text) && messages.contains("check"), "{messages}");
    }
    rota.configure(&toml("database", "read")).unwrap();
    let said = rota.run(&["config", "check"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(schema::valid("config_check", &said), json!({ "ok": true, "problems": [], "files": ["rota.toml"] }));
}

#[tokio::test]
async fn secrets_that_cannot_be_had_are_named_and_never_shown() {
    let rota = rota();
    let open = rota.path("work/open-to-all");
    std::fs::write(&open, "geheim-4711").unwrap();
    std::os::unix::fs::chown(&open, None, None).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let cases: [(&str, &[&str]); 3] = [
        ("env:NOT_THERE", &["NOT_THERE", "not set"]),
        ("file:/not/there", &["/not/there", "cannot be read"]),
        ("file:open-to-all", &["open-to-all", "chmod"]),
    ];
    for (reference, texts) in cases {
        rota.configure(&format!(
            "[bindings.shop]\nkind = \"sql\"\nurl = \"postgres://rota@127.0.0.1:1/shop\"\npassword = \"{reference}\"\n"
        ))
        .unwrap();
        let answer = refused(&rota, &["run", "postgres-health", "--bind", "database=shop"], 1, texts).await;
        assert!(!answer.to_string().contains("geheim-4711"), "{answer}");
    }
    rota.configure("[bindings.shop]\nkind = \"sql\"\nurl = \"postgres://rota@h/shop\"\npassword = \"geheim-4711\"\n")
        .unwrap();
    let answer = refused(&rota, &["runs", "list"], 2, &["by reference", "rota.toml:4"]).await;
    assert!(!answer.to_string().contains("geheim-4711"), "{answer}");
}

#[tokio::test]
async fn variables_set_every_key_and_wrong_ones_are_named() {
    let mut rota = rota();
    rota.set("ROTA_LIMITS__REPORT_BYTES", "64KiB");
    let answer = probe(&rota, "large-report", json!({ "size": 100_000 }), &[], 1).await;
    assert_eq!(answer["error"]["kind"], "limit");
    assert!(answer["error"]["message"].as_str().unwrap().contains("65536"), "{answer}");
    rota.set("ROTA_LIMITS__REPORT_BITES", "1MiB");
    refused(&rota, &["runs", "list"], 2, &["ROTA_LIMITS__REPORT_BITES", "report_bytes"]).await;
    rota.unset("ROTA_LIMITS__REPORT_BITES");
    rota.set("ROTA_CONFIG", rota.path("work/other.toml"));
    refused(&rota, &["runs", "list"], 2, &["other.toml"]).await;
    std::fs::write(rota.path("work/other.toml"), "[limits]\nreport_bytes = \"1MiB\"\n").unwrap();
    // Variables go over files.
    probe(&rota, "large-report", json!({ "size": 100_000 }), &[], 1).await;
    rota.unset("ROTA_LIMITS__REPORT_BYTES");
    let answer: Value = probe(&rota, "large-report", json!({ "size": 100_000 }), &[], 0).await;
    assert_eq!(answer["report"]["data"].as_str().unwrap().len(), 100_000);
    rota.set("ROTA_LOG", "no=such=filter");
    let said = rota.run(&["runs", "list"]).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
}
