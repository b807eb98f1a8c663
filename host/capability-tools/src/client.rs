//! What the host functions do, without the guest's side of it: authorise, judge, put on record, start.

use crate::child::{Finished, Running, Start, Stdout, Warrant};
use crate::connection::{PrivateFolder, check_database, conninfo_of, write_files};
use crate::launch::Confinement;
use crate::profile::{Checked, Reach, Refusal};
use crate::program::Program;
use crate::version::{Version, Versions};
use crate::{Settings, binding};
use rota_authority::{Authorized, Decision, Effect, EffectClass, Sql, Tool, ToolAccess};
use rota_capability::streams::Reader;
use rota_capability::{RunContext, denied, refused};
use rota_contract::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// What all runs share.
#[derive(Default)]
pub struct Shared {
    settings: Settings,
    versions: Versions,
}

impl Shared {
    /// With settings of its own.
    pub fn new(settings: Settings) -> Self {
        Self { settings, versions: Versions::default() }
    }
}

/// Where a program should connect, as the guest says it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The sql slot.
    pub slot: String,
    /// Another database than the binding's.
    pub database: Option<String>,
}

/// The resource `child`. Dropped, the program and all its children are killed.
pub struct Child(State);

enum State {
    /// The run is a plan: it was never started. Whether its empty output was taken.
    Planned(bool),
    Running(Box<Running>),
}

/// The environment that every program gets, and nothing else but what leads to its connection.
pub(crate) fn environment(folder: &PrivateFolder) -> Vec<(String, String)> {
    vec![("HOME".to_owned(), folder.path().to_string_lossy().into_owned()), ("LC_ALL".to_owned(), "C".to_owned())]
}

/// One run's way to its programs.
pub struct Client {
    run: Arc<RunContext>,
    shared: Arc<Shared>,
}

impl Client {
    /// For a run.
    pub fn new(run: Arc<RunContext>, shared: Arc<Shared>) -> Self {
        Self { run, shared }
    }

    /// What version the program in a slot is, and the first number of it.
    ///
    /// # Errors
    /// Denied without `run` on the slot; unavailable when the program is not fit to be started.
    pub async fn info(&self, slot: &str) -> Result<Version, Error> {
        let authorized = self.run.gate.authorise::<Tool>("tools.info", slot, &[ToolAccess::Run]).map_err(denied)?;
        let program = look(&authorized)?;
        self.shared.versions.of(&self.shared.settings, &self.run, authorized, program).await
    }

    /// Start the program in a slot; answers when it runs. In a plan, what has effects is only put on record.
    ///
    /// # Errors
    /// Denied without the grants, and for arguments that the profile refuses; invalid for an impossible database; unavailable when
    /// the program is not fit to be started.
    pub async fn spawn(
        &self,
        slot: &str,
        arguments: &[String],
        connection: Option<Connection>,
        stdin: Option<Reader>,
    ) -> Result<Child, Error> {
        const OPERATION: &str = "tools.spawn";
        let gate = &self.run.gate;
        let authorized = gate.authorise::<Tool>(OPERATION, slot, &[ToolAccess::Run]).map_err(denied)?;
        let profile = binding::profile_of(authorized.binding());
        let checked = profile.check(arguments, connection.is_some()).map_err(|refusal| match refusal {
            Refusal::Denied(why) => {
                denied(gate.never(OPERATION, slot, format!("profile {} refuses: {why}", profile.name())))
            }
            Refusal::Wrong(why) => Error::InvalidArgument(why),
        })?;
        let target = match connection {
            None => None,
            Some(connection) => Some(Target {
                authorized: gate.authorise::<Sql>(OPERATION, &connection.slot, checked.needs).map_err(denied)?,
                database: connection.database,
            }),
        };
        if let Some(database) = target.as_ref().and_then(|target| target.database.as_deref()) {
            check_database(database).map_err(|unfit| Error::InvalidArgument(unfit.to_string()))?;
        }
        let program = look(&authorized)?;
        let effect = (!checked.only_reads).then(|| effect(&program, &checked, target.as_ref()));
        // Everything that can be refused is refused before the effect is on record; it holds no secret yet.
        let warrant = match effect {
            None => Warrant::Reads(authorized.clone()),
            Some(effect) => match authorized.effect(effect).await.map_err(refused)? {
                Decision::Planned => return Ok(Child(State::Planned(false))),
                Decision::Perform(permit) => Warrant::Effect(permit),
            },
        };
        let start = match self.prepare(&authorized, program, checked, target, stdin) {
            Ok(start) => start,
            Err(error) => return Err(warrant.unused(error).await),
        };
        let running = Running::start(&self.shared.settings.launcher, &self.run, warrant, start).await?;
        Ok(Child(State::Running(Box::new(running))))
    }

