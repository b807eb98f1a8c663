//! Builds an index without locking writers out, and proves that it is valid.

use crate::duplicates::Duplicates;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_index::create::UNDO;
use rota_sdk_index::element::{Column, Element, Spec};
use rota_sdk_index::{Creation, Done, Holder, Index, Leftover, Policy, Table, enclosed};

mod duplicates;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-index-create",
    summary: "Builds an index without locking writers out, and proves that it is valid.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, index] "Looks at the table and who holds a build up, builds the index, and drops what a build that was cut off left.",
    },
    examples: [
        "One column" => json!({ "table": "orders", "columns": ["customer_id"] }),
        "Two, one of them descending, under a name" => json!({ "table": "conversations", "columns": ["tenant_id", "created_at DESC"], "name": "idx_conversations_tenant_created" }),
        "Unique, of an expression, for some rows" => json!({ "table": "public.users", "columns": ["lower(email)"], "unique": true, "predicate": "deleted_at IS NULL" }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Leftover => clear,
    run
}

/// The access methods of PostgreSQL itself.
#[parameters]
pub enum Method {
    /// Ordered values: equality, ranges, sorting.
    Btree,
    /// Equality only.
    Hash,
    /// Parts of values: arrays, JSON, full text.
    Gin,
    /// Shapes, ranges, nearest neighbours.
    Gist,
    /// Partitioned search trees.
    Spgist,
    /// Summaries of ranges of blocks.
    Brin,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Self::Btree => "btree",
            Self::Hash => "hash",
            Self::Gin => "gin",
            Self::Gist => "gist",
            Self::Spgist => "spgist",
            Self::Brin => "brin",
        }
    }
}

/// The index, and how long it may take.
#[parameters]
pub struct Parameters {
    /// The table: `orders`, `public.orders` or `public."Odd name"`.
    table: String,
    /// The keys, each as `CREATE INDEX` takes it: `tenant_id`, `created_at DESC`, `lower(email) text_pattern_ops`. An expression is SQL.
    columns: Vec<String>,
    /// The index's name; without it, one as PostgreSQL would give.
    name: Option<String>,
    /// The access method.
    #[parameter(default = Method::Btree)]
    method: Method,
    /// Whether no two rows may have the same keys. Those that have them now are counted first.
    #[parameter(default = false)]
    unique: bool,
    /// In a unique index, whether a NULL equals another.
    #[parameter(default = false)]
    nulls_not_distinct: bool,
    /// Columns that the index carries beside its keys.
    #[parameter(default)]
    include: Vec<String>,
    /// The condition of a partial index: SQL.
    predicate: Option<String>,
    /// Storage parameters: `fillfactor=70`.
    #[parameter(default)]
    options: Vec<String>,
    /// Begin nothing while a transaction has been open for longer than this: a concurrent build waits for it, and the index is INVALID meanwhile.
    #[parameter(default = 300.0, range = 0.0..)]
    holder_seconds: f64,
    /// Begin all the same, and wait for such transactions.
    #[parameter(default = false)]
    wait_for_holders: bool,
    /// Drop an INVALID index of this name that was there before. Without it, the run fails and says so.
    #[parameter(default = false)]
    replace_invalid: bool,
    /// The build is cut off, and what is left of it dropped, after so many seconds.
    #[parameter(default = 21_600, range = 1..=604_800)]
    budget_seconds: u32,
    /// Memory for the build: `1GB`. Without it, the server's `maintenance_work_mem`.
    maintenance_work_mem: Option<String>,
    /// For a unique index, how many of the keys that occur more than once are shown; 0 shows none, as they are somebody's data.
    #[parameter(default = 10, range = 0..=1000)]
    duplicates_shown: u32,
}

