//! The examples of the pages, run by bash as they stand.

use super::page;
use crate::rota;
use rota_testbed::{Cluster, Namespace, Nats, Postgres, PostgresOptions, PostgresVersion, StandbyOptions, Valkey};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// What the examples find.
struct Prepared {
    primary: Postgres,
    standby: Postgres,
    cache: Valkey,
    nats: Nats,
    namespace: Namespace,
    folder: tempfile::TempDir,
}

/// A database as the pages describe it.
const SHOP: &str = "
    create table customers (id int primary key, name text);
    create table orders (id int primary key, customer_id int references customers, total numeric, at timestamptz default now());
    create table documents (id int primary key, embedding vector(3));
    insert into customers select n, 'customer ' || n from generate_series(1, 100) n;
    insert into orders select n, 1 + n % 100, n from generate_series(1, 20000) n;
    insert into documents select n, format('[%s,%s,%s]', n % 7, n % 11, n % 13)::vector from generate_series(1, 20000) n;
    create index documents_embedding on documents using hnsw (embedding vector_l2_ops);
    analyze";

impl Prepared {
    async fn new() -> Self {
        let options = PostgresOptions { version: PostgresVersion::V16, ..PostgresOptions::default() };
        let (primary, cache, nats) = tokio::join!(Postgres::start(options), Valkey::start(), Nats::start());
        let primary = primary.unwrap();
        let standby = Postgres::standby(&primary, StandbyOptions::default()).await.unwrap();
        let namespace = Cluster::shared().await.unwrap().namespace("pages").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let prepared = Self { primary, standby, cache: cache.unwrap(), nats: nats.unwrap(), namespace, folder };
        prepared.primary.create_database("shop").await.unwrap();
        for statement in SHOP.split(';') {
            prepared.primary.execute("shop", statement).await.unwrap();
        }
        let mut client = prepared.cache.client().await.unwrap();
        client
            .many((0..50_u32).map(|n| vec![b"SET".to_vec(), format!("user:17:{n}").into_bytes(), b"x".to_vec()]))
            .await
            .unwrap();
        prepared
    }

    fn bucket(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let program = |name: &str| self.primary.program(name).unwrap().display().to_string();
        vec![
            ("DATABASE", self.primary.url("shop")),
            ("STANDBY", self.standby.url("shop")),
            ("CACHE", self.cache.url()),
            ("NATS", self.nats.url()),
            ("KUBECONFIG", self.namespace.cluster().kubeconfig().display().to_string()),
            ("NAMESPACE", self.namespace.name().to_owned()),
            ("BUCKET", self.bucket()),
            ("PG_DUMP", program("pg_dump")),
            ("PG_DUMPALL", program("pg_dumpall")),
            ("PG_RESTORE", program("pg_restore")),
        ]
    }
}

/// The block of ```sh of a page.
fn example(name: &str) -> String {
    let text = std::fs::read_to_string(page(name)).unwrap();
    let (_, rest) = text.split_once("```sh\n").unwrap_or_else(|| panic!("{name} has no example"));
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs an example; what it said where it did not end well.
async fn runs(name: &str, variables: &[(&str, String)], home: &Path) -> Result<(), String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_rota")).parent().unwrap();
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-euc", &example(name)])
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", binary.display()))
        .env("HOME", home)
        .env("ROTA_STATE_DIR", home.join("state"))
        .env("ROTA_SANDBOX__CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled"))
        .current_dir(home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), bash.output())
        .await
        .map_err(|_| format!("{name}: it takes more than a minute"))?;
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(2_000).collect::<String>();
    Err(format!("{name}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs_as_it_stands() {
    let prepared = Prepared::new().await;
    let variables = prepared.variables();
    let mut names: Vec<String> =
        super::plugins().await.iter().map(|plugin| plugin["name"].as_str().unwrap().to_owned()).collect();
    // A backup is there for those that read one.
    names.sort_by_key(|name| name != "postgres-backup");
    let mut wrong = Vec::new();
    for name in names {
        let rota = rota();
        if let Err(said) = runs(&name, &variables, rota.folder()).await {
            wrong.push(said);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
