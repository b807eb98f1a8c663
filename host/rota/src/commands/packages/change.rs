//! What changes the lock.

use super::{Printing, build_json, entry_json, one, print, print_json, show, status_of};
use crate::cli::{PinArgs, UpdateArgs};
use crate::output::{bold, coloured, dim, format, safe, table};
use crate::settings::UsageError;
use owo_colors::{OwoColorize as _, Stream};
use rota_catalog::{Catalog, Refusal, Step, Update};
use rota_config::Config;
use rota_packages::{Change, Entry, PackageRef};
use rota_runs::Settings;
use serde_json::{Value, json};

/// Something asks for more, and nobody said that it may.
const NEEDS_APPROVAL: u8 = 4;

/// What became of an entry.
enum Outcome {
    Current,
    Pinned,
    WouldChange,
    Updated(Box<Entry>),
    Refused(Refusal),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Pinned => "pinned",
            Self::WouldChange => "would-change",
            Self::Updated(_) => "updated",
            Self::Refused(Refusal::Wider { .. }) => "asks-for-more",
            Self::Refused(_) => "failed",
        }
    }

    fn status(&self) -> u8 {
        match self {
            Self::Refused(Refusal::Wider { .. }) => NEEDS_APPROVAL,
            Self::Refused(Refusal::Catalog(error)) => status_of(error),
            Self::Refused(_) => 1,
            _ => 0,
        }
    }
}

pub(crate) async fn update(catalog: &Catalog, args: &UpdateArgs, printing: Printing) -> anyhow::Result<u8> {
    let entries = named(catalog, &args.names)?;
    for name in &args.accept_wider {
        if !entries.iter().any(|entry| entry.is_named(name)) {
            return Err(UsageError::new(format!("--accept-wider {name}: nothing of that name is to be updated")).into());
        }
    }
    let (mut status, mut objects, mut blocks) = (0, Vec::new(), Vec::new());
    for entry in entries {
        let accepted = args.accept_wider.iter().any(|name| entry.is_named(name));
        let (update, outcome) = step(catalog, &entry, accepted, args).await;
        // What needs somebody's word says more than what failed.
        status = status.max(outcome.status());
        if printing.human() {
            blocks.push(block(&entry, update.as_ref(), &outcome));
        } else {
            objects.push(object(&entry, update.as_ref(), &outcome));
        }
    }
    if !printing.human() {
        print_json(&Value::Array(objects))?;
    } else if blocks.is_empty() {
        print("nothing is locked")?;
    } else {
        print(&blocks.join("\n"))?;
    }
    Ok(status)
}

