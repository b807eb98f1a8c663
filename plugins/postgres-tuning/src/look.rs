//! What is set, and what is written.

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// A setting, as the server has it.
#[derive(FromRow)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// In its base unit; bytes for amounts of memory.
    pub(crate) value: f64,
    /// As people write it.
    pub(crate) shown: String,
    pub(crate) is_memory: bool,
    pub(crate) restart: bool,
    pub(crate) source: String,
    pub(crate) pending: bool,
}

/// A line of a file that did not take.
#[data]
#[derive(FromRow)]
pub(crate) struct Written {
    /// The setting.
    pub(crate) name: String,
    /// What is written.
    pub(crate) value: Option<String>,
    /// Where: file and line.
    pub(crate) place: String,
    /// What the server says of it; null where it only waits for a restart or a reload.
    pub(crate) error: Option<String>,
}

pub(crate) struct Looked {
    pub(crate) settings: Vec<Setting>,
    pub(crate) not_taken: Vec<Written>,
    /// What ALTER SYSTEM has written; none where it cannot be seen.
    pub(crate) written: Option<Vec<Line>>,
}

/// A line of postgresql.auto.conf.
#[derive(FromRow)]
pub(crate) struct Line {
    name: String,
    value: String,
}

/// What postgresql.auto.conf says of a setting: the last line counts.
pub(crate) fn auto(written: &[Line], name: &str) -> Option<String> {
    written.iter().rfind(|line| line.name == name).map(|line| line.value.clone())
}

const SETTINGS: &str = "\
    select s.name, case s.unit when '8kB' then s.setting::float8 * 8192 when 'kB' then s.setting::float8 * 1024 when 'MB' then s.setting::float8 * 1048576 \
                        else s.setting::float8 end as value, \
           current_setting(s.name) as shown, coalesce(s.unit in ('8kB', 'kB', 'MB'), false) as is_memory, s.context = 'postmaster' as restart, s.source, s.pending_restart as pending \
    from pg_catalog.pg_settings s where s.vartype in ('integer', 'real') and s.name = any ($1)";

// Lines that an error keeps from being applied. The server says the same of one that only waits for a restart.
const NOT_TAKEN: &str = "\
    select coalesce(f.name, 'a line') as name, f.setting as value, f.sourcefile || ':' || f.sourceline as place, \
           case when s.pending_restart then null else f.error end as error \
    from pg_catalog.pg_file_settings f left join pg_catalog.pg_settings s on s.name = f.name where f.error is not null order by f.seqno";

const AUTO: &str = "\
    select lower(f.name) as name, f.setting as value from pg_catalog.pg_file_settings f \
    where f.name is not null and f.setting is not null and f.sourcefile = current_setting('data_directory') || '/postgresql.auto.conf' order by f.seqno";

/// What is looked at.
pub(crate) const NAMES: [&str; 17] = [
    "shared_buffers",
    "effective_cache_size",
    "maintenance_work_mem",
    "work_mem",
    "hash_mem_multiplier",
    "max_connections",
    "autovacuum_max_workers",
    "autovacuum_work_mem",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "wal_buffers",
    "max_wal_size",
    "min_wal_size",
    "checkpoint_completion_target",
    "random_page_cost",
    "effective_io_concurrency",
    "default_statistics_target",
];

impl Looked {
    pub(crate) async fn at(session: &mut Session, server: &mut Server) -> Result<Self> {
        let settings = session.query_all(SETTINGS, params![NAMES.to_vec()]).await.context("looking at the settings")?;
        let (not_taken, written) = match session.query_all(NOT_TAKEN, params![]).await {
            Ok(found) => {
                let written =
                    session.query_all(AUTO, params![]).await.context("looking at what ALTER SYSTEM has written")?;
                (found, Some(written))
            }
            // Files are for superusers, and for whom it was granted.
            Err(error) if error.code() == Some("42501") => {
                server.hide("what is written in configuration files (GRANT SELECT ON pg_file_settings and EXECUTE ON FUNCTION pg_show_all_file_settings() to the role)");
                (Vec::new(), None)
            }
            Err(error) => return Err(error.context("looking at what is written in files")),
        };
        Ok(Self { settings, not_taken, written })
    }

    /// A setting's value; 0 where the version has none.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.settings.iter().find(|setting| setting.name == name).map_or(0.0, |setting| setting.value)
    }

    pub(crate) fn pending(&self) -> Vec<String> {
        self.settings.iter().filter(|setting| setting.pending).map(|setting| setting.name.clone()).collect()
    }
}
