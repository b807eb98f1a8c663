//! The commands beside `run`: records, plugins, configuration, doctor, completions.

use super::{probe, refused, schema};
use crate::rota;
use rota_testbed::Postgres;
use rota_tests::{Rota, probe as guest};
use serde_json::{Value, json};

async fn printed(rota: &Rota, definition: &str, arguments: &[&str], status: i32) -> Value {
    let said = rota.run(arguments).await.unwrap();
    assert_eq!(said.status, Some(status), "{arguments:?}: {said:?}");
    schema::valid(definition, &said)
}

#[tokio::test]
async fn runs_are_listed_shown_and_their_logs_kept() {
    let rota = rota();
    let first = probe(&rota, "print", json!({ "text": "the first" }), &[], 0).await;
    let second = probe(&rota, "trap", json!({}), &[], 1).await;
    let plan = probe(&rota, "nothing", json!({}), &["--plan"], 0).await;
    let id = |answer: &Value| answer["run"]["id"].as_str().unwrap().to_owned();

    let list = printed(&rota, "runs_list", &["runs", "list"], 0).await;
    let listed: Vec<String> =
        list.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, [id(&plan), id(&second), id(&first)], "the newest first");
    assert_eq!(list[1], second["run"], "a list's element is what the run printed");
    let failed = printed(&rota, "runs_list", &["runs", "list", "--status", "failed"], 0).await;
    assert_eq!(failed, json!([second["run"]]));
    assert_eq!(printed(&rota, "runs_list", &["runs", "list", "--plugin", "other"], 0).await, json!([]));
    assert_eq!(printed(&rota, "runs_list", &["runs", "list", "--limit", "1"], 0).await, json!([plan["run"]]));
    assert_eq!(printed(&rota, "runs_list", &["runs", "list", "--since", "1h"], 0).await.as_array().unwrap().len(), 3);

    let whole = id(&second);
    for name in [whole.as_str(), &whole[24..]] {
        assert_eq!(printed(&rota, "answer", &["runs", "show", name], 0).await, second, "{name}");
    }
    assert_eq!(printed(&rota, "answer", &["runs", "show", "last"], 0).await, plan);
    let log = printed(&rota, "log", &["runs", "logs", &id(&first)], 0).await;
    let lines: Vec<(&str, &str)> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["source"].as_str().unwrap(), line["message"].as_str().unwrap()))
        .collect();
    assert_eq!(lines, [("stdout", "the first")]);
    let followed = rota.run(&["runs", "logs", &id(&first), "--follow"]).await.unwrap();
    schema::check("log_line", &serde_json::from_str(followed.stdout.trim()).unwrap());
    refused(&rota, &["runs", "show", "0000-no-such"], 1, &["no run `0000-no-such`", "rota runs list"]).await;
    let common: String = whole.chars().take(4).collect();
    refused(&rota, &["runs", "show", &common], 1, &["could be any of", &whole]).await;
}

#[tokio::test]
async fn the_state_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut rota = rota();
    rota.set("ROTA_STATE_DIR", rota.path("new/state"));
    let bucket = json!({ "call": { "import": "run.artifact" } });
    probe(&rota, "call", bucket, &[], 0).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = rota.path("new/state");
    assert_eq!(mode(&state), 0o700);
    let files = rota_tests::files(&state);
    assert!(files.iter().any(|file| file.to_string_lossy().contains("artifacts")), "{files:?}");
    for file in files {
        assert_eq!(mode(&file) & 0o077, 0, "others can reach {}", file.display());
    }
}

