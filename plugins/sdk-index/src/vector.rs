//! What pgvector's indexes need to know.

use crate::tell;
use rota_sdk::prelude::*;
use rota_sdk::text;

/// The extension as it is installed in the database.
#[data]
#[derive(FromRow)]
pub struct Extension {
    /// Its version: `0.8.5`.
    pub version: String,
    /// The schema that it is in.
    pub schema: String,
    /// That schema, quoted by the server.
    pub quoted_schema: String,
}

const EXTENSION: &str = "\
    select e.extversion as version, n.nspname::text as schema, format('%I', n.nspname) as quoted_schema \
    from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'";

impl Extension {
    /// Look at it.
    ///
    /// # Errors
    /// When it is not installed in the database.
    pub async fn look(session: &mut Session) -> Result<Self> {
        match session.query_optional(EXTENSION, params![]).await.context("looking for pgvector")? {
            Some(extension) => Ok(extension),
            None => Err(Error::new("the extension vector is not installed in this database")
                .hint("bind the database that has the vectors, or CREATE EXTENSION vector in it")),
        }
    }

    /// Whether it is this version or a later one.
    pub fn at_least(&self, wanted: (u32, u32, u32)) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next()) >= wanted
    }

    /// Say what is wrong with an old version.
    pub fn report<D>(&self, report: &mut Report<D>) {
        let advice =
            "Install pgvector 0.8.3 or later on the server, then ALTER EXTENSION vector UPDATE in each database";
        if !self.at_least((0, 8, 2)) {
            report
                .critical(format!("pgvector {}: parallel builds of HNSW indexes can read beyond their memory (CVE-2026-3172)", self.version))
                .detail("Mended in 0.8.2. Until then, build with max_parallel_maintenance_workers = 0, as pgvector-index-create does. Before 0.8.3, VACUUM can damage such an index, too.")
                .advice(advice);
        } else if !self.at_least((0, 8, 3)) {
            report
                .warning(format!("pgvector {}: VACUUM can damage an HNSW index", self.version))
                .detail("Mended in 0.8.3.")
                .advice(advice);
        }
    }
}

/// What only the own attributes of an index of pgvector and its table's statistics say.
#[derive(Clone, Debug, FromRow)]
pub struct Fact {
    /// The index.
    pub oid: i64,
    /// What is indexed: `vector`, `halfvec`, `sparsevec` or `bit`.
    pub vector_type: String,
    /// How many dimensions it has; -1 where the column does not say.
    pub dimensions: i32,
    /// About how many rows the table has; -1 where they were never counted.
    pub rows: i64,
}

// A table that was never vacuumed or analysed has -1 in pg_class, and a count in the statistics.
const FACTS: &str = "\
    select c.oid::int8 as oid, y.typname::text as vector_type, a.atttypmod as dimensions, \
           case when t.reltuples >= 0 then t.reltuples::int8 else coalesce(nullif(s.n_live_tup, 0), -1) end as rows \
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = c.relam \
      join pg_catalog.pg_class t on t.oid = i.indrelid left join pg_catalog.pg_stat_user_tables s on s.relid = t.oid \
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = 1 join pg_catalog.pg_type y on y.oid = a.atttypid \
    where m.amname in ('hnsw', 'ivfflat')";

impl Fact {
    /// Of all indexes of pgvector.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn all(session: &mut Session) -> Result<Vec<Self>> {
        session.query_all(FACTS, params![]).await.context("looking at the vectors of indexes")
    }
}

/// How much memory a build has: what is given, or what the server's `maintenance_work_mem` is.
///
/// # Errors
/// When what is given is no amount.
pub async fn memory_for(session: &mut Session, given: Option<&str>) -> Result<i64> {
    let statement = "select coalesce(pg_size_bytes($1), (select setting::int8 * 1024 from pg_catalog.pg_settings where name = 'maintenance_work_mem'))";
    session.query_one(statement, params![given]).await.context("looking at maintenance_work_mem")
}

/// How similar vectors are.
#[parameters]
pub enum Metric {
    /// The angle between them: embeddings of texts, mostly.
    Cosine,
    /// The straight distance.
    L2,
    /// The inner product, for vectors of length one.
    InnerProduct,
    /// The sum of the differences.
    L1,
}

impl Metric {
    /// The ending of the operator classes: `vector_cosine_ops`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Cosine => "cosine_ops",
            Self::L2 => "l2_ops",
            Self::InnerProduct => "ip_ops",
            Self::L1 => "l1_ops",
        }
    }

    /// The operator that sorts by it.
    pub fn operator(self) -> &'static str {
        match self {
            Self::Cosine => "<=>",
            Self::L2 => "<->",
            Self::InnerProduct => "<#>",
            Self::L1 => "<+>",
        }
    }
}

/// The most dimensions that an index takes of a type: a page must hold a vector.
pub fn most_dimensions(base_type: &str) -> Option<i32> {
    match base_type {
        "vector" => Some(2_000),
        "halfvec" => Some(4_000),
        "bit" => Some(64_000),
        _ => None,
    }
}

/// How many lists an IVFFlat index of so many rows should have: a thousandth of them up to a million, their square root beyond.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "an estimate")]
pub fn advised_lists(rows: i64) -> i64 {
    let lists = if rows <= 1_000_000 { rows / 1_000 } else { (rows as f64).sqrt().round() as i64 };
    lists.clamp(1, 32_768)
}

