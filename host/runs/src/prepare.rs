//! From what a person or a job asks for to a run that may begin: plugin, parameters, slots bound and granted, limits.
//!
//! Everything wrong is found here, before anything is contacted or recorded.

use crate::grants::{bind, grant};
use crate::limits::{LimitError, set_limit};
use crate::parameters::{self, ParameterError};
use crate::settings::{JobSettings, Settings};
use crate::teams::TeamOf;
use rota_authority::{Agreement, Grant, Mode};
use rota_capability::{Dialogue, Limits, Trigger};
use rota_catalog::{Catalog, CatalogError, Loaded};
use rota_config::{Beyond, Record};
use rota_contract::reports::Slot;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A job, a plugin or a file.
    pub what: String,
    /// `key=value` and `@file.json`.
    pub parameters: Vec<String>,
    /// Plan or execute.
    pub mode: Mode,
    /// The typed confirmation.
    pub confirm: Option<String>,
    /// `slot=binding`.
    pub bind: Vec<String>,
    /// `slot=access,...` or `declared`.
    pub grant: Vec<String>,
    /// The run's time.
    pub timeout: Option<Duration>,
    /// `limit=value`.
    pub limits: Vec<String>,
    /// What set it off.
    pub trigger: Trigger,
    /// Whether it is recorded, where that is said otherwise than by its job.
    pub record: Option<Record>,
}

/// A run that may begin.
pub struct Prepared {
    /// The plugin.
    pub loaded: Loaded,
    /// The job, when it is one.
    pub job: Option<String>,
    /// The parameters, checked against the schema.
    pub parameters: String,
    /// The slots bound, with what is granted on each.
    pub grants: Vec<Grant>,
    /// The limits.
    pub limits: Limits,
    /// The mode.
    pub mode: Mode,
    /// What set it off.
    pub trigger: Trigger,
    /// What the plugin declares and is not granted.
    pub wanted: Vec<Wanted>,
    /// The team whose job it is, with what the job calls the plugin.
    pub(crate) team: Option<(TeamOf, String)>,
    /// Slots that were bound to a URL or a program on the command line, which is on no record.
    pub ad_hoc: Vec<String>,
    /// Whether the run's effects are noted, or held to a plan that somebody agreed to. Undoing what it began is not held: the function that undoes was agreed to.
    pub agreement: Agreement,
    /// Whether it is recorded.
    pub record: Record,
    /// What is said with its guest while it runs: of a session of `rota shell`, and of no other run.
    pub dialogue: Option<Arc<Dialogue>>,
}

/// Accesses that a plugin declares and a run does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The slot.
    pub slot: String,
    /// The binding in it.
    pub binding: String,
    /// The accesses.
    pub accesses: Vec<String>,
    /// Why the plugin wants the slot.
    pub purpose: String,
}

