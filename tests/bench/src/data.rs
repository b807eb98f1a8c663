//! What is backed up: tables of text and of pgvector vectors with 768 dimensions, half of the bytes each.
//!
//! It is made anew for each run, on a server without WAL: that takes some seconds a GiB, and leaves no gigabytes behind.

use rota_testbed::{Database, Postgres};

/// Vectors that differ. What lies between two copies of one is far more than the codec looks back.
const VECTORS: u32 = 5_000;

/// Rows for half a GiB: a vector of 768 takes 3,080 bytes and is stored out of line, in two pieces.
const VECTOR_ROWS: u32 = 127_500;

/// Rows for half a GiB of text, as random as hexadecimal digits are.
const TEXT_ROWS: u32 = 458_000;

/// Add a GiB to a database, in two tables of its own.
pub(crate) async fn gibibyte(server: &Postgres, database: &Database, number: u32) -> anyhow::Result<()> {
    if number == 0 {
        database
            .execute(&format!(
                "create table vectors as select n, array_agg(random() * 2 - 1)::vector(768) as embedding
                   from generate_series(0, {VECTORS} - 1) n, generate_series(1, 768) group by n"
            ))
            .await?;
    }
    let words =
        (1..=32).map(|word| format!("md5(n::text || '{number}.{word}')")).collect::<Vec<_>>().join(" || ' ' || ");
    let tables = [
        format!(
            "create table embeddings_{number} as select i::bigint as id, v.embedding
               from generate_series(1, {VECTOR_ROWS}) i join vectors v on v.n = i % {VECTORS}"
        ),
        format!(
            "create table documents_{number} as select n::bigint as id, now() - n * interval '1 second' as written, {words} as body
               from generate_series(1, {TEXT_ROWS}) n"
        ),
    ];
    for table in tables {
        database.execute(&table).await?;
    }
    // So that the first reader does not write what all rows say of their visibility.
    database.execute("vacuum (freeze, analyze)").await?;
    server.execute("postgres", "checkpoint").await
}
