//! A procedure that uses every part of the SDK, run against the mock host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rota_sdk::prelude::*;
use rota_sdk::storage::PutOptions;

procedure! {
    name: "archive-table",
    summary: "Copies a table to a bucket.",
    description: "Copies a table to a bucket, and proves what it stored.",
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, copy-out, maintain] "Reads the table.",
        bucket: storage [read, write, delete] "Keeps the copy.",
        pg_dump: tool [run] optional "Dumps the schema.",
        age-key: key [decrypt] optional "Reads encrypted copies.",
    },
    examples: ["The table orders" => json!({ "table": "orders", "level": 3 })],
    parameters: Parameters,
    report: Data,
    run
}

/// How to copy.
#[parameters]
pub struct Parameters {
    /// The table.
    table: String,
    /// The level of compression.
    #[parameter(default = 1, range = 1..=19)]
    level: i32,
    /// How to go about it.
    #[parameter(default = Way::Copy)]
    way: Way,
    /// Encrypt to these age recipients.
    #[parameter(default)]
    recipients: Vec<String>,
}

/// How to go about it.
#[parameters]
pub enum Way {
    /// With COPY.
    Copy,
    /// With `pg_dump`.
    PgDump,
}

/// What was stored.
#[data]
pub struct Data {
    /// The rows.
    rows: i64,
    /// The SHA-256 before compression.
    sha256: Option<String>,
    /// When.
    at: Timestamp,
    /// The columns.
    columns: Vec<Column>,
}

/// A column.
#[data]
#[derive(FromRow)]
pub struct Column {
    /// Its name.
    #[column("attname")]
    name: String,
    /// Whether it may be NULL; null before PostgreSQL 99.
    #[column(optional)]
    generated: Option<bool>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let columns: Vec<Column> = session.query_all("select attname from pg_catalog.pg_attribute", params![]).await?;
    let rows: i64 = session.query_one("select count(*)", params![]).await.context("counting")?;
    let table = session.quote_qualified("public", &parameters.table).await?;
    let bucket = cx.bucket().open().await?;
    let mut pipeline = match (parameters.way, cx.pg_dump()) {
        (Way::PgDump, Some(tool)) => {
            Pipeline::from(tool.spawn(&["--format=custom"], Some(cx.database().connection()), None).await?.stdout()?)
        }
        (Way::PgDump, None) => {
            return Err(Error::new("way is pg-dump, but the slot `pg_dump` is not bound")
                .hint("bind it with --bind pg_dump=/usr/bin/pg_dump"));
        }
        (Way::Copy, _) => session.copy_out(sql!("COPY {} TO STDOUT", table)).await?.into(),
    };
    pipeline = pipeline.sha256("plain").zstd(parameters.level)?;
    if !parameters.recipients.is_empty() {
        pipeline = pipeline.encrypt(&parameters.recipients)?;
    }
    let name = format!("{}.zst", parameters.table);
    let piped = pipeline.put(&bucket, &name, PutOptions::if_absent().size_estimate(100)).await?;
    session.execute(sql!("ANALYZE {}", table), params![]).await?;
    progress(1, Some(1), "tables", &parameters.table);
    let mut report = Report::new();
    if rows == 0 {
        report.warning(format!("{table}: empty")).detail("Nothing to archive.").remedy(
            "archive-table",
            &json!({ "table": "other" }),
            "archives another",
        );
    }
    report.table("columns", "Columns", ["name"]).row(cells![columns.first().map(|column| &column.name)]);
    report.summary(format!("{table}: {rows} rows archived"));
    Ok(report.data(Data { rows, sha256: piped.passed("plain").sha256, at: cx.now(), columns }))
}

use rota_sdk::mock::*;

fn host() -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    database.on("from pg_catalog.pg_attribute", rows! { ["attname"] => ["id"], ["Odd \"name\""] });
    database.on("select count(*)", rows! { ["count"] => [2_i64] });
    database.on_copy_out("copy public.\"Orders\" to stdout", "1\ta\n2\tb\n", 2);
    database.on_execute("analyze public.\"Orders\"", 0);
    host.storage("bucket");
    host
}

#[test]
fn executes() {
    let host = host();
    let report = host.run::<Plugin>(json!({ "table": "Orders" })).unwrap();
    assert_eq!(report.status, Severity::Ok);
    assert_eq!(report.summary, "public.\"Orders\": 2 rows archived");
    assert_eq!(report.data["columns"][1]["name"], "Odd \"name\"");
    assert_eq!(report.data["columns"][1]["generated"], Json::Null);
    assert_eq!(report.data["at"], "2026-01-01T00:00:00Z");
    assert_eq!(report.data["sha256"].as_str().map(str::len), Some(64));
    let operations: Vec<_> = host.effects().into_iter().map(|effect| (effect.operation, effect.planned)).collect();
    assert_eq!(operations, [("storage.put", false), ("sql.execute", false)]);
    assert_eq!(host.storage("bucket").names(), ["Orders.zst"]);
    assert_eq!(host.progress()[0].3, "Orders");
}

