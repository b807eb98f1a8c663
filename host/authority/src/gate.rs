//! Slot -> binding -> grant -> token.

use crate::allowance::Allowance;
use crate::effect::{Agreed, Agreement, PlannedEffect};
use crate::kind::{Access, Kind, Sql};
use crate::ledger::Ledger;
use rota_classifier::SqlAccess;
use rota_config::Binding;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// Whether effects happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Listed only.
    Plan,
    /// They happen.
    Execute,
}

impl Mode {
    /// The word in records and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Execute => "execute",
        }
    }
}

/// Who runs, for names that a target shows (`application_name`).
#[derive(Clone, Debug)]
pub struct RunIdentity {
    /// The run's id.
    pub run: String,
    /// The job's name, or the plugin's where it is run ad hoc.
    pub job: String,
}

/// What a run may use up.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Effects, planned ones included.
    pub effects: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { effects: 100_000 }
    }
}

/// What a job puts into a slot.
#[derive(Debug)]
pub struct Grant {
    /// The slot.
    pub slot: String,
    /// The binding's name, as shown to people. Never an address.
    pub binding_name: String,
    /// The binding.
    pub binding: Binding,
    /// The accesses given, in the words of the binding's kind.
    pub accesses: Vec<String>,
}

/// A call that the job does not grant. Its text says what would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No binding is in the slot.
    #[error("{operation} needs a binding in slot `{slot}`, which is not bound; bind it with --bind {slot}=BINDING --grant {slot}={}, or in the job: slots.{slot} = {{ binding = \"...\", access = [{}] }}", .needed.join(","), quoted(.needed))]
    Unbound {
        /// The import that asked.
        operation: &'static str,
        /// The slot.
        slot: String,
        /// The accesses that it needs.
        needed: Vec<String>,
    },
    /// The binding is of another kind.
    #[error(
        "{operation} needs a {wanted} binding in slot `{slot}`, but `{binding}` is of another kind; bind another with --bind {slot}=BINDING"
    )]
    WrongKind {
        /// The import that asked.
        operation: &'static str,
        /// The slot.
        slot: String,
        /// The binding that is in it.
        binding: String,
        /// The kind that would serve.
        wanted: &'static str,
    },
    /// The run is held to a plan, and the effect is not in it, or no more.
    #[error(
        "{operation} on {target} is not in the plan that was agreed to (`{detail}`): what the plan saw has changed, or the procedure goes by what a plan cannot show; plan it again"
    )]
    NotPlanned {
        /// The import that asked.
        operation: &'static str,
        /// The binding and the object.
        target: String,
        /// What it would have done, its first line.
        detail: String,
    },
    /// The grant does not hold an access that the call needs.
    #[error("{operation} needs `{}` on slot `{slot}` (binding `{binding}`), which is granted {}; give it with --grant {slot}={}, or in the job: slots.{slot}.access = [{}]", .missing.join(" + "), granted_words(.granted), all(.granted, .missing).join(","), quoted(&all(.granted, .missing)))]
    Missing {
        /// The import that asked.
        operation: &'static str,
        /// The slot.
        slot: String,
        /// The binding in it.
        binding: String,
        /// What is missing.
        missing: Vec<String>,
        /// What is granted.
        granted: Vec<String>,
    },
    /// The grant is there, and the binding does not name the parameter that ALTER SYSTEM would set.
    #[error("{operation} on slot `{slot}`: binding `{binding}` lets ALTER SYSTEM set {}{}; whoever runs the host can name it: {}", named_words(.named), .parameter.as_ref().map_or_else(String::new, |name| format!(", not {name}")), advice(.binding, .parameter, .named))]
    Parameter {
        /// The import that asked.
        operation: &'static str,
        /// The slot.
        slot: String,
        /// The binding in it.
        binding: String,
        /// The parameter; none for a reload, which needs any.
        parameter: Option<String>,
        /// Those that the binding names.
        named: Vec<String>,
    },
    /// The statement or argument itself is never allowed, whatever is granted.
    #[error("{operation} on slot `{slot}`: {reason}")]
    Never {
        /// The import that asked.
        operation: &'static str,
        /// The slot.
        slot: String,
        /// Why, and what to do instead.
        reason: String,
    },
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ")
}

fn granted_words(granted: &[String]) -> String {
    if granted.is_empty() { "nothing".into() } else { format!("`{}`", granted.join(" + ")) }
}

fn named_words(named: &[String]) -> String {
    if named.is_empty() { "no parameter".into() } else { format!("only {}", named.join(", ")) }
}

fn advice(binding: &str, parameter: &Option<String>, named: &[String]) -> String {
    let names: Vec<String> = named.iter().chain(parameter).cloned().collect();
    let list = if names.is_empty() { "\"...\"".to_owned() } else { quoted(&names) };
    format!("bindings.{binding}.alter_system = [{list}] in rota.toml")
}

