//! What the host functions do, without the guest's side of it: authorise, judge, put on record, start.

use crate::child::{Finished, Running, Start, Stdout, Warrant};
use crate::connection::{self, PgAddress, PrivateFolder, check_database, conninfo_of, write_files};
use crate::launch::Confinement;
use crate::profile::{Checked, Reach, Refusal};
use crate::program::Program;
use crate::version::{Version, Versions};
use crate::{Settings, binding};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rota_authority::{Authorized, Decision, Effect, EffectClass, Exact, Gate, Sql, Tool, ToolAccess};
use rota_capability::streams::Reader;
use rota_capability::{
    ChildEnded, Conclude, Digest, Local, Process, Remote, RemoteProgram, Remotes, RunContext, denied, refused,
};
use rota_config::ToolBinding;
use rota_contract::Error;
use rota_telemetry::Secret;
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
    /// In a cluster.
    There(Box<dyn Process>),
}

/// The environment that every program gets, and nothing else but what leads to its connection.
pub(crate) fn environment(folder: &PrivateFolder) -> Vec<(String, String)> {
    vec![("HOME".to_owned(), folder.path().to_string_lossy().into_owned()), ("LC_ALL".to_owned(), "C".to_owned())]
}

/// One run's way to its programs.
pub struct Client {
    run: Arc<RunContext>,
    shared: Arc<Shared>,
    /// The way into clusters, where a host has one.
    remote: Option<Arc<Remotes>>,
}

impl Client {
    /// For a run.
    pub fn new(run: Arc<RunContext>, shared: Arc<Shared>) -> Self {
        Self { run, shared, remote: None }
    }

    /// With a way into clusters.
    #[must_use]
    pub fn through(self, remote: Option<Arc<Remotes>>) -> Self {
        Self { remote, ..self }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.run.gate
    }

    /// What version the program in a slot is, and the first number of it.
    ///
    /// # Errors
    /// Denied without `run` on the slot; unavailable when the program is not fit to be started.
    pub async fn info(&self, slot: &str) -> Result<Version, Error> {
        let authorized = self.run.gate.authorise::<Tool>("tools.info", slot, &[ToolAccess::Run]).map_err(denied)?;
        if authorized.binding().place.is_some() {
            let name = name_of(authorized.binding());
            let program = remote_program(&authorized, vec!["--version".into()], Vec::new(), None);
            let conclude: Conclude = Box::new(|ended| Box::pin(std::future::ready(ended)));
            let process = self.remote()?.start(self.run.clone(), authorized, program, conclude).await?;
            return crate::version::of_remote(&name, process).await;
        }
        let program = look(&authorized)?;
        self.shared.versions.of(&self.shared.settings, &self.run, authorized, program).await
    }

    /// Where the program of a slot runs when that is in a cluster, and that its account may do what that needs.
    ///
    /// # Errors
    /// What is missing there.
    pub async fn look_at_place(&self, slot: &str) -> Result<Option<String>, Error> {
        let authorized = self.run.gate.authorise::<Tool>("tools.info", slot, &[ToolAccess::Run]).map_err(denied)?;
        match authorized.binding().place {
            None => Ok(None),
            Some(_) => self.remote()?.look_at_place(authorized).await.map(Some),
        }
    }

    fn remote(&self) -> Result<&Arc<dyn Remote>, Error> {
        let none = || Error::Unavailable("this host has no way into clusters".into());
        self.remote.as_ref().map(|remotes| &remotes.0).ok_or_else(none)
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
        self.spawn_held(slot, arguments, connection, stdin, None).await
    }