#[test]
fn a_second_copy_is_a_conflict() {
    let host = host();
    host.storage("bucket").object("Orders.zst", "old");
    let failed = host.run::<Plugin>(json!({ "table": "Orders" })).unwrap_err();
    assert_eq!(failed.message, "storing Orders.zst: Orders.zst is already there");
    assert!(matches!(failed.cause, Some(rota_sdk::HostError::Conflict(_))));
    assert_eq!(host.storage("bucket").bytes("Orders.zst").unwrap(), b"old");
}

#[test]
fn a_plan_lists_and_does_nothing() {
    let host = host().plan();
    let report = host.run::<Plugin>(json!({ "table": "Orders" })).unwrap();
    assert_eq!(report.data["rows"], 2);
    assert!(host.effects().iter().all(|effect| effect.planned));
    assert_eq!(host.effects().len(), 2);
    assert_eq!(host.storage("bucket").names(), Vec::<String>::new());
}

#[test]
fn what_is_not_granted_is_denied() {
    let host = host();
    host.grant("database", &["read", "copy-out"]);
    let failed = host.run::<Plugin>(json!({ "table": "Orders" })).unwrap_err();
    assert!(failed.message.contains("`maintain` on slot `database` is not granted"), "{}", failed.message);
}

#[test]
fn a_failing_program_keeps_nothing() {
    let host = host();
    host.tool("pg_dump").on("--format=custom", ToolOutput::failure(1, "pg_dump: error: connection lost"));
    let failed = host.run::<Plugin>(json!({ "table": "Orders", "way": "pg-dump" })).unwrap_err();
    assert!(failed.message.contains("connection lost"), "{}", failed.message);
    assert_eq!(host.storage("bucket").names(), Vec::<String>::new());
}

#[test]
fn an_unbound_optional_slot_is_none() {
    let failed = host().run::<Plugin>(json!({ "table": "Orders", "way": "pg-dump" })).unwrap_err();
    assert_eq!(failed.hint.as_deref(), Some("bind it with --bind pg_dump=/usr/bin/pg_dump"));
}

#[test]
fn bad_parameters_are_refused() {
    let refused = |parameters| host().run::<Plugin>(parameters).unwrap_err().message;
    assert!(refused(json!({})).contains("missing field `table`"));
    assert!(refused(json!({ "table": "x", "levle": 3 })).contains("unknown field `levle`"));
    assert_eq!(
        refused(json!({ "table": "x", "level": 20 })),
        "the parameters are not valid: `level` must be from 1 to 19, not 20"
    );
    assert!(
        refused(json!({ "table": "x", "way": "dump" }))
            .contains("unknown variant `dump`, expected `copy` or `pg-dump`")
    );
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
    let schema: Json = serde_json::from_str(&<Parameters as rota_sdk::Parameters>::schema()).unwrap();
    assert_eq!(schema["required"], json!(["table"]));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["level"]["description"], "The level of compression.");
    assert_eq!(schema["properties"]["level"]["default"], 1);
    assert_eq!(schema["properties"]["level"]["minimum"], 1);
    assert_eq!(schema["properties"]["level"]["maximum"], 19);
    assert_eq!(schema["properties"]["way"]["default"], "copy");
}

#[test]
fn incomplete_is_never_ok() {
    let mut report = Report::new();
    assert_eq!(report.status(), Severity::Ok);
    report.incomplete();
    assert_eq!(report.status(), Severity::Unknown);
    report.warning("x");
    assert_eq!(report.status(), Severity::Warning);
}

#[test]
fn what_failed_and_was_not_summarised_is_summarised_by_its_error() {
    let summary = |change: fn(&mut Report)| {
        let mut report = Report::new();
        change(&mut report);
        let error = Error::new("no such table\nand more").context("reading it").with_report(report);
        rota_sdk::__private::failure(error).report.unwrap().summary
    };
    assert_eq!(summary(|_| {}), "reading it: no such table");
    assert_eq!(
        summary(|report| {
            report.warning("found");
        }),
        "found"
    );
    let own = |report: &mut Report| {
        report.warning("found");
        report.summary("looked at half of it");
    };
    assert_eq!(summary(own), "looked at half of it");
}
