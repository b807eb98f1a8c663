//! `postgres-disk` and `postgres-archive-cleanup`, against real servers, a real cluster and PostgreSQL's own programs.

use crate::{rota, run};
use rota_testbed::{Cluster, Namespace, Postgres, PostgresOptions, PostgresVersion, eventually};
use rota_tests::Rota;
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(50);

/// A folder that the server's user may write to. It goes with the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::Builder::new().prefix("rota-archive-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The names of the files in a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// A pod that sees the machine's files, and a host whose binding `prod` reaches it.
async fn pod(name: &str) -> (Rota, Namespace) {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace(name).await.unwrap();
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "db-0", "labels": { "app": "db" } },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [
            { "name": "postgres", "image": "busybox:1", "command": ["sh", "-c", "exec sleep 600"] }] },
    });
    namespace.apply(&manifest.to_string()).await.unwrap();
    namespace.kubectl(["wait", "pod/db-0", "--for=condition=Ready", "--timeout=50s"]).await.unwrap();
    let rota = rota();
    let kubeconfig = namespace.kubeconfig_for(cluster.token()).unwrap();
    rota.configure(&format!(
        "[bindings.prod]\nkind = \"kubernetes\"\nkubeconfig = \"file:{}\"\n",
        kubeconfig.display()
    ))
    .unwrap();
    (rota, namespace)
}

/// A server that archives into a folder, with base backups of which it knows.
async fn archiving(folder: &Path, version: PostgresVersion) -> Postgres {
    let config = vec![
        "archive_mode = on".to_owned(),
        "min_wal_size = 32MB".to_owned(),
        format!("archive_command = 'cp %p {}/%f'", folder.display()),
    ];
    Postgres::start(PostgresOptions { version, config, ..PostgresOptions::default() }).await.unwrap()
}