#[tokio::test]
async fn artifacts_are_kept_and_listed() {
    let rota = rota();
    let answer = probe(&rota, "call", json!({ "call": { "import": "run.artifact", "size": 1000 } }), &[], 0).await;
    let artifact = &answer["artifacts"][0];
    assert_eq!((&artifact["name"], &artifact["size"]), (&json!("probe.txt"), &json!(1000)));
    let files = rota_tests::files(&rota.state().join("artifacts"));
    assert_eq!(std::fs::read(&files[0]).unwrap(), vec![b'x'; 1000]);
    // What leads elsewhere, and what a replay would take for the host's own word.
    for name in ["../up.txt", "a/b", "", ".hidden", "line\nbreak", "recording", "recording-2", "recording.plugin.wasm"]
    {
        let call = json!({ "import": "run.artifact", "name": name });
        let answer = probe(&rota, "call", json!({ "call": call }), &[], 0).await;
        assert_eq!(answer["report"]["data"]["error"], "invalid-argument", "{name}: {answer}");
    }
    assert_eq!(rota_tests::files(&rota.state().join("artifacts")).len(), 1);
}

#[tokio::test]
async fn plugins_are_listed_shown_and_verified() {
    let rota = rota();
    let list = printed(&rota, "plugins_list", &["plugins", "list"], 0).await;
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    let mut procedures: Vec<String> = folders.filter(|name| !name.starts_with("sdk") && !name.contains('.')).collect();
    procedures.sort();
    assert_eq!(names, procedures, "each folder of plugins/ is built in");
    for name in names {
        let shown = printed(&rota, "plugin", &["plugins", "show", name], 0).await;
        assert_eq!(shown["name"], name);
        assert!(
            jsonschema::validator_for(&shown["parameters"]).is_ok()
                && jsonschema::validator_for(&shown["report"]).is_ok()
        );
        let parameters = jsonschema::validator_for(&shown["parameters"]).unwrap();
        for example in shown["examples"].as_array().unwrap() {
            assert!(parameters.is_valid(&example["parameters"]), "{name}: an example that does not work: {example}");
        }
    }
    let shown = printed(&rota, "plugin", &["plugins", "verify", "postgres-health"], 0).await;
    assert_eq!(shown["digest_matches"], json!(null));
    let digest = shown["digest"].as_str().unwrap().to_owned();
    for right in [digest.clone(), format!("sha256:{digest}"), digest.to_uppercase()] {
        let verified = printed(&rota, "plugin", &["plugins", "verify", "postgres-health", "--digest", &right], 0).await;
        assert_eq!(verified["digest_matches"], true);
    }
    let wrong = "0".repeat(64);
    let verified = printed(&rota, "plugin", &["plugins", "verify", "postgres-health", "--digest", &wrong], 1).await;
    assert_eq!(verified["digest_matches"], false);
    // A file's digest is that of its bytes.
    let file = guest::path();
    let verified = printed(&rota, "plugin", &["plugins", "verify", file.to_str().unwrap()], 0).await;
    assert_eq!(verified["digest"], sha256(guest::BYTES));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[tokio::test]
async fn a_plugin_of_the_folder_is_found_and_one_that_is_none_hides_no_other() {
    let rota = rota();
    let folder = rota.state().join("plugins");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(guest::path(), folder.join("probe.wasm")).unwrap();
    std::fs::write(folder.join("broken.wasm"), "no component").unwrap();
    let list = printed(&rota, "plugins_list", &["plugins", "list"], 1).await;
    let of = |name: &str| list.as_array().unwrap().iter().find(|plugin| plugin["name"] == name).unwrap().clone();
    assert_eq!((&of("probe")["version"], &of("probe")["error"]), (&json!("0.1.0"), &json!(null)));
    assert!(of("broken")["error"].as_str().unwrap().contains("not a WebAssembly component"));
    assert_eq!(of("postgres-health")["error"], json!(null));
    let said = rota.run(&["run", "probe@0.1"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
}

#[tokio::test]
async fn the_example_configuration_satisfies_the_schema_and_the_check() {
    let rota = rota();
    let schema = rota.json(&["config", "schema"]).await.unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let example = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../rota.toml.example"));
    rota.configure(example).unwrap();
    let said = rota.run(&["config", "check"]).await.unwrap();
    let check = schema::valid("config_check", &said);
    assert_eq!((said.status, &check["ok"]), (Some(0), &json!(true)), "{check:#}");
}

#[tokio::test]
async fn doctor_reaches_every_binding_and_says_how_to_mend() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("doctor").await.unwrap();
    let mut rota = rota();
    rota.set("URL", database.url());
    let identity = age::x25519::Identity::generate();
    crate::write_private(&rota.path("work/key.txt"), &crate::exposed(&identity)).unwrap();
    std::fs::create_dir(rota.path("bucket")).unwrap();
    let sound = format!(
        "[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\n\
         [bindings.folder]\nkind = \"storage\"\nurl = \"file://{}\"\n\
         [bindings.dump]\nkind = \"tool\"\npath = \"{}\"\n\
         [bindings.key]\nkind = \"key\"\nidentity = \"file:key.txt\"\n",
        rota.path("bucket").display(),
        server.program("pg_dump").unwrap().display(),
    );
    rota.configure(&sound).unwrap();
    let checks = printed(&rota, "doctor", &["doctor"], 0).await;
    let found = |checks: &Value, what: &str| {
        checks
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["what"] == what)
            .unwrap_or_else(|| panic!("{what}"))
            .clone()
    };
    assert!(found(&checks, "shop")["found"].as_str().unwrap().contains("PostgreSQL 16"), "{checks:#}");
    assert!(found(&checks, "dump")["found"].as_str().unwrap().contains("16."), "{checks:#}");
    assert!(found(&checks, "key")["found"].as_str().unwrap().contains("1 age identit"), "{checks:#}");

    let broken = "[bindings.shop]\nkind = \"sql\"\nurl = \"postgres://rota:x@127.0.0.1:1/shop\"\n\
         [bindings.dump]\nkind = \"tool\"\npath = \"/not/there/pg_dump\"\n\
         [bindings.key]\nkind = \"key\"\nidentity = \"file:/not/there\"\n";
    rota.configure(broken).unwrap();
    let said = rota.run(&["doctor"]).await.unwrap();
    if said.status == Some(2) {
        // A secret in a file is refused before anything is reached.
        rota.configure(&broken.replace("rota:x@", "rota@")).unwrap();
    }
    let checks = printed(&rota, "doctor", &["doctor"], 1).await;
    for what in ["shop", "dump", "key"] {
        let check = found(&checks, what);
        assert_eq!(check["ok"], false, "{check}");
        assert!(!check["hint"].as_str().unwrap().is_empty(), "{check}");
    }
    refused(&rota, &["doctor", "--binding", "nobody"], 2, &["no binding `nobody`", "shop"]).await;
}

#[tokio::test]
async fn completions_are_printed_for_each_shell() {
    let rota = rota();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = rota.run(&["completions", shell]).await.unwrap();
        assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(said.stdout.contains("rota") && said.stdout.contains("plugins"), "{shell}");
    }
    let script = rota.path("work/rota.bash");
    std::fs::write(&script, rota.run(&["completions", "bash"]).await.unwrap().stdout).unwrap();
    let sound = std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(sound.success(), "bash reads it");
}