    /// The same, of a run that is held to a plan by what the guest wrote into the program's input.
    ///
    /// # Errors
    /// As for [`Client::spawn`].
    pub async fn spawn_held(
        &self,
        slot: &str,
        arguments: &[String],
        connection: Option<Connection>,
        stdin: Option<Reader>,
        written: Option<Digest>,
    ) -> Result<Child, Error> {
        let gate = &self.run.gate;
        let Judged { authorized, checked, target } = judge(gate, slot, arguments, connection)?;
        let placed = authorized.binding().place.is_some();
        if placed && stdin.is_some() {
            return Err(Error::InvalidArgument(format!(
                "{} runs in a cluster, where standard input is cut off near 192 KiB: a program that reads it runs beside Rota",
                name_of(authorized.binding())
            )));
        }
        let program = if placed { None } else { Some(look(&authorized)?) };
        let name = program.as_ref().map_or_else(|| name_of(authorized.binding()), Program::name);
        let effect = (!checked.only_reads).then(|| {
            // That it is given something to read is part of it as well.
            let input = stdin.as_ref().map(|_| written.as_ref().map_or(&b"a stream"[..], |digest| &digest[..]));
            let effect = effect(&name, &checked, target.as_ref());
            Effect { exact: effect.exact.with(input), ..effect }
        });
        // Everything that can be refused is refused before the effect is on record; it holds no secret yet.
        let warrant = match effect {
            None => Warrant::Reads(authorized.clone()),
            Some(effect) => match authorized.effect(effect).await.map_err(refused)? {
                Decision::Planned => return Ok(Child(State::Planned(false))),
                Decision::Perform(permit) => Warrant::Effect(permit),
            },
        };
        let Some(program) = program else {
            return self.spawn_there(name, authorized, checked, target, warrant).await;
        };
        let stdin = stdin.map(|reader| self.run.sending(reader));
        let start = match self.prepare(&authorized, program, checked, target, stdin).await {
            Ok(start) => start,
            Err(error) => return Err(warrant.unused(error).await),
        };
        let running = Running::start(&self.shared.settings.launcher, &self.run, warrant, start).await?;
        Ok(Child(State::Running(Box::new(running))))
    }

    /// Start it in its place in a cluster.
    async fn spawn_there(
        &self,
        name: String,
        tool: Authorized<Tool>,
        checked: Checked,
        target: Option<Target>,
        warrant: Warrant,
    ) -> Result<Child, Error> {
        let prepared = self.remote().cloned().and_then(|remote| {
            let mut arguments = checked.arguments;
            let (mut variables, mut password) = (Vec::new(), None);
            if let Some(target) = target {
                let address = self.address(&target, checked.reach)?;
                let ca_file = ca_file_there(&tool, target.authorized.binding_name(), &address)?;
                let database = target.database.as_deref();
                variables = connection::variables(&address, database, &self.application(), ca_file.as_deref())
                    .map_err(|unfit| Error::InvalidArgument(unfit.to_string()))?;
                arguments.extend(added(checked.reach, &address, database));
                password = address.password;
            }
            Ok((remote, remote_program(&tool, arguments, variables, password)))
        });
        let (remote, program) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(warrant.unused(error).await),
        };
        let conclude: Conclude = Box::new(move |ended| {
            Box::pin(async move {
                let Warrant::Effect(permit) = warrant else { return ended };
                // A program that failed is a failed effect, though how it ended is a good answer.
                let outcome = match &ended {
                    Err(error) => Err(error.to_string()),
                    Ok(ended) => match Finished::of(ended.clone()).and_then(|finished| finished.fault(&name)) {
                        Some(fault) => Err(fault.message),
                        None => Ok(()),
                    },
                };
                let _ = permit.conclude(outcome, |()| "exited with 0".into()).await;
                ended
            })
        });
        let process = remote.start(self.run.clone(), tool, program, conclude).await?;
        Ok(Child(State::There(process)))
    }

    /// The way to a database, with the role as an option where the program cannot be told it.
    fn address(&self, target: &Target, reach: Reach) -> Result<PgAddress, Error> {
        let mut address = binding::address_of(target.authorized.binding_name(), target.authorized.binding())?;
        if reach == Reach::Variables {
            let options = connection::options(address.role.take().as_deref(), address.lock_timeout);
            address.settings.push(("options".to_owned(), options));
        }
        Ok(address)
    }

    fn application(&self) -> String {
        let identity = self.run.gate.identity();
        // The server keeps 63 bytes of it and says so for each connection. The run's id is what one looks for: the job's name gives way.
        let room = 63_usize.saturating_sub("rota//".len() + identity.run.len());
        let job: String = identity.job.chars().filter(char::is_ascii_graphic).take(room).collect();
        format!("rota/{job}/{}", identity.run)
    }

    /// The private folder, the connection in it, and the arguments that the host adds.
    async fn prepare(
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
        reads.extend(tool.binding().reads.iter().cloned());
        let mut keep = None;
        if let Some(target) = target {
            let mut address = self.address(&target, checked.reach)?;
            if target.authorized.binding().through.is_some() {
                let forward = self.remote()?.forward(target.authorized.clone(), Local::Loopback).await?;
                // The name stays: the server's certificate is held against it.
                address.settings.push(("hostaddr".to_owned(), "127.0.0.1".to_owned()));
                address.port = Some(forward.port);
                keep = Some(forward);
            }
            let written = write_files(&folder, &address, target.database.as_deref(), &self.application());
            environment.extend(written.map_err(|error| Error::InvalidArgument(error.to_string()))?);
            arguments.extend(added(checked.reach, &address, target.database.as_deref()));
            reads.extend(address.reads);
        }
        let confinement = Confinement { limits: binding::limits_of(tool.binding()), reads };
        Ok(Start { program, arguments, environment, folder, confinement, stdin, keep, spooled: checked.spooled })
    }
}

