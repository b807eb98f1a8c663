//! A real Kubernetes for a test: etcd, API server, controllers and scheduler as they are, and one node that runs each
//! container's command as a process of this machine (`cluster/`, built by `scripts/setup cluster`).

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::cluster_access::{ClusterAccess, kubeconfig};
use crate::server::{Folder, Server, as_nobody};
use crate::tools::{free_port, is_root, random_secret, tool, tools_dir};
use crate::wait::eventually;

/// How long each step of the start may take, on a machine that is busy with other things.
const START: Duration = Duration::from_secs(90);

/// The node makes this file when the cluster runs pods.
const READY: &str = "ready";

/// A cluster of our own, on ports of 127.0.0.1. It, its pods' processes and its files are gone when this is dropped,
/// or the process ends in any way. It takes several seconds to start and more than half a gigabyte of memory: where a
/// test need not break it, [`Cluster::shared`] is better.
///
/// What is real: everything but the node. What the node does not do is said in cluster/README.md; above all, pods are
/// not isolated: they see the machine's files, and a server that listens on 0.0.0.0 has its port on all of them. One
/// that listens on the pod's own address (`status.podIP`) does not get in another's way.
#[derive(Debug)]
pub struct Cluster {
    access: ClusterAccess,
    api: Part,
    // In the order in which they are ended.
    node: Server,
    rest: Vec<Server>,
    folder: Folder,
}

/// The API server, which can be killed and started again.
#[derive(Debug)]
struct Part {
    command: Command,
    port: u16,
    server: Option<Server>,
}

impl Deref for Cluster {
    type Target = ClusterAccess;

    fn deref(&self) -> &ClusterAccess {
        &self.access
    }
}

