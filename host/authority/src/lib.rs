//! The one choke point between a guest and the world.
//!
//! A guest names a *slot*. The [`Gate`] of its run resolves slot -> binding -> grant and, when the grant covers what the
//! call needs, mints an [`Authorized`] token. A capability's client takes that token (for reads) or a [`Permit`] (for
//! effects) as an argument, and both have private constructors in this crate: code that holds neither cannot reach a
//! target, nor even see the binding's address, because [`Authorized::binding`] is the only way to it.
//!
//! A token cannot be made elsewhere:
//!
//! ```compile_fail
//! # use rota_authority::{Authorized, Sql};
//! let forged: Authorized<Sql> = Authorized { gate: todo!(), grant: todo!(), operation: "sql.query", needed: todo!() };
//! ```
//!
//! ```compile_fail
//! # use rota_authority::{Permit, Sql};
//! let forged: Permit<Sql> = Permit { authorized: todo!(), sequence: 1, ledger: None };
//! ```
//!
//! The order of every call is fixed: authorise -> mode -> quota -> effect record -> effect -> outcome.
//!
//! | step | where | refused as |
//! | --- | --- | --- |
//! | authorise | [`Gate::authorise`] | [`Denied`], counted in [`Gate::denials`] |
//! | mode | [`Authorized::effect`] | [`Decision::Planned`]: recorded, not performed |
//! | stop | [`Authorized::effect`] | [`EffectRefused::Stopped`], once the run is told to end ([`Gate::close`]) |
//! | agreed plan | [`Authorized::effect`] | [`EffectRefused::NotPlanned`], where the run is held to one ([`Gate::held`]) and the effect is not in it |
//! | quota | [`Authorized::effect`] | [`EffectRefused::Quota`] |
//! | team's quotas | [`Allowance::send`] for what leaves with the effect, [`Ledger::begin`] for the effect | [`EffectRefused::UsedUp`], [`LedgerError::UsedUp`] |
//! | effect record | [`Ledger::begin`] | [`EffectRefused::Ledger`]: no record, no effect |
//! | outcome | [`Permit::finish`], or its drop: `interrupted` | - |

mod allowance;
mod effect;
mod gate;
mod kind;
mod ledger;

pub use allowance::{Allowance, AllowanceError, UsedUp};
pub use effect::{Agreement, Decision, Effect, EffectClass, EffectRefused, Exact, Outcome, Permit, PlannedEffect};
pub use gate::{Authorized, Denied, Gate, Grant, Mode, Quotas, RunIdentity};
pub use kind::{
    Access, Cache, CacheAccess, Jetstream, JetstreamAccess, Key, KeyAccess, Kind, Kubernetes, KubernetesAccess, Sql,
    Storage, StorageAccess, Tool, ToolAccess,
};
pub use ledger::{EffectRecord, Ledger, LedgerError, MemoryLedger, RecordedEffect};
pub use rota_classifier::SqlAccess;
