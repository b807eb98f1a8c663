//! The clock of the SQLite engine. (PostgreSQL's time is its server's.)

use rota_protocol::Instant;

/// Says what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Instant;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant(chrono::Utc::now().timestamp_micros())
    }
}