/// All that is locked, or what the names mean, once each.
fn named(catalog: &Catalog, names: &[String]) -> Result<Vec<Entry>, Refusal> {
    if names.is_empty() {
        return catalog.entries(None);
    }
    let mut entries: Vec<Entry> = Vec::new();
    for name in names {
        for entry in catalog.entries(Some(name))? {
            if !entries.iter().any(|other| other.reference == entry.reference) {
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

async fn step(catalog: &Catalog, entry: &Entry, accepted: bool, args: &UpdateArgs) -> (Option<Update>, Outcome) {
    if entry.pinned && args.names.is_empty() {
        return (None, Outcome::Pinned);
    }
    let update = match catalog.newest(entry).await {
        Ok(update) => update,
        Err(refusal) => return (None, Outcome::Refused(refusal)),
    };
    let outcome = match &update.step {
        Step::Current => Outcome::Current,
        Step::New { .. } if args.plan => Outcome::WouldChange,
        Step::New { .. } => match catalog.take(&update, accepted) {
            Ok(entry) => Outcome::Updated(Box::new(entry)),
            Err(refusal) => Outcome::Refused(refusal),
        },
    };
    (Some(update), outcome)
}

fn changes_of(update: Option<&Update>) -> &[Change] {
    match update.map(|update| &update.step) {
        Some(Step::New { changes, .. }) => changes,
        _ => &[],
    }
}

fn object(entry: &Entry, update: Option<&Update>, outcome: &Outcome) -> Value {
    let new = match update.map(|update| &update.step) {
        Some(Step::New { build, .. }) => Some(build_json(build)),
        _ => None,
    };
    let changes: Vec<Value> = changes_of(update)
        .iter()
        .map(|change| json!({ "what": change.what, "before": change.before, "after": change.after, "wider": change.wider }))
        .collect();
    let error = match outcome {
        Outcome::Refused(refusal) => Some(refusal.to_string()),
        _ => None,
    };
    let locked = if let Outcome::Updated(now) = outcome { entry_json(now) } else { entry_json(entry) };
    json!({ "outcome": outcome.word(), "locked": locked, "before": entry.build.version, "new": new, "changes": changes, "error": error })
}

fn block(entry: &Entry, update: Option<&Update>, outcome: &Outcome) -> String {
    let word = match outcome {
        Outcome::Updated(_) => coloured("ok"),
        Outcome::Refused(Refusal::Wider { .. }) | Outcome::WouldChange => coloured("warning"),
        Outcome::Refused(_) => coloured("failed"),
        Outcome::Current | Outcome::Pinned => dim("as it was"),
    };
    let mut lines = vec![format!("{word} {} {}", bold(&safe(&entry.reference)), safe(&entry.build.version))];
    match outcome {
        Outcome::Pinned => lines.push(dim("  pinned: name it to update it")),
        Outcome::Refused(refusal) => lines.push(format!("  {}", safe(&refusal.to_string()))),
        _ => {}
    }
    for change in changes_of(update) {
        let side = |text: &Option<String>| match (text, change.what.as_str()) {
            (Some(text), "size") => text.parse().map_or_else(|_| safe(text), format::bytes),
            (Some(text), _) => safe(text),
            (None, _) => "none".into(),
        };
        let line = format!("  {}: {} -> {}", safe(&change.what), side(&change.before), side(&change.after));
        lines.push(if change.wider {
            format!("{}  (asks for more)", line.if_supports_color(Stream::Stdout, |t| t.yellow()))
        } else {
            line
        });
    }
    if matches!(outcome, Outcome::WouldChange) {
        lines.push(dim("  nothing was changed: this is a plan"));
    }
    lines.join("\n")
}

pub(crate) async fn outdated(catalog: &Catalog, printing: Printing) -> anyhow::Result<u8> {
    let (mut rows, mut objects, mut status) = (Vec::new(), Vec::new(), 0);
    for entry in catalog.entries(None)? {
        let (mut matching, mut latest, mut error) = (None, None, None);
        let package = entry.reference.parse::<PackageRef>().ok().filter(|_| entry.is_package());
        match (package, catalog.packages()) {
            (Some(package), Some(packages)) => match packages.versions(&package).await {
                Ok(versions) => {
                    matching = versions.iter().find(|version| package.takes(version)).map(ToString::to_string);
                    // One that is not finished is not what people are behind of.
                    let finished = versions.iter().find(|version| version.pre.is_empty()).or(versions.first());
                    latest = finished.map(ToString::to_string);
                }
                Err(failed) => error = Some(failed.to_string()),
            },
            _ => match catalog.newest(&entry).await {
                Ok(Update { step: Step::New { build, .. }, .. }) => matching = Some(build.version.clone()),
                Ok(_) => matching = Some(entry.build.version.clone()),
                Err(failed) => error = Some(failed.to_string()),
            },
        }
        status |= u8::from(error.is_some());
        let dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".into(), safe);
        let pinned = if entry.pinned { "pinned" } else { "" };
        let said = error.as_deref().unwrap_or(pinned);
        rows.push(vec![safe(&entry.reference), safe(&entry.build.version), dash(&matching), dash(&latest), safe(said)]);
        objects.push(json!({
            "reference": entry.reference, "plugin": entry.name, "locked": entry.build.version, "matching": matching, "latest": latest,
            "pinned": entry.pinned, "error": error
        }));
    }
    if printing.human() && rows.is_empty() {
        print("nothing is locked")?;
    } else if printing.human() {
        print(&table::plain(&["what", "locked", "matching", "highest", ""], &rows))?;
    } else {
        print_json(&Value::Array(objects))?;
    }
    Ok(status)
}

pub(crate) fn remove(catalog: &Catalog, config: &Config, name: &str, printing: Printing) -> anyhow::Result<u8> {
    let entry = one(catalog, name)?;
    let jobs: Vec<String> = jobs_of(config, &entry).map(|name| format!("`{name}`")).collect();
    if !jobs.is_empty() {
        let which = if jobs.len() == 1 { "the job" } else { "the jobs" };
        let text = format!(
            "`{}` is what {which} {} run{}; take it out of the configuration first (for what is newer: rota plugins update {name})",
            entry.reference,
            jobs.join(", "),
            if jobs.len() == 1 { "s" } else { "" }
        );
        return Err(UsageError::new(text).into());
    }
    let freed = catalog.forget(&entry)?;
    if printing.human() {
        print(&format!(
            "{} {} is locked no more; {} freed",
            bold(&safe(&entry.reference)),
            safe(&entry.build.version),
            format::bytes(freed)
        ))?;
    } else {
        print_json(&json!({ "removed": entry_json(&entry), "freed": freed }))?;
    }
    Ok(0)
}

/// The jobs that run what an entry means.
fn jobs_of<'a>(config: &'a Config, entry: &'a Entry) -> impl Iterator<Item = &'a str> {
    let runs = move |plugin: &str| {
        plugin == entry.reference
            || plugin.parse::<PackageRef>().is_ok_and(|package| package.to_string() == entry.reference)
    };
    config.jobs.iter().filter(move |(_, job)| runs(&job.plugin.to_string())).map(|(name, _)| name.as_str())
}

/// The jobs that would be refused with the build that an entry has now, and why.
async fn unfit(catalog: &Catalog, config: &Config, entry: &Entry) -> anyhow::Result<Vec<(String, String)>> {
    let settings = Settings::from_config(config)?;
    let mut unfit = Vec::new();
    for job in jobs_of(config, entry) {
        if let Err(error) = rota_runs::check_job(&settings, catalog, job).await {
            unfit.push((job.to_owned(), error.to_string()));
        }
    }
    Ok(unfit)
}

pub(crate) async fn pin(catalog: &Catalog, config: &Config, args: &PinArgs, printing: Printing) -> anyhow::Result<u8> {
    let wrong = || UsageError::new(format!("`{}` is not NAME@VERSION, as expired-sessions@1.2.3", args.plugin));
    let (name, version) = args.plugin.rsplit_once('@').ok_or_else(wrong)?;
    let version = version.parse().map_err(|_| wrong())?;
    // `x@1` and `x@2` may both be locked: the one that takes the version is meant.
    let mut entries = catalog.entries(Some(name))?;
    if entries.len() > 1 {
        entries.retain(|entry| takes(entry, &version));
    }
    let entry = match entries.as_slice() {
        [entry] => entry.clone(),
        _ => one(catalog, name)?,
    };
    let accepted = args.accept_wider.iter().any(|name| entry.is_named(name));
    let now = catalog.pin(&entry, &version, accepted).await?;
    changed(catalog, config, &entry, &now, printing).await
}

fn takes(entry: &Entry, version: &semver::Version) -> bool {
    match entry.reference.parse::<PackageRef>() {
        Ok(package) => package.takes(version),
        Err(_) => entry
            .reference
            .split_once('@')
            .and_then(|(_, wanted)| semver::VersionReq::parse(wanted).ok())
            .is_some_and(|wanted| wanted.matches(version)),
    }
}

pub(crate) async fn rollback(catalog: &Catalog, config: &Config, name: &str, printing: Printing) -> anyhow::Result<u8> {
    let entry = one(catalog, name)?;
    let now = catalog.rollback(&entry).await?;
    changed(catalog, config, &entry, &now, printing).await
}

/// What one build declares another may not: a job that is granted more than there is, or has a parameter of the other, cannot run. The lock is
/// changed by now, so nothing here makes the command fail.
async fn changed(
    catalog: &Catalog,
    config: &Config,
    before: &Entry,
    now: &Entry,
    printing: Printing,
) -> anyhow::Result<u8> {
    let unfit = unfit(catalog, config, now).await;
    if printing.human() {
        show(now, "is pinned")?;
        if before.build.version != now.build.version {
            print(&format!("  before    {}", safe(&before.build.version)))?;
        }
        match &unfit {
            Ok(unfit) => {
                for (job, error) in unfit {
                    print(&format!("  {} the job `{}` does not fit: {}", coloured("warning"), safe(job), safe(error)))?;
                }
            }
            Err(error) => print(&format!(
                "  next      rota config check: do its jobs still fit? It could not be looked at here: {}",
                safe(&format!("{error:#}"))
            ))?,
        }
    } else {
        let mut object = entry_json(now);
        object["before"] = json!(before.build.version);
        object["unfit_jobs"] = match &unfit {
            Ok(unfit) => unfit.iter().map(|(job, error)| json!({ "job": job, "error": error })).collect(),
            Err(_) => Value::Null,
        };
        print_json(&object)?;
    }
    Ok(0)
}
