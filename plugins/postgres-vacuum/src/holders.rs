//! Who keeps dead rows from being removed: vacuum removes only what nobody can still see.

use rota_sdk::prelude::*;

/// Somebody who can still see old rows.
#[data]
#[derive(FromRow)]
pub(crate) struct Holder {
    /// What holds.
    #[column(skip)]
    pub(crate) kind: Kind,
    /// The pid, the transaction's name, the slot's name or the standby's.
    pub(crate) name: String,
    /// Who that is, in words.
    pub(crate) who: Option<String>,
    /// How many transactions ago what it can still see was current.
    pub(crate) xids: Option<i64>,
    /// For how long, in seconds; null for slots and standbys.
    pub(crate) seconds: Option<f64>,
    /// Whether it only holds back the system's catalogs (a logical slot).
    pub(crate) only_catalogs: bool,
}

/// What holds.
#[data]
#[derive(Default)]
pub(crate) enum Kind {
    /// A session's transaction.
    #[default]
    Session,
    /// A prepared transaction that nobody finished.
    PreparedTransaction,
    /// A replication slot.
    ReplicationSlot,
    /// A standby that sends feedback.
    StandbyFeedback,
}

impl Kind {
    /// In words, with the name after it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Session => "pid",
            Self::PreparedTransaction => "prepared transaction",
            Self::ReplicationSlot => "replication slot",
            Self::StandbyFeedback => "standby",
        }
    }
}

// A vacuum's own snapshot holds nobody back; sessions in other databases see none of this one's rows.
const SESSIONS: &str = "\
    select a.pid::text as name, \
           concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state, nullif(a.backend_type, 'client backend')) as who, \
           greatest(age(a.backend_xid), age(a.backend_xmin))::int8 as xids, \
           extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds, false as only_catalogs \
    from pg_catalog.pg_stat_activity a \
    where (a.backend_xid is not null or a.backend_xmin is not null) and a.pid <> pg_backend_pid() \
      and a.backend_type <> 'walsender' and (a.datname = current_database() or a.datname is null) \
      and not exists (select from pg_catalog.pg_stat_progress_vacuum v where v.pid = a.pid)";

const PREPARED: &str = "\
    select p.gid as name, 'of ' || p.owner::text as who, age(p.transaction)::int8 as xids, \
           extract(epoch from clock_timestamp() - p.prepared)::float8 as seconds, false as only_catalogs \
    from pg_catalog.pg_prepared_xacts p where p.database = current_database()";

const SLOTS: &str = "\
    select s.slot_name::text as name, s.slot_type || case when s.active then ', active' else ', nobody connected' end as who, \
           greatest(age(s.xmin), age(s.catalog_xmin))::int8 as xids, null::float8 as seconds, s.xmin is null as only_catalogs \
    from pg_catalog.pg_replication_slots s where s.xmin is not null or s.catalog_xmin is not null";

const STANDBYS: &str = "\
    select coalesce(nullif(r.application_name, ''), r.pid::text) as name, concat_ws(', ', host(r.client_addr), r.state) as who, \
           age(r.backend_xmin)::int8 as xids, null::float8 as seconds, false as only_catalogs \
    from pg_catalog.pg_stat_replication r where r.backend_xmin is not null";

/// Everybody who holds something back now, the oldest first.
pub(crate) async fn look(session: &mut Session) -> Result<Vec<Holder>> {
    let mut all = Vec::new();
    for (kind, statement) in [
        (Kind::Session, SESSIONS),
        (Kind::PreparedTransaction, PREPARED),
        (Kind::ReplicationSlot, SLOTS),
        (Kind::StandbyFeedback, STANDBYS),
    ] {
        let found: Vec<Holder> =
            session.query_all(statement, params![]).await.context("looking for who holds dead rows back")?;
        all.extend(found.into_iter().map(|holder| Holder { kind, ..holder }));
    }
    all.sort_by_key(|holder| std::cmp::Reverse(holder.xids));
    Ok(all)
}

/// The one that holds a table's rows back: the oldest that does not only concern catalogs.
pub(crate) fn oldest(holders: &[Holder]) -> Option<&Holder> {
    holders.iter().find(|holder| !holder.only_catalogs)
}

impl Holder {
    /// In one line: `pid 311 (app, idle in transaction), 12 min`.
    pub(crate) fn told(&self) -> String {
        let who = self.who.as_ref().filter(|who| !who.is_empty()).map_or_else(String::new, |who| format!(" ({who})"));
        let since = self.seconds.map_or_else(String::new, |seconds| format!(", {}", rota_sdk::text::spoken(seconds)));
        format!("{} {}{who}{since}", self.kind.word(), self.name)
    }

    /// What lets go of the rows.
    pub(crate) fn remedy(&self) -> String {
        match self.kind {
            Kind::Session => format!("End the transaction of pid {} (pg_terminate_backend), then vacuum again", self.name),
            Kind::PreparedTransaction => "COMMIT PREPARED or ROLLBACK PREPARED it by its name, then vacuum again".to_owned(),
            Kind::ReplicationSlot if self.who.as_deref().is_some_and(|who| who.ends_with("active")) => {
                "End the long query on its standby or reader (or turn off hot_standby_feedback there), then vacuum again".to_owned()
            }
            Kind::ReplicationSlot => "Bring the slot's reader back, or drop the slot once nothing needs it, then vacuum again".to_owned(),
            Kind::StandbyFeedback => "End the long query on the standby, or turn off hot_standby_feedback there, then vacuum again".to_owned(),
        }
    }
}
