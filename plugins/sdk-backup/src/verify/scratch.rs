//! A database that is there for one verification.

use crate::manifest::Manifest;
use rota_sdk::SqlSlot;
use rota_sdk::prelude::*;
use rota_sdk::sql::Quoted;

/// How the names of scratch databases begin.
pub const PREFIX: &str = "rota_verify_";

/// A scratch database. Whoever creates it drops it with [`Scratch::drop_database`].
#[derive(Debug)]
pub(super) struct Scratch {
    session: Session,
    name: String,
    quoted: Quoted,
}

impl Scratch {
    /// Create it, empty, in the encoding of the backup's database.
    pub(super) async fn create(slot: SqlSlot, manifest: &Manifest) -> Result<Self> {
        let mut session = slot.open().await?;
        let server = session.server().await?;
        if server.in_recovery {
            return Err(Error::new("the server in the slot `scratch` is a standby, where no database can be created")
                .hint("bind a primary to `scratch`"));
        }
        let wrote = manifest.source.version_num / 10_000;
        if server.version_num / 10_000 < wrote {
            return Err(Error::new(format!(
                "the server in the slot `scratch` is PostgreSQL {}, older than the backup's {}",
                server.version, manifest.source.version
            ))
            .hint(format!("bind a server of version {wrote} or later to `scratch`")));
        }
        // The backup's id and the run's part of it: two verifications of one backup do not meet.
        let name = format!("{PREFIX}{}_{}", manifest.id.replace('-', "_").to_lowercase(), session.backend_pid());
        let quoted = session.quote_name(&name).await?;
        let template = match encoding(&manifest.source.encoding) {
            Some(encoding) => sql!("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'", quoted, encoding),
            None => sql!("CREATE DATABASE {} TEMPLATE template0", quoted),
        };
        session
            .execute(template, params![])
            .await
            .context("creating the scratch database")
            .hint("the role in the slot `scratch` needs CREATEDB")?;
        Ok(Self { session, name, quoted })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Drop it. The server waits a few seconds for sessions that are about to end.
    pub(super) async fn drop_database(&mut self) -> Result<()> {
        self.session.execute(sql!("DROP DATABASE IF EXISTS {}", self.quoted), params![]).await.map(|_| ())
    }
}

/// The encodings in which a database is likely to be, as SQL literals.
fn encoding(name: &str) -> Option<Sql> {
    let literal: &'static str = match name {
        "UTF8" => "'UTF8'",
        "SQL_ASCII" => "'SQL_ASCII'",
        "LATIN1" => "'LATIN1'",
        "LATIN2" => "'LATIN2'",
        "LATIN9" => "'LATIN9'",
        "WIN1250" => "'WIN1250'",
        "WIN1251" => "'WIN1251'",
        "WIN1252" => "'WIN1252'",
        "KOI8R" => "'KOI8R'",
        "EUC_JP" => "'EUC_JP'",
        "EUC_KR" => "'EUC_KR'",
        "EUC_CN" => "'EUC_CN'",
        _ => return None,
    };
    Some(Sql::from(literal))
}

/// Scratch databases that a run which died left behind.
///
/// # Errors
/// When the server does not answer.
pub async fn leftovers(slot: SqlSlot) -> Result<Vec<String>> {
    let mut session = slot.open().await?;
    session.query_all("select datname::text from pg_catalog.pg_database where starts_with(datname::text, 'rota_verify_') order by datname", params![]).await
}
