//! A real OCI registry for a test: Debian's `docker-registry`, which knows no referrers API.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use tokio::net::TcpStream;

use crate::one_server::OneServer;
use crate::server::Folder;
use crate::tools::free_port;

const START: Duration = Duration::from_secs(30);
const PROGRAM: &str = "/usr/bin/docker-registry";
/// The one user of a registry that asks for one. The server takes bcrypt only, so the password is a fixed one; it guards nothing.
const USER: &str = "growth";
const PASSWORD: &str = "test-password-1";
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuTi3xGYCc/gJ0wOqUIaUIzlULyApslj.";

/// A registry on a port of 127.0.0.1, without TLS. It is gone with what it stored when this is dropped, or the process ends in any way.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    server: OneServer,
}

impl Registry {
    /// Starts one that everybody may read and write.
    ///
    /// # Errors
    /// When its program is missing, or it does not answer in half a minute.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(false).await
    }

    /// Starts one that asks for [`Registry::user`] and [`Registry::password`].
    ///
    /// # Errors
    /// As for [`Registry::start`].
    pub async fn with_user() -> anyhow::Result<Self> {
        Self::with(true).await
    }

    async fn with(user: bool) -> anyhow::Result<Self> {
        ensure!(Path::new(PROGRAM).is_file(), "{PROGRAM} is missing: run scripts/setup packages");
        let folder = Folder::create("registry", None)?;
        let port = free_port()?;
        let path = folder.path().display();
        let auth = if user {
            std::fs::write(folder.path().join("users"), format!("{USER}:{HASH}\n"))?;
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}/users\n")
        } else {
            String::new()
        };
        let text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {path}/data\n\
             http:\n  addr: 127.0.0.1:{port}\n{auth}"
        );
        std::fs::write(folder.path().join("config.yml"), text)?;
        let mut registry = Self { port, server: OneServer::new(folder) };
        registry.run().await?;
        Ok(registry)
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(self.server.path().join("config.yml"));
        // It speaks of what it does to a collector if a variable says so.
        command.env("OTEL_TRACES_EXPORTER", "none");
        let port = self.port;
        self.server
            .run("the registry", &command, START, "the registry", async || {
                TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(true)
            })
            .await
    }

    /// Its name in references: host and port.
    #[must_use]
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its user.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// Its user's password.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again after [`Registry::kill`], with what it stored.
    ///
    /// # Errors
    /// As for [`Registry::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.run().await
    }
}
