//! The live database, as it is before anything is done, and who is in it.

use crate::parameters::Properties;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::tell::some;

/// The live database.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Live {
    /// What stays when it is renamed.
    pub(crate) oid: i64,
    pub(crate) owner: Quoted,
    pub(crate) encoding: String,
    pub(crate) collation: Option<String>,
    pub(crate) ctype: Option<String>,
    /// `c`, `i` or `b`.
    pub(crate) provider: Option<String>,
    pub(crate) locale: Option<String>,
    pub(crate) tablespace: Quoted,
    pub(crate) connection_limit: i32,
    pub(crate) allows_connections: bool,
    pub(crate) comment: Option<String>,
    /// Whether the role may rename it.
    pub(crate) ours: bool,
}

const LIVE: &str = "\
    select d.oid::int8 as oid, format('%I', pg_get_userbyid(d.datdba)) as owner, pg_encoding_to_char(d.encoding)::text as encoding, \
           d.datcollate::text as collation, d.datctype::text as ctype, to_jsonb(d) ->> 'datlocprovider' as provider, \
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') as locale, \
           format('%I', t.spcname) as tablespace, d.datconnlimit as connection_limit, d.datallowconn as allows_connections, \
           shobj_description(d.oid, 'pg_database') as comment, pg_has_role(d.datdba, 'member') as ours \
    from pg_catalog.pg_database d join pg_catalog.pg_tablespace t on t.oid = d.dattablespace \
    where d.datname = $1 and not d.datistemplate";

/// The statements that would bring back its settings and rights, written by the server.
const PROPERTIES: &str = "\
    select format('ALTER %sDATABASE %I SET %s TO %L', \
                  case when s.setrole = 0 then '' else format('ROLE %I IN ', pg_get_userbyid(s.setrole)) end, $1::text, \
                  split_part(c.setting, '=', 1), substr(c.setting, strpos(c.setting, '=') + 1)) as statement \
    from pg_catalog.pg_db_role_setting s cross join lateral unnest(s.setconfig) as c (setting) where s.setdatabase = $2::int8::oid \
    union all \
    select format('REVOKE %s ON DATABASE %I FROM PUBLIC', a.privilege_type, $1::text) \
    from pg_catalog.pg_database d cross join lateral aclexplode(acldefault('d', d.datdba)) a \
    where d.oid = $2::int8::oid and d.datacl is not null and a.grantee = 0 \
      and not exists (select from aclexplode(d.datacl) h where h.grantee = 0 and h.privilege_type = a.privilege_type) \
    union all \
    select format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $1::text, \
                  case when a.grantee = 0 then 'PUBLIC' else format('%I', pg_get_userbyid(a.grantee)) end, \
                  case when a.is_grantable then ' WITH GRANT OPTION' else '' end) \
    from pg_catalog.pg_database d cross join lateral aclexplode(d.datacl) a \
    where d.oid = $2::int8::oid and not exists (select from aclexplode(acldefault('d', d.datdba)) o \
                                               where o.grantee = a.grantee and o.privilege_type = a.privilege_type and o.is_grantable = a.is_grantable)";

/// A session in a database.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Other {
    pub(crate) pid: i32,
    pub(crate) start: Option<Timestamp>,
    pub(crate) what: String,
    /// Its user is a superuser, and this role is none: it cannot end it.
    pub(crate) out_of_reach: bool,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {})", self.what, self.pid)
    }
}

/// Everybody but autovacuum, which gives way by itself.
const OTHERS: &str = "\
    select a.pid, a.backend_start as start, \
           concat_ws(' ', coalesce(a.usename::text, a.backend_type, 'a process of the server'), nullif(a.application_name, ''), \
                     'from ' || coalesce(host(a.client_addr), 'this machine'), a.state) as what, \
           coalesce((select r.rolsuper from pg_catalog.pg_roles r where r.oid = a.usesysid), false) \
             and not (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) as out_of_reach \
    from pg_catalog.pg_stat_activity a \
    where a.datid = $1::int8::oid and a.pid <> pg_backend_pid() and coalesce(a.backend_type, '') <> 'autovacuum worker' \
    order by a.pid";

/// The live database; none where there is none of the name.
///
/// # Errors
/// When the server does not answer, or the role may not rename it.
pub(crate) async fn look(session: &mut Session, server: &Server, name: &str) -> Result<Option<Live>> {
    let template: Option<bool> = session
        .query_optional("select datistemplate from pg_catalog.pg_database where datname = $1", params![name])
        .await?;
    if template == Some(true) || name == crate::guard::MAINTENANCE {
        return Err(Error::new(format!("{name:?} is the server's own, and is not restored over"))
            .hint("name another database with `target`"));
    }
    let Some(live) = session.query_optional::<Live>(LIVE, params![name]).await? else { return Ok(None) };
    if !live.ours {
        return Err(Error::new(format!(
            "role {} may not rename database {name:?}, which {} owns",
            server.role, live.owner
        ))
        .hint(format!("as a superuser: GRANT {} TO {} (and CREATEDB)", live.owner, server.role)));
    }
    Ok(Some(live))
}

/// What hangs on the live database beside its data, and would stay with the old one.
///
/// # Errors
/// When it is more than may be left behind.
pub(crate) async fn check(
    session: &mut Session,
    name: &str,
    live: &Live,
    properties: Properties,
    report: &mut Report,
) -> Result<()> {
    let prepared: Vec<String> = session
        .query_all("select gid from pg_catalog.pg_prepared_xacts where database = $1 order by prepared", params![name])
        .await?;
    if !prepared.is_empty() {
        return Err(Error::new(format!(
            "database {name:?} has {} prepared transaction(s): {}",
            prepared.len(),
            some(&prepared, 5)
        ))
        .hint(
            "commit or roll them back (COMMIT PREPARED, ROLLBACK PREPARED): with them, a database cannot be renamed",
        ));
    }
    let slots: Vec<String> = session
        .query_all(
            "select slot_name::text from pg_catalog.pg_replication_slots where database = $1 order by slot_name",
            params![name],
        )
        .await?;
    if !slots.is_empty() {
        report
            .warning(format!("{name}: {} logical replication slot(s) stay with the old database", slots.len()))
            .detail(format!(
                "{}. Whoever reads them gets nothing of the restored database, and they hold WAL.",
                some(&slots, 10)
            ))
            .advice("Make the slots anew in the restored database, and drop the old ones.");
    }
    let statements: Vec<String> = session.query_all(PROPERTIES, params![name, live.oid]).await?;
    if statements.is_empty() {
        return Ok(());
    }
    let list = statements.join("; ");
    if properties == Properties::MustBeDefault {
        return Err(Error::new(format!(
            "database {name:?} has settings or rights of its own, which the restored one would not have: {list}"
        ))
        .hint("no procedure may grant rights; restore with `only_beside` and swap by hand, or set properties to report and run the statements right after"));
    }
    report
        .critical(format!("{name}: {} setting(s) and right(s) of the database are not restored", statements.len()))
        .detail("They are of the database, not in it, and no procedure may grant or set them.")
        .advice(format!("As a superuser, in any database: {list}"));
    Ok(())
}

/// The sessions of others in a database.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn others(session: &mut Session, oid: i64) -> Result<Vec<Other>> {
    session.query_all(OTHERS, params![oid]).await
}