/// The program's name, as its binding's path ends.
fn name_of(tool: &ToolBinding) -> String {
    tool.path.as_path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn remote_program(
    tool: &Authorized<Tool>,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    password: Option<Secret>,
) -> RemoteProgram {
    let binding = tool.binding();
    let limits = binding::limits_of(binding);
    RemoteProgram {
        path: binding.path.to_string(),
        arguments,
        environment,
        password,
        cpu_seconds: limits.cpu_seconds.unwrap_or(u64::from(u32::MAX)),
        memory: limits.memory.unwrap_or(u64::MAX >> 1),
    }
}

/// The file with the authorities that a program in a cluster verifies its server with. A key of ours is not brought there.
fn ca_file_there(tool: &Authorized<Tool>, server: &str, address: &PgAddress) -> Result<Option<String>, Error> {
    let place = tool.binding().place.as_ref();
    let file = place.and_then(|place| match (&place.pod, &place.job) {
        (Some(pod), _) => pod.ca_file.as_ref(),
        (None, job) => job.as_ref().and_then(|job| job.ca_file.as_ref()),
    });
    let setting = |key: &str| address.settings.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let unfit = |text: String| Error::InvalidArgument(format!("binding `{}`: {text}", tool.binding_name()));
    if setting("sslcert").is_some() {
        return Err(unfit(format!(
            "it runs in a cluster, and binding `{server}` logs in with a client certificate, whose key is not brought there; run it beside Rota"
        )));
    }
    if file.is_none() && setting("sslmode").is_some_and(|mode| mode.starts_with("verify")) {
        return Err(unfit(format!(
            "it runs in a cluster, and binding `{server}` verifies its server: say with `ca_file` in the place which file there holds the authorities"
        )));
    }
    Ok(file.map(|file| file.display().to_string()))
}

/// A start that is granted.
pub struct Judged {
    authorized: Authorized<Tool>,
    checked: Checked,
    target: Option<Target>,
}

/// Look whether a program may be started with these arguments: its grant, its profile, and the grant of the database it connects to.
///
/// # Errors
/// Denied without the grants, and for arguments that the profile refuses; invalid for an impossible database.
pub fn judge(
    gate: &Arc<Gate>,
    slot: &str,
    arguments: &[String],
    connection: Option<Connection>,
) -> Result<Judged, Error> {
    const OPERATION: &str = "tools.spawn";
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
            authorized: gate.authorise::<Sql>(OPERATION, &connection.slot, &checked.needs).map_err(denied)?,
            database: connection.database,
        }),
    };
    if let Some(database) = target.as_ref().and_then(|target| target.database.as_deref()) {
        check_database(database).map_err(|unfit| Error::InvalidArgument(unfit.to_string()))?;
    }
    Ok(Judged { authorized, checked, target })
}

