//! What can be asked for.

use rota_sdk::prelude::*;

/// Which tool, to where, and under which conditions.
#[parameters]
pub struct Parameters {
    /// How the tool keeps the version.
    #[parameter(default = Layout::Alembic)]
    pub(crate) layout: Layout,
    /// With alembic: its configuration file, by an absolute path where it runs.
    pub(crate) config: Option<String>,
    /// With schema-migrations: the arguments with which the tool applies everything.
    #[parameter(default)]
    pub(crate) apply: Vec<String>,
    /// With schema-migrations: the version that it must be afterwards.
    pub(crate) expect: Option<String>,
    /// The schema of the table with the version.
    #[parameter(default = "public".to_owned())]
    pub(crate) schema: String,
    /// The table with the version; by default alembic_version or schema_migrations.
    pub(crate) table: Option<String>,
    /// The database was never migrated: there is no table with the version yet. Without it, a table that is not there is an error, and nothing is begun from the beginning.
    #[parameter(default = false)]
    pub(crate) new_database: bool,
    /// With a bucket: refuse when the newest usable backup is older than so many hours.
    #[parameter(default = 24.0, range = 0.0..)]
    pub(crate) backup_max_age_hours: f64,
    /// Where in the bucket the backups are.
    #[parameter(default)]
    pub(crate) prefix: String,
    /// How often to try again after a lock was not had in time.
    #[parameter(default = 5, range = 0..=100)]
    pub(crate) lock_retries: u32,
    /// How long to wait before that, seconds; twice as long each time, at most a minute.
    #[parameter(default = 2.0, range = 0.0..=60.0)]
    pub(crate) lock_wait_seconds: f64,
}

/// How a tool keeps the version.
#[parameters]
pub enum Layout {
    /// One row `version_num`, and a command that tells the heads.
    Alembic,
    /// Rows `version`, perhaps with `dirty`.
    SchemaMigrations,
}

impl Parameters {
    /// What no schema can say.
    pub(crate) fn check(&self) -> Result<()> {
        let missing = |what: &str, hint: &str| Err(Error::new(what.to_owned()).hint(hint.to_owned()));
        match self.layout {
            Layout::Alembic if self.config.is_none() => {
                missing("alembic needs its configuration file", "say where it is with -p config=/srv/app/alembic.ini")
            }
            Layout::Alembic if !self.apply.is_empty() || self.expect.is_some() => missing(
                "`apply` and `expect` go with layout schema-migrations",
                "alembic is asked for its head, and upgraded to it",
            ),
            Layout::SchemaMigrations if self.apply.is_empty() || self.expect.is_none() => missing(
                "layout schema-migrations needs `apply` and `expect`",
                "say with which arguments the tool applies everything, and which version it must be then",
            ),
            Layout::SchemaMigrations if self.config.is_some() => {
                missing("`config` goes with layout alembic", "put what the tool needs into `apply`")
            }
            _ => Ok(()),
        }
    }

    /// The table with the version.
    pub(crate) fn table(&self) -> &str {
        let usual = match self.layout {
            Layout::Alembic => "alembic_version",
            Layout::SchemaMigrations => "schema_migrations",
        };
        self.table.as_deref().unwrap_or(usual)
    }
}
