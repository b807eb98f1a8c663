//! What the tool's scripts say: the head, and what lies between it and the database.

use crate::Context;
use crate::{Layout, Parameters};
use rota_sdk::prelude::*;
use rota_sdk::tools::Ended;

/// One migration.
#[data]
pub struct Migration {
    /// The version that it leads to.
    pub(crate) version: String,
    /// What its author wrote.
    pub(crate) message: String,
}

/// Where the schema should go.
#[derive(Debug)]
pub(crate) struct Goal {
    /// The version that it should be.
    pub(crate) head: String,
    /// What is to be applied, in order; none where the tool does not tell.
    pub(crate) pending: Option<Vec<Migration>>,
}

/// Ask the scripts.
pub(crate) async fn goal(cx: &Context, parameters: &Parameters, from: Option<&str>) -> Result<Goal> {
    if parameters.layout == Layout::SchemaMigrations {
        return Ok(Goal { head: parameters.expect.clone().unwrap_or_default(), pending: None });
    }
    let config = parameters.config.as_deref().unwrap_or_default();
    let heads = heads(&ask(cx, &["-c", config, "heads"]).await?);
    let head = match heads.as_slice() {
        [head] => head.clone(),
        [] => {
            return Err(Error::new("the scripts have no head: there is no migration in them")
                .hint("look at script_location in the configuration file"));
        }
        several => {
            return Err(Error::new(format!("the scripts have {} heads: {}", several.len(), several.join(", ")))
                .hint("two branches were brought together without a merge revision: alembic merge heads"));
        }
    };
    if from == Some(head.as_str()) {
        return Ok(Goal { head, pending: Some(Vec::new()) });
    }
    let range = format!("--rev-range={}:{head}", from.unwrap_or("base"));
    let said = ask(cx, &["-c", config, "history", &range]).await.map_err(|error| match from {
        Some(from) => {
            error.context(format!("the database is at version {from}; asking the scripts what comes after it"))
        }
        None => error,
    })?;
    let pending = history(&said, from);
    if pending.last().is_none_or(|last| last.version != head) {
        return Err(Error::new(format!(
            "alembic history does not lead from {} to {head}",
            from.unwrap_or("the beginning")
        ))
        .hint("are these the scripts of this database?"));
    }
    Ok(Goal { head, pending: Some(pending) })
}

/// What a command that only looks writes.
async fn ask(cx: &Context, arguments: &[&str]) -> Result<String> {
    let child = cx.migrate().spawn(arguments, None, None).await?;
    let said = child.stdout()?.collect(4 << 20).await?;
    let ended = child.wait().await?;
    // What a tool complains of it may write on either output; a Job has one.
    let told =
        if ended.stderr.trim().is_empty() { String::from_utf8_lossy(&said).into_owned() } else { ended.stderr.clone() };
    if (Ended { stderr: told, ..ended }).success("the migration tool")?.is_planned() {
        return Err(Error::new(
            "a plan may not ask the tool for its scripts: its binding does not say that these arguments only look",
        )
        .hint("add to the binding: looks = [\"-c\", \"/srv/app/*\", \"heads\", \"history\", \"--rev-range=*\"]"));
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The heads among what `alembic heads` writes: `ae10 (head)`, `27c6 (billing) (head)`. Anything else is what the tool logs.
pub(crate) fn heads(said: &str) -> Vec<String> {
    let marks = |line: &&str| {
        let mut words = line.split_whitespace().skip(1).peekable();
        words.peek().is_some()
            && line.contains("(head)")
            && words.all(|word| word.starts_with('(') || word.ends_with(')'))
    };
    said.lines().filter(marks).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The migrations among what `alembic history` writes, the newest first: `1975 -> ae10 (head), add a column`. The one that the database is at is
/// there too, and left out.
pub(crate) fn history(said: &str, from: Option<&str>) -> Vec<Migration> {
    let one = |line: &str| {
        let (_, rest) = line.split_once(" -> ")?;
        let (names, message) = rest.split_once(", ").unwrap_or((rest, ""));
        let version = names.split([' ', ',']).next()?.trim();
        (!version.is_empty()).then(|| Migration { version: version.to_owned(), message: message.trim().to_owned() })
    };
    let mut all: Vec<Migration> =
        said.lines().filter_map(one).filter(|one| Some(one.version.as_str()) != from).collect();
    all.reverse();
    all
}