    /// The private folder, the connection in it, and the arguments that the host adds.
    fn prepare(
        &self,
        tool: &Authorized<Tool>,
        program: Program,
        checked: Checked,
        target: Option<Target>,
        stdin: Option<Reader>,
    ) -> Result<Start, Error> {
        let base = &self.shared.settings.folder;
        let folder = PrivateFolder::new(base).map_err(|error| {
            Error::Unavailable(format!("no private folder could be made in {}: {error}", base.display()))
        })?;
        let mut environment = environment(&folder);
        let mut arguments = checked.arguments;
        let mut reads = program.folders();
        if let Some(target) = target {
            let address = binding::address_of(target.authorized.binding_name(), target.authorized.binding())?;
            let identity = self.run.gate.identity();
            let mut application = format!("rota/{}/{}", identity.job, identity.run);
            // The server keeps 63 bytes of it and says so for each connection; job and run names are ASCII.
            while application.len() > 63 {
                application.pop();
            }
            let written = write_files(&folder, &address, target.database.as_deref(), application.trim_end());
            environment.extend(written.map_err(|error| Error::InvalidArgument(error.to_string()))?);
            arguments.extend(added(checked.reach, &address, target.database.as_deref()));
            reads.extend(address.reads);
        }
        let confinement = Confinement { limits: binding::limits_of(tool.binding()), reads };
        Ok(Start { program, arguments, environment, folder, confinement, stdin, spooled: checked.spooled })
    }
}

/// Where a program connects.
struct Target {
    authorized: Authorized<Sql>,
    database: Option<String>,
}

/// The options that only the host gives. None holds a secret.
fn added(reach: Reach, address: &crate::connection::PgAddress, database: Option<&str>) -> Vec<String> {
    let mut added = vec!["--no-password".to_owned()];
    match reach {
        Reach::Nothing | Reach::Environment => {}
        // A connection string that names the service alone; the database is in the environment.
        Reach::Dbname => added.push("--dbname=service=rota".into()),
        Reach::Database => {
            let known = database.or(address.database.as_deref());
            added.extend(known.map(|name| format!("--database={}", conninfo_of(name))));
        }
    }
    added.extend(address.role.as_ref().map(|role| format!("--role={role}")));
    added
}

fn look(authorized: &Authorized<Tool>) -> Result<Program, Error> {
    Program::look(authorized.binding().path.as_path())
        .map_err(|unusable| Error::Unavailable(format!("binding `{}`: {unusable}", authorized.binding_name())))
}

/// The effect as a person reads it: `pg_dump --format=custom --table='my table'`.
fn effect(program: &Program, checked: &Checked, target: Option<&Target>) -> Effect {
    let mut words = vec![program.name()];
    words.extend(checked.arguments.iter().map(|argument| readable(argument)));
    let object = target.map_or_else(String::new, |target| {
        let database =
            target.database.as_deref().map_or_else(String::new, |name| format!(", database {}", readable(name)));
        format!("{}{database}", target.authorized.binding_name())
    });
    let detail = rota_telemetry::mask(&words.join(" ")).into_owned();
    let class = if checked.destructive { EffectClass::Destructive } else { EffectClass::Write };
    Effect { object: rota_telemetry::mask(&object).into_owned(), detail, class }
}

fn readable(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%*".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    let quoted = |text: &str| format!("'{}'", rota_telemetry::sanitize_line(text).replace('\'', r"'\''"));
    match argument.split_once('=') {
        Some((option, value)) if option.starts_with("--") && option.chars().all(plain) => {
            format!("{option}={}", quoted(value))
        }
        _ => quoted(argument),
    }
}

impl Child {
    /// The standard output, once; in a plan it is empty.
    ///
    /// # Errors
    /// A conflict when it was taken before.
    pub fn stdout(&mut self) -> Result<Output, Error> {
        let taken = match &mut self.0 {
            State::Planned(taken) => (!std::mem::replace(taken, true)).then_some(None),
            State::Running(running) => running.take_stdout().map(Some),
        };
        taken.map(Output).ok_or_else(|| {
            Error::Conflict("the child's standard output was taken before, or discarded by `wait`".into())
        })
    }

    /// What waits for the end; it answers nothing when the run is a plan. An output that nobody took is discarded from now on.
    pub fn wait(&mut self) -> impl Future<Output = Result<Option<Finished>, Error>> + Send + use<> {
        let waiting = match &mut self.0 {
            State::Planned(_) => None,
            State::Running(running) => Some(running.wait()),
        };
        async move {
            match waiting {
                None => Ok(None),
                Some(waiting) => waiting.await.map(Some),
            }
        }
    }

    /// Kill the program and its children, and wait until they are gone. One that has ended is no error.
    pub fn kill(&mut self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let killing = match &mut self.0 {
            State::Planned(_) => None,
            State::Running(running) => Some(running.kill()),
        };
        async move {
            match killing {
                None => Ok(()),
                Some(killing) => killing.await,
            }
        }
    }
}

/// A program's output, or the empty one of a plan.
pub struct Output(Option<Stdout>);

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.0 {
            Some(stdout) => Pin::new(stdout).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}
