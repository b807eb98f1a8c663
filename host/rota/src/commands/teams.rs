//! `rota teams`: what teams may, and what they have used today.

use super::{Printing, print, print_json};
use crate::cli::TeamsCommand;
use crate::output::{bold, format, safe, table};
use crate::settings::UsageError;
use rota_runs::{Amount, Settings, TeamView};
use rota_store::Store;
use serde_json::Value;

pub(crate) async fn teams(
    settings: &Settings,
    store: &dyn Store,
    command: TeamsCommand,
    printing: Printing,
) -> anyhow::Result<u8> {
    let teams = TeamView::all(settings, store).await?;
    match command {
        TeamsCommand::List => list(&teams, printing),
        TeamsCommand::Show { team: None } => show(&teams.iter().collect::<Vec<_>>(), printing),
        TeamsCommand::Show { team: Some(name) } => {
            let Some(team) = teams.iter().find(|team| team.name == name) else {
                anyhow::bail!(unknown(&name, &teams));
            };
            if !printing.human() {
                print_json(&team.to_json())?;
                return Ok(0);
            }
            show(&[team], printing)
        }
    }
}

fn unknown(name: &str, teams: &[TeamView]) -> UsageError {
    let near = rota_config::nearest(name, teams.iter().map(|team| team.name.as_str()));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    UsageError(format!("there is no team `{}`{near}; `rota teams list` shows what is configured", safe(name)))
}

fn list(teams: &[TeamView], printing: Printing) -> anyhow::Result<u8> {
    if !printing.human() {
        print_json(&Value::Array(teams.iter().map(TeamView::to_json).collect()))?;
        return Ok(0);
    }
    if teams.is_empty() {
        print("no team is configured; [teams.NAME] lets one in")?;
        return Ok(0);
    }
    let row = |team: &TeamView| {
        let mut row = vec![safe(&team.name), team.jobs.len().to_string()];
        row.extend(team.quotas().into_iter().map(|(_, used, most)| of(used, most)));
        row
    };
    let rows: Vec<Vec<String>> = teams.iter().map(row).collect();
    print(&table::plain(
        &["team", "jobs", "runs now", "runs today", "CPU today", "sent today", "effects today"],
        &rows,
    ))?;
    Ok(0)
}

fn show(teams: &[&TeamView], printing: Printing) -> anyhow::Result<u8> {
    if !printing.human() {
        print_json(&Value::Array(teams.iter().map(|team| team.to_json()).collect()))?;
        return Ok(0);
    }
    if teams.is_empty() {
        print("no team is configured; [teams.NAME] lets one in")?;
    }
    for (place, team) in teams.iter().enumerate() {
        print(&format!("{}{}", if place > 0 { "\n" } else { "" }, shown(team)))?;
    }
    Ok(0)
}

fn shown(view: &TeamView) -> String {
    let team = &view.team;
    let words = |words: Vec<String>| if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let description = team.description.as_deref().map(|text| format!("  {}", safe(text))).unwrap_or_default();
    let mut lines = vec![format!("{}{description}", bold(&safe(&view.name)))];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
    line("jobs", words(team.jobs.iter().map(|job| safe(job.as_str())).collect()));
    let jobs = if view.jobs.is_empty() { "none yet".to_owned() } else { view.jobs.join(", ") };
    line("", format!("configured: {jobs}"));
    line("plugins", words(team.plugins.iter().map(|plugin| safe(plugin.as_str())).collect()));
    line(
        "bindings",
        words(
            team.bindings
                .iter()
                .map(|(name, binding)| {
                    let access: Vec<&str> = binding.access.iter().map(|access| access.as_str()).collect();
                    format!("{name} ({})", access.join(", "))
                })
                .collect(),
        ),
    );
    let limits = team.limits.entries();
    if !limits.is_empty() {
        line("limits", limits.into_iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", "));
    }
    line("tries", format!("retries {}, undo attempts {}", team.retries, team.undo_attempts));
    let rows: Vec<Vec<String>> = view
        .quotas()
        .into_iter()
        .map(|(quota, used, most)| vec![quota.to_owned(), amount(used), most.map_or_else(|| "no bound".into(), amount)])
        .collect();
    lines.push(String::new());
    lines.push(table::plain(&["quota", "used", "most"], &rows));
    lines.push(format!("  on {} (UTC)", view.used.date()));
    if view.used.waiting > 0 {
        lines.push(format!("  {} runs wait for others of the team to end (runs_at_once)", view.used.waiting));
    }
    lines.join("\n")
}

/// What was used, of how much.
fn of(used: Amount, most: Option<Amount>) -> String {
    match most {
        Some(most) => format!("{} of {}", amount(used), amount(most)),
        None => amount(used),
    }
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(n) => format::integer(i64::try_from(n).unwrap_or(i64::MAX)),
        Amount::Time(time) => format::seconds(time.as_secs_f64()),
        Amount::Bytes(n) => format::bytes(n),
    }
}