/// Fills segments, and makes what a base backup leaves in the archive: a history file.
async fn write(postgres: &Postgres, folder: &Path, segments: u32, backups: usize) {
    let mut connection = postgres.connect("postgres").await.unwrap();
    for _ in 0..backups {
        sqlx::raw_sql("select pg_backup_start('test', true)").execute(&mut connection).await.unwrap();
        for _ in 0..segments {
            sqlx::raw_sql(
                "create table if not exists filler (a int); insert into filler values (1); select pg_switch_wal()",
            )
            .execute(&mut connection)
            .await
            .unwrap();
        }
        sqlx::raw_sql("select pg_backup_stop(false)").execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    eventually(DEADLINE, "the archived history files", async || {
        Ok((files(folder).iter().filter(|name| name.ends_with(".backup")).count() >= backups).then_some(()))
    })
    .await
    .unwrap();
    // The next checkpoint leaves the old segments behind.
    postgres.execute("postgres", "checkpoint").await.unwrap();
}

async fn one(postgres: &Postgres, query: &'static str) -> i64 {
    let mut connection = postgres.connect("postgres").await.unwrap();
    let row = sqlx::query(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    row.get(0)
}

fn data(answer: &Value) -> &Value {
    &answer["report"]["data"]
}

/// Slots and an archiver that fails hold WAL: who, how much, what lets go of it. Volumes by `df` in a pod, checked against the file system itself.
#[tokio::test]
async fn the_disk_and_who_holds_its_wal() {
    let (rota, _namespace) = pod("disk").await;
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let config = ["archive_mode = on", "archive_command = 'false'", "min_wal_size = 32MB", "max_wal_size = 32MB"];
        let config = config.map(str::to_owned).to_vec();
        let postgres =
            Postgres::start(PostgresOptions { version, config, ..PostgresOptions::default() }).await.unwrap();
        postgres
            .execute(
                "postgres",
                "select pg_create_physical_replication_slot('standby_1', true); create schema \"Odd\"; create table \"Odd\".\"Orders\" as select generate_series(1, 50000) a; \
                 alter table \"Odd\".\"Orders\" set (autovacuum_enabled = false); analyze; delete from \"Odd\".\"Orders\" where a <= 20000; \
                 select pg_switch_wal(); create table x1 (a int); select pg_switch_wal(); create table x2 (a int); select pg_switch_wal(); create table x3 (a int); \
                 select pg_switch_wal(); create table x4 (a int); select pg_switch_wal(); checkpoint",
            )
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
        let failed = "select count(*) from pg_stat_archiver where failed_count > 0";
        eventually(DEADLINE, "an archiver that fails", async || Ok((one(&postgres, failed).await > 0).then_some(())))
            .await
            .unwrap();
        let role = postgres.create_role("watcher", "").await.unwrap();
        postgres.execute("postgres", "grant pg_monitor to watcher").await.unwrap();
        let bind = format!("database={}", postgres.url_as("watcher", &role, "postgres"));
        let common = [
            "--bind",
            &bind,
            "--bind",
            "cluster=prod",
            "--grant",
            "declared",
            "-p",
            "pod=db-0",
            "-p",
            "warn_held_bytes=33554432",
        ];
        let (status, answer) = run(&rota, "postgres-disk", &common).await;
        assert_eq!(status, Some(0), "{answer}");
        let seen = data(&answer);
        assert_eq!(seen["visibility_complete"], true, "{answer}");

        // Independent looks at the same numbers.
        assert_eq!(
            seen["wal"]["bytes"].as_i64().unwrap(),
            one(&postgres, "select sum(size)::int8 from pg_ls_waldir()").await
        );
        let held = one(&postgres, "select (pg_current_wal_lsn() - restart_lsn)::int8 from pg_replication_slots").await;
        let slot = seen["holders"].as_array().unwrap().iter().find(|holder| holder["kind"] == "physical_slot").unwrap();
        assert!((slot["bytes"].as_i64().unwrap() - held).abs() < 1 << 20, "{slot} {held}");
        let (waiting, archiver) = (
            one(&postgres, "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'").await,
            &seen["wal"]["archiver"],
        );
        assert_eq!(archiver["waiting"].as_i64().unwrap(), waiting);
        let volume = &seen["volumes"][0];
        let df = std::process::Command::new("df").args(["-B1", "--output=size"]).arg(postgres.data()).output().unwrap();
        let size: i64 = String::from_utf8_lossy(&df.stdout).lines().last().unwrap().trim().parse().unwrap();
        // `df -k` rounds.
        assert!((volume["size_bytes"].as_i64().unwrap() - size).abs() < 1024, "{volume} {size}");
        assert_eq!(volume["path"], json!(postgres.data()));
        assert!(volume["inodes"].is_null() || volume["inodes"].as_i64().unwrap() > 0, "{volume}");
        assert_eq!(seen["tables"][0]["table"], "\"Odd\".\"Orders\"");
        let findings = answer["report"]["findings"].to_string();
        for text in
            ["physical slot standby_1 holds", "the archiver fails:", "the WAL takes", "\\\"Odd\\\".\\\"Orders\\\": "]
        {
            assert!(findings.contains(text), "{text}: {findings}");
        }

        // What a report measured is what the next run compares with.
        postgres.execute("postgres", "insert into \"Odd\".\"Orders\" select generate_series(1, 100000)").await.unwrap();
        let previous = format!("previous={}", seen["measured"]);
        let (_, grown) = run(&rota, "postgres-disk", &[&common[..], &["-p", &previous]].concat()).await;
        assert!(data(&grown)["growth"]["tables"][0]["bytes"].as_i64().unwrap() > 1 << 20, "{grown}");

        // A plan runs no command in a pod; a role without pg_monitor, and a locked table, hide something, and it is said.
        let (_, plan) = run(&rota, "postgres-disk", &[&common[..], &["--plan"]].concat()).await;
        assert_eq!(
            (&data(&plan)["volumes"], &plan["effects"][0]["outcome"]),
            (&Value::Null, &json!("planned")),
            "{plan}"
        );
        postgres.execute("postgres", "revoke pg_monitor from watcher").await.unwrap();
        let (_, blind) = run(&rota, "postgres-disk", &["--bind", &bind, "--grant", "declared"]).await;
        assert_ne!(blind["report"]["status"], "ok", "{blind}");
        assert_eq!(
            (&data(&blind)["visibility_complete"], &data(&blind)["wal"]["bytes"]),
            (&json!(false), &Value::Null),
            "{blind}"
        );
        let mut connection = postgres.connect("postgres").await.unwrap();
        sqlx::raw_sql("begin; lock table \"Odd\".\"Orders\"").execute(&mut connection).await.unwrap();
        let bind = format!("database={}", postgres.url("postgres"));
        let (_, locked) = run(&rota, "postgres-disk", &["--bind", &bind, "--grant", "declared"]).await;
        assert_eq!(
            (&data(&locked)["tables_exact"], &data(&locked)["tables"][0]["table"]),
            (&json!(false), &json!("\"Odd\".\"Orders\"")),
            "{locked}"
        );
        connection.close().await.unwrap();
    }
}

/// In a folder of a pod: exactly what PostgreSQL's own pg_archivecleanup would remove for the same base backup, and in a plan nothing.
#[tokio::test]
async fn an_archive_in_a_pod_keeps_what_its_base_backups_need() {
    let (rota, _namespace) = pod("archive").await;
    let folder = Folder::new();
    let postgres = archiving(folder.path(), PostgresVersion::V18).await;
    write(&postgres, folder.path(), 3, 3).await;
    let before = files(folder.path());
    let history: Vec<&String> = before.iter().filter(|name| name.ends_with(".backup")).collect();
    let oracle = std::process::Command::new(postgres.program("pg_archivecleanup").unwrap())
        .arg("-n")
        .arg(folder.path())
        .arg(history[1])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&oracle.stdout).into_owned();
    let expected: BTreeSet<String> =
        said.lines().map(|line| Path::new(line).file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(expected.len() >= 3, "{said} {before:?}");

    // Through a symbolic link: the archive is what it leads to.
    let link = folder.0.path().with_extension("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let at = format!("folder={}", link.display());
    let bind = format!("database={}", postgres.url("postgres"));
    let common = [
        "--bind",
        "cluster=prod",
        "--bind",
        &bind,
        "--grant",
        "declared",
        "-p",
        "pod=db-0",
        "-p",
        &at,
        "-p",
        "retained_base_backups=2",
        "-p",
        "batch=2",
    ];
    let (status, plan) = run(&rota, "postgres-archive-cleanup", &[&common[..], &["--plan"]].concat()).await;
    assert_eq!((status, &data(&plan)["deletable"]), (Some(0), &Value::Null), "{plan}");
    let unconfirmed = rota.run(&[&["run", "postgres-archive-cleanup"], &common[..]].concat()).await.unwrap();
    assert!(unconfirmed.status != Some(0) && unconfirmed.all().contains("ARCHIVE"), "{unconfirmed:?}");
    let listing = [&common[..], &["--confirm", "ARCHIVE", "-p", "list_only=true"]].concat();
    let (status, listed) = run(&rota, "postgres-archive-cleanup", &listing).await;
    assert_eq!((status, &data(&listed)["deletable"]["files"]), (Some(0), &json!(expected.len())), "{listed}");
    assert_eq!(files(folder.path()).intersection(&before).count(), before.len(), "nothing was deleted yet");

    let (status, done) =
        run(&rota, "postgres-archive-cleanup", &[&common[..], &["--confirm", "ARCHIVE"]].concat()).await;
    std::fs::remove_file(&link).unwrap();
    assert_eq!((status, &done["report"]["status"]), (Some(0), &json!("ok")), "{done}");
    let after = files(folder.path());
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    assert_eq!(gone, expected);
    assert_eq!(data(&done)["deleted"]["bytes"], json!(expected.len() * (16 << 20)));
    let identifier = one(&postgres, "select system_identifier from pg_control_system()").await;
    assert_eq!(data(&done)["system_identifier"], json!(identifier.to_string()));
}

/// The runbook's command on a live `pg_wal`, and one crash, are a lost cluster: however it is reached, in a pod or as a bucket, it is refused.
#[tokio::test]
async fn a_live_pg_wal_is_refused_however_it_is_reached() {
    let (rota, _namespace) = pod("refused").await;
    let folder = Folder::new();
    let postgres = archiving(folder.path(), PostgresVersion::V16).await;
    write(&postgres, folder.path(), 2, 2).await;
    let wal = postgres.data().join("pg_wal");
    let before = files(&wal);
    let link = folder.path().join("archive");
    std::os::unix::fs::symlink(&wal, &link).unwrap();
    let within: PathBuf = postgres.data().join("archive");
    std::fs::create_dir(&within).unwrap();
    let cutoff = format!("cutoff={}", before.iter().rfind(|name| name.len() == 24).unwrap());
    let dotted = folder.path().join("..").join(folder.path().file_name().unwrap()).join("archive");
    for (path, words) in [
        (wal.clone(), "archive_status"),
        (link, "archive_status"),
        (dotted, "archive_status"),
        (postgres.data(), "PG_VERSION"),
        (within, "PG_VERSION"),
        (postgres.data().join("global"), "PG_VERSION"),
        (folder.path().join("none"), "no folder"),
    ] {
        let at = format!("folder={}", path.display());
        let arguments = [
            "--bind",
            "cluster=prod",
            "--grant",
            "declared",
            "--confirm",
            "ARCHIVE",
            "-p",
            "pod=db-0",
            "-p",
            &at,
            "-p",
            &cutoff,
        ];
        let (status, answer) = run(&rota, "postgres-archive-cleanup", &arguments).await;
        let text = answer.to_string();
        assert!(status == Some(1) && text.contains("refused: ") && text.contains(words), "{path:?}: {status:?} {text}");
    }
    // By a bucket: the files' names and content, and what the server is at.
    let bind = format!("database={}", postgres.url("postgres"));
    for (root, prefix, words) in
        [(postgres.data(), "prefix=pg_wal", "data directory"), (wal.clone(), "prefix=", "pg_wal")]
    {
        let archive = format!("archive=file://{}", root.display());
        let arguments = [
            "--bind",
            &archive,
            "--bind",
            &bind,
            "--grant",
            "declared",
            "--confirm",
            "ARCHIVE",
            "-p",
            prefix,
            "-p",
            &cutoff,
        ];
        let (status, answer) = run(&rota, "postgres-archive-cleanup", &arguments).await;
        let text = answer.to_string();
        assert!(
            status == Some(1) && text.contains("refused: ") && text.contains(words),
            "{root:?} {prefix}: {status:?} {text}"
        );
    }
    let after = files(&wal);
    assert_eq!(before.difference(&after).count(), 0, "nothing is gone from pg_wal");
}

/// In a bucket, by the oldest retained backup; a manifest that cannot be read ends the run, as does a cutoff past what is needed.
#[tokio::test]
async fn an_archive_in_a_bucket_keeps_what_the_oldest_backup_needs() {
    let rota = rota();
    let (folder, backups) = (Folder::new(), Folder::new());
    let postgres = archiving(folder.path(), PostgresVersion::V16).await;
    write(&postgres, folder.path(), 3, 1).await;
    let identifier = one(&postgres, "select system_identifier from pg_control_system()").await.to_string();
    let position = "select (pg_current_wal_lsn() - '0/0')::int8";
    // In the middle of the archive: the backup needs more than the base backup leaves.
    let segments: Vec<String> = files(folder.path()).into_iter().filter(|name| name.len() == 24).collect();
    let middle = u64::from_str_radix(&segments[1][16..], 16).unwrap() << 24;
    assert!(middle < u64::try_from(one(&postgres, position).await).unwrap());
    let id = "20251230T120000Z-00000001";
    let place = backups.path().join("postgres").join(id);
    std::fs::create_dir_all(&place).unwrap();
    let part = json!({ "object": "dump", "tool": "pg_dump 16.14", "content": "x", "codec": "none", "level": null,
        "plain": { "bytes": 1, "sha256": "aa" }, "stored": { "bytes": 1, "sha256": "aa" } });
    let manifest = json!({
        "kind": "rota-postgres-backup", "format": 1, "id": id, "writer": "x", "run": "r", "started_at": "2025-12-30T12:00:00Z", "finished_at": "2025-12-30T12:01:00Z",
        "source": { "version": "16.14", "version_num": 160_014, "system_identifier": identifier, "database": "postgres", "role": "rota", "in_recovery": false,
            "encoding": "UTF8", "collation": null, "size_bytes": null },
        "snapshot": { "method": "quiet", "lsn": format!("0/{:X}", middle + 0x28), "lsn_after": null, "transactions": null },
        "dump": part, "rows": { "method": "counted", "tables": [] },
    });
    std::fs::write(place.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(place.join("dump"), "x").unwrap();
    // No base backup of old: what the backup needs decides.
    for history in files(folder.path()).iter().filter(|name| name.ends_with(".backup")) {
        std::fs::remove_file(folder.path().join(history)).unwrap();
    }
    let before = files(folder.path());
    let (archive, bucket) =
        (format!("archive=file://{}", folder.path().display()), format!("bucket=file://{}", backups.path().display()));
    let bind = format!("database={}", postgres.url("postgres"));
    let common = ["--bind", &archive, "--bind", &bucket, "--bind", &bind, "--grant", "declared"];
    let past = format!("cutoff={}", segments[2]);
    let confirmed = [&common[..], &["--confirm", "ARCHIVE"]].concat();
    let (status, refused) = run(&rota, "postgres-archive-cleanup", &[&confirmed[..], &["-p", &past]].concat()).await;
    assert!(status == Some(1) && refused.to_string().contains("lies past what backup"), "{refused}");
    let (status, plan) = run(&rota, "postgres-archive-cleanup", &[&common[..], &["--plan"]].concat()).await;
    assert_eq!((status, &data(&plan)["deletable"]), (Some(0), &json!({ "files": 1, "bytes": 16 << 20 })), "{plan}");
    assert_eq!(files(folder.path()).intersection(&before).count(), before.len(), "a plan deletes nothing");
    // A segment of another cluster among them: nothing is deleted.
    let first = folder.path().join(&segments[0]);
    let whole = std::fs::read(&first).unwrap();
    let mut other = whole.clone();
    other[24] ^= 1;
    std::fs::write(&first, &other).unwrap();
    let (status, refused) = run(&rota, "postgres-archive-cleanup", &confirmed).await;
    assert!(status == Some(1) && refused.to_string().contains("another cluster"), "{refused}");
    std::fs::write(&first, &whole).unwrap();
    std::fs::write(place.join("manifest.json"), "{").unwrap();
    let (status, refused) = run(&rota, "postgres-archive-cleanup", &confirmed).await;
    assert!(status == Some(1) && refused.to_string().contains(id), "{refused}");
    std::fs::write(place.join("manifest.json"), manifest.to_string()).unwrap();
    let (status, done) = run(&rota, "postgres-archive-cleanup", &confirmed).await;
    assert_eq!(status, Some(0), "{done}");
    let gone: BTreeSet<String> = before.difference(&files(folder.path())).cloned().collect();
    assert_eq!(gone, BTreeSet::from([segments[0].clone()]));
    assert!(done.to_string().contains("the archive knows no base backup"), "{done}");
}
