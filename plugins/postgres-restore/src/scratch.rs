//! The database beside the live one: made from template0, filled, analysed, and counted.

use crate::backup::Proven;
use crate::guard::MAINTENANCE;
use crate::live::Live;
use crate::{Context, Parameters};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::sql::Quoted;
use rota_sdk::{SqlSlot, Timestamp};
use rota_sdk_backup::Manifest;
use rota_sdk_backup::bucket::Backup;
use rota_sdk_backup::rows::{TableRows, differences};
use rota_sdk_backup::tell::some;
use rota_sdk_backup::verify::{Passage, wrong_content};

/// What the server takes of a name, bytes.
const LONGEST: usize = 63;

/// A name beside the live one: as much of it as fits, what it is, and when.
pub(crate) fn name_beside(target: &str, what: &str, at: Timestamp, tail: &str) -> String {
    let end =
        if tail.is_empty() { format!("_{what}_{}", at.compact()) } else { format!("_{what}_{}_{tail}", at.compact()) };
    let end = end.to_lowercase();
    let room = LONGEST.saturating_sub(end.len());
    format!("{}{end}", &target[..target.floor_char_boundary(room)])
}

/// The end of a run's id, which is the part that differs.
pub(crate) fn tail_of(run: &str) -> String {
    let digits: String = run.chars().filter(char::is_ascii_hexdigit).collect();
    digits[digits.len().saturating_sub(8)..].to_lowercase()
}

/// An extension that the role may not create by itself.
#[derive(FromRow)]
struct Wanted {
    name: String,
    available: Option<String>,
    /// Whether the role may create it.
    allowed: bool,
}

const EXTENSIONS: &str = "\
    select w.name, a.default_version as available, \
           coalesce(bool_or(not v.superuser or v.trusted), false) or (select rolsuper from pg_catalog.pg_roles where rolname = current_user) as allowed \
    from unnest($1::text[]) as w (name) \
    left join pg_catalog.pg_available_extensions a on a.name = w.name \
    left join pg_catalog.pg_available_extension_versions v on v.name = a.name and v.version = a.default_version \
    group by w.name, a.default_version order by w.name";

/// The extensions that must be made by the privileged binding.
///
/// # Errors
/// When one is not installed on the server, or there is no privileged binding.
pub(crate) async fn extensions(
    cx: &Context,
    session: &mut Session,
    server: &Server,
    manifest: &Manifest,
) -> Result<Vec<String>> {
    let names: Vec<Option<String>> =
        manifest.extensions.iter().filter(|e| e.name != "plpgsql").map(|e| Some(e.name.clone())).collect();
    let wanted: Vec<Wanted> = session.query_all(EXTENSIONS, params![names]).await?;
    let missing: Vec<&str> = wanted.iter().filter(|w| w.available.is_none()).map(|w| w.name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Error::new(format!(
            "the server has not installed what the backup needs: extension {}",
            some(&missing, 10)
        ))
        .hint("install the package on the server's machine"));
    }
    let privileged: Vec<String> = wanted.into_iter().filter(|w| !w.allowed).map(|w| w.name).collect();
    if !privileged.is_empty() && cx.control().is_none() {
        return Err(Error::new(format!("role {} may not create extension {}", server.role, some(&privileged, 10)))
            .hint("bind a superuser of the server to the slot `control`, with --grant control=read,ddl: it makes the extensions and nothing else"));
    }
    Ok(privileged)
}

/// The database beside the live one.
pub(crate) struct Scratch {
    pub(crate) name: String,
    pub(crate) quoted: Quoted,
}

