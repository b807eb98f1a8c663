//! Teams: who may have jobs of their own, and the most that those may ask for.
//!
//! A job belongs to the team whose `jobs` name it: whoever lets a team in says so once, and no job can leave its team by
//! what it says of itself.

mod check;
mod pattern;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use pattern::{NamePattern, PatternError};

use crate::access::Access;
use crate::nearest::list;
use crate::section::{record, section};
use crate::settings::Settings;
use crate::{BindingName, ByteSize, Duration, LimitOverrides, PluginRef, TeamName};

record! {
    /// What the jobs of a team may ask for at most, and what they may use up in a day.
    pub struct Team {
        /// Who it is, in a line.
        pub description: Option<String> = None;
        /// The jobs that are the team's, by name: * stands for anything.
        pub jobs: Vec<NamePattern>;
        /// The plugins that its jobs may run, without a version: * stands for anything but a /, ** for anything.
        pub plugins: Vec<NamePattern>;
        /// The bindings that its jobs may use.
        pub bindings: BTreeMap<BindingName, TeamBinding> = BTreeMap::new();
        /// The most that limits of its jobs may allow. What a job does not say is no more than this.
        pub limits: LimitOverrides = LimitOverrides::default();
        /// The highest priority of its jobs.
        pub priority: i32 = 0, within(-100, 100);
        /// The most retries of a run of its jobs.
        pub retries: u32 = 5, within(0, 100);
        /// How often an undo of what its runs did is tried at most.
        pub undo_attempts: u32 = 5, within(1, 100);
        /// What all its runs together may use, on all hosts.
        pub quotas: TeamQuotas = TeamQuotas::default();
    }
}

record! {
    /// What the jobs of a team may be granted on a binding.
    pub struct TeamBinding {
        /// The most; nothing else is granted, whatever a job or a command says.
        pub access: Vec<Access>;
    }
}

section! {
    /// What all runs of a team together may use, on all hosts. A day begins at 00:00 UTC.
    pub struct TeamQuotas {
        /// The most runs at once; more wait.
        pub runs_at_once: Option<u32> = None, within(1, 10_000);
        /// The most runs that begin in a day, plans included; more are denied.
        pub runs_per_day: Option<u32> = None, within(1, 100_000_000);
        /// The most CPU time of plugins in a day; a run that needs more is ended.
        pub cpu_per_day: Option<Duration> = None, within(Duration::from_secs(1), Duration::from_secs(100_000 * 86_400));
        /// The most bytes that runs send to bindings in a day: objects, rows that are copied in, what a program or a command reads, statements, values, manifests.
        pub bytes_out_per_day: Option<ByteSize> = None, within(ByteSize::bytes(0), ByteSize::gib(1 << 20));
        /// The most effects in a day; planned ones do not count.
        pub effects_per_day: Option<u32> = None, within(0, 1_000_000_000);
    }
}

/// What a job of a team asks for beyond what the team may. Its text says who can allow it, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// A plugin.
    #[error("the team `{team}` may not run the plugin {plugin}; it may run: {}", listed(.allowed))]
    Plugin {
        /// The team.
        team: String,
        /// What the job names.
        plugin: String,
        /// What the team may run.
        allowed: Vec<String>,
    },
    /// A binding.
    #[error("slot `{slot}`: the team `{team}` may not use {binding}; it may use: {}", listed(.allowed))]
    Binding {
        /// The team.
        team: String,
        /// The slot.
        slot: String,
        /// The binding, or that it is none.
        binding: String,
        /// What the team may use.
        allowed: Vec<String>,
    },
    /// An access.
    #[error("slot `{slot}`: `{access}` on the binding `{binding}` is more than the team `{team}` may be granted there; that is: {}", listed(.allowed))]
    Access {
        /// The team.
        team: String,
        /// The slot.
        slot: String,
        /// The binding.
        binding: String,
        /// The access.
        access: String,
        /// What the team may be granted.
        allowed: Vec<String>,
    },
    /// A limit.
    #[error("the limit `{limit}` is {asked}, more than the team `{team}` may have ({most})")]
    Limit {
        /// The team.
        team: String,
        /// The limit.
        limit: String,
        /// What is asked for.
        asked: String,
        /// What the team may have.
        most: String,
    },
    /// The priority.
    #[error("the priority is {asked}, higher than the team `{team}` may have ({most})")]
    Priority {
        /// The team.
        team: String,
        /// What is asked for.
        asked: i32,
        /// What the team may have.
        most: i32,
    },
    /// How often a run or an undo is tried.
    #[error("`{asks}` is {asked}, more than the team `{team}` may have ({most})")]
    Tries {
        /// The team.
        team: String,
        /// The key of the job that asks for it.
        asks: &'static str,
        /// The key of the team that bounds it.
        bound: &'static str,
        /// What is asked for.
        asked: u32,
        /// What the team may have.
        most: u32,
    },
    /// The job is not to have its targets to itself, though what it is granted asks for it.
    #[error(
        "the team `{team}` may not have `exclusive = false`: others rely on what is granted there being one's alone"
    )]
    Shared {
        /// The team.
        team: String,
    },
    /// The job is not the team's any more.
    #[error("the run was made for the team `{team}`, which does not have the job `{job}` any more")]
    Gone {
        /// The team.
        team: String,
        /// The job.
        job: String,
    },
    /// Two teams have the job.
    #[error("the job `{job}` belongs to several teams: {}", listed(.teams))]
    Several {
        /// The job.
        job: String,
        /// The teams.
        teams: Vec<String>,
    },
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

