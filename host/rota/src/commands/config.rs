//! `rota config`: is it sound, and what may stand in it.

use super::{Printing, print, print_json};
use crate::cli::Common;
use crate::output::{coloured, safe};
use serde_json::json;
use std::io::IsTerminal as _;

pub(crate) fn schema() -> anyhow::Result<u8> {
    print_json(&rota_config::schema())?;
    Ok(0)
}

/// The configuration by itself, then its jobs against their plugins: what would be refused at a run is refused here.
/// A text of several lines, in which a file's name or a plugin's words may stand.
fn lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

pub(crate) async fn check(common: &Common, printing: Printing) -> anyhow::Result<u8> {
    let checked = rota_config::check(&crate::settings::source(common));
    let (mut refused, mut lacking): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    if let Some(config) = &checked.config {
        for unready in rota_packages::trust::Policy::from_config(&config.trust).unready() {
            let place = config.place(&unready.place());
            let place = place.map(|p| format!("{}:{}: ", p.source_name(), p.line())).unwrap_or_default();
            refused.push(format!("{place}{unready}"));
        }
        let host = crate::open(config).await?;
        for job in host.settings().jobs.keys() {
            let place = || {
                let place = config.place(&format!("jobs.{job}"));
                place.map(|p| format!("{}:{}: ", p.source_name(), p.line())).unwrap_or_default()
            };
            match host.check_job(job).await {
                Err(error) => refused.push(format!("{}job `{job}`: {error}", place())),
                Ok(wanted) => lacking.extend(wanted.iter().map(|wanted| {
                    format!(
                        "{}job `{job}` is not granted {} on slot `{}`: what needs that is denied ({})",
                        place(),
                        wanted.accesses.join(", "),
                        wanted.slot,
                        wanted.purpose
                    )
                })),
            }
        }
        host.close().await;
    }
    let sound = checked.config.is_some() && refused.is_empty();
    if printing.human() {
        if !checked.problems.is_empty() {
            print(&rota_config::render(&checked.problems, std::io::stdout().is_terminal()))?;
        }
        for problem in &refused {
            print(&format!("{} {}", coloured("failed"), lines(problem)))?;
        }
        for problem in &lacking {
            print(&format!("{} {}", coloured("warning"), lines(problem)))?;
        }
        if let Some(config) = checked.config.as_ref().filter(|_| sound) {
            print(&format!(
                "the configuration is {}: {} bindings, {} jobs",
                coloured("ok"),
                config.bindings.len(),
                config.jobs.len()
            ))?;
            if config.files().is_empty() {
                print(
                    "no configuration file was found: everything has its default (rota.toml here, in ~/.config/rota or in /etc/rota; --config or ROTA_CONFIG names another)",
                )?;
            }
        }
    } else {
        let problem = |p: &rota_config::Problem| {
            let place = p.place();
            json!({ "warning": p.is_warning(), "message": p.message(), "advice": p.advice(), "file": place.map(|p| p.source_name()), "line": place.map(|p| p.line()), "column": place.map(|p| p.column()) })
        };
        let mut problems: Vec<_> = checked.problems.iter().map(problem).collect();
        problems.extend(refused.iter().map(|message| json!({ "warning": false, "message": message, "advice": null, "file": null, "line": null, "column": null })));
        problems.extend(lacking.iter().map(|message| json!({ "warning": true, "message": message, "advice": null, "file": null, "line": null, "column": null })));
        let files = checked.config.as_ref().map(rota_config::Config::files);
        print_json(&json!({ "ok": sound, "problems": problems, "files": files }))?;
    }
    Ok(if sound { 0 } else { 2 })
}

/// Check it as a whole, say what it changes, put its schedules into the store, and have the host that serves on this machine take it on.
pub(crate) async fn apply(common: &Common, plan: bool, printing: Printing) -> anyhow::Result<u8> {
    let config = crate::settings::load(common)?;
    let host = crate::open(&config).await?;
    for job in host.settings().jobs.keys() {
        if let Err(error) = host.check_job(job).await {
            anyhow::bail!(crate::settings::UsageError(format!("nothing is applied: job `{job}`: {error}")));
        }
    }
    let host = std::sync::Arc::new(host);
    let scheduler = rota_runs::Scheduler::new(
        host.clone(),
        config.server.host_name(),
        rota_protocol::Incarnation("apply".into()),
        config.server.poll.into(),
    );
    let changes = if plan { scheduler.changes().await? } else { scheduler.apply().await? };
    let told = match (&host.settings().store, plan) {
        (rota_runs::StoreChoice::Sqlite { folder }, false) => {
            crate::serve::ServeLock::served_by(folder).filter(|pid| reload(*pid))
        }
        _ => None,
    };
    drop(scheduler);
    if let Ok(host) = std::sync::Arc::try_unwrap(host) {
        host.close().await;
    }
    if printing.human() {
        let what = if plan { "would change" } else { "are applied" };
        print(&format!("schedules {what}: {changes}"))?;
        if let Some(pid) = told {
            print(&format!("the serving process {pid} takes the configuration on; its log says so"))?;
        }
    } else {
        print_json(&json!({ "applied": !plan, "schedules": changes, "told": told }))?;
    }
    Ok(0)
}

/// Ask a serving process to read its configuration again.
fn reload(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP).is_ok())
}
