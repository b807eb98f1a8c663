//! The host killed in the middle of a backup, at random points: no program survives it, no manifest names what is not whole, the run
//! is on record as unknown, and the next run is good.

use crate::rota;
use rota_testbed::{Database, Postgres, eventually, random_secret};
use rota_tests::{Rota, processes};
use rustix::process::Signal;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// So many in the middle of a run, and at most so many tries, because some hit before it or after.
const KILLS: usize = 20;
const TRIES: usize = 60;
const SOON: Duration = Duration::from_secs(10);

struct Backup {
    rota: Rota,
    database: Database,
    bind: Vec<String>,
}

impl Backup {
    async fn start() -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.fresh_database("killed").await.unwrap();
        // Enough that a dump takes a moment, and that it does not fit into pipes.
        let rows = "create table t as select n, repeat(md5(n::text), 8) as text from generate_series(1, 150000) n";
        database.execute(rows).await.unwrap();
        let mut rota = rota();
        rota.set("URL", database.url());
        rota.configure("[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\n").unwrap();
        std::fs::create_dir(rota.path("bucket")).unwrap();
        let bind = [
            "database=shop".to_owned(),
            format!("bucket=file://{}", rota.path("bucket").display()),
            format!("pg_dump={}", server.program("pg_dump").unwrap().display()),
        ];
        Self { rota, database, bind: bind.into_iter().flat_map(|bind| ["--bind".to_owned(), bind]).collect() }
    }

    fn arguments(&self) -> Vec<String> {
        let words = ["run", "postgres-backup", "-p", "retention=false", "--grant", "declared"];
        words.into_iter().map(str::to_owned).chain(self.bind.iter().cloned()).collect()
    }

    fn manifests(&self) -> Vec<PathBuf> {
        let files = rota_tests::files(&self.rota.path("bucket"));
        files.into_iter().filter(|file| file.ends_with("manifest.json")).collect()
    }

    async fn runs(&self) -> Vec<Value> {
        let list = self.rota.json(&["runs", "list", "--limit", "1000"]).await.unwrap();
        list.as_array().unwrap().clone()
    }

    /// No program of the run lives, and no session.
    async fn nothing_lives(&self) {
        eventually(SOON, "the programs' end", async || {
            let left = processes::holding(&self.rota.folder().display().to_string());
            anyhow::ensure!(left.is_empty(), "{left:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
        eventually(SOON, "the sessions' end", async || {
            let mut connection = self.database.connect().await?;
            let others: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
            )
            .bind(self.database.name())
            .fetch_one(&mut connection)
            .await?;
            Ok((others == 0).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_host_killed_in_the_middle_of_a_backup_leaves_nothing_that_looks_like_one() {
    let backup = Backup::start().await;
    // The first has the plugin compiled, the second tells how long one takes.
    let mut takes = Duration::ZERO;
    for _ in 0..2 {
        let began = Instant::now();
        let whole = backup.rota.json(&backup.arguments()).await.unwrap();
        assert_eq!(whole["run"]["status"], "succeeded", "{whole:#}");
        takes = began.elapsed();
    }
    let mut killed = 0;
    for kill in 0..TRIES {
        if killed == KILLS {
            break;
        }
        let before = (backup.runs().await.len(), backup.manifests().len());
        let after =
            takes.mul_f64(f64::from(u16::from_str_radix(&random_secret().unwrap()[..4], 16).unwrap()) / 65_536.0);
        let running = backup.rota.start(&backup.arguments()).unwrap();
        tokio::time::sleep(after).await;
        let in_time = running.signal(Signal::KILL).is_ok();
        let said = running.end().await.unwrap();
        backup.nothing_lives().await;
        let runs = backup.runs().await;
        let what = format!("kill {kill} after {after:?} of {takes:?}: {said:?}");
        // Killed before it was on record, it did nothing.
        let begun = runs.len() > before.0;
        let new = backup.manifests().len() - before.1;
        if !in_time || said.status.is_some() {
            assert_eq!((said.status, new), (Some(0), 1), "{what}");
        } else if begun && runs[0]["status"] == "unknown" {
            killed += 1;
            // The manifest may be written and the end not yet recorded: then the backup is whole, which is seen to below.
            assert!(new <= 1, "{what}");
        } else {
            assert!((!begun && new == 0) || runs[0]["status"] == "succeeded", "{what}: {:?}", runs[0]);
        }
    }
    assert_eq!(killed, KILLS, "killed in the middle, in {TRIES} tries");

    let good = backup.rota.json(&backup.arguments()).await.unwrap();
    assert_eq!((&good["run"]["status"], &good["report"]["status"]), (&"succeeded".into(), &"ok".into()), "{good:#}");
    // Whatever has a manifest is whole: each is verified by its own bytes.
    let mut arguments = vec!["run".to_owned(), "postgres-backup-verify".into(), "-p".into(), "backup=all".into()];
    arguments.extend(["--grant", "declared"].map(str::to_owned));
    arguments.extend(backup.bind.iter().skip(2).take(2).cloned());
    let verified = backup.rota.run(&arguments).await.unwrap();
    assert_eq!(verified.status, Some(0), "{verified:?}");

    let fixed = backup.rota.run(&["doctor", "--fix"]).await.unwrap();
    assert_eq!(fixed.status, Some(0), "{fixed:?}");
    assert_eq!(
        rota_tests::files(&backup.rota.state().join("private")),
        Vec::<PathBuf>::new(),
        "private folders are swept"
    );
    assert_eq!(rota_tests::files(&backup.rota.path("tmp")), Vec::<PathBuf>::new());
}
