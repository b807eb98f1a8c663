//! A backup put in the live database's place.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `refused` | what is refused before anything is touched |
//! | `swapped` | one server, no cluster: beside, in its place, sessions, two operators, versions |
//! | `apps` | applications down and back: their own numbers, autoscalers, what others do meanwhile |
//! | `crash` | the host killed before and after every effect, also of the undo |

mod apps;
mod crash;
mod refused;
mod swapped;

use crate::rota;
use rota_testbed::{Database, Postgres, PostgresAccess, PostgresVersion, eventually};
use rota_tests::Rota;
use serde_json::Value;
use sqlx::Row as _;
use std::path::PathBuf;
use std::time::Duration;

/// What is waited for takes no longer, even on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The live database's data: foreign keys, a sequence, a view, a vector, a name that must be quoted.
const DATA: &str = r#"
    create table orders (id int primary key, note text not null, place vector(3));
    insert into orders select i, 'order ' || i, '[1,2,3]' from generate_series(1, 200) i;
    create table items (id bigserial primary key, "order" int not null references orders);
    insert into items ("order") select i from generate_series(1, 100) i;
    create table "Odd ""name"" %" (v int);
    insert into "Odd ""name"" %" values (1);
    create view open_orders as select * from orders;
"#;

/// What happens to it after the backup: a table that the backup does not have, rows that are gone, rows that are new.
const AFTERWARDS: &str = "
    create table afterwards (id int); insert into afterwards values (1);
    delete from items where id <= 40;
    insert into orders values (1000, 'after the backup', null);
";

/// A live database with a backup, and a life after it.
struct World {
    rota: Rota,
    server: PostgresAccess,
    live: Database,
    bucket: PathBuf,
}

impl World {
    async fn new(name: &str) -> Self {
        Self::on(PostgresVersion::V16, name).await
    }

    async fn on(version: PostgresVersion, name: &str) -> Self {
        let server = Postgres::shared_version(version).await.unwrap();
        let live = server.fresh_database(name).await.unwrap();
        live.execute(DATA).await.unwrap();
        let rota = rota();
        let bucket = rota.path("bucket");
        std::fs::create_dir(&bucket).unwrap();
        let world = Self { rota, server, live, bucket };
        let backup = world.back_up().await;
        assert_eq!(backup["report"]["data"]["stored"], true, "{backup:#}");
        world.live.execute(AFTERWARDS).await.unwrap();
        world
    }

    fn program(&self, name: &str) -> String {
        format!("{name}={}", self.server.program(name).unwrap().display())
    }

    fn bucket(&self) -> String {
        format!("bucket=file://{}", self.bucket.display())
    }

    async fn back_up(&self) -> Value {
        let (database, bucket) = (format!("database={}", self.live.url()), self.bucket());
        let dump = self.program("pg_dump");
        let arguments = ["--bind", &database, "--bind", &bucket, "--bind", &dump, "--grant", "declared"];
        crate::run(&self.rota, "postgres-backup", &arguments).await.1
    }

