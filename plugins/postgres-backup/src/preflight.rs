//! What must hold before anything is dumped. A backup that would leave something out is refused here, with what it would leave out.

use crate::{Attempt, Compression};
use rota_sdk::ToolSlot;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::sql::Quoted;
use rota_sdk::tools::ToolInfo;
use rota_sdk_backup::manifest::Extension;
use rota_sdk_backup::tell::some;

/// How many tables and sequences are looked at, at most.
const MOST_RELATIONS: usize = 1_000_000;

/// What was found out beforehand.
#[derive(Debug)]
pub(crate) struct Preflight {
    /// The database's encoding.
    pub(crate) encoding: String,
    /// Its collation.
    pub(crate) collation: Option<String>,
    /// Its size on disk, bytes.
    pub(crate) size_bytes: Option<u64>,
    /// The client.
    pub(crate) pg_dump: ToolInfo,
    /// The program for roles and tablespaces, where it is bound and wanted.
    pub(crate) pg_dumpall: Option<(ToolSlot, ToolInfo)>,
    /// The tables whose rows the dump will have.
    pub(crate) tables: Vec<Relation>,
    /// The extensions that a restore needs.
    pub(crate) extensions: Vec<Extension>,
}

#[derive(FromRow)]
struct Facts {
    superuser: bool,
    size: Option<i64>,
    encoding: String,
    collation: Option<String>,
}

/// A table or sequence that pg_dump will read.
#[derive(Debug, FromRow)]
pub(crate) struct Relation {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) quoted: Quoted,
    /// Whether it has rows of its own that are dumped whole.
    pub(crate) counts: bool,
    /// Whether the role may read it.
    pub(crate) readable: bool,
    /// Whether row security would hide rows from the role.
    pub(crate) filtered: bool,
    /// The planner's estimate; below 0: none yet.
    pub(crate) estimate: f64,
}

/// Everything that pg_dump reads: tables (those of extensions only where they are its configuration), partitioned tables, sequences.
/// Materialised views are filled again by a restore, foreign tables are elsewhere.
const RELATIONS: &str = "\
    select n.nspname::text as schema, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted, \
           c.relkind = 'r' and not member.is and not (pg_is_in_recovery() and c.relpersistence = 'u') as counts, \
           has_schema_privilege(n.oid, 'usage') and case c.relkind when 'S' then has_sequence_privilege(c.oid, 'select') \
               else has_table_privilege(c.oid, 'select') end as readable, \
           case when c.relkind in ('r', 'p') then row_security_active(c.oid) else false end as filtered, \
           c.reltuples::float8 as estimate \
    from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    cross join lateral (select exists (select 1 from pg_catalog.pg_depend d \
        where d.classid = c.tableoid and d.objid = c.oid and d.deptype = 'e') as is) member \
    where c.relkind in ('r', 'p', 'S') and c.relpersistence <> 't' \
      and n.nspname <> 'information_schema' and not starts_with(n.nspname::text, 'pg_') \
      and (not member.is or exists (select 1 from pg_catalog.pg_extension e where c.oid = any (e.extconfig))) \
    order by 1, 2";

/// Large objects that the role may not read; `pg_read_all_data` does not cover them. The owner may, and whoever was granted it.
const LARGE_OBJECTS: &str = "\
    select count(*) from pg_catalog.pg_largeobject_metadata m \
    where not pg_has_role(m.lomowner, 'usage') \
      and not exists (select 1 from aclexplode(m.lomacl) a \
                      where a.privilege_type = 'SELECT' and (a.grantee = 0 or pg_has_role(a.grantee, 'usage')))";

