//! What the server says of locks, at one moment.

use crate::modes;
use rota_sdk::postgres::shown;
use rota_sdk::prelude::*;
use std::collections::BTreeSet;

/// Somebody waits for somebody.
#[data]
#[derive(PartialEq, Eq)]
pub(crate) struct Edge {
    /// The key of who waits.
    pub(crate) waiter: String,
    /// The key of who must act first.
    pub(crate) blocker: String,
    /// On what: `relation public.orders`, `transaction 751` ...
    pub(crate) object: String,
    /// The mode that the waiter wants.
    pub(crate) wants: String,
    /// The modes in which the blocker holds it.
    pub(crate) held: Vec<String>,
    /// Whether the blocker does not hold it, but waits further ahead in the same queue.
    pub(crate) only_ahead: bool,
}

/// A session or a prepared transaction.
#[data]
#[derive(FromRow)]
pub(crate) struct Node {
    /// What edges name it by: its process id, or `prepared ` and the transaction's name.
    pub(crate) key: String,
    /// Its process id; 0 for a prepared transaction, which has none.
    pub(crate) pid: i64,
    /// The name of the prepared transaction.
    pub(crate) gid: Option<String>,
    /// The statement that undoes the prepared transaction, from a session of its database.
    pub(crate) rollback: Option<String>,
    /// When the session started, or the transaction was prepared.
    pub(crate) backend_start: Option<Timestamp>,
    /// `client backend`, `autovacuum worker` ...
    pub(crate) backend_type: Option<String>,
    /// Its user.
    pub(crate) user: Option<String>,
    /// Whether its user is a superuser, whose sessions no procedure ends.
    pub(crate) superuser: bool,
    /// The name that the application gives itself.
    pub(crate) application: Option<String>,
    /// Its database.
    pub(crate) database: Option<String>,
    /// Where it connects from; null for a local socket.
    pub(crate) client: Option<String>,
    /// `active`, `idle in transaction` ...
    pub(crate) state: Option<String>,
    /// How long its transaction is open (or prepared), in seconds.
    pub(crate) transaction_seconds: Option<f64>,
    /// How long it waits for a lock, in seconds; null where it does not.
    #[column(skip)]
    pub(crate) wait_seconds: Option<f64>,
    /// Its statement, cut and without literals.
    pub(crate) statement: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) edges: Vec<Edge>,
    pub(crate) nodes: Vec<Node>,
}

#[derive(FromRow)]
struct Wait {
    waiter: i64,
    blocker: i64,
    object: String,
    wants: String,
    held: Option<Vec<String>>,
    ahead: bool,
    wait_seconds: Option<f64>,
}

#[derive(FromRow)]
struct Prepared {
    waiter: i64,
    gid: String,
    wants: String,
    held: String,
    object: String,
}

// One look at pg_locks for all of it (it is a function that copies the server's table); pg_blocking_pids looks again, so who has gone meanwhile has no edge.
const LOCKS: &str = "\
    with locks as materialized ( \
        select l.*, coalesce(a.leader_pid, l.pid)::int8 as who \
        from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid \
    ), waits as materialized ( \
        select w.*, case \
            when w.locktype in ('relation', 'extend', 'page', 'tuple') then \
                case w.locktype when 'extend' then 'extension of ' when 'tuple' then 'row of ' else '' end || \
                case when c.oid is not null and (w.database = 0 or d.datname = current_database()) then format('%I.%I', n.nspname, c.relname) \
                     else 'relation ' || w.relation || ' of database ' || coalesce(d.datname, w.database::text) end \
            when w.locktype = 'transactionid' then 'transaction ' || w.transactionid::text || coalesce((select ', a row of ' || format('%I.%I', tn.nspname, tc.relname) \
                from locks t join pg_catalog.pg_class tc on tc.oid = t.relation join pg_catalog.pg_namespace tn on tn.oid = tc.relnamespace \
                where t.pid = w.pid and t.locktype = 'tuple' and t.database = (select h.oid from pg_catalog.pg_database h where h.datname = current_database()) limit 1), '') \
            when w.locktype = 'virtualxid' then 'virtual transaction ' || w.virtualxid \
            when w.locktype = 'advisory' then 'advisory lock ' || w.classid::text || ', ' || w.objid::text \
            else w.locktype end as object \
        from locks w left join pg_catalog.pg_database d on d.oid = w.database left join pg_catalog.pg_class c on c.oid = w.relation \
        left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where not w.granted \
    ), pairs as ( \
        select w.who as waiter, w.object, w.mode as wants, h.who as holder, h.pid is null as is_prepared, h.virtualtransaction as holds_as, h.mode, h.granted \
        from waits w join locks h on h.locktype = w.locktype and h.database is not distinct from w.database \
             and h.relation is not distinct from w.relation and h.page is not distinct from w.page and h.tuple is not distinct from w.tuple \
             and h.virtualxid is not distinct from w.virtualxid and h.transactionid is not distinct from w.transactionid \
             and h.classid is not distinct from w.classid and h.objid is not distinct from w.objid and h.objsubid is not distinct from w.objsubid \
    ) ";

