//! Running a recorded run again on its recorded answers: no binding is reached, and nothing is written.

use crate::artifacts::{ArtifactError, Artifacts};
use crate::recording::{COMPONENT, component_of, end_of};
use crate::records::{RecordsError, RunRecords};
use crate::settings::Settings;
use rota_authority::{Gate, MemoryLedger, Mode, Quotas, RunIdentity};
use rota_capability::tape::Tape;
use rota_capability::{Limits, Quiet, RunContext, RunFacts, Transient, Trigger};
use rota_catalog::{Catalog, CatalogError, Loaded};
use rota_recording::{Difference, End, Ending, Header, Made, Player, ReadError, Reading, Verdict, file_name};
use rota_sandbox::Cancel;
use serde_json::{Value, json};
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// What is to be replayed.
#[derive(Clone, Debug, Default)]
pub struct ReplayRequest {
    /// The run: its id, a part of it, or `last`; or the path of a recording.
    pub run: String,
    /// Another build of the plugin.
    pub with: Option<PathBuf>,
    /// Stop before this call.
    pub until: Option<u64>,
    /// The attempt; without it the last that was recorded.
    pub attempt: Option<u32>,
}

/// Why nothing could be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The run.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// It has no recording.
    #[error(
        "run {run} was not recorded{}; record the next one with `--record`, or `record = \"on-failure\"` in its job",
        .elsewhere.as_ref().map(|host| format!(", or its recording is on the host that ran it ({host})")).unwrap_or_default()
    )]
    NotRecorded {
        /// The run.
        run: String,
        /// The host that ran it, where it may be another.
        elsewhere: Option<String>,
    },
    /// An attempt is asked for beside a file, which is the recording of one.
    #[error("{0} is the recording of one attempt, which is in its first line: leave --attempt {1} out, or name a run")]
    AttemptOfFile(String, u32),
    /// The recording cannot be had from here.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// It is not what the run kept.
    #[error("the recording of run {0} is not what the run kept: its hash differs")]
    Altered(String),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its header.
    #[error("{0}")]
    Header(String),
    /// The plugin.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The build that was recorded.
    #[error(
        "the build {digest} of `{plugin}`, which was recorded, is not here any more; give it, or another one, with --with FILE.wasm"
    )]
    NoComponent {
        /// The plugin.
        plugin: String,
        /// Its digest.
        digest: String,
    },
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// As the recorded run: the same calls, and the same end.
    Same(End),
    /// A call differs, or there is one too many or too few.
    Differs(Difference),
    /// The same calls, and another end.
    EndsOtherwise {
        /// How the recorded run ended.
        recorded: End,
        /// How the replay did.
        replayed: End,
    },
    /// The recorded run was ended from outside, or its recording breaks off, and the replay came as far.
    Ends {
        /// The last call that is recorded.
        call: u64,
        /// Why there are no more.
        ending: Ending,
        /// How the replay ended by itself, if it did.
        replayed: Option<End>,
    },
    /// It stopped where it was told to.
    Until(u64),
}

/// A replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What was recorded.
    pub header: Header,
    /// The digest of the component that was replayed.
    pub digest: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How many recorded calls it made.
    pub calls: u64,
    /// The last of them, where it was told where to stop.
    pub last: Vec<Made>,
    /// How long it took.
    pub took: Duration,
    /// The limits that are lower than those of the recorded run, because this host allows no more.
    pub lower: Vec<&'static str>,
}

/// A recording that was found.
pub struct FoundRecording {
    /// It, to be read.
    pub reading: Reading,
    /// Whether it lies with a run of this store, and is not somebody's file.
    pub of_run: bool,
}

impl Replayed {
    /// 0 where nothing differs.
    pub fn exit_status(&self) -> u8 {
        match self.outcome {
            Outcome::Same(_) | Outcome::Ends { .. } | Outcome::Until(_) => 0,
            Outcome::Differs(_) | Outcome::EndsOtherwise { .. } => 1,
        }
    }

