//! An index's parameters: setting them, and putting them back.

use rota_sdk::Context;
use rota_sdk::prelude::*;
use rota_sdk_index::Index;
use std::time::Duration;

/// The parameters as they were.
#[data]
pub struct Options {
    /// The index's object id.
    pub index: i64,
    /// Those that the run sets, each with its value before; null where it had none.
    pub before: Vec<Before>,
}

/// One of them.
#[data]
pub struct Before {
    /// Its name.
    pub name: Name,
    /// Its value; null where it was not set.
    pub value: Option<i64>,
}

/// The parameters of pgvector's indexes.
#[data]
pub enum Name {
    /// IVFFlat: lists.
    Lists,
    /// HNSW: connections.
    M,
    /// HNSW: candidates.
    EfConstruction,
}

impl Name {
    /// As SQL has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Lists => "lists",
            Self::M => "m",
            Self::EfConstruction => "ef_construction",
        }
    }
}

/// What an index's parameter is; none where it is not set.
pub(crate) fn value(index: &Index, name: Name) -> Option<i64> {
    index.options.iter().find_map(|option| option.strip_prefix(name.word())?.strip_prefix('=')?.parse().ok())
}

/// How long one try waits for the index, in milliseconds. It needs it for itself for a moment, and who waits for that holds all searches up.
const LOCK: u64 = 300;
/// How often it is tried.
const TRIES: u32 = 40;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Run an `ALTER INDEX`, in short tries.
pub(crate) async fn alter(cx: &Context, session: &mut Session, statement: &Sql) -> Result<()> {
    session.configure("lock_timeout", format!("{LOCK}ms")).await?;
    session.configure("statement_timeout", "30s").await?;
    for attempt in 1..=TRIES {
        match session.execute(statement.clone(), params![]).await {
            Err(error) if error.code() == Some("55P03") && attempt < TRIES => cx.sleep(PAUSE).await?,
            Err(error) if error.code() == Some("55P03") => {
                return Err(
                    error.hint("a long query uses the index all the time: try again when it has ended, or cancel it")
                );
            }
            other => return other.map(drop),
        }
    }
    Ok(())
}

/// The statement that sets one.
pub(crate) fn set(index: &Quoted, name: Name, value: i64) -> Sql {
    sql!("ALTER INDEX {} SET ({} = {})", index, Sql::from(name.word()), value)
}

impl Options {
    /// Put them back where the index is still the one that was to be rebuilt: one that was rebuilt has its parameters rightly.
    pub(crate) async fn put_back(&self, cx: &Context, session: &mut Session) -> Result<()> {
        let Some(index) = Index::by_oid(session, self.index).await? else { return Ok(()) };
        if rota_sdk_index::clear::concurrent_stem(&index.name).is_some_and(|(_, end)| end == "_ccold") {
            return Ok(());
        }
        let quoted = index.quoted()?;
        for Before { name, value: before } in &self.before {
            if value(&index, *name) == *before {
                continue;
            }
            let statement = match before {
                Some(value) => set(&quoted, *name, *value),
                None => sql!("ALTER INDEX {} RESET ({})", quoted, Sql::from(name.word())),
            };
            alter(cx, session, &statement)
                .await
                .with_context(|| format!("putting {} of {quoted} back", name.word()))?;
        }
        Ok(())
    }
}