impl Scratch {
    /// Make it, as the live one is made: owner, encoding, locale, tablespace, limit.
    ///
    /// # Errors
    /// What the server said.
    pub(crate) async fn create(
        session: &mut Session,
        name: &str,
        live: Option<&Live>,
        manifest: &Manifest,
    ) -> Result<Self> {
        let quoted = session.quote_name(name).await?;
        // A name in quotes is taken where a text is, so that the server quotes these too.
        let word = async |session: &mut Session, text: &Option<String>| match text {
            Some(text) => session.quote_name(text).await.map(Some),
            None => Ok(None),
        };
        let same_encoding = live.filter(|live| live.encoding == manifest.source.encoding);
        let encoding = session.quote_name(&manifest.source.encoding).await?;
        let (collation, ctype) = match same_encoding {
            Some(live) => (live.collation.clone(), live.ctype.clone()),
            None => (manifest.source.collation.clone(), manifest.source.collation.clone()),
        };
        let mut statement = sql!("CREATE DATABASE {} TEMPLATE template0 ENCODING {}", quoted, encoding);
        if let Some(collation) = word(session, &collation).await? {
            statement = sql!("{} LC_COLLATE {}", statement, collation);
        }
        if let Some(ctype) = word(session, &ctype).await? {
            statement = sql!("{} LC_CTYPE {}", statement, ctype);
        }
        if let Some(live) = same_encoding {
            let locale = word(session, &live.locale).await?;
            statement = match (live.provider.as_deref(), locale) {
                (Some("i"), Some(locale)) => sql!("{} LOCALE_PROVIDER icu ICU_LOCALE {}", statement, locale),
                (Some("b"), Some(locale)) => sql!("{} LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", statement, locale),
                _ => sql!("{} LOCALE_PROVIDER libc", statement),
            };
        }
        if let Some(live) = live {
            statement = sql!("{} OWNER {}", statement, live.owner);
            // Named, even the usual one asks for a right on it.
            if live.tablespace.as_str() != "pg_default" {
                statement = sql!("{} TABLESPACE {}", statement, live.tablespace);
            }
            if live.connection_limit >= 0 {
                statement = sql!("{} CONNECTION LIMIT {}", statement, live.connection_limit);
            }
        }
        session
            .execute(statement, params![])
            .await
            .with_context(|| format!("making database {name:?} beside the live one"))
            .hint("the role in the slot `database` needs CREATEDB, and to be a member of the live database's owner")?;
        Ok(Self { name: name.to_owned(), quoted })
    }

    /// The extensions that only a privileged role can make.
    ///
    /// # Errors
    /// What the server said.
    pub(crate) async fn privileged_extensions(&self, control: SqlSlot, names: &[String], plan: bool) -> Result<()> {
        // In a plan there is no such database, and what would be done is listed all the same.
        let mut session = if plan { control.open().await? } else { control.open_database(&self.name).await? };
        for name in names {
            let quoted = session.quote_name(name).await?;
            session.execute(sql!("CREATE EXTENSION IF NOT EXISTS {}", quoted), params![]).await?;
        }
        Ok(())
    }

    /// The backup into it; on an error stop.
    ///
    /// # Errors
    /// What `pg_restore` said, or what is wrong with the bytes.
    pub(crate) async fn fill(
        &self,
        cx: &Context,
        bucket: &Bucket,
        backup: &Backup,
        manifest: &Manifest,
        parameters: &Parameters,
        comments: bool,
    ) -> Result<()> {
        let part = &manifest.dump;
        let (stream, passage) = Passage::open(bucket, &backup.folder, part, cx.key()).await?;
        let jobs = format!("--jobs={}", parameters.jobs);
        let mut arguments = vec!["--exit-on-error"];
        if parameters.jobs > 1 {
            arguments.push(&jobs);
        }
        if !comments {
            arguments.push("--no-comments");
        }
        let child =
            cx.pg_restore().spawn(&arguments, Some(cx.database().connection_to(&self.name)), Some(stream)).await?;
        let ended = child.wait().await;
        let passed = passage.finish().await;
        if ended.as_ref().is_ok_and(rota_sdk::tools::Ended::is_planned) {
            return Ok(());
        }
        if let Some((_, error)) = &passed.blame {
            return Err(error.clone().context("reading the backup while it was restored"));
        }
        ended?.success("pg_restore").context("restoring beside the live database").hint(
            "the live database was not touched. Roles that the backup's objects belong to must exist: they are in its globals (`globals.sql`)",
        )?;
        if !passed.whole {
            return Err(Error::new("pg_restore stopped before the end of the backup, and said that all is well"));
        }
        match wrong_content(&backup.folder.object(&part.object), &passed, part) {
            Some(problem) => {
                Err(Error::new(format!("what was restored is not the backup: {}: {}", problem.title, problem.detail)))
            }
            None => Ok(()),
        }
    }