    /// As `--output json` has it.
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "run": self.header.run,
            "attempt": self.header.attempt,
            "plugin": self.header.plugin,
            "version": self.header.version,
            "recorded_digest": self.header.digest,
            "digest": self.digest,
            "calls": self.calls,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        let mut set = |name: &str, value: Value| {
            object[name] = value;
        };
        if !self.lower.is_empty() {
            set("lower_limits", json!(self.lower));
        }
        match &self.outcome {
            Outcome::Same(end) => {
                set("result", "same".into());
                set("end", json!(end));
            }
            Outcome::Differs(difference) => {
                set("result", "differs".into());
                set("difference", difference.to_json());
            }
            Outcome::EndsOtherwise { recorded, replayed } => {
                set("result", "differs".into());
                set("recorded_end", json!(recorded));
                set("end", json!(replayed));
            }
            Outcome::Ends { call, ending, replayed } => {
                set("result", "ends".into());
                set("after_call", json!(call));
                set("why", ending_word(ending).into());
                if let Ending::Ended(recorded) = ending {
                    set("recorded_end", json!(recorded));
                }
                set("end", json!(replayed));
            }
            Outcome::Until(call) => {
                set("result", "until".into());
                set("before_call", json!(call));
                let made = |made: &Made| json!({ "call": made.call, "asked": made.asked, "answered": made.answered });
                set("last", self.last.iter().map(made).collect());
            }
        }
        object
    }
}

fn ending_word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Ended(_) => "ended",
        Ending::Full(_) => "full",
        Ending::Torn => "torn",
    }
}

/// Replay a recorded run.
///
/// # Errors
/// Why it cannot be.
pub async fn replay(
    catalog: &Catalog,
    records: &RunRecords,
    artifacts: &Artifacts,
    settings: &Settings,
    request: &ReplayRequest,
) -> Result<Replayed, ReplayError> {
    let FoundRecording { reading, of_run } = open_recording(records, artifacts, request).await?;
    let header = reading.header.clone();
    let (limits, lower) = header.limits.within(&allowed(settings, &header, of_run));
    let loaded = recorded_component(catalog, records, artifacts, &header, request).await?;
    let player = Player::new(reading, request.until).map_err(ReplayError::Header)?;
    let began = Instant::now();
    let outcome = play(catalog, &loaded, &player, limits).await?;
    Ok(Replayed {
        digest: loaded.plugin.digest().to_owned(),
        calls: player.made(),
        last: player.last_made(),
        took: began.elapsed(),
        lower,
        header,
        outcome,
    })
}

/// What a replay may use. A run of this store was held to limits that somebody was allowed to set here; what a file says of its limits
/// is anybody's word, and goes no further than this host's own configuration.
fn allowed(settings: &Settings, header: &Header, of_run: bool) -> Limits {
    let job = header.job.as_ref().and_then(|job| settings.jobs.get(job));
    let mut most = match job {
        _ if of_run => header.limits.clone(),
        Some(job) => job.limits.clone(),
        None => settings.limits.clone(),
    };
    most.memory = most.memory.min(settings.max_memory);
    most
}

/// The recording: of a run, or a file.
///
/// # Errors
/// When there is none, or it cannot be read.
pub async fn open_recording(
    records: &RunRecords,
    artifacts: &Artifacts,
    request: &ReplayRequest,
) -> Result<FoundRecording, ReplayError> {
    let path = Path::new(&request.run);
    if request.run.contains('/') || path.is_file() {
        if let Some(attempt) = request.attempt {
            return Err(ReplayError::AttemptOfFile(request.run.clone(), attempt));
        }
        return Ok(FoundRecording { reading: of_file(path)?, of_run: false });
    }
    let view = records.find(&request.run).await?;
    let attempts = match request.attempt {
        Some(attempt) => attempt..=attempt,
        None => 1..=view.attempt.max(1),
    };
    for name in attempts.rev().map(file_name) {
        let known = view.artifacts.iter().find(|artifact| artifact.name == name);
        let path = artifacts.folder(&view.id).join(&name);
        match known {
            // What the run kept is what is replayed, wherever it is.
            Some(known) => {
                let mut file = artifacts.open(&view.id, &name).await?;
                let failed = |source| ReadError::File { place: path.clone(), source };
                if sha256_of(&mut file).map_err(failed)? != known.sha256 {
                    return Err(ReplayError::Altered(view.id));
                }
                return of_run(Reading::of(&path, Box::new(file))?, view.id);
            }
            // A run whose host was killed could put nothing on record.
            None if path.is_file() => return of_run(of_file(&path)?, view.id),
            None => {}
        }
    }
    let elsewhere = (!view.host.is_empty() && view.host != crate::host_name()).then(|| view.host.clone());
    Err(ReplayError::NotRecorded { run: view.id, elsewhere })
}

