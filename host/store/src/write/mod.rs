//! What can be written: one struct an operation, applied in a transaction of a lane. The rules are rota-protocol's.

pub(crate) mod attempt;
pub(crate) mod beat;
mod candidates;
pub(crate) mod claim;
pub(crate) mod compensation;
pub(crate) mod control;
pub(crate) mod decide;
pub(crate) mod effect;
pub(crate) mod enqueue;
pub(crate) mod follow;
pub(crate) mod hold;
pub(crate) mod host;
pub(crate) mod keys;
pub(crate) mod late;
pub(crate) mod logs;
mod once;
pub(crate) mod prune;
pub(crate) mod reap;
pub(crate) mod schedule;
pub(crate) mod step;
pub(crate) mod team;