/// Check everything that can be checked without an effect.
pub(crate) async fn check(
    attempt: &Attempt<'_>,
    session: &mut Session,
    server: &Server,
    report: &mut Report,
) -> Result<Preflight> {
    if let Some(level) = attempt.parameters.verify.level() {
        attempt.means().suffice(level)?;
        if level > rota_sdk_backup::Level::Stored
            && !attempt.parameters.recipients.is_empty()
            && attempt.cx.key().is_none()
        {
            return Err(Error::new(format!(
                "verify {} of an encrypted backup needs the slot `key`, which is not bound",
                level.word()
            ))
            .hint("bind a key with --bind key=file:/path/to/identity, or verify with level stored, which needs none"));
        }
    }
    let pg_dump = attempt.cx.pg_dump().info().await?;
    check_client(attempt, "pg_dump", &pg_dump, server, report)?;
    let pg_dumpall = check_globals(attempt, server, report).await?;
    if attempt.parameters.compression == Compression::ClientZstd && pg_dump.major < 16 {
        return Err(Error::new(format!("pg_dump {} has no zstd", pg_dump.version))
            .hint("set compression to zstd: the host compresses then"));
    }
    let facts: Facts = session
        .query_one(
            "select r.rolsuper as superuser, pg_database_size(d.oid) as size, pg_encoding_to_char(d.encoding)::text as encoding, \
             d.datcollate::text as collation \
             from pg_catalog.pg_database d, pg_catalog.pg_roles r where d.datname = current_database() and r.rolname = current_user",
            params![],
        )
        .await
        .context("looking at the database")?;
    let relations: Vec<Relation> =
        session.query(RELATIONS, params![]).await?.collect(MOST_RELATIONS).await.context("looking at the tables")?;
    if !facts.superuser {
        check_privileges(server, &relations)?;
        let hidden: i64 = session.query_one(LARGE_OBJECTS, params![]).await.context("looking at the large objects")?;
        if hidden > 0 {
            return Err(Error::new(format!("role {} may not read {hidden} large object(s)", server.role)).hint(
                format!("as their owners: GRANT SELECT ON LARGE OBJECT ... TO {}, or dump as a superuser", server.role),
            ));
        }
    }
    let extensions: Vec<(String, String)> = session
        .query_all(
            "select extname::text, extversion from pg_catalog.pg_extension where extname <> 'plpgsql' order by 1",
            params![],
        )
        .await
        .context("looking at the extensions")?;
    Ok(Preflight {
        encoding: facts.encoding,
        collation: facts.collation,
        size_bytes: facts.size.and_then(|size| u64::try_from(size).ok()),
        pg_dump,
        pg_dumpall,
        tables: relations.into_iter().filter(|relation| relation.counts).collect(),
        extensions: extensions.into_iter().map(|(name, version)| Extension { name, version }).collect(),
    })
}

/// What dumps roles and tablespaces, if they are wanted.
async fn check_globals(
    attempt: &Attempt<'_>,
    server: &Server,
    report: &mut Report,
) -> Result<Option<(ToolSlot, ToolInfo)>> {
    match attempt.cx.pg_dumpall() {
        _ if !attempt.parameters.globals => Ok(None),
        None => {
            report
                .note("roles and tablespaces are not in this backup: the slot `pg_dumpall` is not bound")
                .advice("Bind it with --bind pg_dumpall=/usr/bin/pg_dumpall, or set globals to false.");
            Ok(None)
        }
        Some(pg_dumpall) => {
            let info = pg_dumpall.info().await?;
            check_client(attempt, "pg_dumpall", &info, server, report)?;
            Ok(Some((pg_dumpall, info)))
        }
    }
}

/// The client must be of the server's major version: an older one refuses, a newer one writes what this version's pg_restore may not read.
fn check_client(
    attempt: &Attempt<'_>,
    program: &str,
    info: &ToolInfo,
    server: &Server,
    report: &mut Report,
) -> Result<()> {
    let wanted = server.major();
    if info.major < wanted {
        return Err(Error::new(format!("{program} {} cannot dump PostgreSQL {}", info.version, server.version))
            .hint(format!("bind {program} of version {wanted}")));
    }
    if info.major == wanted {
        return Ok(());
    }
    let title = format!("{program} {} is newer than the server, {}", info.version, server.version);
    if !attempt.parameters.allow_newer_client {
        return Err(Error::new(format!("{title}: pg_restore {wanted} may not be able to read what it writes"))
            .hint(format!("bind {program} of version {wanted}, or set allow_newer_client")));
    }
    report.warning(title).detail(format!("Restore with tools of version {} or later.", info.major));
    Ok(())
}

/// pg_dump stops at the first table that it may not read; tell all of them at once.
fn check_privileges(server: &Server, relations: &[Relation]) -> Result<()> {
    let names = |wanted: fn(&Relation) -> bool| {
        relations.iter().filter(|r| wanted(r)).map(|r| r.quoted.to_string()).collect::<Vec<_>>()
    };
    let unreadable = names(|relation| !relation.readable);
    if !unreadable.is_empty() {
        return Err(Error::new(format!(
            "role {} may not read {} table(s) or sequence(s): {}",
            server.role,
            unreadable.len(),
            some(&unreadable, 10)
        ))
        .hint(format!("as a superuser: GRANT pg_read_all_data TO {}", server.role)));
    }
    let filtered = names(|relation| relation.filtered);
    if !filtered.is_empty() {
        return Err(Error::new(format!(
            "row security hides rows of {} table(s) from role {}: {}",
            filtered.len(),
            server.role,
            some(&filtered, 10)
        ))
        .hint(format!("as a superuser: ALTER ROLE {} BYPASSRLS", server.role)));
    }
    Ok(())
}
