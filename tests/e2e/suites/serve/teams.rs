//! Teams: what is beyond their ceiling is refused when it is written and when it is begun; what they use up in a day is counted for all hosts.

use super::{SOON, Serving, stop};
use crate::rota;
use rota_testbed::{Postgres, eventually};
use rota_tests::Rota;
use serde_json::{Value, json};

/// A team that may write to the shop, and a job of it.
const GROWTH: &str = r#"
[teams.growth]
description = "Growth"
jobs = ["growth-*"]
plugins = ["PROBE"]
bindings.shop = { access = ["read", "write"] }
limits = { memory = "128MiB", wall = "5m" }
QUOTAS
[jobs.growth-work]
plugin = "PROBE"
parameters = { do = "work", count = 2, pause = 0 }
slots.database = { binding = "shop", access = ["read", "write"] }
concurrency = 20
"#;

fn with(quotas: &str) -> String {
    GROWTH.replace("QUOTAS", quotas)
}

/// What a quota was used.
fn used(team: &Value, quota: &str) -> f64 {
    team["quotas"][quota]["used"].as_f64().unwrap()
}

async fn growth(rota: &Rota) -> Value {
    rota.json(&["teams", "show", "growth"]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_beyond_its_teams_ceiling_is_refused_when_it_is_written() {
    let serving = Serving::new("beyond", &with("")).await;
    assert_eq!(serving.rota.run(&["config", "check"]).await.unwrap().status, Some(0));
    for (from, to, words) in [
        (
            "access = [\"read\", \"write\"] }\nconcurrency",
            "access = [\"read\", \"ddl\"] }\nconcurrency",
            "`ddl` on the binding `shop` is more than the team `growth`",
        ),
        (
            "concurrency = 20",
            "limits.memory = \"1GiB\"",
            "the limit `memory` is 1GiB, more than the team `growth` may have (128MiB)",
        ),
        ("plugins = [\"PROBE\"]", "plugins = [\"growth-*\"]", "the team `growth` may not run the plugin"),
        ("bindings.shop = { access = [\"read\", \"write\"] }", "", "the team `growth` may not use the binding `shop`"),
    ] {
        serving.configure(&with("").replace(from, to), "");
        for command in [&["config", "check"][..], &["run", "growth-work"], &["config", "apply", "--plan"]] {
            let said = serving.rota.run(command).await.unwrap();
            assert_eq!(said.status, Some(2), "{command:?}: {said:?}");
            assert!(said.all().contains(words), "{command:?}: {said:?}");
        }
    }
    // What is asked for on a command line goes through the same check.
    serving.configure(&with(""), "");
    let url = serving.database.url();
    let other = format!("database={url}");
    for (arguments, words) in [
        (&["--grant", "database=read,ddl"][..], "`ddl` on the binding `shop` is more than the team `growth`"),
        (&["--grant", "declared"], "is more than the team `growth` may be granted there"),
        (&["--bind", &other], "the team `growth` may not use what a command line names"),
        (&["--limit", "memory=129MiB"], "the limit `memory` is"),
        (&["--timeout", "6m"], "the limit `wall` is"),
    ] {
        let said = serving.rota.run(&[&["run", "growth-work"], arguments].concat()).await.unwrap();
        assert_eq!(said.status, Some(2), "{arguments:?}: {said:?}");
        assert!(said.all().contains(words) && said.all().contains("whoever runs the hosts can allow it"), "{said:?}");
    }
    assert!(serving.runs(&[]).await.is_empty(), "nothing was begun");
    // The same by hand is the operator's, and no team's.
    let probe = rota_tests::probe::path().display().to_string();
    let said = serving.rota.run(&["run", &probe, "--bind", &other, "-p", "do=nothing"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(used(&growth(&serving.rota).await, "runs_per_day"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_is_denied_where_its_team_may_no_more_have_what_it_was_made_with() {
    let serving = Serving::new("denied_later", &with("")).await;
    let writes = serving.queue("growth-work", &[]).await;
    // The ceiling comes down, and the job with it: what was queued before asks for more than there is.
    serving.configure(&with("").replace("\"read\", \"write\"", "\"read\""), "");
    let host = serving.serve().await;
    let denied = serving.becomes(&writes, &["denied"]).await;
    let message = denied["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(
            "`write` on the binding `shop` is more than the team `growth` may be granted there; that is: read"
        ),
        "{denied:#}"
    );
    assert!(message.contains("teams.growth.bindings.shop.access"), "{message}");
    assert_eq!((&denied["error"]["kind"], &denied["effects"]), (&json!("denied"), &json!([])), "{denied:#}");
    assert_eq!((serving.done(&writes).await.len(), serving.fences(&writes).await), (0, 0), "nothing was reached");
    let watched = serving.rota.run(&["runs", "watch", &writes]).await.unwrap();
    assert_eq!(watched.status, Some(3), "{watched:?}");
    let again = serving.rota.run(&["runs", "retry", &writes]).await.unwrap();
    assert_eq!(again.status, Some(3), "{again:?}");
    assert!(again.all().contains("is more than the team `growth`"), "{again:?}");
    stop(host).await;

    // The plugin is not the team's any more, or the job is not: neither is done without its ceiling.
    for (change, words) in [
        (("plugins = [\"PROBE\"]", "plugins = [\"postgres-health\"]"), "may not run the plugin"),
        (
            ("limits = {", "undo_attempts = 2\nlimits = {"),
            "`undo.attempts` is 5, more than the team `growth` may have (2)",
        ),
        (
            ("\"growth-*\"", "\"growing-*\""),
            "was made for the team `growth`, which does not have the job `growth-work` any more",
        ),
    ] {
        serving.configure(&with(""), "");
        let run = serving.queue("growth-work", &[]).await;
        // The job with the plugin would be refused as it is written; it is another team's, or nobody's, from now on.
        let changed = with("").replace(change.0, change.1).replace("[jobs.growth-work]", "[jobs.other]");
        serving.configure(&changed, "");
        let host = serving.serve().await;
        let denied = serving.becomes(&run, &["denied"]).await;
        assert!(denied["error"]["message"].as_str().unwrap().contains(words), "{denied:#}");
        assert_eq!(serving.fences(&run).await, 0);
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_day_are_counted_across_two_hosts_and_those_beyond_are_denied() {
    let server = Postgres::shared().await.unwrap();
    let store = server.fresh_database("teams_store").await.unwrap();
    let quotas = "quotas = { runs_at_once = 2, runs_per_day = 7 }";
    let mut serving = Serving::over("two_hosts", &with(quotas), "[store]\nurl = \"env:STORE_URL\"\n").await;
    serving.rota.set("STORE_URL", store.url());
    let mut other = rota();
    other.set("SHOP_URL", serving.database.url()).set("STORE_URL", store.url()).set("ROTA_SERVER__NAME", "other");
    std::fs::copy(serving.rota.path("work/rota.toml"), other.path("work/rota.toml")).unwrap();
    let here = serving.serve().await;
    let mut there = other.start(&["serve"]).unwrap();
    there.says("serving as").await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(serving.queue("growth-work", &["pause=400"]).await);
    }
    let waited = std::cell::RefCell::new(false);
    eventually(SOON * 2, "all runs to be over", async || {
        let team = growth(&serving.rota).await;
        let now = used(&team, "runs_at_once");
        assert!(now <= 2.0, "{team:#}");
        let left = serving.runs(&["--status", "queued,waiting,running"]).await;
        if let Some(waiting) = left.iter().find(|run| run["status"] == "waiting") {
            let shown = serving.run(waiting["id"].as_str().unwrap()).await;
            // It may have begun meanwhile.
            if shown["run"]["waiting_on"] == "team:growth" {
                *waited.borrow_mut() = true;
            }
        }
        Ok(left.is_empty().then_some(()))
    })
    .await
    .unwrap();
    assert!(waited.into_inner(), "what waits for its team says so");
    let ended = serving.runs(&[]).await;
    let of = |status: &str| ended.iter().filter(|run| run["status"] == status).collect::<Vec<&Value>>();
    let denied = of("denied");
    assert_eq!((of("succeeded").len(), denied.len()), (7, 3), "seven of ten began: {ended:#?}");
    let said = serving.run(denied[0]["id"].as_str().unwrap()).await;
    assert_eq!(said["error"]["kind"], "quota", "{said:#}");
    let message = said["error"]["message"].as_str().unwrap();
    assert!(message.contains("used up its quota of 7 runs a day (teams.growth.quotas.runs_per_day)"), "{message}");
    let hosts: std::collections::BTreeSet<&str> = ended.iter().filter_map(|run| run["host"].as_str()).collect();
    assert_eq!(hosts.len(), 2, "both hosts took part: {hosts:?}");
    assert!(ended.iter().all(|run| run["team"] == "growth"), "{ended:#?}");
    let mut done = 0;
    for run in &runs {
        done += serving.done(run).await.len();
    }
    assert_eq!(done, 7 * 2, "nothing of those that were denied was reached");
    let team = growth(&other).await;
    assert_eq!((used(&team, "runs_per_day"), used(&team, "runs_at_once")), (7.0, 0.0), "{team:#}");
    assert_eq!(used(&team, "effects_per_day"), 7.0 * 3.0, "the fence and two rows of each");
    assert!(
        used(&team, "cpu_per_day") > 0.0 && used(&team, "cpu_per_day") < 7.0,
        "what was not used is given back: {team:#}"
    );
    // By hand, too; nothing is reached, and it says why.
    let said = serving.rota.run(&["run", "growth-work"]).await.unwrap();
    assert_eq!(said.status, Some(3), "{said:?}");
    assert!(said.all().contains("teams.growth.quotas.runs_per_day"), "{said:?}");
    stop(here).await;
    stop(there).await;
}

/// A team with a bucket.
async fn with_bucket(quotas: &str) -> (Rota, std::path::PathBuf) {
    let rota = rota();
    let folder = rota.path("bucket");
    std::fs::create_dir(&folder).unwrap();
    let probe = rota_tests::probe::path().display().to_string();
    rota.configure(&format!(
        "[bindings.reports]\nkind = \"storage\"\nurl = \"file://{}\"\n\
         [teams.growth]\njobs = [\"growth-*\"]\nplugins = [\"{probe}\"]\nbindings.reports = {{ access = [\"read\", \"write\"] }}\nquotas = {{ {quotas} }}\n\
         [jobs.growth-put]\nplugin = \"{probe}\"\nslots.bucket = {{ binding = \"reports\", access = [\"read\", \"write\"] }}\n\
         [jobs.growth-spin]\nplugin = \"{probe}\"\nparameters = {{ do = \"spin\" }}\n",
        folder.display()
    ))
    .unwrap();
    (rota, folder)
}

/// The answers of the probe to several puts of so many bytes each.
async fn puts(rota: &Rota, sizes: &[usize], flags: &[&str]) -> (Value, Vec<Value>) {
    let calls: Vec<Value> = sizes
        .iter()
        .enumerate()
        .map(|(n, size)| json!({ "import": "storage.bucket.put", "name": format!("{n}.bin"), "data": "x".repeat(*size) }))
        .collect();
    let calls = format!("calls={}", Value::Array(calls));
    let mut arguments = vec!["run", "growth-put", "-p", "do=calls", "-p", &calls];
    arguments.extend(flags);
    let answer = rota.json(&arguments).await.unwrap();
    let data = &answer["report"]["data"];
    let data = data.as_str().map_or_else(|| data.clone(), |text| serde_json::from_str(text).unwrap());
    (answer.clone(), data.as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_out_is_counted_to_the_byte_and_refused_beyond_the_quota() {
    let (rota, folder) = with_bucket("bytes_out_per_day = \"100kB\"").await;
    let (_, planned) = puts(&rota, &[60_000], &["--plan"]).await;
    assert!(planned[0]["error"].is_null(), "{planned:?}");
    assert_eq!(used(&growth(&rota).await, "bytes_out_per_day"), 0.0, "a plan sends nothing");
    let (_, answers) = puts(&rota, &[60_000, 39_900, 200, 100], &[]).await;
    assert!(answers[0]["error"].is_null() && answers[1]["error"].is_null(), "{answers:?}");
    assert_eq!(answers[2]["error"], "quota", "{answers:?}");
    let text = answers[2]["text"].as_str().unwrap();
    assert!(text.contains("teams.growth.quotas.bytes_out_per_day"), "{text}");
    assert!(answers[3]["error"].is_null(), "what still fits is sent: {answers:?}");
    assert!(!folder.join("2.bin").exists(), "nothing half");
    assert_eq!(used(&growth(&rota).await, "bytes_out_per_day"), 100_000.0);
    let (_, answers) = puts(&rota, &[1], &[]).await;
    assert_eq!(answers[0]["error"], "quota", "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_beyond_the_quota_are_refused_in_the_middle_of_a_run() {
    let (rota, folder) = with_bucket("effects_per_day = 3").await;
    let (answer, answers) = puts(&rota, &[1, 1, 1, 1], &[]).await;
    let refused: Vec<&Value> = answers.iter().filter(|answer| answer["error"] == "quota").collect();
    assert_eq!((refused.len(), answers[3]["error"].as_str()), (1, Some("quota")), "{answers:?}");
    assert_eq!(answer["effects"].as_array().unwrap().len(), 3, "{answer:#}");
    assert!(folder.join("2.bin").exists() && !folder.join("3.bin").exists());
    let (answer, answers) = puts(&rota, &[1], &["--plan"]).await;
    assert!(answers[0]["error"].is_null(), "a plan has no effects: {answer:#}");
    assert_eq!(used(&growth(&rota).await, "effects_per_day"), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_would_use_more_cpu_time_than_its_team_has_is_ended() {
    let (rota, _) = with_bucket("cpu_per_day = \"1s\"").await;
    let said = rota.run(&["run", "growth-spin", "--record", "--limit", "cpu=3s"]).await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    let answer = said.json().unwrap();
    assert_eq!(answer["error"]["kind"], "quota", "{answer:#}");
    // A replay counts for no team, and comes to the run's own limit: that the run was ended before is no difference.
    let said = rota.run(&["runs", "replay", "last"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    let replayed = said.json().unwrap();
    assert_eq!(
        (&replayed["result"], &replayed["recorded_end"]["ended"]),
        (&json!("ends"), &json!("quota")),
        "{replayed:#}"
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("used up its quota of 1s of CPU time a day"), "{message}");
    let cpu = used(&growth(&rota).await, "cpu_per_day");
    assert!((0.9..2.0).contains(&cpu), "{cpu}");
    let said = rota.run(&["run", "growth-put"]).await.unwrap();
    assert_eq!(said.status, Some(3), "nothing is left to begin with: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_are_shown_with_what_they_may_and_what_they_used() {
    let serving = Serving::new(
        "shown",
        &with("quotas = { runs_per_day = 200, cpu_per_day = \"1h\", bytes_out_per_day = \"10GiB\" }"),
    )
    .await;
    assert_eq!(serving.rota.run(&["run", "growth-work"]).await.unwrap().status, Some(0));
    let list = serving.rota.json(&["teams", "list"]).await.unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &json!("growth")));
    let team = growth(&serving.rota).await;
    assert_eq!(team["bindings"], json!({ "shop": { "access": ["read", "write"] } }));
    assert_eq!((&team["jobs"], &team["configured_jobs"]), (&json!(["growth-*"]), &json!(["growth-work"])));
    assert_eq!(team["limits"], json!({ "memory": "128MiB", "wall": "5m" }));
    assert_eq!(team["quotas"]["runs_per_day"], json!({ "used": 1, "most": 200 }));
    assert_eq!(team["quotas"]["cpu_per_day"]["most"], 3600.0);
    assert_eq!(team["quotas"]["effects_per_day"], json!({ "used": 3, "most": null }));
    assert!(used(&team, "bytes_out_per_day") > 0.0, "statements are sent, too: {team:#}");
    let human = serving.rota.run(&["teams", "show", "growth", "--output", "human"]).await.unwrap();
    for words in ["Growth", "shop (read, write)", "memory 128MiB", "runs_per_day", "200", "no bound", "(UTC)"] {
        assert!(human.stdout.contains(words), "{words}: {human:?}");
    }
    let human = serving.rota.run(&["teams", "list", "--output", "human"]).await.unwrap();
    assert!(human.stdout.contains("1 of 200"), "{human:?}");
    let unknown = serving.rota.run(&["teams", "show", "growht"]).await.unwrap();
    assert_eq!(unknown.status, Some(2), "{unknown:?}");
    assert!(unknown.all().contains("did you mean `growth`?"), "{unknown:?}");
}
