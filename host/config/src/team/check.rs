//! Whether teams are possible, and whether jobs keep to what their teams may.

use super::{Beyond, Team, in_quotes};
use crate::check::Look;
use crate::nearest::{advice, list};
use crate::problem::Problem;
use crate::{Access, Job, JobName, TeamName};

impl Look<'_> {
    /// Reports what is wrong with teams, and jobs beyond their ceilings.
    pub(crate) fn teams(&self) {
        if self.settings.teams.is_empty() {
            return;
        }
        for (name, team) in &self.settings.teams {
            self.team(name, team);
        }
        for (name, job) in &self.settings.jobs {
            let mut teams = self.settings.teams_of(name.as_str());
            match (teams.next(), teams.next()) {
                (None, _) => self.of_no_team(name, job),
                (Some((team_name, team)), None) => self.of_team(name, job, team_name, team),
                (Some((one, _)), Some((other, _))) => {
                    let message = format!(
                        "the job \"{name}\" belongs to two teams: teams.{one}.jobs and teams.{other}.jobs both name it"
                    );
                    self.refuse(&format!("jobs.{name}"), message, "a job belongs to one team: narrow one of the two");
                }
            }
        }
    }

    fn team(&self, name: &TeamName, team: &Team) {
        for (binding, ceiling) in &team.bindings {
            let at = format!("teams.{name}.bindings.{binding}");
            let Some(configured) = self.settings.bindings.get(binding) else {
                let names: Vec<&str> = self.settings.bindings.keys().map(|name| name.as_str()).collect();
                let message = format!("{at}: there is no binding \"{binding}\"");
                self.refuse(&at, message, &advice(binding.as_str(), &names, "bindings"));
                continue;
            };
            if self.settings.store.artifacts.as_ref() == Some(binding) {
                let message = format!("{at} is the binding of store.artifacts, whose files no run may reach");
                self.refuse(&at, message, "configure another, with another prefix");
            }
            let (kind, most) = (configured.kind(), configured.ceiling());
            for access in &ceiling.access {
                let message = if !kind.accesses().contains(access) {
                    format!("{at}.access: a {kind} binding has no access \"{access}\"")
                } else if !most.contains(access) {
                    format!("{at}.access: \"{access}\" is more than bindings.{binding}.access allows")
                } else {
                    continue;
                };
                let words: Vec<&str> = most.iter().map(|access: &Access| access.as_str()).collect();
                self.refuse(&format!("{at}.access"), message, &format!("it has {}", list(&words)));
            }
        }
    }

    /// A job without a team is the operators' own. One that runs what a team calls its own may have been meant to be that team's.
    fn of_no_team(&self, name: &JobName, job: &Job) {
        let plugin = job.plugin.to_string();
        let namespace = |team: &Team| {
            team.plugins
                .iter()
                .filter(|pattern| pattern.is_namespace())
                .any(|pattern| pattern.matches(&super::name_of(&plugin)))
        };
        if let Some((team_name, team)) = self.settings.teams.iter().find(|(_, team)| namespace(team)) {
            let message = format!(
                "jobs.{name} runs a plugin that teams.{team_name}.plugins names, and is not a job of that team: no ceiling holds for it"
            );
            let place = self.place(&format!("jobs.{name}"));
            let help = format!("teams.{team_name}.jobs names {}", in_quotes(&team.jobs));
            self.reader.report(Problem::warning(place, message).help(help));
        }
    }

    fn of_team(&self, name: &JobName, job: &Job, team_name: &TeamName, team: &Team) {
        let at = format!("jobs.{name}");
        let refuse = |key: &str, beyond: &Beyond| {
            self.refuse(&format!("{at}.{key}"), format!("{at}: {beyond}"), &beyond.advice());
        };
        let team_name = team_name.as_str();
        if let Err(beyond) = team.may_run(team_name, &job.plugin.to_string()) {
            refuse("plugin", &beyond);
        }
        for (slot, put) in &job.slots {
            let words = put.access.iter().map(|access| access.as_str());
            if let Err(beyond) = team.may_grant(team_name, slot.as_str(), put.binding.as_str(), words) {
                let key = if matches!(beyond, Beyond::Access { .. }) { "access" } else { "binding" };
                refuse(&format!("slots.{slot}.{key}"), &beyond);
            }
        }
        if job.priority > team.priority {
            let (team, asked, most) = (team_name.to_owned(), job.priority, team.priority);
            refuse("priority", &Beyond::Priority { team, asked, most });
        }
        if let Err(beyond) = team.may_retry(team_name, job.retries.limit) {
            refuse("retries.limit", &beyond);
        }
        // What a job does not set is no more than its team may have.
        if self.is_set(&format!("{at}.undo.attempts"))
            && let Err(beyond) = team.may_try_undo(team_name, job.undo.attempts)
        {
            refuse("undo.attempts", &beyond);
        }
        if job.exclusive == Some(false) {
            refuse("exclusive", &Beyond::Shared { team: team_name.to_owned() });
        }
        let beyond = |limit: &str, asked: String, most: String| Beyond::Limit {
            team: team_name.to_owned(),
            limit: limit.to_owned(),
            asked,
            most,
        };
        for (limit, asked, most) in job.limits.beyond(&team.limits) {
            refuse(&format!("limits.{limit}"), &beyond(limit, asked, most));
        }
        for (key, time) in [("timeout", job.timeout), ("attempt_timeout", job.attempt_timeout)] {
            if let (Some(asked), Some(most)) = (time, team.limits.wall)
                && asked > most
            {
                refuse(key, &beyond("wall", asked.to_string(), most.to_string()));
            }
        }
    }
}
