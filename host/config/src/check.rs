//! What only shows when the sections are looked at together.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use chrono::{DateTime, Utc};
use rota_schedule::ScheduleState;

use crate::access::Access;
use crate::binding::Binding;
use crate::config::Config;
use crate::decode::Reader;
use crate::nearest::{advice, list};
use crate::places::Places;
use crate::problem::{Place, Problem};
use crate::settings::Settings;
use crate::{Job, JobName, SlotBinding};

/// Reports what does not fit together.
pub(crate) fn together(reader: &Reader, settings: &Settings, places: &Places, clusters: Vec<(String, String, String)>) {
    let look = Look { reader, settings, places };
    for (key, message, help) in clusters {
        look.refuse(&key, message, &help);
    }
    look.store();
    look.server();
    look.memory("limits.memory", settings.limits.memory);
    for (name, job) in &settings.jobs {
        look.job(name, job);
    }
    look.chains();
    look.teams();
    look.unused();
}

/// What is looked at.
pub(crate) struct Look<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) settings: &'a Settings,
    places: &'a Places,
}

impl Look<'_> {
    /// Where a key was written, or the nearest table around it.
    pub(crate) fn place(&self, mut key: &str) -> Option<Place> {
        loop {
            if let Some(origin) = self.places.origin(key) {
                return Some(self.reader.sources.place(&origin));
            }
            key = key.rsplit_once('.')?.0;
        }
    }

    /// Whether a key was written.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.places.contains(key)
    }

    /// Reports an error at a key.
    pub(crate) fn refuse(&self, key: &str, message: String, help: &str) {
        let problem = Problem::error(self.place(key), message);
        self.reader.report(if help.is_empty() { problem } else { problem.help(help) });
    }

    fn store(&self) {
        let store = &self.settings.store;
        if store.path.is_some() && store.url.is_some() {
            let message = "store.path and store.url are both set, and records go to one store".to_owned();
            self.refuse("store.url", message, "keep one of the two");
        }
        if let Some(path) = store.path.as_ref().filter(|path| path.file_name().is_none_or(|name| name != "rota.db")) {
            let message = format!("store.path is {}, and the file of records is called rota.db", path.display());
            let hint = format!("write {}", path.join("rota.db").display());
            self.refuse("store.path", message, &hint);
        }
        if let Some(message) = store.check_url() {
            self.refuse("store.url", message, "");
        }
        if let Some(name) = &store.artifacts {
            match self.settings.bindings.get(name) {
                Some(Binding::Storage(_)) => {}
                Some(other) => {
                    let message =
                        format!("store.artifacts names the binding \"{name}\", which is of kind {}", other.kind());
                    self.refuse("store.artifacts", message, "name one of kind storage");
                }
                None => {
                    let names: Vec<&str> = self.settings.bindings.keys().map(|name| name.as_str()).collect();
                    let message = format!("there is no binding \"{name}\"");
                    self.refuse("store.artifacts", message, &advice(name.as_str(), &names, "bindings"));
                }
            }
        }
        for (name, binding) in &self.settings.bindings {
            if store.is_target_of(binding) {
                let message = format!("bindings.{name} leads to the database of store.url, which no run may touch");
                self.refuse(&format!("bindings.{name}.url"), message, "give Rota's records a database of their own");
            }
        }
    }

    fn server(&self) {
        let (server, most) = (&self.settings.server, self.settings.sandbox.pool_instances);
        if server.workers > most {
            let message =
                format!("server.workers is {}, more than sandbox.pool_instances allows ({most})", server.workers);
            let key = if self.is_set("server.workers") { "server.workers" } else { "sandbox.pool_instances" };
            self.refuse(key, message, "");
        }
        if server.poll >= server.lease {
            let message = format!("server.poll ({}) must be shorter than server.lease ({})", server.poll, server.lease);
            self.refuse(if self.is_set("server.poll") { "server.poll" } else { "server.lease" }, message, "");
        }
        if !server.scheduler && !server.worker {
            let message = "server.scheduler and server.worker are both false: this host would do nothing".to_owned();
            self.reader.report(Problem::warning(self.place("server.worker"), message));
        }
    }

    fn memory(&self, key: &str, memory: crate::ByteSize) {
        let most = self.settings.sandbox.pool_memory;
        if memory > most {
            let message = format!("{key} is {memory}, more than sandbox.pool_memory allows ({most})");
            self.reader.report(Problem::error(self.place(key), message));
        }
    }

    fn job(&self, name: &JobName, job: &Job) {
        if let Some(memory) = job.limits.memory {
            self.memory(&format!("jobs.{name}.limits.memory"), memory);
        }
        if job.timeout.is_some() && job.limits.wall.is_some() {
            let message = format!("jobs.{name}.timeout and jobs.{name}.limits.wall are the same limit");
            self.reader.report(
                Problem::error(self.place(&format!("jobs.{name}.timeout")), message).help("keep one of the two"),
            );
        }
        let at = format!("jobs.{name}");
        self.policy(&at, job);
        if let Some(schedule) = &job.schedule {
            self.schedule(&format!("{at}.schedule"), schedule, job);
        }
        for (slot, put) in &job.slots {
            self.slot(&format!("jobs.{name}.slots.{slot}"), put);
        }
    }

    fn policy(&self, at: &str, job: &Job) {
        let run = job.run_timeout(&self.settings.limits);
        if let Some(attempt) = job.attempt_timeout.filter(|attempt| *attempt > run) {
            let message = format!("{at}.attempt_timeout is {attempt}, longer than a run may take ({run})");
            self.refuse(&format!("{at}.attempt_timeout"), message, "raise timeout, or shorten it");
        }
        let retries = &job.retries;
        if self.is_set(&format!("{at}.retries.cap")) && retries.cap < retries.backoff {
            let message = format!("{at}.retries.cap ({}) is shorter than backoff ({})", retries.cap, retries.backoff);
            self.refuse(&format!("{at}.retries.cap"), message, "");
        }
        // With SQLite there is one host only.
        if self.settings.store.url.is_none() && !crate::labels::matches(&job.hosts, &self.settings.server.labels) {
            let message =
                format!("{at}.hosts asks for labels that this host has not, and with SQLite it is the only one");
            let problem = Problem::warning(self.place(&format!("{at}.hosts")), message);
            self.reader.report(problem.help("add them to server.labels; until then its runs wait"));
        }
    }

    fn slot(&self, at: &str, put: &SlotBinding) {
        let Some(binding) = self.settings.bindings.get(&put.binding) else {
            let message = format!("{at} names the binding \"{}\", which is not configured", put.binding);
            let names: Vec<&str> = self.settings.bindings.keys().map(|name| name.as_str()).collect();
            let place = self.place(&format!("{at}.binding"));
            self.reader.report(Problem::warning(place, message).help(advice(put.binding.as_str(), &names, "bindings")));
            return;
        };
        if self.settings.store.artifacts.as_ref() == Some(&put.binding) {
            let message = format!("{at}.binding is the binding of store.artifacts, whose files no run may reach");
            self.refuse(&format!("{at}.binding"), message, "configure another, with another prefix");
            return;
        }
        let place = || self.place(&format!("{at}.access"));
        let (kind, ceiling) = (binding.kind(), binding.ceiling());
        for access in &put.access {
            let message = if !kind.accesses().contains(access) {
                format!("{at}.access: a {kind} binding has no access \"{access}\"")
            } else if !ceiling.contains(access) {
                format!("{at}.access: \"{access}\" is more than bindings.{}.access allows", put.binding)
            } else {
                continue;
            };
            let allowed: Vec<&str> = ceiling.iter().map(|access: &Access| access.as_str()).collect();
            self.reader.report(Problem::error(place(), message).help(format!("it has {}", list(&allowed))));
        }
        if let Binding::Sql(sql) = binding
            && put.access.contains(&Access::AlterSystem)
            && sql.alter_system.is_empty()
        {
            let message = format!(
                "{at}.access: \"alter-system\" sets nothing, because bindings.{}.alter_system names no parameter",
                put.binding
            );
            let help = "name the parameters there that may be set, or leave the access out";
            self.reader.report(Problem::warning(place(), message).help(help));
        }
    }

    /// Bindings are for jobs once there are jobs; before, they are for `rota run --bind`.
    fn unused(&self) {
        let jobs = self.settings.jobs.values();
        let mut used: BTreeSet<_> = jobs.flat_map(|job| job.slots.values().map(|put| &put.binding)).collect();
        used.extend(&self.settings.store.artifacts);
        // A cluster that only leads to others' programs and servers is used by them.
        used.extend(self.settings.bindings.values().filter_map(Binding::cluster));
        if self.settings.jobs.is_empty() {
            return;
        }
        for name in self.settings.bindings.keys().filter(|name| !used.contains(name)) {
            let message = format!("no job uses the binding \"{name}\"");
            self.reader.report(Problem::warning(self.place(&format!("bindings.{name}")), message));
        }
    }
}