const EDGES: &str = "\
    select w.who as waiter, b.pid::int8 as blocker, w.object, w.mode as wants, \
           (select array_agg(distinct p.mode order by p.mode) from pairs p where p.waiter = w.who and p.object = w.object and p.holder = b.pid and p.granted) as held, \
           exists (select from pairs p where p.waiter = w.who and p.object = w.object and p.holder = b.pid and not p.granted) as ahead, \
           extract(epoch from clock_timestamp() - w.waitstart)::float8 as wait_seconds \
    from waits w cross join lateral (select distinct unnest(pg_blocking_pids(w.pid)) as pid) b where b.pid <> w.who order by 1, 2";

const PREPARED: &str = "\
    select distinct p.waiter, x.gid, p.wants, p.mode as held, p.object \
    from pairs p join locks t on t.virtualtransaction = p.holds_as and t.pid is null and t.locktype = 'transactionid' and t.granted \
         join pg_catalog.pg_prepared_xacts x on x.transaction = t.transactionid \
    where p.is_prepared and p.granted order by 1, 2";

const SNAPSHOTS: &str = "\
    select a.pid::int8 as waiter, b.pid::int8 as blocker, 'a safe snapshot' as object, 'SafeSnapshot' as wants, null::text[] as held, false as ahead, \
           extract(epoch from clock_timestamp() - a.query_start)::float8 as wait_seconds \
    from pg_catalog.pg_stat_activity a cross join lateral (select distinct unnest(pg_safe_snapshot_blocking_pids(a.pid)) as pid) b \
    where a.wait_event = 'SafeSnapshot' order by 1, 2";

const SESSIONS: &str = "\
    select a.pid::text as key, a.pid, null::text as gid, null::text as rollback, a.backend_start, a.backend_type, a.usename::text as user, \
           coalesce((select r.rolsuper from pg_catalog.pg_roles r where r.oid = a.usesysid), false) as superuser, \
           a.application_name as application, a.datname::text as database, host(a.client_addr) as client, a.state, \
           extract(epoch from clock_timestamp() - a.xact_start)::float8 as transaction_seconds, left(a.query, 2000) as statement \
    from pg_catalog.pg_stat_activity a where a.pid = any($1::int8[]) order by a.pid";

const TRANSACTIONS: &str = "\
    select 'prepared ' || x.gid as key, 0 as pid, x.gid, 'ROLLBACK PREPARED ' || quote_literal(x.gid) as rollback, x.prepared as backend_start, \
           null::text as backend_type, x.owner::text as user, false as superuser, null::text as application, x.database::text as database, null::text as client, 'prepared' as state, \
           extract(epoch from clock_timestamp() - x.prepared)::float8 as transaction_seconds, null::text as statement \
    from pg_catalog.pg_prepared_xacts x where x.gid = any($1) order by x.gid";

