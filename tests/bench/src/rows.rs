//! A million rows of five columns into a guest, against sqlx in this process.

use crate::figure::{About, Figure};
use crate::host::{Host, grant};
use crate::measure::{Rounds, Watch};
use anyhow::ensure;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use rota_testbed::PostgresAccess;
use sqlx::{PgConnection, Row as _};

const ROWS: u32 = 1_000_000;

const STATEMENT: &str = "select id, name, amount, placed, paid from bench_rows";

/// What the guest makes of a row, from values decoded into Rust types.
async fn read(connection: &mut PgConnection) -> anyhow::Result<u64> {
    let mut rows = sqlx::query(STATEMENT).fetch(connection);
    let mut sum = 0_u64;
    while let Some(row) = rows.try_next().await? {
        let id: i64 = row.try_get(0)?;
        let name: String = row.try_get(1)?;
        let amount: f64 = row.try_get(2)?;
        let placed: DateTime<Utc> = row.try_get(3)?;
        let paid: bool = row.try_get(4)?;
        for part in [
            id.cast_unsigned(),
            name.len() as u64,
            amount.to_bits(),
            placed.timestamp_micros().cast_unsigned(),
            u64::from(paid),
        ] {
            sum = sum.wrapping_add(part);
        }
    }
    Ok(sum)
}

pub(crate) async fn measure(host: &Host, server: &PostgresAccess, rounds: usize) -> anyhow::Result<Figure> {
    let database = server.fresh_database("bench_rows").await?;
    database
        .execute(&format!(
            "create table bench_rows as select n::bigint as id, 'row number ' || n as name, n * 0.37::float8 as amount,
               timestamptz '2024-01-01' + n * interval '1 second' as placed, n % 3 = 0 as paid from generate_series(1, {ROWS}) n"
        ))
        .await?;
    database.execute("vacuum analyze bench_rows").await?;
    let mut connection = database.connect().await?;
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let grants = vec![grant("database", &database.url(), &["read"])?];
        let watch = Watch::start();
        let ours_sum = host.run(&format!("rows 0 {STATEMENT}"), grants).await?;
        let ours = watch.stop();
        let watch = Watch::start();
        let their_sum = read(&mut connection).await?;
        let theirs = watch.stop();
        ensure!(ours_sum == their_sum, "the guest saw other values than sqlx: {ours_sum} and {their_sum}");
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let times = measured.times();
    let rate = |seconds: f64| f64::from(ROWS) / seconds / 1e3;
    Ok(Figure::in_turn(
        About {
            name: "rows",
            what: "1,000,000 rows of 5 columns into a guest".into(),
            against: "sqlx in process, the same statement, every value decoded".into(),
            goal: "<= 2x time",
        },
        times,
        &measured,
        times.median <= 2.0,
        vec![format!(
            "{:.0} thousand rows a second against {:.0}; by CPU time of this process {:.2}x",
            rate(measured.our_wall().median),
            rate(measured.their_wall().median),
            measured.cpu_times().median
        )],
    ))
}
