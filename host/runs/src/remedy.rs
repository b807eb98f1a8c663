//! What would mend a finding of a past run, as a request: the plugin and parameters that the finding names, with the bindings that the run had.

use crate::host::Host;
use crate::prepare::{PrepareError, Request};
use crate::records::RecordsError;
use crate::view::SlotView;
use rota_contract::reports::{Finding, Slot};

/// Why a remedy cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RemedyError {
    /// It is not named as it must be.
    #[error(
        "`{0}` names no finding: write --remedy RUN/NUMBER, as `rota runs show RUN` shows them (last/1 is the first of the last run)"
    )]
    Form(String),
    /// The run.
    #[error(transparent)]
    Run(#[from] RecordsError),
    /// The run has no such finding.
    #[error("run {run} has {}", if *findings == 0 { "no findings".to_owned() } else { format!("findings 1 to {findings}, no {number}") })]
    NoSuch {
        /// The run.
        run: String,
        /// What was asked for.
        number: usize,
        /// How many it has.
        findings: usize,
    },
    /// The finding is for a person.
    #[error("no procedure mends finding {number} of run {run}{}", if note.is_empty() { String::new() } else { format!("; what to do: {note}") })]
    ByHand {
        /// The run.
        run: String,
        /// The finding.
        number: usize,
        /// What it says to do.
        note: String,
    },
    /// A procedure of a team names something from elsewhere.
    #[error(
        "the remedy of a procedure of the team `{team}` names `{plugin}`, a file or package: run it yourself if it is what you want"
    )]
    OfTeam {
        /// The plugin.
        plugin: String,
        /// The team.
        team: String,
    },
    /// The plugin that it names.
    #[error("the remedy names `{plugin}`, which cannot be run here: {error}")]
    Plugin {
        /// The plugin.
        plugin: String,
        /// Why.
        error: PrepareError,
    },
}

/// The command line that runs a remedy. What was given as a URL or a program is on no record, and has to be given again.
pub(crate) fn command(run: &str, number: usize, slots: &[SlotView]) -> String {
    let again: String =
        slots.iter().filter(|slot| slot.ad_hoc).map(|slot| format!(" --bind {}=...", slot.slot)).collect();
    format!("rota run --remedy {run}/{number}{again} --grant declared --plan")
}

impl Host {
    /// Turn a request for the remedy of a finding (`RUN/NUMBER` in `request.what`) into one for its plugin, or for the one job that is
    /// configured with that plugin on the same bindings. What the request says itself goes first. Answers the run that has the finding.
    ///
    /// # Errors
    /// [`RemedyError`].
    pub async fn remedy(&self, request: &mut Request) -> Result<String, RemedyError> {
        let form = || RemedyError::Form(request.what.chars().take(80).collect());
        let (run, number) = request.what.rsplit_once('/').ok_or_else(form)?;
        let number: usize = number.parse().map_err(|_| form())?;
        let view = self.records().find(run).await?;
        let findings = view.report.as_ref().map(|report| report.findings.as_slice()).unwrap_or_default();
        let finding = number
            .checked_sub(1)
            .and_then(|place| findings.get(place))
            .ok_or_else(|| RemedyError::NoSuch { run: view.id.clone(), number, findings: findings.len() })?;
        let by_hand = |note: &str| RemedyError::ByHand { run: view.id.clone(), number, note: note.to_owned() };
        let remedy = finding.remedy.as_ref().ok_or_else(|| by_hand(""))?;
        if remedy.plugin.is_empty() {
            return Err(by_hand(&remedy.note));
        }
        // A team's procedure chose the name: it leads to nothing that is not here by somebody else's choice.
        if let Some(team) = &view.team
            && (remedy.plugin.contains('/') || remedy.plugin.ends_with(".wasm"))
        {
            return Err(RemedyError::OfTeam { plugin: remedy.plugin.clone(), team: team.clone() });
        }
        let loaded = self
            .plugins()
            .load(&remedy.plugin)
            .await
            .map_err(|error| RemedyError::Plugin { plugin: remedy.plugin.clone(), error: error.into() })?;
        let bound = shared(&view.slots, &loaded.descriptor.slots);
        let mut parameters = parameters(finding);
        let key = |argument: &String| argument.split('=').next().map(str::to_owned);
        parameters.retain(|argument| !request.parameters.iter().any(|given| key(given) == key(argument)));
        parameters.append(&mut request.parameters);
        request.parameters = parameters;
        let given = |slot: &str| request.bind.iter().any(|bind| bind.split('=').next() == Some(slot));
        // A job lends its grants and its confirmation to the parameters of the report. Those of a team's procedure get neither: they are run
        // as by hand, with what is granted and typed for it.
        let lends = request.bind.is_empty() && view.team.is_none();
        match self.job_with(&remedy.plugin, &bound).filter(|_| lends) {
            Some(job) => request.what = job,
            None => {
                let known: Vec<String> = bound
                    .iter()
                    .filter(|slot| !slot.ad_hoc && !given(&slot.slot))
                    .map(|slot| format!("{}={}", slot.slot, slot.binding))
                    .collect();
                request.bind.extend(known);
                request.what.clone_from(&remedy.plugin);
            }
        }
        Ok(view.id)
    }

    /// The one job that is configured with a plugin and has in its slots what the run had in the same ones.
    fn job_with(&self, plugin: &str, bound: &[&SlotView]) -> Option<String> {
        let settings = self.settings();
        let mut fitting = settings.jobs.iter().filter(|(_, job)| {
            let same = |slot: &&SlotView| {
                !slot.ad_hoc && job.slots.get(&slot.slot).is_some_and(|(binding, _)| *binding == slot.binding)
            };
            job.plugin.split('@').next() == Some(plugin) && !bound.is_empty() && bound.iter().all(same)
        });
        let first = fitting.next()?;
        fitting.next().is_none().then(|| first.0.clone())
    }
}

/// The slots of a run that another plugin has too.
fn shared<'v>(had: &'v [SlotView], wanted: &[Slot]) -> Vec<&'v SlotView> {
    had.iter().filter(|slot| wanted.iter().any(|wanted| wanted.name == slot.slot)).collect()
}

/// A finding's parameters as arguments.
fn parameters(finding: &Finding) -> Vec<String> {
    let text = finding.remedy.as_ref().map(|remedy| remedy.parameters.as_str()).unwrap_or_default();
    let Ok(serde_json::Value::Object(map)) = serde_json::from_str(text) else { return Vec::new() };
    map.into_iter()
        // As an argument that would be the name of a file.
        .filter(|(key, _)| !key.starts_with('@'))
        .map(|(key, value)| match value {
            serde_json::Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_contract::Severity;
    use rota_contract::reports::Remedy;

    #[test]
    fn a_parameter_of_a_remedy_names_no_file() {
        let remedy = Remedy {
            plugin: "sql-statement".into(),
            parameters: r#"{"@/etc/hostname":"x","statement":"select 1","limit":5}"#.into(),
            note: String::new(),
        };
        let finding =
            Finding { severity: Severity::Warning, title: String::new(), detail: String::new(), remedy: Some(remedy) };
        assert_eq!(parameters(&finding), ["statement=select 1", "limit=5"]);
    }
}