/// A recording in a file, wherever it is.
fn of_file(path: &Path) -> Result<Reading, ReplayError> {
    let file = rota_config::open_file(path).map_err(|source| ReadError::File { place: path.to_owned(), source })?;
    Ok(Reading::of(path, Box::new(file))?)
}

/// The hash of a file, which is at its beginning again then.
fn sha256_of(file: &mut File) -> io::Result<String> {
    let mut hash = sha2::Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    file.rewind()?;
    Ok(hex::encode(hash.finalize()))
}

/// A recording that lies with a run, if it says that it is that run's.
fn of_run(reading: Reading, run: String) -> Result<FoundRecording, ReplayError> {
    if reading.header.run == run {
        Ok(FoundRecording { reading, of_run: true })
    } else {
        Err(ReplayError::Altered(run))
    }
}

/// The build that was recorded, or the one that is given.
///
/// # Errors
/// When it is nowhere any more, or no host would take it.
pub async fn recorded_component(
    catalog: &Catalog,
    records: &RunRecords,
    artifacts: &Artifacts,
    header: &Header,
    request: &ReplayRequest,
) -> Result<Loaded, ReplayError> {
    if let Some(path) = &request.with {
        return Ok(catalog.load_file(path).await?);
    }
    let is_it = |component: &Vec<u8>| rota_sandbox::digest(component) == header.digest;
    if let Some(component) = component_of(artifacts, &header.run).filter(is_it) {
        return Ok(catalog.load_bytes(&header.plugin, component).await?);
    }
    // What lies beside a recording came with it, from wherever: it is a file like any other, and held against the rules of trust.
    let beside = Path::new(&request.run).parent().map(|folder| folder.join(COMPONENT));
    let mut refused = None;
    if let Some(path) = beside.filter(|path| rota_catalog::read_file(path).is_ok_and(|component| is_it(&component))) {
        match catalog.load_file(&path).await {
            Ok(loaded) if loaded.plugin.digest() == header.digest => return Ok(loaded),
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
    }
    if let Ok(loaded) = catalog.load(&header.plugin).await
        && loaded.plugin.digest() == header.digest
    {
        return Ok(loaded);
    }
    let kept = records.store.component(&header.digest).await.ok().flatten();
    match kept.filter(|component| rota_sandbox::digest(component) == header.digest) {
        Some(component) => Ok(catalog.load_bytes(&header.plugin, component).await?),
        None => Err(refused.map_or_else(
            || ReplayError::NoComponent { plugin: header.plugin.clone(), digest: header.digest.clone() },
            ReplayError::Catalog,
        )),
    }
}

async fn play(
    catalog: &Catalog,
    loaded: &Loaded,
    player: &Arc<Player>,
    limits: Limits,
) -> Result<Outcome, ReplayError> {
    let header = player.header();
    let parameters = rota_capability::tape::made::<Value>(header.parameters.clone()).map_err(ReplayError::Header)?;
    let context = context(header, player, limits);
    let cancel = Cancel::default();
    let parameters = parameters.to_string();
    let verdict = {
        let run = catalog.sandbox().run(&loaded.plugin, context, &parameters, &cancel);
        tokio::select! {
            biased;
            verdict = player.verdict() => Err(verdict),
            finished = run => Ok(end_of(&finished)),
        }
    };
    // Whatever ended the guest: a verdict that came meanwhile says why.
    let replayed = match verdict {
        Ok(end) => match player.rest() {
            Ok(ending) => return Ok(compared(ending, end, player.made())),
            // It went well to its end, and the recorded run did more.
            Err(Verdict::Differs(difference)) if difference.replayed.is_empty() => {
                return Ok(Outcome::Differs(Difference {
                    replayed: format!("the replay ends here: {}\n", said(&end)),
                    ..difference
                }));
            }
            Err(verdict) => verdict,
        },
        Err(verdict) => verdict,
    };
    match replayed {
        Verdict::Differs(difference) => Ok(Outcome::Differs(difference)),
        Verdict::Until(call) => Ok(Outcome::Until(call)),
        Verdict::Ends(call, ending) => Ok(goes_on(call, ending)),
        // The host itself ended the recorded run in this call: so it would here.
        Verdict::Trapped(call, text) => Ok(match player.ending() {
            Ending::Ended(end) => Outcome::Same(end),
            _ => Outcome::Ends {
                call,
                ending: Ending::Ended(End { ended: "trapped".into(), report: None, said: Some(text.into()) }),
                replayed: None,
            },
        }),
        Verdict::Unreadable(why) => Err(ReplayError::Header(why)),
    }
}

/// Whether a run was ended by its host or by a person, and not by what the plugin did. What its team had left of a quota is of that day, and
/// of all its runs: a replay counts for no team.
fn ended_from_outside(end: &End) -> bool {
    matches!(end.ended.as_str(), "timed-out" | "cancelled" | "host" | "quota")
}

/// The recording ends after a call, and the replay would make another.
fn goes_on(call: u64, ending: Ending) -> Outcome {
    match ending {
        Ending::Ended(end) if !ended_from_outside(&end) => Outcome::Differs(Difference {
            call,
            what: format!("the recorded run ended after call {call}, and the replay goes on"),
            recorded: format!("{}\n", said(&end)),
            replayed: String::new(),
        }),
        ending => Outcome::Ends { call, ending, replayed: None },
    }
}

fn compared(ending: Ending, replayed: End, calls: u64) -> Outcome {
    match ending {
        Ending::Ended(recorded) if recorded == replayed => Outcome::Same(recorded),
        Ending::Ended(recorded) if ended_from_outside(&recorded) => {
            Outcome::Ends { call: calls, ending: Ending::Ended(recorded), replayed: Some(replayed) }
        }
        Ending::Ended(recorded) => Outcome::EndsOtherwise { recorded, replayed },
        ending => Outcome::Ends { call: calls, ending, replayed: Some(replayed) },
    }
}

/// An end in one line.
pub(crate) fn said(end: &End) -> String {
    let more = match (&end.said, &end.report) {
        (Some(Value::String(text)), _) => format!(": {text}"),
        (Some(said), _) => format!(": {}", said["message"].as_str().unwrap_or_default()),
        (None, Some(report)) => {
            let text = |name: &str| report[name].as_str().unwrap_or_default();
            format!(": {} ({})", text("summary"), text("status"))
        }
        (None, None) => String::new(),
    };
    format!("{}{more}", end.ended)
}

impl Replayed {
    /// An end in one line.
    pub fn said(end: &End) -> String {
        said(end)
    }
}

/// What the guest is given: nothing is bound, nothing is granted, and nobody listens.
fn context(header: &Header, player: &Arc<Player>, limits: Limits) -> Arc<RunContext> {
    let mode = if header.mode == "plan" { Mode::Plan } else { Mode::Execute };
    let job = header.job.clone().unwrap_or_else(|| header.plugin.clone());
    let identity = RunIdentity { run: header.run.clone(), job };
    let gate = Gate::new(identity, mode, Quotas { effects: 0 }, Arc::new(MemoryLedger::default()), []);
    let started_at = u64::try_from(header.started_at).unwrap_or_default();
    let facts = RunFacts {
        id: header.run.clone(),
        attempt: header.attempt,
        job: header.job.clone(),
        trigger: Trigger::Manual,
        started_at: UNIX_EPOCH + Duration::from_micros(started_at),
        slots: header.slots.iter().map(|slot| slot.name.clone()).collect(),
    };
    let durable = Arc::new(Transient::default());
    RunContext::taped(gate, facts, limits, Arc::new(Quiet), durable, Tape::Answering(player.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ended: &str) -> End {
        End { ended: ended.into(), report: None, said: None }
    }

    #[test]
    fn who_was_ended_from_outside_does_not_differ_by_going_on() {
        for ended in ["timed-out", "cancelled", "host", "quota"] {
            let ending = || Ending::Ended(end(ended));
            assert_eq!(goes_on(3, ending()), Outcome::Ends { call: 3, ending: ending(), replayed: None });
            let replayed = Some(end("reported"));
            assert_eq!(compared(ending(), end("reported"), 4), Outcome::Ends { call: 4, ending: ending(), replayed });
        }
        for ended in ["reported", "failed", "limit", "trapped"] {
            let ending = || Ending::Ended(end(ended));
            assert!(matches!(goes_on(3, ending()), Outcome::Differs(_)), "{ended}");
            assert_eq!(compared(ending(), end(ended), 4), Outcome::Same(end(ended)));
            let otherwise = Outcome::EndsOtherwise { recorded: end(ended), replayed: end("host") };
            assert_eq!(compared(ending(), end("host"), 4), otherwise);
        }
    }
}