/// How many of the lists a search should look into.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "an estimate")]
pub fn advised_probes(lists: i64) -> i64 {
    ((lists.max(1) as f64).sqrt().round() as i64).max(1)
}

/// Whether a number of lists is so far from the advised one that searches suffer: half of it, or twice.
pub fn lists_are_off(lists: i64, rows: i64) -> bool {
    let advised = advised_lists(rows);
    lists * 2 < advised || (lists > advised * 2 && lists > 10)
}

/// The bytes of one vector.
pub fn vector_bytes(base_type: &str, dimensions: i32) -> i64 {
    let dimensions = i64::from(dimensions.max(0));
    match base_type {
        "halfvec" => 8 + 2 * dimensions,
        "bit" => 8 + dimensions / 8,
        _ => 8 + 4 * dimensions,
    }
}

/// About how much memory the graph of an HNSW index takes while it is built. pgvector keeps for each row its element, its vector, and lists of neighbours: 2 m on the lowest level and, on
/// average, m / (m - 1) on those above. Within 5 % of what servers say of graphs that no longer fit.
pub fn hnsw_memory(rows: i64, base_type: &str, dimensions: i32, m: i64) -> i64 {
    let neighbours = 2 * m + m / (m - 1).max(1) + 1;
    rows.max(0).saturating_mul(vector_bytes(base_type, dimensions) + 16 * neighbours + 168)
}

/// How much memory k-means takes when an IVFFlat index is built (pgvector refuses to begin with less): samples, centers and the bounds between each sample and each center.
pub fn ivfflat_memory(rows: i64, base_type: &str, dimensions: i32, lists: i64) -> i64 {
    let kept = (lists * 50).max(10_000);
    let samples = kept.min(rows.max(1));
    let vector = vector_bytes(base_type, dimensions);
    let lists = lists.max(1);
    (kept + 2 * lists) * vector + 4 * samples * lists + 4 * lists * lists + 12 * samples + 16 * lists
}

/// What the server's notice says of an HNSW graph that did not fit into memory: after how many rows.
pub fn overflowed(notices: &[String]) -> Option<i64> {
    notices.iter().find_map(|notice| {
        let rest = notice.split("no longer fits into maintenance_work_mem after ").nth(1)?;
        rest.split(' ').next()?.parse().ok()
    })
}

/// Say that a build did not fit, and what would.
pub fn report_overflow<D>(what: &str, notices: &[String], needed: i64, report: &mut Report<D>) {
    if let Some(rows) = overflowed(notices) {
        report
            .warning(format!(
                "{what}: its graph did not fit into maintenance_work_mem after {} rows",
                tell::count(rows)
            ))
            .detail(format!(
                "From there on the build was many times slower. The index is whole. It would have needed about {}.",
                text::size(needed)
            ))
            .advice(format!("Build with maintenance_work_mem of {} where the server has it", text::size(needed)));
    }
}

/// An amount of memory as a setting takes it, in whole megabytes, rounded up.
pub fn megabytes(bytes: i64) -> String {
    format!("{}MB", (bytes.max(0) + (1 << 20) - 1) >> 20)
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss)]
mod tests {
    use super::*;

    #[test]
    fn lists_follow_the_rows() {
        assert_eq!([500, 100_000, 1_000_000, 4_000_000].map(advised_lists), [1, 100, 1_000, 2_000]);
        assert_eq!([1, 100, 1_000].map(advised_probes), [1, 10, 32]);
        assert!(lists_are_off(100, 1_000_000) && lists_are_off(1_000, 100_000) && !lists_are_off(100, 100_000));
        assert!(!lists_are_off(4, 500), "a small table with some lists is no harm");
    }

    #[test]
    fn versions_are_compared_by_number() {
        let of = |version: &str| Extension {
            version: version.to_owned(),
            schema: String::new(),
            quoted_schema: String::new(),
        };
        assert!(of("0.8.3").at_least((0, 8, 3)) && of("0.10.0").at_least((0, 8, 3)) && of("1.0").at_least((0, 8, 3)));
        assert!(!of("0.8.2").at_least((0, 8, 3)) && !of("0.7.4").at_least((0, 8, 0)));
    }

    /// What PostgreSQL 16 with pgvector 0.8.5 said: the rows after which a graph no longer fitted, and the megabytes that k-means asked for.
    #[test]
    fn memory_is_what_servers_say() {
        for (rows, dimensions, m, megabytes) in
            [(4_656, 384, 16, 10), (7_005, 3, 40, 10), (8_807, 3, 4, 3), (5_603, 8, 16, 4)]
        {
            let off = hnsw_memory(rows, "vector", dimensions, m) as f64 / f64::from(megabytes << 20);
            assert!((0.95..1.05).contains(&off), "{rows} rows, {dimensions} dimensions, m {m}: {off}");
        }
        for (rows, dimensions, lists, megabytes) in
            [(12_000, 384, 300, 38), (15_000, 3, 1_000, 62), (15_000, 3, 300, 18)]
        {
            let off = ivfflat_memory(rows, "vector", dimensions, lists) as f64 / f64::from(megabytes << 20);
            assert!((0.95..1.05).contains(&off), "{rows} rows, {dimensions} dimensions, {lists} lists: {off}");
        }
    }

    #[test]
    fn the_notice_is_understood() {
        let said = ["hnsw graph no longer fits into maintenance_work_mem after 1234 tuples".to_owned()];
        assert_eq!(overflowed(&said), Some(1234));
        assert_eq!(overflowed(&["something else".to_owned()]), None);
    }
}