/// What was found and done.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// What became of it.
    done: Done,
    /// The table, quoted by the server.
    table: String,
    /// About how many rows it has; -1 where it was never counted.
    table_rows: i64,
    /// Its size without indexes, in bytes.
    table_bytes: i64,
    /// The index's name.
    name: String,
    /// The statement.
    statement: String,
    /// The index, where it is there.
    index: Option<Index>,
    /// Whose transactions were open before, the oldest first.
    holders: Vec<Holder>,
    /// Whom the build was seen to wait for.
    waited_for: Vec<String>,
    /// Keys that occur more than once; null where it was not looked.
    duplicates: Option<Duplicates>,
    /// INVALID indexes that were dropped.
    removed: Vec<String>,
    /// How long the build took, in seconds.
    seconds: f64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let worker = cx.database().open().await?;
    let mut watcher = cx.database().open().await?;
    let server = Server::inspect(&mut watcher).await?;
    if server.in_recovery {
        return Err(Error::new("this server is a standby, where no index can be built")
            .hint("bind the primary; the index reaches its standbys"));
    }
    let table = Table::find_indexable(&mut watcher, &parameters.table).await?;
    let columns = Column::of(&mut watcher, table.oid).await?;
    let spec = spec(&parameters, &columns)?;
    let policy = Policy {
        name: parameters.name.clone(),
        replace_invalid: parameters.replace_invalid,
        holder_seconds: parameters.holder_seconds,
        wait_for_holders: parameters.wait_for_holders,
        budget_seconds: parameters.budget_seconds,
        memory: parameters.maintenance_work_mem.clone(),
    };
    let mut creation = Creation::new((*cx).clone(), worker, watcher, table, spec, policy);
    let mut duplicates = None;
    let ended = create(&cx, &mut creation, &parameters, &mut duplicates).await;
    let Creation { mut report, table, done, name, statement, index, holders, waited_for, removed, seconds, .. } =
        creation;
    server.report_visibility(&mut report);
    if let Err(error) = &ended {
        report.summary(format!("{name} was not built"));
        report.critical(format!("{name} was not built")).because(error);
    }
    let report = report.data(Data {
        visibility_complete: server.visibility_complete,
        server,
        done,
        table: table.quoted.to_string(),
        table_rows: table.rows,
        table_bytes: table.bytes,
        name,
        statement,
        index,
        holders,
        waited_for,
        duplicates,
        removed,
        seconds,
    });
    match ended {
        Ok(()) => Ok(report),
        Err(error) => Err(error.with_report(report)),
    }
}

async fn create(
    cx: &Context,
    creation: &mut Creation,
    parameters: &Parameters,
    found: &mut Option<Duplicates>,
) -> Result<()> {
    let Some(before) = creation.prepare().await? else { return Ok(()) };
    if creation.spec.unique {
        *found = Some(duplicates::look(creation, parameters.duplicates_shown).await?);
        duplicates::refuse(creation, found.as_ref())?;
    }
    let built = creation.build(&before, async |leftover| cx.undo(UNDO, leftover).await.map(drop)).await;
    if let Err(error) = built {
        if error.code() != Some("23505") {
            return Err(error);
        }
        // Rows that came while it was built.
        if let Ok(since) = duplicates::look(creation, parameters.duplicates_shown).await {
            *found = Some(since);
            duplicates::show(creation, found.as_ref());
        }
        return Err(error.hint("rows with equal keys were written meanwhile; remove them and run this again"));
    }
    if creation.done == Done::Built && creation.spec.elements.iter().any(|element| element.column.is_none()) {
        let table = creation.table.quoted.to_string();
        creation
            .report
            .note(format!("{}: the planner knows the expression's values after the next ANALYZE", creation.name))
            .remedy("postgres-vacuum", &json!({ "tables": [table] }), "Vacuum and analyse the table now");
    }
    Ok(())
}

/// The index that the parameters describe.
fn spec(parameters: &Parameters, columns: &[Column]) -> Result<Spec> {
    if parameters.columns.is_empty() {
        return Err(Error::new("`columns` names nothing: an index needs a key"));
    }
    if parameters.nulls_not_distinct && !parameters.unique {
        return Err(Error::new("`nulls_not_distinct` is for unique indexes"));
    }
    if let Some(predicate) = &parameters.predicate {
        enclosed("predicate", predicate)?;
    }
    let elements = parameters.columns.iter().map(|text| Element::read(text, columns)).collect::<Result<_>>()?;
    let mut included = Vec::new();
    for name in &parameters.include {
        match Column::named(columns, name) {
            Some(column) => included.push(column.quoted.clone()),
            None => return Err(Error::new(format!("`include`: the table has no column {name:?}"))),
        }
    }
    let mut options = Vec::new();
    for option in &parameters.options {
        match option.split_once('=') {
            Some((name, value)) => options.push((name.trim().to_owned(), value.trim().to_owned())),
            None => return Err(Error::new(format!("`options`: {option:?} is not name=value"))),
        }
    }
    Ok(Spec {
        method: parameters.method.word(),
        unique: parameters.unique,
        nulls_not_distinct: parameters.nulls_not_distinct,
        elements,
        included,
        predicate: parameters.predicate.clone(),
        options,
    })
}

/// Drop what a build that was cut off left.
async fn clear(cx: Context, undo: Undo<Leftover>) -> Result<()> {
    let mut session = cx.database().open().await?;
    for name in undo.state.clear(&cx, &mut session).await? {
        info!("dropped {name}, which was left INVALID");
    }
    Ok(())
}
