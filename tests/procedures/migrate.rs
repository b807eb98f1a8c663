//! alembic and others, as a Job and as a local tool.

use crate::places::World;
use rota_testbed::tool;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A copy of the demo project that a test may change, readable for whoever runs the tool.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Self { folder };
        project.open(project.folder.path());
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/procedures/alembic");
        std::fs::create_dir(project.path("versions")).unwrap();
        project.open(&project.path("versions"));
        for file in ["alembic.ini", "env.py"] {
            std::fs::copy(from.join(file), project.path(file)).unwrap();
        }
        for file in ["0001_orders.py", "0002_customers.py", "0003_index.py"] {
            std::fs::copy(from.join("versions").join(file), project.path("versions").join(file)).unwrap();
        }
        project
    }

    fn open(&self, path: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more migration.
    fn add(&self, revision: &str, after: &str, sql: &str) {
        let text = format!(
            "\"\"\"migration {revision}\"\"\"\nfrom alembic import op\nrevision = \"{revision}\"\ndown_revision = \"{after}\"\n\n\ndef upgrade():\n    op.execute(\"\"\"{sql}\"\"\")\n"
        );
        std::fs::write(self.path("versions").join(format!("{revision}_more.py")), text).unwrap();
    }

    fn config(&self) -> String {
        format!("config={}", self.path("alembic.ini").display())
    }

    /// The tool's binding, and what the place of it adds.
    fn binding(&self, place: &str) -> String {
        format!(
            "lock_timeout = \"300ms\"\n[bindings.alembic]\nkind = \"tool\"\npath = \"{}\"\nprofile = \"custom\"\nconnection = [\"read\", \"write\", \"ddl\", \"index\"]\n\
             arguments = [\"upgrade\", \"head\"]\nlooks = [\"--version\", \"-c\", \"{}/*\", \"heads\", \"history\", \"--rev-range=*\"]\nreads = [\"{}\", \"{}\"]\n{place}\n",
            tool("bin/alembic").unwrap().display(),
            self.folder.path().display(),
            self.folder.path().display(),
            tool("bin/alembic").unwrap().parent().unwrap().display(),
        )
    }
}

const BIND: [&str; 6] = ["--bind", "database=shop", "--bind", "migrate=alembic", "--grant", "declared"];

async fn migrate(world: &World, project: &Project, more: &[&str]) -> (Option<i32>, Value) {
    let config = project.config();
    let mut arguments = BIND.to_vec();
    // Most begin with a database that was never migrated.
    arguments.extend(["-p", &config, "-p", "new_database=true"]);
    arguments.extend(more);
    crate::run(&world.rota, "postgres-migrate", &arguments).await
}

#[tokio::test]
async fn a_table_that_is_not_there_is_not_taken_for_a_new_database() {
    let (world, project) = (World::without_cluster("absent").await, Project::new());
    world.bind(&project.binding(""));
    let config = project.config();
    world.database.execute("create schema app; create table app.alembic_version (version_num text)").await.unwrap();
    for more in [&["--plan"][..], &[]] {
        let mut arguments = BIND.to_vec();
        arguments.extend(["-p", &config]);
        arguments.extend(more);
        let (status, said) = crate::run(&world.rota, "postgres-migrate", &arguments).await;
        assert_eq!(status, Some(1), "{said:#}");
        let text = said.to_string();
        assert!(
            text.contains("there is no table public.alembic_version") && text.contains("there is one in schema app"),
            "{said:#}"
        );
        assert_eq!(said["effects"], serde_json::json!([]), "{said:#}");
    }
}