/// What is not as it should be here and now: programs that are not there, schedules that are over.
pub(crate) fn here_and_now(config: &Config, now: DateTime<Utc>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, job) in config.jobs.iter().filter(|(_, job)| job.enabled) {
        let Some(schedule) = job.schedule.as_ref().and_then(|schedule| schedule.resolve(name).ok()) else { continue };
        let state = ScheduleState::new(now);
        if schedule.next_fire(&state).is_none() {
            let key = format!("jobs.{name}.schedule");
            let message = format!("{key} never fires: what it names is past, or windows and blackouts leave nothing");
            problems.push(Problem::warning(config.place(&key), message));
        }
    }
    for (name, binding) in &config.bindings {
        let Binding::Tool(tool) = binding else { continue };
        if tool.place.is_some() {
            continue;
        }
        let program = tool.path.as_path();
        let wrong = match fs::metadata(program) {
            Err(error) => format!("cannot be found ({error})"),
            Ok(file) if !file.is_file() || file.permissions().mode() & 0o111 == 0 => "is not a program".to_owned(),
            Ok(file) if file.permissions().mode() & 0o002 != 0 => "can be replaced by everyone (chmod o-w)".to_owned(),
            Ok(_) => continue,
        };
        let message = format!("bindings.{name}.path: {} {wrong}", program.display());
        problems.push(Problem::warning(config.place(&format!("bindings.{name}.path")), message));
    }
    problems
}
