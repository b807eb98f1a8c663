//! A real Valkey for a test or the demo: it speaks RESP as Dragonfly and Redis do, and stands in for them. What Dragonfly does otherwise is
//! imitated by [`crate::Dragonfly`] in front of it.

use std::process::Command;
use std::time::Duration;

use crate::one_server::OneServer;
use crate::resp::RespClient;
use crate::server::Folder;
use crate::tools::{free_port, random_secret, tool};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(30);

/// A Valkey server of our own, on a port of 127.0.0.1, with a password and nothing on disk. It is gone when this is dropped, or the process
/// ends in any way. It takes a few milliseconds to start: every test has its own.
#[derive(Debug)]
pub struct Valkey {
    port: u16,
    password: Option<String>,
    arguments: Vec<String>,
    server: OneServer,
}

impl Valkey {
    /// Starts a server.
    ///
    /// # Errors
    /// When its program is missing, or it does not answer in half a minute.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(&[]).await
    }

    /// Starts a server with more settings, as on its command line: `--maxmemory`, `100mb`.
    ///
    /// # Errors
    /// As for [`Valkey::start`].
    pub async fn with(settings: &[&str]) -> anyhow::Result<Self> {
        Self::with_password(random_secret()?, settings).await
    }

    async fn with_password(password: String, settings: &[&str]) -> anyhow::Result<Self> {
        let mut all = vec!["--requirepass".to_owned(), password.clone(), "--masterauth".to_owned(), password.clone()];
        all.extend(settings.iter().map(|setting| (*setting).to_owned()));
        Self::run_new(all, Some(password)).await
    }

    /// Three primaries that form a cluster.
    ///
    /// # Errors
    /// As for [`Valkey::start`]; when they do not agree in half a minute.
    pub async fn cluster() -> anyhow::Result<Vec<Self>> {
        let mut nodes: Vec<Self> = Vec::new();
        let password = random_secret()?;
        for _ in 0..3 {
            // The port of the nodes' own talk is not free below the port plus 10,000 by itself.
            let bus = free_port()?.to_string();
            let settings = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            nodes.push(Self::with_password(password.clone(), &settings).await?);
            let node = nodes.len() - 1;
            let mut client = nodes[node].client().await?;
            let (first, last) = (node * 5462, (node * 5462 + 5461).min(16383));
            client.call(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await?;
            let port = nodes[0].port.to_string();
            let first_bus = match nodes[0].arguments.iter().skip_while(|word| *word != "--cluster-port").nth(1) {
                Some(bus) => bus.clone(),
                None => anyhow::bail!("no port"),
            };
            if node > 0 {
                client.call(&["CLUSTER", "MEET", "127.0.0.1", &port, &first_bus]).await?;
            }
        }
        for node in &nodes {
            eventually(START, "the cluster", async || {
                let info = node.client().await?.call(&["CLUSTER", "INFO"]).await?.text();
                let agreed = info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3");
                Ok(agreed.then_some(()))
            })
            .await?;
        }
        Ok(nodes)
    }

    /// A sentinel that knows a server as `primary`.
    ///
    /// # Errors
    /// As for [`Valkey::start`].
    pub async fn sentinel(of: &Self) -> anyhow::Result<Self> {
        let password = of.password.as_deref().unwrap_or_default();
        let text = format!("sentinel monitor primary 127.0.0.1 {} 1\nsentinel auth-pass primary {password}\n", of.port);
        let folder = Folder::create("valkey", None)?;
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, text)?;
        if crate::tools::is_root() {
            let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path())?);
            std::os::unix::fs::chown(&file, Some(user), None)?;
        }
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        Self::run_in(folder, arguments, None).await
    }

    async fn run_new(arguments: Vec<String>, password: Option<String>) -> anyhow::Result<Self> {
        Self::run_in(Folder::create("valkey", None)?, arguments, password).await
    }

    async fn run_in(folder: Folder, arguments: Vec<String>, password: Option<String>) -> anyhow::Result<Self> {
        let mut valkey = Self { port: free_port()?, password, arguments, server: OneServer::new(folder) };
        valkey.run().await?;
        Ok(valkey)
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(tool("bin/valkey-server")?);
        // A file of settings comes first.
        command.args(&self.arguments).args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        if !self.arguments.iter().any(|argument| argument == "--sentinel") {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        let (port, password) = (self.port, self.password.clone());
        self.server
            .run("Valkey", &command, START, "Valkey's first answer", async || {
                RespClient::connect(port, password.as_deref()).await?.call(&["PING"]).await?;
                Ok(true)
            })
            .await
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of its user `default`.
    #[must_use]
    pub fn password(&self) -> &str {
        self.password.as_deref().unwrap_or_default()
    }

    /// Its URL, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same, with another port in front of it.
    #[must_use]
    pub fn url_at(&self, port: u16) -> String {
        format!("redis://:{}@127.0.0.1:{port}", self.password())
    }

    /// A plain client, logged in.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn client(&self) -> anyhow::Result<RespClient> {
        RespClient::connect(self.port, self.password.as_deref()).await
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again after [`Valkey::kill`], empty, on the same port.
    ///
    /// # Errors
    /// As for [`Valkey::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.run().await
    }

    /// Stops it where it is (SIGSTOP): it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.server.resume();
    }
}