fn all(granted: &[String], missing: &[String]) -> Vec<String> {
    granted.iter().chain(missing).cloned().collect()
}

/// The choke point of one run. See the crate's documentation.
pub struct Gate {
    pub(crate) identity: RunIdentity,
    pub(crate) mode: Mode,
    pub(crate) quotas: Quotas,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) effects_begun: AtomicU64,
    grants: RwLock<BTreeMap<String, Arc<Grant>>>,
    denials: Mutex<Vec<Denied>>,
    denial_count: AtomicU64,
    closed: AtomicBool,
    /// Where the effects of a plan are noted.
    pub(crate) noted: Option<Arc<Mutex<Vec<PlannedEffect>>>>,
    /// The plan that the run is held to, if to any.
    pub(crate) agreed: Mutex<Option<Agreed>>,
    /// What it shares with the other runs of its team.
    allowance: OnceLock<Arc<dyn Allowance>>,
}

/// How many denials a run keeps with their text; more are only counted.
const DENIALS_KEPT: usize = 100;

impl Gate {
    /// Let no effect begin any more: the run is told to stop.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the run is held to a plan, or is one that a run will be held to.
    pub fn is_agreed_to(&self) -> bool {
        self.noted.is_some() || self.agreed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The gate of a run, with what its job grants.
    pub fn new(
        identity: RunIdentity,
        mode: Mode,
        quotas: Quotas,
        ledger: Arc<dyn Ledger>,
        grants: impl IntoIterator<Item = Grant>,
    ) -> Arc<Self> {
        Self::held(identity, mode, quotas, ledger, grants, Agreement::None)
    }

    /// The same, held to a plan that somebody agreed to, or noting what such a plan has.
    pub fn held(
        identity: RunIdentity,
        mode: Mode,
        quotas: Quotas,
        ledger: Arc<dyn Ledger>,
        grants: impl IntoIterator<Item = Grant>,
        agreement: Agreement,
    ) -> Arc<Self> {
        let (noted, agreed) = match agreement {
            Agreement::None => (None, None),
            Agreement::Noted(noted) => (Some(noted), None),
            Agreement::Held(plan) => (None, Some(Agreed::new(plan))),
        };
        Arc::new(Self {
            identity,
            mode,
            quotas,
            ledger,
            effects_begun: AtomicU64::new(0),
            grants: RwLock::new(grants.into_iter().map(|g| (g.slot.clone(), Arc::new(g))).collect()),
            denials: Mutex::new(Vec::new()),
            denial_count: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            noted,
            agreed: Mutex::new(agreed),
            allowance: OnceLock::new(),
        })
    }

    /// From now on, what the run sends out is counted for its team. Said once, before the run begins.
    pub fn share(&self, allowance: Arc<dyn Allowance>) {
        // A second one would be a run of two teams, which there is not.
        let _ = self.allowance.set(allowance);
    }

    /// What it shares with the other runs of its team; none where it is no team's.
    pub fn allowance(&self) -> Option<&Arc<dyn Allowance>> {
        self.allowance.get()
    }

    /// From here on the run is held to this plan, or to none, whatever it was held to before: of a run that somebody talks with, who agrees
    /// to what is done piece by piece.
    pub fn hold(&self, plan: Option<Vec<PlannedEffect>>) {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = plan.map(Agreed::new);
    }

    /// What somebody agreed to and the run has not begun, in the order of the plan: operation and target. A procedure that ends with some
    /// of it left has not done what it was to do.
    pub fn left_of_plan(&self) -> Vec<String> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Agreed::left).unwrap_or_default()
    }

    /// Grant more on a slot that is bound: of a run that somebody talks with, who grants what it turns out to need. What is granted stays so.
    /// False: nothing is bound to the slot.
    pub fn widen(&self, slot: &str, accesses: &[String]) -> bool {
        let mut grants = self.grants.write().unwrap_or_else(PoisonError::into_inner);
        let Some(grant) = grants.get_mut(slot) else { return false };
        let mut all = grant.accesses.clone();
        all.extend(accesses.iter().filter(|access| !grant.accesses.contains(access)).cloned());
        *grant = Arc::new(Grant {
            slot: grant.slot.clone(),
            binding_name: grant.binding_name.clone(),
            binding: grant.binding.clone(),
            accesses: all,
        });
        true
    }

    /// Who runs.
    pub fn identity(&self) -> &RunIdentity {
        &self.identity
    }

    /// Whether effects happen.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What is bound to a slot, with what is granted there; none where nothing is.
    pub fn bound(&self, slot: &str) -> Option<Arc<Grant>> {
        self.grants.read().unwrap_or_else(PoisonError::into_inner).get(slot).cloned()
    }

    /// What was denied so far (the first hundred), and how many in all.
    pub fn denials(&self) -> (Vec<Denied>, u64) {
        let kept = self.denials.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        (kept, self.denial_count.load(Ordering::Relaxed))
    }

    /// Mint a token for a call that needs all of `needed` on the binding in `slot`. With nothing needed, any
    /// grant on the slot serves (opening it).
    ///
    /// # Errors
    /// [`Denied`], which is also counted as a denial of the run.
    pub fn authorise<K: Kind>(
        self: &Arc<Self>,
        operation: &'static str,
        slot: &str,
        needed: &[K::Access],
    ) -> Result<Authorized<K>, Denied> {
        self.check::<K>(operation, slot, needed).inspect_err(|denied| self.note(denied.clone()))
    }

    /// Mint a token for ALTER SYSTEM of a parameter, or, with none, for having the server read its files again: the grant must hold
    /// `alter-system`, and the binding must name the parameter (any, for a reload).
    ///
    /// # Errors
    /// [`Denied`], which is also counted as a denial of the run.
    pub fn authorise_parameter(
        self: &Arc<Self>,
        operation: &'static str,
        slot: &str,
        parameter: Option<&str>,
    ) -> Result<Authorized<Sql>, Denied> {
        let authorized = self.authorise::<Sql>(operation, slot, &[SqlAccess::AlterSystem])?;
        let binding = authorized.binding();
        let named = parameter.map_or(!binding.alter_system.is_empty(), |parameter| binding.lets_alter(parameter));
        if named {
            return Ok(authorized);
        }
        let denied = Denied::Parameter {
            operation,
            slot: authorized.slot().to_owned(),
            binding: authorized.binding_name().to_owned(),
            parameter: parameter.map(short),
            named: binding.alter_system.clone(),
        };
        self.note(denied.clone());
        Err(denied)
    }

    /// Refuse a call that no grant would allow, and count the denial.
    pub fn never(&self, operation: &'static str, slot: &str, reason: impl Into<String>) -> Denied {
        let denied = Denied::Never { operation, slot: slot.into(), reason: reason.into() };
        self.note(denied.clone());
        denied
    }

    pub(crate) fn note(&self, denied: Denied) {
        self.denial_count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.denials.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() < DENIALS_KEPT && !kept.contains(&denied) {
            kept.push(denied);
        }
    }

    fn check<K: Kind>(
        self: &Arc<Self>,
        operation: &'static str,
        slot: &str,
        needed: &[K::Access],
    ) -> Result<Authorized<K>, Denied> {
        let Some(grant) = self.bound(slot) else {
            let needed = if needed.is_empty() {
                vec![K::Access::ALL[0].to_string()]
            } else {
                needed.iter().map(ToString::to_string).collect()
            };
            return Err(Denied::Unbound { operation, slot: short(slot), needed });
        };
        if K::settings(&grant.binding).is_none() {
            return Err(Denied::WrongKind {
                operation,
                slot: grant.slot.clone(),
                binding: grant.binding_name.clone(),
                wanted: K::CAPABILITY,
            });
        }
        // A word is compared as text: a grant was checked against the kind's words when it was read.
        let has = |access: &K::Access| {
            grant.accesses.iter().any(|word| word.parse::<K::Access>().is_ok_and(|granted| granted == *access))
        };
        let mut missing: Vec<String> = needed.iter().filter(|access| !has(access)).map(ToString::to_string).collect();
        if needed.is_empty() && grant.accesses.is_empty() {
            missing = vec![K::Access::ALL[0].to_string()];
        }
        if !missing.is_empty() {
            return Err(Denied::Missing {
                operation,
                slot: grant.slot.clone(),
                binding: grant.binding_name.clone(),
                missing,
                granted: grant.accesses.clone(),
            });
        }
        Ok(Authorized { gate: self.clone(), grant, operation, needed: needed.into() })
    }
}

