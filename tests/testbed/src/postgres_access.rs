//! How a test reaches a PostgreSQL server: its own, or one that it shares with other tests.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;
use sqlx::{Connection as _, PgConnection};

use crate::postgres::{Postgres, PostgresOptions, PostgresVersion};
use crate::tools::random_secret;

/// Address and superuser of a server on 127.0.0.1, and what can be made on it.
#[derive(Clone, Debug)]
pub struct PostgresAccess {
    version: PostgresVersion,
    port: u16,
    password: String,
}

impl PostgresAccess {
    pub(crate) fn new(version: PostgresVersion, port: u16, password: String) -> Self {
        Self { version, port, password }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> PostgresVersion {
        self.version
    }

    /// Its port, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser `postgres`.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// One of this version's programs, like `pg_restore`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.version.programs()?.join(name);
        anyhow::ensure!(path.exists(), "{} is missing", path.display());
        Ok(path)
    }

    /// The URL of a database for the superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", &self.password, database)
    }

    /// The URL of a database for a role with a password.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{}:{}@127.0.0.1:{}/{}", percent(user), percent(password), self.port, percent(database))
    }

    /// A connection of the superuser.
    ///
    /// # Errors
    /// When the server refuses it or is away.
    pub async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .password(&self.password)
            .database(database)
            .ssl_mode(sqlx::postgres::PgSslMode::Disable);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Runs one or several statements as the superuser.
    ///
    /// # Errors
    /// When the server is away or a statement fails.
    pub async fn execute(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let mut connection = self.connect(database).await?;
        // Tests write their statements themselves: nothing in them is foreign.
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .with_context(|| sql.to_owned())?;
        connection.close().await?;
        Ok(())
    }

    /// A role that may log in, with a random password, which is returned. `attributes` are those of
    /// `create role`, like `nosuperuser createdb`.
    ///
    /// # Errors
    /// When there is one of the name.
    pub async fn create_role(&self, name: &str, attributes: &str) -> anyhow::Result<String> {
        let password = random_secret()?;
        self.execute("postgres", &format!("create role {} login password '{password}' {attributes}", quote(name)))
            .await?;
        Ok(password)
    }

    /// A role as by [`PostgresAccess::create_role`] with a name of its own, because roles are the whole
    /// server's. Gives its name and its password.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn fresh_role(&self, hint: &str, attributes: &str) -> anyhow::Result<(String, String)> {
        let name = unique(hint)?;
        let password = self.create_role(&name, attributes).await?;
        Ok((name, password))
    }

    /// An empty database, named exactly so.
    ///
    /// # Errors
    /// When there is one of the name.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.execute("postgres", &format!("create database {}", quote(name))).await
    }

    /// An empty database with a name of its own, which is dropped with what is returned.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn fresh_database(&self, hint: &str) -> anyhow::Result<Database> {
        let name = unique(hint)?;
        self.create_database(&name).await?;
        Ok(Database { access: self.clone(), name })
    }
}

/// A database of a test's own on a server that it may share.
#[derive(Debug)]
pub struct Database {
    access: PostgresAccess,
    name: String,
}

impl Database {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &PostgresAccess {
        &self.access
    }

    /// Its URL for the superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.access.url(&self.name)
    }

    /// Its URL for a role with a password.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.access.url_as(user, password, &self.name)
    }

    /// A connection of the superuser.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        self.access.connect(&self.name).await
    }

    /// Runs one or several statements as the superuser.
    ///
    /// # Errors
    /// When the server is away or a statement fails.
    pub async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        self.access.execute(&self.name, sql).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Hundreds of tests would otherwise fill the disk. A server that is away already needs nothing.
        let Ok(dropdb) = self.access.program("dropdb") else { return };
        let _ = std::process::Command::new(dropdb)
            .arg(format!("--port={}", self.access.port))
            .args(["--host=127.0.0.1", "--username=postgres", "--force", "--if-exists", "--", &self.name])
            .env("PGPASSWORD", &self.access.password)
            .env("PGCONNECT_TIMEOUT", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Postgres {
    /// A PostgreSQL 16 that other tests use too: that of the test run (see [`crate::shared`]), else one
    /// that is started for this process. Isolation is by [`PostgresAccess::fresh_database`] and
    /// [`PostgresAccess::fresh_role`].
    ///
    /// # Errors
    /// When none can be started.
    pub async fn shared() -> anyhow::Result<PostgresAccess> {
        Self::shared_version(PostgresVersion::V16).await
    }

    /// The same for another version.
    ///
    /// # Errors
    /// When none can be started.
    pub async fn shared_version(version: PostgresVersion) -> anyhow::Result<PostgresAccess> {
        static OWN: [tokio::sync::OnceCell<Postgres>; 5] = [const { tokio::sync::OnceCell::const_new() }; 5];
        if let Some(url) = crate::shared::variable(&crate::shared::postgres_variable(version)) {
            return crate::shared::postgres_from_url(version, &url);
        }
        let own = &OWN[version as usize];
        // A static is never dropped; the server goes with the process, by its folder's reaper.
        let postgres =
            own.get_or_try_init(|| Postgres::start(PostgresOptions { version, ..PostgresOptions::default() })).await?;
        Ok((**postgres).clone())
    }
}

/// A name that is an identifier of PostgreSQL's, quoted.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name with a random end that fits an identifier's 63 bytes.
fn unique(hint: &str) -> anyhow::Result<String> {
    let hint: String = hint.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
    Ok(format!("{hint}_{}", &random_secret()?[..12]))
}

/// Percent-encoding of everything but letters, digits, `-`, `_` and `.`.
fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
