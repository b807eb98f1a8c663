//! Exit statuses, and the object that goes with each.

use super::{probe, refused, schema};
use crate::rota;
use serde_json::json;

#[tokio::test]
async fn success_is_0() {
    let answer = probe(&rota(), "nothing", json!({}), &[], 0).await;
    assert_eq!(answer["run"]["status"], "succeeded");
    assert_eq!(answer["run"]["plugin"], "probe");
    assert_eq!(answer["run"]["mode"], "execute");
    assert_eq!(answer["run"]["trigger"], "manual");
    assert_eq!((&answer["run"]["job"], &answer["run"]["scheduled_for"]), (&json!(null), &json!(null)));
    assert_eq!((&answer["error"], &answer["effects"]), (&json!(null), &json!([])));
    assert_eq!(answer["report"]["summary"], "done");
}

#[tokio::test]
async fn a_failed_procedure_is_1_and_its_report_is_kept() {
    let answer = probe(&rota(), "nothing", json!({ "fail": true }), &[], 1).await;
    assert_eq!((&answer["run"]["status"], &answer["error"]["kind"]), (&json!("failed"), &json!("failed")));
    assert_eq!(answer["report"]["summary"], "done", "what was found until then");
}

#[tokio::test]
async fn a_trap_is_1() {
    let answer = probe(&rota(), "trap", json!({}), &[], 1).await;
    assert_eq!((&answer["run"]["status"], &answer["error"]["kind"]), (&json!("failed"), &json!("trap")));
}

#[tokio::test]
async fn a_denial_is_3_with_the_flag_that_would_allow_it() {
    let rota = rota();
    let folder = rota.path("bucket");
    std::fs::create_dir(&folder).unwrap();
    let bind = format!("bucket=file://{}", folder.display());
    let call = json!({ "import": "storage.bucket.put" });
    let parameters = json!({ "call": call, "fail": true });
    let answer = probe(&rota, "call", parameters.clone(), &["--bind", &bind], 3).await;
    assert_eq!((&answer["run"]["status"], &answer["error"]["kind"]), (&json!("denied"), &json!("denied")));
    let hint = answer["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("--grant bucket=read,write"), "{hint}");
    assert!(rota_tests::files(&folder).is_empty());
    // The flag of the hint is what it takes: it fails now only because it was told to.
    let answer = probe(&rota, "call", parameters, &["--bind", &bind, "--grant", "bucket=read,write"], 1).await;
    assert_eq!(answer["error"]["kind"], "failed");
    assert!(folder.join("probe.txt").exists());
}

#[tokio::test]
async fn a_timeout_is_124() {
    let answer = probe(&rota(), "never-finish", json!({}), &["--timeout", "300ms"], 124).await;
    assert_eq!((&answer["run"]["status"], &answer["error"]["kind"]), (&json!("timed-out"), &json!("timed-out")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("300ms"));
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let rota = rota();
    refused(&rota, &["run", "postgres-helth"], 2, &["postgres-helth", "did you mean `postgres-health`?"]).await;
    // Before an object could be printed, the usage is: clap's own text, on stderr.
    for arguments in [&["run"][..], &["rnu", "x"], &["run", "x", "--plam"], &["runs", "list", "--limit", "0"], &[]] {
        let said = rota.run(arguments).await.unwrap();
        assert_eq!(said.status, Some(2), "{arguments:?}: {said:?}");
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{said:?}");
    }
}

#[tokio::test]
async fn help_and_version_are_0_and_on_stdout() {
    let rota = rota();
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let said = rota.run(arguments).await.unwrap();
        assert_eq!(said.status, Some(0), "{said:?}");
        assert!(!said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
    }
    assert_eq!(rota_tests::files(&rota.state()), Vec::<std::path::PathBuf>::new(), "help writes nothing");
}

#[tokio::test]
async fn a_plan_reads_performs_nothing_and_is_0() {
    let rota = rota();
    let folder = rota.path("bucket");
    std::fs::create_dir(&folder).unwrap();
    let bind = format!("bucket=file://{}", folder.display());
    let call = json!({ "import": "storage.bucket.put" });
    let more = ["--bind", &bind, "--grant", "declared", "--plan"];
    let answer = probe(&rota, "call", json!({ "call": call }), &more, 0).await;
    assert_eq!((&answer["run"]["mode"], &answer["effects"][0]["outcome"]), (&json!("plan"), &json!("planned")));
    assert!(rota_tests::files(&folder).is_empty());
}

#[tokio::test]
async fn one_object_is_on_stdout_and_the_rest_on_stderr_at_any_log_level() {
    let mut rota = rota();
    rota.set("ROTA_LOG", "trace,sqlx=trace,wasmtime=trace,cranelift=trace");
    let parameters = json!({ "text": "a line of the guest's" });
    let mut arguments = vec!["run".to_owned(), rota_tests::probe::path().display().to_string()];
    arguments.extend(rota_tests::probe::arguments("print", &parameters));
    let said = rota.run(&arguments).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    schema::valid("answer", &said);
    assert!(said.stderr.contains("a line of the guest's") && said.stderr.lines().count() > 1, "{}", said.stderr);
}
