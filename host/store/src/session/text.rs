//! Statements, written once in PostgreSQL's words, and what SQLite says instead.
//!
//! | in the text | PostgreSQL | SQLite |
//! | --- | --- | --- |
//! | `rota.runs` | the same | `runs` |
//! | `@now` | the server's clock | a further argument: the host's clock |
//! | `@lock`, `@skip` | `for update`, `for update skip locked` | nothing: a transaction that writes is alone |
//! | `@each($1)` | the elements of a JSON array, as `each.value` | the same |
//! | `@in(q.run, $1)` | whether it is the `run` of one of the elements of a JSON array; found by the index whatever the server believes of the table | the same |
//! | `@suits(q.host_labels, $2)` | whether all labels of the first are among the second | the same |
//! | `@position(a, b)` | where `b` begins in `a`, 0: nowhere | the same |
//!
//! What each part means must not depend on the engine; where it would, a module of the engine does it.

use std::borrow::Cow;
use std::sync::OnceLock;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A statement for both engines; made by the macro `sql!`.
pub(crate) struct Statement {
    text: Cow<'static, str>,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

/// A statement as a static, so that it is translated once.
macro_rules! sql {
    ($($text:expr),+ $(,)?) => {{
        static STATEMENT: $crate::session::Statement = $crate::session::Statement::new(concat!($($text),+));
        &STATEMENT
    }};
}
pub(crate) use sql;

/// Statements that write to different tables from the same arguments. To a server they are said as one, which is one trip; none of them may
/// rely on what another writes.
pub(crate) struct Together {
    parts: &'static [&'static Statement],
    postgres: OnceLock<Statement>,
}

/// Several statements as a static; see [`Together`].
macro_rules! together {
    ($($part:expr),+ $(,)?) => {{
        static TOGETHER: $crate::session::Together = $crate::session::Together::new(&[$($part),+]);
        &TOGETHER
    }};
}
pub(crate) use together;

impl Together {
    pub(crate) const fn new(parts: &'static [&'static Statement]) -> Self {
        Self { parts, postgres: OnceLock::new() }
    }

    /// One by one.
    pub(crate) fn parts(&self) -> &'static [&'static Statement] {
        self.parts
    }

    /// As one.
    pub(crate) fn one(&'static self) -> &'static Statement {
        self.postgres.get_or_init(|| {
            let parts: Vec<_> =
                self.parts.iter().enumerate().map(|(n, part)| format!("part{n} as ({})", part.text)).collect();
            Statement::composed(format!("with {} select 1", parts.join(", ")))
        })
    }
}

/// The time of the server, evaluated once in a statement, so that an index can be used.
const POSTGRES_NOW: &str = "(select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint))";

impl Statement {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// One that is put together of the names of tables and columns.
    pub(crate) fn composed(text: String) -> Self {
        Self { text: Cow::Owned(text), sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// What the engine is told.
    pub(crate) fn text(&'static self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite.get_or_init(|| sqlite(&self.text)),
            Engine::Postgres => self.postgres.get_or_init(|| postgres(&self.text)),
        }
    }

    /// How many arguments it has, without the time.
    pub(crate) fn arguments(&self) -> usize {
        arguments(&self.text)
    }

    /// Whether SQLite gets the time as a further argument.
    pub(crate) fn needs_time(&self) -> bool {
        self.text.contains("@now")
    }
}

fn sqlite(text: &str) -> String {
    let time = format!("${}", arguments(text) + 1);
    let text = text.replace("rota.", "").replace("@now", &time).replace("@lock", "").replace("@skip", "");
    let text = replace_call(&text, "@in", |inside| {
        let (what, list) = inside.split_once(',').unwrap_or((inside, "'[]'"));
        format!("{what} in (select each.value ->> 'run' from json_each({list}) as each)")
    });
    let text = replace_call(&text, "@each", |inside| format!("json_each({inside}) as each"));
    let text = replace_call(&text, "@suits", |inside| {
        let (needed, given) = inside.split_once(',').unwrap_or((inside, "'{}'"));
        format!(
            "not exists (select 1 from json_each({needed}) needed left join json_each({given}) given on given.key = needed.key
             where given.value is not needed.value)"
        )
    });
    replace_call(&text, "@position", |inside| format!("instr({inside})"))
}

fn postgres(text: &str) -> String {
    let text =
        text.replace("@now", POSTGRES_NOW).replace("@lock", "for update").replace("@skip", "for update skip locked");
    let text = replace_call(&text, "@in", |inside| {
        let (what, list) = inside.split_once(',').unwrap_or((inside, "'[]'"));
        format!(
            "{what} = any (array(select each.value ->> 'run' from jsonb_array_elements(cast({list} as jsonb)) as each(value)))"
        )
    });
    let text =
        replace_call(&text, "@each", |inside| format!("jsonb_array_elements(cast({inside} as jsonb)) as each(value)"));
    let text = replace_call(&text, "@suits", |inside| {
        let (needed, given) = inside.split_once(',').unwrap_or((inside, "'{}'"));
        format!("(cast({needed} as jsonb) <@ cast({given} as jsonb))")
    });
    replace_call(&text, "@position", |inside| format!("strpos({inside})"))
}

/// The highest number of an argument.
fn arguments(text: &str) -> usize {
    text.split('$')
        .skip(1)
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..end)?.parse().ok()
        })
        .max()
        .unwrap_or(0)
}

/// Replace `name(...)`; what is in the brackets has none itself.
fn replace_call(text: &str, name: &str, with: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(name) {
        out.push_str(before);
        match after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            Some((inside, after)) => {
                out.push_str(&with(inside));
                rest = after;
            }
            None => {
                out.push_str(name);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_is_told_in_its_own_words() {
        static STATEMENT: Statement = Statement::new(
            "select each.value ->> 'a' from @each($2) join rota.runs r on r.id = $1 where r.due <= @now and @suits(r.labels, $3) @skip",
        );
        assert!(STATEMENT.needs_time());
        let sqlite = STATEMENT.text(Engine::Sqlite);
        assert!(sqlite.contains("json_each($2) as each join runs r") && sqlite.contains("r.due <= $4"), "{sqlite}");
        assert!(!sqlite.contains('@') && !sqlite.contains("for update"), "{sqlite}");
        let postgres = STATEMENT.text(Engine::Postgres);
        assert!(postgres.contains("join rota.runs r") && postgres.ends_with("for update skip locked"), "{postgres}");
        assert!(postgres.contains("clock_timestamp()") && !postgres.replace("<@", "").contains('@'), "{postgres}");
    }
}