#[tokio::test]
async fn jobs_run_with_what_the_configuration_grants() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("jobs").await.unwrap();
    database.execute("create table t as select 1 as n").await.unwrap();
    let mut rota = rota();
    rota.set("URL", database.url());
    let toml = "[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\naccess = [\"read\"]\n\
         [jobs.check]\nplugin = \"postgres-health\"\nparameters = { largest = 3 }\n\
         slots.database = { binding = \"shop\", access = [\"read\"] }\n";
    rota.configure(toml).unwrap();
    let answer = rota.json(&["run", "check"]).await.unwrap();
    schema::check("answer", &answer);
    assert_eq!((&answer["run"]["job"], &answer["run"]["plugin"]), (&json!("check"), &json!("postgres-health")));
    let list = printed(&rota, "runs_list", &["runs", "list", "--job", "check"], 0).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    refused(&rota, &["run", "chekc"], 2, &["did you mean `check`?"]).await;
    // The binding's ceiling holds for everybody.
    let arguments = ["run", "postgres-vacuum", "--bind", "database=shop", "--grant", "declared"];
    refused(&rota, &arguments, 2, &["`maintain`", "`shop` allows", "read"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_runs_keep_go_into_the_binding_that_is_named() {
    let rota = rota();
    let bucket = rota.path("bucket");
    std::fs::create_dir(&bucket).unwrap();
    let binding = format!("[bindings.files]\nkind = \"storage\"\nurl = \"file://{}\"\n", bucket.display());
    rota.configure(&format!("[store]\nartifacts = \"flies\"\n{binding}")).unwrap();
    let said = rota.run(&["config", "check"]).await.unwrap();
    assert!(said.status == Some(2) && said.all().contains("files"), "{said:?}");
    rota.configure(&format!("[store]\nartifacts = \"files\"\n{binding}")).unwrap();
    let what = guest::path().display().to_string();
    let call = json!({ "call": guest::call("run.artifact", json!({ "name": "found.txt", "size": 5 })) });
    let mut words = vec!["run".to_owned(), what];
    words.extend(guest::arguments("call", &call));
    let run = rota.json(&words).await.unwrap();
    let id = run["run"]["id"].as_str().unwrap().to_owned();
    let kept = bucket.join("artifacts").join(&id).join("found.txt");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "xxxxx");
    assert!(rota_tests::files(&rota.state().join("artifacts")).is_empty(), "it is in one place");
    let read = rota.run(&["runs", "artifacts", &id, "found.txt"]).await.unwrap();
    assert_eq!((read.status, read.stdout.as_str()), (Some(0), "xxxxx"), "{read:?}");
    // What is there instead of it is not taken for it.
    std::fs::write(&kept, "yyyyy").unwrap();
    let read = rota.run(&["runs", "artifacts", &id, "found.txt"]).await.unwrap();
    assert!(read.status != Some(0) && read.all().contains("hash differs"), "{read:?}");
    std::fs::remove_file(&kept).unwrap();
    let read = rota.run(&["runs", "artifacts", &id, "found.txt"]).await.unwrap();
    assert!(read.status != Some(0) && read.all().contains("in files"), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_plan_go_nowhere_and_no_slot_reaches_those_of_runs() {
    let rota = rota();
    let bucket = rota.path("bucket");
    std::fs::create_dir(&bucket).unwrap();
    let binding = format!(
        "[store]\nartifacts = \"files\"\n[bindings.files]\nkind = \"storage\"\nurl = \"file://{}\"\n",
        bucket.display()
    );
    rota.configure(&binding).unwrap();
    let what = guest::path().display().to_string();
    let call = json!({ "call": guest::call("run.artifact", json!({ "name": "plan.txt", "size": 5 })) });
    let mut words = vec!["run".to_owned(), what.clone(), "--plan".to_owned()];
    words.extend(guest::arguments("call", &call));
    rota.json(&words).await.unwrap();
    assert!(rota_tests::files(&bucket).is_empty(), "a plan writes to no target");
    let bound = ["run", what.as_str(), "--bind", "bucket=files", "-p", "do=nothing"];
    refused(&rota, &bound, 2, &["store.artifacts"]).await;
    let job = format!(
        "{binding}[jobs.a]\nplugin = \"{what}\"\nslots.bucket = {{ binding = \"files\", access = [\"read\"] }}\n"
    );
    rota.configure(&job).unwrap();
    let said = rota.run(&["config", "check"]).await.unwrap();
    assert!(said.status == Some(2) && said.all().contains("store.artifacts"), "{said:?}");
}
