//! The WIT side of the interfaces `tools` and `process`.

use crate::client::{Client, Connection, Shared};
use crate::{Ended, Settings};
use futures::future::BoxFuture;
use rota_capability::streams::{Reader, Taken, give_bytes, take_bytes};
use rota_capability::tape::{Handle, OnlyBytes, Plain, ask, ask_with, called, now_with};
use rota_capability::{Capability, Child, ChildEnded, ChildStatus, Guest, Process, Remotes, Services, begin, guest};
use rota_contract::Error;
use wasmtime::component::{Access, Accessor, AccessorTask, HasData, Linker, Resource, StreamReader};

/// Generated from `wit/tools.wit`.
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-tools;

            world host {
                import rota:runbook/process@0.1.0;
                import rota:runbook/tools@0.1.0;
            }
        ",
        world: "rota:host-tools/host",
        with: {
            "rota:runbook/types": rota_contract::types,
            "rota:runbook/process.child": rota_capability::Child,
        },
        imports: {
            "rota:runbook/process.[method]child.stdout": store | trappable,
            default: trappable,
        },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

use generated::rota::runbook::{process, tools};

/// The capability.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    settings: Settings,
}

impl Tools {
    /// With settings of its own.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl HasData for Tools {
    type Data<'a> = &'a mut Guest;
}

impl Capability for Tools {
    fn name(&self) -> &'static str {
        "tool"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["process", "tools"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        process::add_to_linker::<_, Self>(linker, guest)?;
        tools::add_to_linker::<_, Self>(linker, guest)
    }

    fn provide(&self, services: &mut Services) {
        // What a host that was killed could not remove; what cannot be removed now is told by `rota doctor`.
        if let Err(error) = crate::sweep(&self.settings.folder) {
            tracing::debug!(folder = %self.settings.folder.display(), %error, "private folders of dead hosts could not be swept");
        }
        services.provide(Shared::new(self.settings.clone()));
    }
}

/// Answers, within the store, that the run goes on, for as long as a guest's stream is read.
struct Confirm<F>(F);

impl<T, D, F> AccessorTask<T, D> for Confirm<F>
where
    D: HasData + ?Sized,
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(self, _: &Accessor<T, D>) -> wasmtime::Result<()> {
        self.0.await;
        Ok(())
    }
}

fn client(guest: &mut Guest) -> wasmtime::Result<Client> {
    let shared = guest
        .services
        .get::<Shared>()
        .ok_or_else(|| wasmtime::Error::msg("the capability `tool` is linked but was not provided"))?;
    Ok(Client::new(guest.run.clone(), shared).through(guest.services.get::<Remotes>()))
}

impl<T: Send + 'static> tools::HostWithStore<T> for Tools {
    async fn info(accessor: &Accessor<T, Self>, slot: String) -> wasmtime::Result<Result<tools::ToolInfo, Error>> {
        let asking = ask(accessor, "tools.info", None, |asked| asked.with("slot", &slot));
        called(accessor, asking, Plain, async {
            let (_guard, client) = begin(accessor, client)?;
            let version = client.info(&slot).await;
            Ok(version.map(|version| tools::ToolInfo { version: version.text, major: version.major }))
        })
        .await
    }

    async fn spawn(
        accessor: &Accessor<T, Self>,
        slot: String,
        arguments: Vec<String>,
        connection: Option<tools::Connection>,
        stdin: Option<StreamReader<u8>>,
    ) -> wasmtime::Result<Result<Resource<Child>, Error>> {
        let asking = ask(accessor, "tools.spawn", None, |asked| {
            asked.with("slot", &slot).with("arguments", &arguments).with("connection", &connection)
        });
        let (asking, stdin) = accessor.with(|mut access| asking.stream_if(&mut access, "stdin", stdin))?;
        called(accessor, asking, Handle, async {
            let (_guard, client) = begin(accessor, client)?;
            // Taken whatever comes of the call: a stream that is refused must tell its writer so.
            let taken = accessor.with(|mut access| stdin.map(|stream| take_bytes(&mut access, stream)).transpose())?;
            let (taken, written) = match taken {
                None => (None, None),
                Some(taken) => match taken.held(client.gate()).await {
                    Ok((taken, written)) => (Some(taken), written),
                    Err(error) => return Ok(Err(error)),
                },
            };
            let (reader, confirmations) =
                taken.map(Taken::split).map_or((None, None), |(reader, confirmations)| (Some(reader), confirmations));
            let connection =
                connection.map(|connection| Connection { slot: connection.slot, database: connection.database });
            // Before the start, which reads all of it where the program wants a file; they end with the reader.
            if let Some(confirmations) = confirmations {
                accessor.spawn(Confirm(confirmations))?;
            }
            let child = match client.spawn_held(&slot, &arguments, connection, reader, written).await {
                Ok(child) => child,
                Err(error) => return Ok(Err(error)),
            };
            accessor.with(|mut access| access.get().push(Child::new(child))).map(Ok)
        })
        .await
    }
}