impl Beyond {
    /// The key under `teams` that would allow it; empty where there is none.
    pub fn key(&self) -> String {
        match self {
            Self::Plugin { team, .. } => format!("teams.{team}.plugins"),
            Self::Binding { team, .. } => format!("teams.{team}.bindings"),
            Self::Access { team, binding, .. } => format!("teams.{team}.bindings.{binding}.access"),
            Self::Limit { team, limit, .. } => format!("teams.{team}.limits.{limit}"),
            Self::Priority { team, .. } => format!("teams.{team}.priority"),
            Self::Tries { team, bound, .. } => format!("teams.{team}.{bound}"),
            Self::Shared { .. } | Self::Gone { .. } | Self::Several { .. } => String::new(),
        }
    }

    /// The same with who can allow it.
    pub fn with_advice(&self) -> String {
        format!("{self}; {}", self.advice())
    }

    /// Who can allow it, and where.
    pub fn advice(&self) -> String {
        if let Self::Shared { .. } = self {
            return "leave it out".to_owned();
        }
        match self.key() {
            key if key.is_empty() => "whoever runs the hosts can change [teams]".to_owned(),
            key => format!("whoever runs the hosts can allow it in {key}"),
        }
    }
}

impl Team {
    /// Whether a job is the team's.
    pub fn has_job(&self, job: &str) -> bool {
        self.jobs.iter().any(|pattern| pattern.matches(job))
    }

    /// Whether its jobs may run a plugin, by what a job calls it: name, address or path, with a version or without. A file must also be there
    /// where links in its path lead: a team may put a link into its folder, and is not to leave it by that.
    ///
    /// # Errors
    /// [`Beyond::Plugin`].
    pub fn may_run(&self, team: &str, plugin: &str) -> Result<(), Beyond> {
        let name = name_of(plugin);
        let named = self.plugins.iter().any(|pattern| pattern.matches(&name));
        let led = if named { led_to(plugin) } else { None };
        if named && led.as_ref().is_none_or(|real| self.plugins.iter().any(|pattern| pattern.covers_real(real))) {
            return Ok(());
        }
        let shown = crate::redact::quoted_path(&name);
        let plugin = match led {
            Some(real) => format!("{shown}, which leads to {}", crate::redact::quoted_path(&real)),
            None => shown,
        };
        let allowed = self.plugins.iter().map(ToString::to_string).collect();
        Err(Beyond::Plugin { team: team.to_owned(), plugin, allowed })
    }