/// Why a run may not begin. Exit status 2, but for what a catalog or a grant refuses.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The plugin.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The parameters.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A slot.
    #[error("`{plugin}` has no slot `{slot}`{}; it has: {}", did_you_mean(nearest.as_deref()), known.join(", "))]
    UnknownSlot {
        /// The plugin.
        plugin: String,
        /// What was named.
        slot: String,
        /// The nearest.
        nearest: Option<String>,
        /// All of them.
        known: Vec<String>,
    },
    /// `--bind` or `--grant` is not of its form.
    #[error("`{text}` is no {what}")]
    Form {
        /// What was given.
        text: String,
        /// What it should be.
        what: &'static str,
    },
    /// A slot is bound or granted twice.
    #[error("slot `{0}` is given twice")]
    Twice(String),
    /// A binding.
    #[error("slot `{slot}`: {reason}")]
    Binding {
        /// The slot.
        slot: String,
        /// Why.
        reason: String,
    },
    /// A slot that the plugin needs is not bound.
    #[error("`{plugin}` needs a binding in slot `{slot}` ({capability}: {purpose}); add {}", flags.join(" "))]
    Unbound {
        /// The plugin.
        plugin: String,
        /// The slot.
        slot: String,
        /// Its capability.
        capability: String,
        /// Why it needs it.
        purpose: String,
        /// All flags that are missing.
        flags: Vec<String>,
    },
    /// A grant of something that the plugin does not declare.
    #[error("`{plugin}` does not declare the access `{access}` on slot `{slot}`{}; it declares: {}", did_you_mean(nearest.as_deref()), declared.join(", "))]
    UnknownAccess {
        /// The plugin.
        plugin: String,
        /// The slot.
        slot: String,
        /// What was granted.
        access: String,
        /// The nearest that is declared.
        nearest: Option<String>,
        /// All that are.
        declared: Vec<String>,
    },
    /// A grant beyond what the operator allows on a binding.
    #[error("the access `{access}` on slot `{slot}` is more than the binding `{binding}` allows to anyone ({})", if ceiling.is_empty() { "nothing".to_owned() } else { ceiling.join(", ") })]
    Ceiling {
        /// The slot.
        slot: String,
        /// The binding.
        binding: String,
        /// What was granted.
        access: String,
        /// What the binding allows.
        ceiling: Vec<String>,
    },
    /// More than the job's team may.
    #[error("{}", .0.with_advice())]
    Team(Beyond),
    /// The typed confirmation is missing or wrong.
    #[error("`{plugin}` can lose data or availability and executes only with --confirm {word}{}; --plan shows first what it would do", if *given { " (another word was given)" } else { "" })]
    Unconfirmed {
        /// The plugin.
        plugin: String,
        /// The word.
        word: String,
        /// Whether another one was given.
        given: bool,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
}

/// The nearest of some names, when one is near.
pub(crate) fn nearest<'n>(to: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let likely =
        names.into_iter().map(|name| (strsim::jaro_winkler(name, to), name)).filter(|(likeness, _)| *likeness > 0.75);
    likely.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name.to_owned())
}

/// Check a job as if it were to be run, without records. Answers what its plugin declares and it is not granted.
///
/// # Errors
/// What a run of it would be refused for.
pub async fn check_job(settings: &Settings, catalog: &Catalog, job: &str) -> Result<Vec<Wanted>, PrepareError> {
    let request = Request {
        what: job.to_owned(),
        parameters: Vec::new(),
        mode: Mode::Plan,
        confirm: None,
        bind: Vec::new(),
        grant: Vec::new(),
        timeout: None,
        limits: Vec::new(),
        trigger: Trigger::Manual,
        record: None,
    };
    prepare(settings, catalog, &request).await.map(|prepared| prepared.wanted)
}

/// Prepare a run.
///
/// # Errors
/// [`PrepareError`], the first thing that is wrong.
pub(crate) async fn prepare(
    settings: &Settings,
    catalog: &Catalog,
    request: &Request,
) -> Result<Prepared, PrepareError> {
    let job = settings.jobs.get(&request.what);
    let reference = job.map_or(request.what.as_str(), |job| job.plugin.as_str());
    // A plugin that somebody runs by hand is nobody's job: what holds for it is what is given with it.
    let team = TeamOf::of(settings, job.map(|_| request.what.as_str())).map_err(PrepareError::Team)?;
    if let Some(team) = &team {
        team.may_run(reference).map_err(PrepareError::Team)?;
    }
    let loaded = catalog.load(reference).await.map_err(|error| with_jobs(error, settings, &request.what))?;
    let descriptor = loaded.descriptor.clone();
    let plugin = descriptor.name.as_str();

    let parameters = parameters_of(plugin, &descriptor.parameters, job, &request.parameters)?;
    let bound = bind(settings, plugin, &descriptor.slots, job, &request.bind)?;
    let ad_hoc: Vec<String> = bound.iter().filter(|bound| bound.ad_hoc).map(|bound| bound.slot.name.clone()).collect();
    let grants = grant(plugin, &descriptor.slots, job, bound, &request.grant)?;
    let wanted = wanted(&descriptor.slots, &grants);
    let mut limits = limits(settings, job, request)?;
    if let Some(team) = &team {
        team.may_have(&grants, &ad_hoc).map_err(PrepareError::Team)?;
        // What the configuration says was checked with it: whatever is beyond was asked for now.
        if let Some(beyond) = team.cap(&mut limits) {
            return Err(PrepareError::Team(beyond));
        }
    }
    confirmed(plugin, descriptor.confirmation.as_deref(), job, request)?;
    Ok(Prepared {
        loaded,
        job: job.map(|_| request.what.clone()),
        parameters,
        grants,
        limits,
        mode: request.mode,
        trigger: request.trigger,
        wanted,
        team: team.map(|team| (team, reference.to_owned())),
        ad_hoc,
        agreement: Agreement::None,
        record: request.record.or(job.map(|job| job.record)).unwrap_or(Record::Never),
        dialogue: None,
    })
}