#[tokio::test]
async fn alembic_goes_to_its_head_and_a_plan_says_how() {
    let (world, project) = (World::without_cluster("head").await, Project::new());
    world.bind(&project.binding(""));
    let (status, plan) = migrate(&world, &project, &["--plan"]).await;
    assert_eq!(status, Some(0), "{plan:#}");
    let data = &plan["report"]["data"];
    let versions = |data: &Value| -> Vec<String> {
        data["pending"].as_array().unwrap().iter().map(|one| one["version"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(versions(data), ["0001", "0002", "0003"], "{plan:#}");
    assert_eq!((&data["from"], &data["to"], &data["head"]), (&Value::Null, &Value::Null, &"0003".into()));
    assert!(plan["effects"].to_string().contains("upgrade head"), "{plan:#}");
    let tables: i64 = count(&world, "select count(*) from pg_tables where schemaname = 'public'").await;
    assert_eq!(tables, 0, "a plan changes nothing");

    let (status, run) = migrate(&world, &project, &[]).await;
    assert_eq!(status, Some(0), "{run:#}");
    let data = &run["report"]["data"];
    assert_eq!(
        (&data["from"], &data["to"], &data["partial"]),
        (&Value::Null, &"0003".into(), &false.into()),
        "{run:#}"
    );
    assert_eq!(data["applied"], serde_json::json!(["0001", "0002", "0003"]));
    assert!(data["tool"].is_string(), "{run:#}");
    assert_eq!(count(&world, "select count(*) from pg_indexes where indexname = 'orders_customer'").await, 1);
    // No bucket is bound: said, and not ok.
    assert_eq!(run["report"]["status"], "warning", "{run:#}");
    // Once more: nothing to do.
    let (status, again) = migrate(&world, &project, &[]).await;
    assert_eq!((status, &again["report"]["data"]["attempts"]), (Some(0), &0.into()), "{again:#}");
    assert_eq!(
        again["effects"].as_array().unwrap().iter().filter(|effect| effect.to_string().contains("upgrade")).count(),
        0
    );
}

async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut world.database.connect().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn one_that_fails_says_where_it_stopped_and_what_it_left_invalid() {
    let (world, project) = (World::without_cluster("stops").await, Project::new());
    project.add("0004", "0003", "insert into orders (id) values (1), (2)");
    project.add("0005", "0004", "alter table orders add constraint twice check (id < 2)");
    world.bind(&project.binding(""));
    let (status, run) = migrate(&world, &project, &[]).await;
    assert_eq!(status, Some(1), "{run:#}");
    let data = &run["report"]["data"];
    assert_eq!(
        (&data["to"], &data["failed_at"], &data["partial"]),
        (&"0004".into(), &"0005".into(), &true.into()),
        "{run:#}"
    );
    assert_eq!(data["applied"], serde_json::json!(["0001", "0002", "0003", "0004"]));
    let text = run.to_string();
    assert!(text.contains("part of the way") && text.contains("twice"), "{run:#}");
    // The script is mended; what was applied stays applied. The next one leaves an invalid index behind and says success.
    project.add("0005", "0004", "select 1");
    let text = "\"\"\"a\"\"\"\nfrom alembic import op\nimport sqlalchemy\nrevision = \"0006\"\ndown_revision = \"0005\"\n\n\ndef upgrade():\n    with op.get_context().autocommit_block():\n        op.execute(\"insert into orders (id, note) values (11, 'x'), (12, 'x')\")\n        try:\n            op.execute(\"create unique index concurrently notes on orders (note)\")\n        except sqlalchemy.exc.DBAPIError:\n            pass\n";
    std::fs::write(project.path("versions/0006_more.py"), text).unwrap();
    let (status, run) = migrate(&world, &project, &[]).await;
    let data = &run["report"]["data"];
    assert_eq!((status, &data["from"], &data["to"]), (Some(0), &"0004".into(), &"0006".into()), "{run:#}");
    assert_eq!(run["report"]["status"], "critical", "{run:#}");
    assert_eq!(data["invalid_indexes"], serde_json::json!(["public.notes"]), "{run:#}");
}

#[tokio::test]
async fn two_heads_two_runs_and_an_unknown_version_are_refused() {
    let (world, project) = (World::without_cluster("refused").await, Project::new());
    world.bind(&project.binding(""));
    // Another run holds the lock: told from its key, as the page says it.
    let mut other = world.database.connect().await.unwrap();
    sqlx::raw_sql("select pg_advisory_lock(x'524f54414d494752'::bit(64)::bigint)").execute(&mut other).await.unwrap();
    let (status, run) = migrate(&world, &project, &[]).await;
    assert!(status == Some(1) && run.to_string().contains("another run of postgres-migrate"), "{run:#}");
    sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut other).await.unwrap();
    project.add("0003b", "0002", "select 1");
    let (status, run) = migrate(&world, &project, &[]).await;
    assert!(status == Some(1) && run.to_string().contains("2 heads"), "{run:#}");
    std::fs::remove_file(project.path("versions/0003b_more.py")).unwrap();
    world
        .database
        .execute("create table alembic_version (version_num text); insert into alembic_version values ('9999')")
        .await
        .unwrap();
    let (status, run) = migrate(&world, &project, &[]).await;
    assert!(status == Some(1) && run.to_string().contains("the database is at version 9999"), "{run:#}");
    assert_eq!(count(&world, "select count(*) from pg_tables where schemaname = 'public'").await, 1);
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_is_tried_again_and_then_given_up() {
    let (world, project) = (World::without_cluster("locks").await, Project::new());
    world.bind(&project.binding(""));
    let (status, _) = migrate(&world, &project, &[]).await;
    assert_eq!(status, Some(0));
    project.add("0004", "0003", "alter table orders add column late int");
    let mut holder = world.database.connect().await.unwrap();
    sqlx::raw_sql("begin; lock table orders in access share mode").execute(&mut holder).await.unwrap();
    let (status, run) = migrate(&world, &project, &["-p", "lock_retries=1", "-p", "lock_wait_seconds=0.1"]).await;
    let data = &run["report"]["data"];
    assert_eq!((status, &data["attempts"], &data["lock_timeouts"]), (Some(1), &2.into(), &2.into()), "{run:#}");
    assert_eq!((&data["failed_at"], &data["partial"]), (&"0004".into(), &false.into()), "{run:#}");
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    let (status, run) = migrate(&world, &project, &[]).await;
    assert_eq!((status, &run["report"]["data"]["to"]), (Some(0), &"0004".into()), "{run:#}");
}

#[tokio::test]
async fn a_backup_that_is_missing_or_old_is_no_way_back() {
    let (world, project) = (World::without_cluster("back").await, Project::new());
    let bucket = world.rota.path("bucket");
    std::fs::create_dir(&bucket).unwrap();
    let programs = rota_testbed::PostgresVersion::V16.programs().unwrap();
    world.bind(&format!(
        "{}[bindings.backups]\nkind = \"storage\"\nurl = \"file://{}\"\n[bindings.pg_dump]\nkind = \"tool\"\npath = \"{}\"\n",
        project.binding(""),
        bucket.display(),
        programs.join("pg_dump").display()
    ));
    let (status, run) = migrate(&world, &project, &["--bind", "bucket=backups"]).await;
    assert!(status == Some(1) && run.to_string().contains("there is no usable backup"), "{run:#}");
    assert_eq!(count(&world, "select count(*) from pg_tables where schemaname = 'public'").await, 0);
    let backup = [
        "--bind",
        "database=shop",
        "--bind",
        "bucket=backups",
        "--bind",
        "pg_dump=pg_dump",
        "--grant",
        "declared",
        "-p",
        "globals=false",
    ];
    let (status, run) = crate::run(&world.rota, "postgres-backup", &backup).await;
    assert_eq!(status, Some(0), "{run:#}");
    let (status, run) = migrate(&world, &project, &["--bind", "bucket=backups", "-p", "backup_max_age_hours=0"]).await;
    assert!(status == Some(1) && run.to_string().contains("hours old"), "{run:#}");
    let (status, run) = migrate(&world, &project, &["--bind", "bucket=backups"]).await;
    assert_eq!((status, &run["report"]["status"]), (Some(0), &"ok".into()), "{run:#}");
    assert!(run["report"]["data"]["backup_age_hours"].as_f64().is_some_and(|age| age < 1.0), "{run:#}");
}

#[tokio::test]
async fn tools_with_schema_migrations_are_held_to_the_version_that_is_expected() {
    let world = World::without_cluster("versions").await;
    let programs = rota_testbed::PostgresVersion::V16.programs().unwrap();
    // psql stands in for golang-migrate: what matters is the table.
    world.bind(&format!(
        "[bindings.alembic]\nkind = \"tool\"\npath = \"{}\"\nprofile = \"custom\"\nconnection = [\"read\", \"write\", \"ddl\", \"index\"]\narguments = [\"-vON_ERROR_STOP=1\", \"-c*\"]\n",
        programs.join("psql").display()
    ));
    world.database.execute("create table schema_migrations (version bigint primary key, dirty boolean not null); insert into schema_migrations values (9, false)").await.unwrap();
    let run = async |sql: &str, expect: &str| {
        let apply = serde_json::json!(["-vON_ERROR_STOP=1", format!("-c {sql}")]).to_string();
        let (layout, apply, expect) =
            ("layout=schema-migrations", format!("apply={apply}"), format!("expect={expect}"));
        let mut arguments = BIND.to_vec();
        arguments.extend(["-p", layout, "-p", &apply, "-p", &expect]);
        crate::run(&world.rota, "postgres-migrate", &arguments).await
    };
    let (status, said) = run("update schema_migrations set version = 10", "10").await;
    assert_eq!(
        (status, &said["report"]["data"]["from"], &said["report"]["data"]["to"]),
        (Some(0), &"9".into(), &"10".into()),
        "{said:#}"
    );
    // Success that is none.
    let (status, said) = run("select 1", "11").await;
    assert!(status == Some(1) && said.to_string().contains("the tool said success"), "{said:#}");
    let (status, said) = run("update schema_migrations set version = 11, dirty = true; select 1/0", "11").await;
    assert_eq!(status, Some(1), "{said:#}");
    world.database.execute("update schema_migrations set dirty = true").await.unwrap();
    let (status, said) = run("select 1", "11").await;
    assert!(status == Some(1) && said.to_string().contains("is dirty"), "{said:#}");
}

#[tokio::test]
async fn alembic_in_a_job_does_the_same() {
    let (world, project) = (World::new("job-migrate").await, Project::new());
    world
        .namespace()
        .kubectl(["create", "secret", "generic", "login", &format!("--from-literal=password={}", world.password)])
        .await
        .unwrap();
    let image = format!("alembic@sha256:{}", "b".repeat(64));
    world.bind(&project.binding(&format!(
        "[bindings.alembic.place.job]\ncluster = \"prod\"\nimage = \"{image}\"\nsecrets = [{{ variable = \"PGPASSWORD\", secret = \"login\", key = \"password\" }}]\n"
    )));
    project.add("0004", "0003", "alter table nowhere add column a int");
    let (status, run) = migrate(&world, &project, &[]).await;
    let data = &run["report"]["data"];
    assert_eq!((status, &data["to"], &data["failed_at"]), (Some(1), &"0003".into(), &"0004".into()), "{run:#}");
    assert!(run["error"].to_string().contains("nowhere"), "{run:#}");
    std::fs::remove_file(project.path("versions/0004_more.py")).unwrap();
    let (status, run) = migrate(&world, &project, &[]).await;
    assert_eq!((status, &run["report"]["data"]["to"]), (Some(0), &"0003".into()), "{run:#}");
    let left = world.namespace().kubectl(["get", "jobs,pods", "--output=name"]).await.unwrap();
    assert!(left.trim().is_empty(), "left behind: {left}");
    assert!(!run.to_string().contains(&world.password));
}
