//! Where runs and effects are recorded.

use std::path::PathBuf;

use rota_telemetry::Secret;

use crate::address::{Address, TargetError};
use crate::binding::{Binding, SqlTarget, target_of};
use crate::section::section;
use crate::{BindingName, Duration};

section! {
    /// Where runs and effects are recorded. With neither path nor url: in SQLite in the state folder.
    pub struct Store {
        /// The file of a SQLite database, for one host; it is called rota.db, in a folder of its own.
        pub path: Option<PathBuf> = None;
        /// A PostgreSQL database, for several hosts: postgres://USER@HOST:PORT/DATABASE, or a reference to such a URL (env:NAME, file:PATH). It is never one that a binding leads to.
        pub url: Option<Address> = None;
        /// A storage binding for the files that runs keep, so that every host finds them (below artifacts/); without it, they stay in the state folder of the host that ran.
        pub artifacts: Option<BindingName> = None;
        /// How long runs that have ended are kept.
        pub keep: Keep = Keep::default();
    }
}

section! {
    /// How long runs that have ended are kept: until one of these is exceeded.
    pub struct Keep {
        /// The oldest.
        pub age: Duration = Duration::from_secs(90 * 86_400), within(Duration::from_secs(3_600), Duration::from_secs(3_660 * 86_400));
        /// The most of each job; the newest stay.
        pub runs_per_job: u32 = 1_000, within(1, 10_000_000);
    }
}

impl Store {
    /// Reads the secrets, and says which PostgreSQL database it is; none if it is SQLite.
    ///
    /// # Errors
    /// If a secret cannot be had, or a URL that was secret until now is wrong.
    pub fn target(&self) -> Result<Option<SqlTarget>, TargetError> {
        let Some(url) = &self.url else { return Ok(None) };
        let resolved = url.resolve_with(|name| std::env::var_os(name))?;
        Ok(Some(target_of(&resolved)?))
    }

    /// Reads the secrets, and gives the whole URL of the PostgreSQL database, for a client that reads URLs; none if it is SQLite.
    ///
    /// # Errors
    /// As [`Store::target`].
    pub fn connection(&self) -> Result<Option<Secret>, TargetError> {
        let Some(url) = &self.url else { return Ok(None) };
        let resolved = url.resolve_with(|name| std::env::var_os(name))?;
        target_of(&resolved)?;
        Ok(Some(Secret::new(resolved.text())))
    }

    /// Whether a binding leads to the same database, as far as that can be told without reading a secret from elsewhere.
    pub(crate) fn is_target_of(&self, binding: &Binding) -> bool {
        let (Some(url), Binding::Sql(sql)) = (&self.url, binding) else { return false };
        if *url == sql.url {
            return true;
        }
        let target = |address: &Address| address.known().and_then(|known| target_of(&known).ok());
        match (target(url), target(&sql.url)) {
            (Some(ours), Some(theirs)) => {
                let database = |target: &SqlTarget| target.database.clone().or(target.user.clone());
                (&ours.host, ours.port, database(&ours)) == (&theirs.host, theirs.port, database(&theirs))
            }
            _ => false,
        }
    }

    /// What is wrong with a URL that can be looked at without reading a secret.
    pub(crate) fn check_url(&self) -> Option<String> {
        let known = self.url.as_ref()?.known()?;
        target_of(&known).err().map(|error| format!("store.url: {error}"))
    }
}