/// A name that is no plugin may be near a job's.
fn with_jobs(error: CatalogError, settings: &Settings, what: &str) -> CatalogError {
    match error {
        CatalogError::Unknown { name, nearest: None } if name == what => {
            let nearest = nearest(what, settings.jobs.keys().map(String::as_str));
            CatalogError::Unknown { name, nearest }
        }
        other => other,
    }
}

fn parameters_of(
    plugin: &str,
    schema: &str,
    job: Option<&JobSettings>,
    arguments: &[String],
) -> Result<String, ParameterError> {
    // The descriptor's schema was checked when the plugin was loaded.
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let mut all: Map<String, Value> = job.map(|job| job.parameters.clone()).unwrap_or_default();
    all.extend(parameters::from_arguments(plugin, &schema, arguments)?);
    parameters::check(plugin, &schema, &all)
}

/// Whether an access of a capability can only read.
pub(crate) fn only_reads(capability: &str, word: &str) -> bool {
    use rota_authority::{
        Access, CacheAccess, JetstreamAccess, KeyAccess, KubernetesAccess, SqlAccess, StorageAccess, ToolAccess,
    };
    fn reads<A: Access>(word: &str) -> bool {
        word.parse::<A>().is_ok_and(Access::only_reads)
    }
    match capability {
        "sql" => reads::<SqlAccess>(word),
        "storage" => reads::<StorageAccess>(word),
        "tool" => reads::<ToolAccess>(word),
        "key" => reads::<KeyAccess>(word),
        "cache" => reads::<CacheAccess>(word),
        "kubernetes" => reads::<KubernetesAccess>(word),
        "jetstream" => reads::<JetstreamAccess>(word),
        _ => false,
    }
}

fn wanted(slots: &[Slot], grants: &[Grant]) -> Vec<Wanted> {
    let of = |grant: &Grant| {
        let slot = slots.iter().find(|slot| slot.name == grant.slot)?;
        let accesses: Vec<String> =
            slot.accesses.iter().filter(|word| !grant.accesses.contains(word)).cloned().collect();
        (!accesses.is_empty()).then(|| Wanted {
            slot: slot.name.clone(),
            binding: grant.binding_name.clone(),
            accesses,
            purpose: slot.purpose.clone(),
        })
    };
    grants.iter().filter_map(of).collect()
}

fn limits(settings: &Settings, job: Option<&JobSettings>, request: &Request) -> Result<Limits, LimitError> {
    let mut limits = job.map_or_else(|| settings.limits.clone(), |job| job.limits.clone());
    for text in &request.limits {
        set_limit(&mut limits, text, settings.max_memory)?;
    }
    if let Some(timeout) = request.timeout {
        limits.wall = timeout;
    }
    Ok(limits)
}

fn confirmed(
    plugin: &str,
    word: Option<&str>,
    job: Option<&JobSettings>,
    request: &Request,
) -> Result<(), PrepareError> {
    let Some(word) = word.filter(|_| request.mode == Mode::Execute) else { return Ok(()) };
    let given = request.confirm.as_deref().or(job.and_then(|job| job.confirm.as_deref()));
    if given == Some(word) {
        return Ok(());
    }
    Err(PrepareError::Unconfirmed { plugin: plugin.into(), word: word.into(), given: given.is_some() })
}