impl tools::Host for &mut Guest {}
impl process::Host for &mut Guest {}

impl<T: Send + 'static> process::HostChildWithStore<T> for Tools {
    fn stdout(
        mut access: Access<'_, T, Self>,
        child: Resource<Child>,
    ) -> wasmtime::Result<Result<StreamReader<u8>, Error>> {
        let asking = ask_with(&mut access, "process.child.stdout", Some(child.rep()), |asked| asked);
        now_with(&mut access, asking, OnlyBytes, |access| {
            let run = access.get().run.clone();
            match access.get().table.get_mut(&child)?.stdout() {
                Ok(output) => give_bytes(access, run.until_stopped(output)).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        })
    }

    async fn wait(
        accessor: &Accessor<T, Self>,
        child: Resource<Child>,
    ) -> wasmtime::Result<Result<process::Ended, Error>> {
        called(accessor, ask(accessor, "process.child.wait", Some(child.rep()), |asked| asked), Plain, async {
            let (_guard, waiting) = begin(accessor, |guest| Ok(guest.table.get_mut(&child)?.wait()))?;
            Ok(waiting.await.map(|ended| process::Ended {
                status: match ended.status {
                    ChildStatus::Code(code) => process::ExitStatus::Code(code),
                    ChildStatus::Signal(signal) => process::ExitStatus::Signal(signal),
                    ChildStatus::Planned => process::ExitStatus::Planned,
                },
                stderr: ended.stderr,
            }))
        })
        .await
    }

    async fn kill(accessor: &Accessor<T, Self>, child: Resource<Child>) -> wasmtime::Result<Result<(), Error>> {
        called(accessor, ask(accessor, "process.child.kill", Some(child.rep()), |asked| asked), Plain, async {
            let (_guard, killing) = begin(accessor, |guest| Ok(guest.table.get_mut(&child)?.kill()))?;
            Ok(killing.await)
        })
        .await
    }
}

impl process::HostChild for &mut Guest {
    fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        self.release(child)
    }
}

impl Process for crate::Child {
    fn stdout(&mut self) -> Result<Reader, Error> {
        Self::stdout(self).map(|output| Box::pin(output) as Reader)
    }

    fn wait(&mut self) -> BoxFuture<'static, Result<ChildEnded, Error>> {
        let waiting = Self::wait(self);
        Box::pin(async move {
            Ok(match waiting.await? {
                None => ChildEnded { status: ChildStatus::Planned, stderr: String::new() },
                Some(finished) => ChildEnded {
                    status: match finished.status {
                        Ended::Code(code) => ChildStatus::Code(code),
                        Ended::Signal(signal) => ChildStatus::Signal(signal),
                    },
                    stderr: finished.stderr,
                },
            })
        })
    }

    fn kill(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(Self::kill(self))
    }
}