    /// The arguments of a restore by the superuser.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        self.arguments_as(&self.server.url("postgres"), more)
    }

    fn arguments_as(&self, url: &str, more: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for bind in [format!("database={url}"), self.bucket(), self.program("pg_restore")] {
            all.extend(["--bind".to_owned(), bind]);
        }
        all.extend(["--grant", "declared", "-p"].map(str::to_owned));
        all.push(format!("database={}", self.live.name()));
        // There is room: nobody's finding but that of the test about it.
        if !more.iter().any(|word| word.starts_with("free_bytes=")) {
            all.extend(["-p", "free_bytes=100000000000"].map(str::to_owned));
        }
        if !more.contains(&"--plan") {
            all.extend(["--confirm", "RESTORE"].map(str::to_owned));
        }
        all.extend(more.iter().map(|word| (*word).to_owned()));
        all
    }

    /// A restore, its exit status, and what it says.
    async fn restore(&self, more: &[&str]) -> (Option<i32>, Value) {
        let arguments = self.arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        crate::run(&self.rota, "postgres-restore", &arguments).await
    }

    /// One that must succeed.
    async fn restored(&self, more: &[&str]) -> Value {
        let (status, said) = self.restore(more).await;
        assert_eq!(status, Some(0), "{said:#}");
        said
    }

    /// One that must fail, and why.
    async fn failed(&self, more: &[&str]) -> (String, Value) {
        let (status, said) = self.restore(more).await;
        assert_eq!(status, Some(1), "{said:#}");
        (said["error"]["message"].as_str().unwrap_or_else(|| panic!("{said:#}")).to_owned(), said)
    }

    /// The databases of this test, by name.
    async fn databases(&self) -> Vec<String> {
        let mut connection = self.server.connect("postgres").await.unwrap();
        let rows = sqlx::query("select datname::text from pg_database where starts_with(datname::text, $1) order by 1")
            .bind(self.live.name())
            .fetch_all(&mut connection)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Nothing is beside the live database, which lets connections in and is as it was after the backup.
    async fn is_untouched(&self) {
        assert_eq!(self.databases().await, [self.live.name()]);
        assert_eq!(State::of(&self.live).await, State::after());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Those beside the live one, which drops itself.
        let Ok(psql) = self.server.program("psql") else { return };
        let name = self.live.name();
        let script = format!(
            "select format('drop database %I with (force)', datname) from pg_database where starts_with(datname, '{name}_') \\gexec\n"
        );
        let child = std::process::Command::new(psql)
            .args(["-X", "-q", "-d", &self.server.url("postgres")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        if let Ok(mut child) = child {
            use std::io::Write as _;
            if let Some(mut stdin) = child.stdin.take() {
                let _ = stdin.write_all(script.as_bytes());
            }
            let _ = child.wait();
        }
    }
}

/// What a database holds, as an independent look shows it.
#[derive(Debug, PartialEq, Eq)]
struct State {
    orders: i64,
    items: i64,
    odd: i64,
    /// Of the items' sequence.
    next: i64,
    /// Whether the table is there that was made after the backup.
    afterwards: bool,
    /// Foreign keys that the server takes for valid.
    keys: i64,
}

impl State {
    /// Of the backup.
    fn backed_up() -> Self {
        Self { orders: 200, items: 100, odd: 1, next: 100, afterwards: false, keys: 1 }
    }

    /// After it.
    fn after() -> Self {
        Self { orders: 201, items: 60, afterwards: true, ..Self::backed_up() }
    }

    async fn of(database: &Database) -> Self {
        Self::at(database.server(), database.name()).await
    }

    async fn at(server: &PostgresAccess, database: &str) -> Self {
        let mut connection = server.connect(database).await.unwrap();
        let row = sqlx::query(
            r#"select (select count(*) from orders), (select count(*) from items), (select count(*) from "Odd ""name"" %"),
                      (select last_value from items_id_seq), to_regclass('afterwards') is not null,
                      (select count(*) from pg_constraint where contype = 'f' and convalidated)"#,
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        Self {
            orders: row.get(0),
            items: row.get(1),
            odd: row.get(2),
            next: row.get(3),
            afterwards: row.get(4),
            keys: row.get(5),
        }
    }
}

/// The findings' titles, the worst first.
fn titles(said: &Value) -> Vec<&str> {
    said["report"]["findings"].as_array().unwrap().iter().map(|finding| finding["title"].as_str().unwrap()).collect()
}

/// Wait until a query says yes.
async fn until(server: &PostgresAccess, what: &str, query: &'static str, name: &str) {
    eventually(SOON, what, async || {
        let mut connection = server.connect("postgres").await?;
        let yes: bool = sqlx::query_scalar(query).bind(name).fetch_one(&mut connection).await?;
        Ok(yes.then_some(()))
    })
    .await
    .unwrap();
}
