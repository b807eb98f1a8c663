//! Hosts come and go.

use super::hold::text_of;
use crate::StoreError;
use crate::rows::{Hint, NewHost};
use crate::session::{Session, args, sql};
use crate::writer::Op;
use rota_protocol::{Incarnation, Instant};

/// A process begins to work.
pub(crate) struct Register {
    pub(crate) host: NewHost,
}

impl Op for Register {
    type Answer = Instant;

    async fn apply(&self, session: &mut Session<'_>) -> Result<Instant, StoreError> {
        let host = &self.host;
        let now = session.now().await?;
        session
            .run(
                sql!(
                    "insert into rota.hosts (incarnation, name, version, labels, configuration, capacity, machine, boot, pid_namespace, pid,
                                             pid_started, started_at, seen_at)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)"
                ),
                args![
                    host.incarnation.0.as_str(),
                    &host.name,
                    &host.version,
                    &text_of(&host.labels),
                    &host.configuration,
                    host.capacity,
                    &host.process.host,
                    &host.process.boot,
                    &host.process.namespace,
                    host.process.pid,
                    host.process.started,
                    now
                ],
            )
            .await?;
        Ok(now)
    }
}

/// Hosts are to take nothing more, or again.
pub(crate) struct Drain {
    pub(crate) which: String,
    pub(crate) drain: bool,
}

impl Op for Drain {
    type Answer = u64;

    async fn apply(&self, session: &mut Session<'_>) -> Result<u64, StoreError> {
        session
            .run(
                sql!("update rota.hosts set draining = $2 where (name = $1 or incarnation = $1) and left_at is null"),
                args![&self.which, self.drain],
            )
            .await
    }
}

/// A process ends in order.
pub(crate) struct Leave {
    pub(crate) incarnation: Incarnation,
}

impl Op for Leave {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session
            .run(
                sql!("update rota.hosts set left_at = @now where incarnation = $1 and left_at is null"),
                args![self.incarnation.0.as_str()],
            )
            .await?;
        session.hints.push(Hint::Queue);
        Ok(())
    }
}