/// A slot's name comes from the guest: what is echoed is bounded and printable.
fn short(slot: &str) -> String {
    slot.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Proof that a run's job grants what a call needs. Only [`Gate::authorise`] makes one.
pub struct Authorized<K: Kind> {
    pub(crate) gate: Arc<Gate>,
    pub(crate) grant: Arc<Grant>,
    pub(crate) operation: &'static str,
    pub(crate) needed: Arc<[K::Access]>,
}

impl<K: Kind> Clone for Authorized<K> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            grant: self.grant.clone(),
            operation: self.operation,
            needed: self.needed.clone(),
        }
    }
}

impl<K: Kind> Authorized<K> {
    /// What the operator configured for the binding: its address and secrets. Nothing else leads here.
    pub fn binding(&self) -> &K::Settings {
        // The gate checked the kind before it made this token.
        match K::settings(&self.grant.binding) {
            Some(settings) => settings,
            None => unreachable!("an Authorized<K> is only made for a binding of kind K"),
        }
    }

    /// The accesses that the call was authorised for.
    pub fn needed(&self) -> &[K::Access] {
        &self.needed
    }

    /// The binding's name.
    pub fn binding_name(&self) -> &str {
        &self.grant.binding_name
    }

    /// The slot.
    pub fn slot(&self) -> &str {
        &self.grant.slot
    }

    /// The run's gate.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}
