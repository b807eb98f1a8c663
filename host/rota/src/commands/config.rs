//! `rota config`: is it sound, and what may stand in it.

use super::{Printing, print, print_json};
use crate::cli::Common;
use crate::output::coloured;
use serde_json::json;
use std::io::IsTerminal as _;

pub(crate) fn schema() -> anyhow::Result<u8> {
    print_json(&rota_config::schema())?;
    Ok(0)
}

/// The configuration by itself, then its jobs against their plugins: what would be refused at a run is refused here.
pub(crate) async fn check(common: &Common, printing: Printing) -> anyhow::Result<u8> {
    let checked = rota_config::check(&crate::settings::source(common));
    let mut refused: Vec<String> = Vec::new();
    if let Some(config) = &checked.config {
        let host = crate::open(config).await?;
        for job in host.settings().jobs.keys() {
            if let Err(error) = host.check_job(job).await {
                let place = config
                    .place(&format!("jobs.{job}"))
                    .map(|p| format!("{}:{}: ", p.source_name(), p.line()))
                    .unwrap_or_default();
                refused.push(format!("{place}job `{job}`: {error}"));
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
            print(&format!("{} {problem}", coloured("failed")))?;
        }
        if let Some(config) = checked.config.as_ref().filter(|_| sound) {
            print(&format!(
                "the configuration is {}: {} bindings, {} jobs",
                coloured("ok"),
                config.bindings.len(),
                config.jobs.len()
            ))?;
        }
    } else {
        let problem = |p: &rota_config::Problem| {
            let place = p.place();
            json!({ "warning": p.is_warning(), "message": p.message(), "advice": p.advice(), "file": place.map(|p| p.source_name()), "line": place.map(|p| p.line()), "column": place.map(|p| p.column()) })
        };
        let mut problems: Vec<_> = checked.problems.iter().map(problem).collect();
        problems.extend(refused.iter().map(|message| json!({ "warning": false, "message": message, "advice": null, "file": null, "line": null, "column": null })));
        print_json(&json!({ "ok": sound, "problems": problems }))?;
    }
    Ok(if sound { 0 } else { 2 })
}