impl Cluster {
    /// Starts a cluster.
    ///
    /// # Errors
    /// When `scripts/setup cluster` has not built it, or it does not run pods in time.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = tool("cluster/bin").context("the tests' Kubernetes is not built: run scripts/setup cluster")?;
        let folder = Folder::create("cluster", None)?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.env("HOME", folder.path());
            command
        };

        let mut keys = as_nobody(program("rota-keys").arg(folder.path()), None);
        let made = tokio::process::Command::from(std::mem::replace(&mut keys, Command::new("true")))
            .stdin(Stdio::null())
            .output()
            .await
            .context("rota-keys cannot be run")?;
        if !made.status.success() {
            bail!("rota-keys ended with {}: {}", made.status, String::from_utf8_lossy(&made.stderr));
        }
        let token = random_secret()?;
        write(&folder.path().join("tokens.csv"), &format!("{token},admin,admin,\"system:masters\"\n"))?;
        let [port, node_port, etcd_port, peer_port] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let authority = folder.path().join("ca.crt");
        let text = kubeconfig(&format!("https://127.0.0.1:{port}"), &authority, &token, "default");
        write(&folder.path().join("kubeconfig"), &text)?;
        let access = ClusterAccess::read(folder.path().join("kubeconfig"))?;

        let (etcd, peer) = (format!("https://127.0.0.1:{etcd_port}"), format!("https://127.0.0.1:{peer_port}"));
        let mut command = program("etcd");
        command.args([
            "--name=default",
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--client-cert-auth",
            "--peer-client-cert-auth",
        ]);
        command.args(flags(&[
            ("data-dir", &path("etcd")),
            ("listen-client-urls", &etcd),
            ("advertise-client-urls", &etcd),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &format!("default={peer}")),
            ("cert-file", &path("server.crt")),
            ("key-file", &path("server.key")),
            ("trusted-ca-file", &path("ca.crt")),
            ("peer-cert-file", &path("server.crt")),
            ("peer-key-file", &path("server.key")),
            ("peer-trusted-ca-file", &path("ca.crt")),
        ]));
        let mut rest = vec![Server::start_one_of("etcd", &command, &folder)?];
        listens(&mut rest[0], etcd_port).await?;

        let mut command = program("kube-apiserver");
        command.args([
            "--bind-address=127.0.0.1",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kube.local",
            "--service-cluster-ip-range=10.0.0.0/24",
            // It would make the Service `kubernetes` an endpoint at 127.0.0.1, which is refused.
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
        ]);
        command.args(flags(&[
            ("etcd-servers", &etcd),
            ("etcd-cafile", &path("ca.crt")),
            ("etcd-certfile", &path("server.crt")),
            ("etcd-keyfile", &path("server.key")),
            ("secure-port", &port.to_string()),
            ("cert-dir", &path("certificates")),
            ("tls-cert-file", &path("server.crt")),
            ("tls-private-key-file", &path("server.key")),
            ("kubelet-certificate-authority", &path("ca.crt")),
            ("kubelet-client-certificate", &path("server.crt")),
            ("kubelet-client-key", &path("server.key")),
            ("service-account-key-file", &path("service-account.key")),
            ("service-account-signing-key-file", &path("service-account.key")),
            ("token-auth-file", &path("tokens.csv")),
        ]));
        let mut api = Part { command, port, server: None };
        api.run(&folder).await?;

        let configuration = access.kubeconfig().display().to_string();
        let mut command = program("kube-controller-manager");
        command.args([
            "--controllers=*,-nodeipam,-node-route-controller,-cloud-node-lifecycle-controller",
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            "--secure-port=0",
            // Its own limit of requests would make each controller wait for the others.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]);
        command.args(flags(&[
            ("kubeconfig", &configuration),
            ("service-account-private-key-file", &path("service-account.key")),
            ("root-ca-file", &path("ca.crt")),
        ]));
        rest.push(Server::start_one_of("kube-controller-manager", &command, &folder)?);
        let mut command = program("kube-scheduler");
        command.args(["--leader-elect=false", "--secure-port=0"]).args(flags(&[("kubeconfig", &configuration)]));
        rest.push(Server::start_one_of("kube-scheduler", &command, &folder)?);

        let mut command = program("rota-node");
        command.args(flags(&[
            ("kubeconfig", &configuration),
            ("folder", &path("node")),
            ("keys", &folder.path().display().to_string()),
            ("tools", &tools_dir().display().to_string()),
            ("port", &node_port.to_string()),
            ("ready-file", &path(READY)),
        ]));
        // As root where we are: pods may ask for either kind of user.
        let node = Server::start_as_us("rota-node", &command, &folder)?;
        let mut cluster = Self { access, api, node, rest, folder };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// A cluster that other tests use too: that of the test run (see [`crate::shared`]), else one that is started for
    /// this process. Isolation is by [`ClusterAccess::namespace`].
    ///
    /// # Errors
    /// When none can be started.
    pub async fn shared() -> anyhow::Result<ClusterAccess> {
        static OWN: tokio::sync::OnceCell<Cluster> = tokio::sync::OnceCell::const_new();
        if let Some(path) = crate::shared::variable(crate::shared::CLUSTER_VARIABLE) {
            return ClusterAccess::read(PathBuf::from(path));
        }
        // A static is never dropped; the cluster goes with the process, by its folder's reaper.
        let own = OWN.get_or_try_init(Self::start).await?;
        Ok((**own).clone())
    }

    /// Kills the API server, in the middle of what it does. Pods run on.
    pub fn kill_api(&mut self) {
        if let Some(mut server) = self.api.server.take() {
            server.collect();
        }
    }

    /// Starts the API server again after [`Cluster::kill_api`], on the same port.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn restart_api(&mut self) -> anyhow::Result<()> {
        self.kill_api();
        self.api.run(&self.folder).await?;
        let access = &self.access;
        eventually(START, "the API server's first answer", async || {
            access.kubectl(["get", "--raw", "/readyz"]).await.map(Some)
        })
        .await?;
        Ok(())
    }

    /// Stops the API server where it is (SIGSTOP): it accepts connections and answers nothing.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause_api(&self) -> anyhow::Result<()> {
        self.api.server.as_ref().context("the API server was killed")?.signal(Signal::STOP)
    }

    /// Lets a paused API server go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume_api(&self) -> anyhow::Result<()> {
        self.api.server.as_ref().context("the API server was killed")?.signal(Signal::CONT)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let ready = self.folder.path().join(READY);
        eventually(START, "a cluster that runs pods", async || {
            let servers = self.rest.iter_mut().chain(self.api.server.as_mut()).chain([&mut self.node]);
            for server in servers {
                // An outer error means that there is nothing to wait for.
                if let Err(ended) = server.check_running() {
                    return Ok(Some(Err(ended)));
                }
            }
            Ok(ready.exists().then_some(Ok(())))
        })
        .await?
    }
}

impl Part {
    async fn run(&mut self, folder: &Folder) -> anyhow::Result<()> {
        let mut server = Server::start_one_of("kube-apiserver", &self.command, folder)?;
        listens(&mut server, self.port).await?;
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The node gives the machine back what its pods had of it.
        self.node.end_blocking(Signal::TERM, Duration::from_secs(5));
        self.folder.kill();
        for server in self.rest.iter_mut().chain(self.api.server.as_mut()).chain([&mut self.node]) {
            server.collect();
        }
    }
}

/// Waits until a server accepts connections.
async fn listens(server: &mut Server, port: u16) -> anyhow::Result<()> {
    eventually(START, "a server of the cluster that listens", async || {
        if let Err(ended) = server.check_running() {
            return Ok(Some(Err(ended)));
        }
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        Ok(Some(Ok(())))
    })
    .await?
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// A file that only the cluster's own user may read.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if is_root() {
        // Whose the folder is: the cluster's parts run as `nobody`.
        let owner = std::fs::metadata(path.parent().context("no folder")?)?;
        std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