    /// Statistics for the planner, and the rows of every table against those of the backup: both at once, as neither changes what the other sees.
    ///
    /// # Errors
    /// When a table came back with other rows than it should.
    pub(crate) async fn prove(&self, cx: &Context, proven: &Proven, report: &mut Report) -> Result<Vec<TableRows>> {
        let mut analyst = cx.database().open_database(&self.name).await?;
        let mut counter = cx.database().open_database(&self.name).await?;
        for session in [&mut analyst, &mut counter] {
            unhurried(cx, session).await?;
        }
        let analysing = async {
            analyst.execute("ANALYZE", params![]).await?;
            let bare: Vec<String> = analyst
                .query_all(
                    "select format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                     where c.relkind in ('r', 'm') and c.reltuples < 0 and c.relpersistence <> 't' and n.nspname <> 'information_schema' \
                       and not starts_with(n.nspname::text, 'pg_') and not (c.relkind = 'm' and not c.relispopulated) order by 1",
                    params![],
                )
                .await?;
            Ok::<_, Error>(bare)
        };
        let counting = async {
            let mut found = Vec::with_capacity(proven.rows.len());
            for table in &proven.rows {
                let name = counter.quote_qualified(&table.schema, &table.table).await?;
                let rows: Option<i64> =
                    match counter.query_optional(sql!("select count(*) from only {}", name), params![]).await {
                        Ok(rows) => rows,
                        Err(error) if error.code() == Some("42P01") => None,
                        Err(error) => return Err(error),
                    };
                if let Some(rows) = rows {
                    found.push(TableRows {
                        schema: table.schema.clone(),
                        table: table.table.clone(),
                        rows: u64::try_from(rows).unwrap_or(0),
                    });
                }
            }
            Ok(found)
        };
        let (analysed, counted) = join(analysing, counting).await;
        let counted = counted.context("counting the restored rows")?;
        let differ = differences(&proven.rows, &counted);
        if !differ.is_empty() {
            return Err(Error::new(format!(
                "{} table(s) came back with other rows than the backup has: {}",
                differ.len(),
                some(&differ, 10)
            ))
            .hint("the live database was not touched; verify the backup with postgres-backup-verify, level restored"));
        }
        let bare = analysed.context("analysing the restored database")?;
        if !bare.is_empty() {
            report
                .warning(format!("{}: {} table(s) without statistics", self.name, bare.len()))
                .detail(format!(
                    "The role may not analyse them: {}. Queries on them are planned badly until somebody does.",
                    some(&bare, 10)
                ))
                .advice("As their owner or a superuser: ANALYZE");
        }
        Ok(counted)
    }
}

/// Statements on a large database take as long as they take: until the run's own time is over.
pub(crate) async fn unhurried(cx: &Context, session: &mut Session) -> Result<()> {
    let left = cx.deadline().seconds_since(cx.now()).clamp(1.0, 2e6);
    session.configure("statement_timeout", format!("{left:.0}s")).await
}

/// What is said of a database at the server itself, for whoever finds it.
pub(crate) async fn remark(session: &mut Session, database: &str, text: &str) -> Result<Sql> {
    // Quoted by the server, name and text.
    let statement: String = session
        .query_one("select format('COMMENT ON DATABASE %I IS %L', $1::text, $2::text)", params![database, text])
        .await?;
    Ok(Sql::from_operator(statement))
}

/// A session where databases as a whole are dealt with.
pub(crate) async fn maintenance(cx: &Context) -> Result<Session> {
    cx.database()
        .open_database(MAINTENANCE)
        .await
        .hint("databases are made and renamed from the database `postgres`, which must exist and let the role in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_fit_and_tell() {
        let at = Timestamp(1_795_452_300_000_000);
        assert_eq!(name_beside("kosmos", "restore", at, "0a1b2c3d"), "kosmos_restore_20261123t164500z_0a1b2c3d");
        assert_eq!(name_beside("kosmos", "before", at, ""), "kosmos_before_20261123t164500z");
        let long = name_beside(&"ä".repeat(31), "restore", at, "0a1b2c3d");
        assert!(long.len() <= 63 && long.ends_with("ä_restore_20261123t164500z_0a1b2c3d"), "{long}");
        assert_eq!(tail_of("0198-aaaa-ABCDEF01"), "abcdef01");
    }
}