pub(crate) async fn look(session: &mut Session) -> Result<Seen> {
    let (locks, edges, prepared) = (Sql::from(LOCKS), Sql::from(EDGES), Sql::from(PREPARED));
    let mut waits: Vec<Wait> =
        session.query_all(sql!("{}{}", locks, edges), params![]).await.context("looking for who blocks whom")?;
    waits.extend(session.query_all::<Wait>(SNAPSHOTS, params![]).await.context("looking for waits for a snapshot")?);
    let held: Vec<Prepared> = if waits.iter().any(|wait| wait.blocker == 0) {
        let rows = session.query_all(sql!("{}{}", locks, prepared), params![]).await;
        rows.context("looking for the prepared transactions that block")?
    } else {
        Vec::new()
    };
    let edges = edges_of(&waits, &held);
    let pids: BTreeSet<i64> =
        waits.iter().flat_map(|wait| [wait.waiter, wait.blocker]).filter(|pid| *pid != 0).collect();
    let pids: Vec<i64> = pids.into_iter().collect();
    let mut nodes: Vec<Node> = session.query_all(SESSIONS, params![pids]).await.context("looking at the sessions")?;
    if !held.is_empty() {
        let gids: Vec<String> = held.iter().map(|prepared| prepared.gid.clone()).collect();
        let found = session.query_all::<Node>(TRANSACTIONS, params![gids]).await;
        nodes.extend(found.context("looking at the prepared transactions")?);
    }
    for node in &mut nodes {
        node.statement = node.statement.as_deref().and_then(shown);
        let longest = waits.iter().filter(|wait| wait.waiter == node.pid).filter_map(|wait| wait.wait_seconds);
        node.wait_seconds =
            longest.fold(None, |longest: Option<f64>, seconds| Some(longest.map_or(seconds, |l| l.max(seconds))));
    }
    Ok(Seen { edges, nodes })
}

/// The edges, each once. A blocker without a process is every prepared transaction that holds in a conflicting mode what is waited for.
fn edges_of(waits: &[Wait], held: &[Prepared]) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    let mut add = |edge: Edge| {
        if !edges
            .iter()
            .any(|known| known.waiter == edge.waiter && known.blocker == edge.blocker && known.object == edge.object)
        {
            edges.push(edge);
        }
    };
    for wait in waits {
        let edge = |blocker: String, held: Vec<String>, only_ahead| Edge {
            waiter: wait.waiter.to_string(),
            blocker,
            object: wait.object.clone(),
            wants: wait.wants.clone(),
            held,
            only_ahead,
        };
        if wait.blocker != 0 {
            let held = wait.held.clone().unwrap_or_default();
            let holds = held.iter().any(|mode| modes::conflict(mode, &wait.wants));
            add(edge(wait.blocker.to_string(), held, wait.ahead && !holds));
            continue;
        }
        let mut named = false;
        for prepared in held.iter().filter(|p| p.waiter == wait.waiter && p.object == wait.object) {
            if modes::conflict(&prepared.held, &prepared.wants) {
                add(edge(format!("prepared {}", prepared.gid), vec![prepared.held.clone()], false));
                named = true;
            }
        }
        if !named {
            add(edge("prepared ?".to_owned(), Vec::new(), false));
        }
    }
    edges
}

impl Seen {
    pub(crate) fn node(&self, key: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.key == key)
    }

    /// The keys of those who wait.
    pub(crate) fn waiters(&self) -> BTreeSet<&str> {
        self.edges.iter().map(|edge| edge.waiter.as_str()).collect()
    }

    /// Only what concerns waits of sessions of these databases: their edges, and from there on up.
    pub(crate) fn of_databases(self, databases: &[String]) -> Self {
        let wanted = |key: &str| {
            self.node(key).and_then(|node| node.database.as_ref()).is_some_and(|name| databases.contains(name))
        };
        let mut keep: BTreeSet<String> =
            self.waiters().into_iter().filter(|key| wanted(key)).map(str::to_owned).collect();
        loop {
            let up: Vec<String> =
                self.edges.iter().filter(|edge| keep.contains(&edge.waiter)).map(|edge| edge.blocker.clone()).collect();
            let before = keep.len();
            keep.extend(up);
            if keep.len() == before {
                break;
            }
        }
        let Self { edges, nodes } = self;
        Self {
            edges: edges.into_iter().filter(|edge| keep.contains(&edge.waiter)).collect(),
            nodes: nodes.into_iter().filter(|node| keep.contains(&node.key)).collect(),
        }
    }
}