    /// Whether its jobs may have these accesses on a configured binding.
    ///
    /// # Errors
    /// [`Beyond::Binding`] or [`Beyond::Access`].
    pub fn may_grant(
        &self,
        team: &str,
        slot: &str,
        binding: &str,
        accesses: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<(), Beyond> {
        let Some(ceiling) = self.bindings.get(binding) else {
            return Err(self.no_binding(team, slot, &format!("the binding `{binding}`")));
        };
        let beyond = accesses
            .into_iter()
            .find(|access| !ceiling.access.iter().any(|allowed| allowed.as_str() == access.as_ref()));
        match beyond {
            None => Ok(()),
            Some(access) => Err(Beyond::Access {
                team: team.to_owned(),
                slot: slot.to_owned(),
                binding: binding.to_owned(),
                access: access.as_ref().to_owned(),
                allowed: ceiling.access.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// Whether a run of its jobs may be tried again so often.
    ///
    /// # Errors
    /// [`Beyond::Tries`].
    pub fn may_retry(&self, team: &str, asked: u32) -> Result<(), Beyond> {
        may_try(team, "retries.limit", "retries", asked, self.retries)
    }

    /// Whether each undo of its runs may be tried so often.
    ///
    /// # Errors
    /// [`Beyond::Tries`].
    pub fn may_try_undo(&self, team: &str, asked: u32) -> Result<(), Beyond> {
        may_try(team, "undo.attempts", "undo_attempts", asked, self.undo_attempts)
    }

    /// The error of what is in a slot and is none of its bindings.
    pub fn no_binding(&self, team: &str, slot: &str, what: &str) -> Beyond {
        let allowed = self.bindings.keys().map(ToString::to_string).collect();
        Beyond::Binding { team: team.to_owned(), slot: slot.to_owned(), binding: what.to_owned(), allowed }
    }
}

fn may_try(team: &str, asks: &'static str, bound: &'static str, asked: u32, most: u32) -> Result<(), Beyond> {
    if asked <= most {
        return Ok(());
    }
    Err(Beyond::Tries { team: team.to_owned(), asks, bound, asked, most })
}

/// Where the path of a plugin leads, links resolved; none for what is no file, or is not there (it cannot be run either).
fn led_to(plugin: &str) -> Option<String> {
    let Ok(PluginRef::File(path)) = plugin.parse() else { return None };
    Some(path.canonicalize().ok()?.to_string_lossy().into_owned())
}

/// What a job calls its plugin, without the version: of an address what follows the last step's `@` or `:`, of a name what follows its `@`.
/// A file's path is all name, and is never taken for a name or an address: one that is neither absolute nor begins with a `.` gets a `./`.
fn name_of(plugin: &str) -> Cow<'_, str> {
    if let Ok(PluginRef::File(_)) = plugin.parse() {
        return if plugin.starts_with(['/', '.']) { plugin.into() } else { format!("./{plugin}").into() };
    }
    let last = plugin.rfind('/').map_or(0, |slash| slash + 1);
    let end = plugin.get(last..).and_then(|step| step.find(['@', ':'])).map_or(plugin.len(), |at| last + at);
    plugin.get(..end).unwrap_or(plugin).into()
}

impl Settings {
    /// The teams that have a job, by name: one at most where the configuration was checked.
    pub fn teams_of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = (&'a TeamName, &'a Team)> {
        self.teams.iter().filter(move |(_, team)| team.has_job(job))
    }
}

/// Words in quotes, as in a list of TOML.
fn in_quotes(patterns: &[NamePattern]) -> String {
    let words: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
    list(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_where_it_leads() {
        let place = tempfile::tempdir().unwrap();
        // What is temporary may itself be reached through a link.
        let place = place.path();
        for folder in ["growth", "admin"] {
            std::fs::create_dir(place.join(folder)).unwrap();
        }
        std::fs::write(place.join("admin/wide.wasm"), "").unwrap();
        std::fs::write(place.join("growth/own.wasm"), "").unwrap();
        std::os::unix::fs::symlink(place.join("admin/wide.wasm"), place.join("growth/out.wasm")).unwrap();
        std::os::unix::fs::symlink("own.wasm", place.join("growth/current.wasm")).unwrap();
        std::os::unix::fs::symlink(place.join("admin"), place.join("growth/folder")).unwrap();
        std::os::unix::fs::symlink(place.join("growth"), place.join("theirs")).unwrap();
        let team = |pattern: &str| {
            let text = format!("[teams.a]\njobs = [\"a-*\"]\nplugins = [\"{}/{pattern}\"]\n", place.display());
            let config = crate::Config::load(&crate::Source::empty().with_text("rota.toml", text)).unwrap();
            config.teams["a"].clone()
        };
        let may = |pattern: &str, path: &str| team(pattern).may_run("a", &place.join(path).display().to_string());
        assert_eq!(may("growth/**", "growth/own.wasm"), Ok(()));
        assert_eq!(may("growth/**", "growth/current.wasm"), Ok(()));
        // Not there: there is nothing to run either.
        assert_eq!(may("growth/**", "growth/later.wasm"), Ok(()));
        // The folder that the pattern names may be a link, and a file that it names alone.
        assert_eq!(may("theirs/*", "theirs/own.wasm"), Ok(()));
        assert_eq!(may("growth/out.wasm", "growth/out.wasm"), Ok(()));
        for path in ["growth/out.wasm", "growth/folder/wide.wasm"] {
            let message = may("growth/**", path).unwrap_err().to_string();
            assert!(message.contains("which leads to") && message.contains("admin/wide.wasm"), "{message}");
        }
    }

    #[test]
    fn a_version_is_no_part_of_a_plugins_name_and_a_file_has_none() {
        for (plugin, name) in [
            ("growth-export", "growth-export"),
            ("growth-export@1.2", "growth-export"),
            ("growth-export@sha256:00", "growth-export"),
            ("registry.example:5000/growth/export", "registry.example:5000/growth/export"),
            ("registry.example:5000/growth/export:1.2", "registry.example:5000/growth/export"),
            ("registry.example/growth/export:1@sha256:00", "registry.example/growth/export"),
            ("/srv/growth/export@1", "/srv/growth/export@1"),
            ("./export.wasm", "./export.wasm"),
            ("growth-export.wasm", "./growth-export.wasm"),
            ("growth-a/export", "./growth-a/export"),
            ("registry.example/growth/export.wasm", "./registry.example/growth/export.wasm"),
        ] {
            assert_eq!(name_of(plugin), name);
        }
    }
}
