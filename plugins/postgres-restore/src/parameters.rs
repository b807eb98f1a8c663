//! What an operator may choose.

use rota_sdk::prelude::*;

/// What to restore, and in whose place.
#[parameters]
pub struct Parameters {
    /// The database whose backup is restored, as the backup names it.
    pub(crate) database: String,
    /// Which backup of it: its id, or `latest`.
    #[parameter(default = "latest".to_owned())]
    pub(crate) backup: String,
    /// Where the backups are, below the binding's own prefix.
    #[parameter(default)]
    pub(crate) prefix: String,
    /// The live database in whose place it is put; without it, the one of the backup's name. One that does not exist is made.
    pub(crate) target: Option<String>,
    /// Stop before the swap: the restored database stays beside the live one, which is not touched.
    #[parameter(default)]
    pub(crate) only_beside: bool,
    /// Deployments that use the database: `namespace/name`, or `name` in the binding's own namespace. Needs the slot `cluster`.
    #[parameter(default)]
    pub(crate) deployments: Vec<String>,
    /// Those with these labels, too (`app=web,tier!=cache`), in the binding's own namespace.
    pub(crate) selector: Option<String>,
    /// End the sessions of others that are left in the live database when it is swapped. Without it the run fails instead, and nothing is swapped.
    #[parameter(default)]
    pub(crate) end_sessions: bool,
    /// How long pods and sessions are waited for to be gone, seconds.
    #[parameter(default = 120, range = 1..=3600)]
    pub(crate) wait_seconds: u32,
    /// How many processes restore data and build indexes at once. More than one needs room for the whole dump in the host's temporary folder.
    #[parameter(default = 1, range = 1..=64)]
    pub(crate) jobs: u32,
    /// Take the bucket's own word for the backup where a verification of level `decoded` or `restored` is no older than so many hours, instead of
    /// decoding all of it once more first. The restored rows are compared in any case.
    #[parameter(default = 0, range = 0..=8760)]
    pub(crate) verified_within_hours: u32,
    /// What becomes of settings (`ALTER DATABASE ... SET`) and rights (`GRANT ... ON DATABASE`) of the live database, which no backup made for another name
    /// brings back and no procedure may change.
    #[parameter(default = Properties::MustBeDefault)]
    pub(crate) properties: Properties,
    /// How long the old database is to be kept, days. Nothing drops it by itself; from then on, later runs say that its time is over.
    #[parameter(default = 7, range = 0..=3650)]
    pub(crate) keep_days: u32,
    /// The free space of the server's data volume, bytes, as the operator looked it up. SQL cannot tell.
    pub(crate) free_bytes: Option<u64>,
    /// The server's pod (`namespace/pod` or `pod`), where the free space is asked for with `df`. Needs `exec` on the slot `cluster`.
    pub(crate) server_pod: Option<String>,
}

/// What becomes of the live database's own settings and rights.
#[parameters]
pub enum Properties {
    /// A live database that has any is refused, with the statements that would bring them back.
    MustBeDefault,
    /// It is swapped without them, and the statements are a critical finding of the report.
    Report,
}

impl Parameters {
    /// The live database.
    pub(crate) fn target(&self) -> &str {
        self.target.as_deref().unwrap_or(&self.database)
    }

    /// Whether applications are to be scaled down.
    pub(crate) fn names_deployments(&self) -> bool {
        !self.deployments.is_empty() || self.selector.is_some()
    }
}