impl Judged {
    /// The program's grant.
    pub fn authorized(&self) -> &Authorized<Tool> {
        &self.authorized
    }

    /// Where it connects.
    pub fn connects(&self) -> Option<&Authorized<Sql>> {
        self.target.as_ref().map(|target| &target.authorized)
    }

    /// The effect that it would have; none: these arguments only read.
    pub fn effect(&self) -> Option<Effect> {
        let name = name_of(self.authorized.binding());
        (!self.checked.only_reads).then(|| effect(&name, &self.checked, self.target.as_ref()))
    }
}

/// Where a program connects.
struct Target {
    authorized: Authorized<Sql>,
    database: Option<String>,
}

/// The options that only the host gives. None holds a secret.
fn added(reach: Reach, address: &crate::connection::PgAddress, database: Option<&str>) -> Vec<String> {
    if matches!(reach, Reach::Nothing | Reach::Variables) {
        return Vec::new();
    }
    let mut added = vec!["--no-password".to_owned()];
    match reach {
        Reach::Nothing | Reach::Variables | Reach::Environment => {}
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
fn effect(program: &str, checked: &Checked, target: Option<&Target>) -> Effect {
    let mut words = vec![program.to_owned()];
    words.extend(checked.arguments.iter().map(|argument| readable(argument)));
    let object = target.map_or_else(String::new, |target| {
        let database =
            target.database.as_deref().map_or_else(String::new, |name| format!(", database {}", readable(name)));
        format!("{}{database}", target.authorized.binding_name())
    });
    let detail = rota_telemetry::mask(&words.join(" ")).into_owned();
    let class = if checked.destructive { EffectClass::Destructive } else { EffectClass::Write };
    Effect { object: rota_telemetry::mask(&object).into_owned(), detail, class, exact: Exact::of(&checked.arguments) }
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
            State::There(process) => return process.stdout().map(|reader| Output(Bytes::There(reader))),
        };
        taken.map(|output| Output(Bytes::Here(output))).ok_or_else(|| {
            Error::Conflict("the child's standard output was taken before, or discarded by `wait`".into())
        })
    }

    /// What waits for the end; it answers nothing when the run is a plan. An output that nobody took is discarded from now on.
    pub fn wait(&mut self) -> impl Future<Output = Result<Option<Finished>, Error>> + Send + use<> {
        enum Waiting<W> {
            Planned,
            Here(W),
            There(BoxFuture<'static, Result<ChildEnded, Error>>),
        }
        let waiting = match &mut self.0 {
            State::Planned(_) => Waiting::Planned,
            State::Running(running) => Waiting::Here(running.wait()),
            State::There(process) => Waiting::There(process.wait()),
        };
        async move {
            match waiting {
                Waiting::Planned => Ok(None),
                Waiting::Here(waiting) => waiting.await.map(Some),
                Waiting::There(waiting) => waiting.await.map(Finished::of),
            }
        }
    }

    /// Kill the program and its children, and wait until they are gone. One that has ended is no error.
    pub fn kill(&mut self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let killing = match &mut self.0 {
            State::Planned(_) => None,
            State::Running(running) => Some(running.kill().boxed()),
            State::There(process) => Some(process.kill()),
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
pub struct Output(Bytes);

enum Bytes {
    Here(Option<Stdout>),
    There(Reader),
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.0 {
            Bytes::Here(Some(stdout)) => Pin::new(stdout).poll_read(cx, buffer),
            Bytes::Here(None) => Poll::Ready(Ok(())),
            Bytes::There(reader) => reader.as_mut().poll_read(cx, buffer),
        }
    }
}
