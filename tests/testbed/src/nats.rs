//! A real NATS with JetStream for a test or the demo: one server, or three that form a cluster.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::one_server::OneServer;
use crate::server::Folder;
use crate::tools::{free_port, random_secret, tool};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(30);

/// The user's name.
const USER: &str = "rota";

/// One NATS server, on ports of 127.0.0.1, with a user `rota` in the account `APP`. It is gone when this is dropped, or the process ends in any
/// way.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    monitoring: u16,
    password: String,
    server: OneServer,
}

impl Nats {
    /// Starts a server, alone.
    ///
    /// # Errors
    /// When its program is missing, or it does not answer in half a minute.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with("max_file: 64M, max_mem: 16M", "", "").await
    }

    /// Starts one with settings of JetStream (`max_file: 1M`), of the account's JetStream (`max_file: 1M`; none: enabled), and of the server.
    ///
    /// # Errors
    /// As for [`Nats::start`].
    pub async fn with(jetstream: &str, account: &str, more: &str) -> anyhow::Result<Self> {
        let mut nats = Self::new("one", &random_secret()?, jetstream, account, more)?;
        nats.run().await?;
        nats.ready().await?;
        Ok(nats)
    }

    /// Three servers that form a cluster.
    ///
    /// # Errors
    /// As for [`Nats::start`]; when they have no leader in half a minute.
    pub async fn cluster() -> anyhow::Result<Vec<Self>> {
        let password = random_secret()?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut all = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let cluster =
                format!("cluster {{ name: trio, listen: \"127.0.0.1:{port}\", routes: [{}] }}", routes.join(", "));
            all.push(Self::new(&format!("n{number}"), &password, "max_file: 64M, max_mem: 16M", "", &cluster)?);
        }
        for nats in &mut all {
            nats.run().await?;
        }
        for nats in &all {
            nats.ready().await?;
        }
        eventually(START, "the cluster's leader", async || {
            let page = all[0].page("/jsz").await?;
            let size = page["meta_cluster"]["cluster_size"] == 3;
            let led = page["meta_cluster"]["leader"].as_str().is_some_and(|leader| !leader.is_empty());
            let current = page["meta_cluster"]["replicas"]
                .as_array()
                .is_none_or(|all| all.iter().all(|one| one["offline"] != true));
            Ok((size && led && current).then_some(()))
        })
        .await?;
        Ok(all)
    }

    fn new(name: &str, password: &str, jetstream: &str, account: &str, more: &str) -> anyhow::Result<Self> {
        let folder = Folder::create("nats", None)?;
        let (port, monitoring) = (free_port()?, free_port()?);
        let account = if account.is_empty() { "enabled".to_owned() } else { format!("{{ {account} }}") };
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitoring}\"\n\
             jetstream {{ store_dir: \"{}/store\", {jetstream} }}\n\
             accounts {{\n  APP: {{ jetstream: {account}, users: [{{ user: {USER}, password: \"{password}\" }}] }}\n\
               BARE: {{ users: [{{ user: bare, password: \"{password}\" }}] }}\n}}\n{more}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("nats.conf"), text)?;
        Ok(Self { port, monitoring, password: password.to_owned(), server: OneServer::new(folder) })
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(tool("bin/nats-server")?);
        command.arg("-c").arg(self.server.path().join("nats.conf"));
        let port = self.port;
        self.server
            .run("NATS", &command, START, "NATS", async || {
                TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(true)
            })
            .await
    }

    async fn ready(&self) -> anyhow::Result<()> {
        eventually(START, "JetStream", async || {
            Ok((self.page("/healthz?js-server-only=true").await?["status"] == "ok").then_some(()))
        })
        .await
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its URL, with user and password, without monitoring.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(USER)
    }

    /// The same of another user: `bare`, whose account has no JetStream.
    #[must_use]
    pub fn url_as(&self, user: &str) -> String {
        format!("nats://{user}:{}@127.0.0.1:{}", self.password, self.port)
    }

    /// Where its monitoring is.
    #[must_use]
    pub fn monitoring(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitoring)
    }

    /// A page of its monitoring.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitoring)).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        let (_, body) = text.split_once("\r\n\r\n").context("no answer of HTTP")?;
        Ok(serde_json::from_str(body)?)
    }

    /// A plain client.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn client(&self) -> anyhow::Result<NatsClient> {
        NatsClient::connect(self.port, USER, &self.password).await
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again after [`Nats::kill`], with what it stored.
    ///
    /// # Errors
    /// As for [`Nats::start`].
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

/// A plain client of NATS: it publishes, asks and does not read what it subscribed to, as a test likes.
pub struct NatsClient {
    stream: BufReader<TcpStream>,
    asked: u64,
}

impl NatsClient {
    async fn connect(port: u16, user: &str, password: &str) -> anyhow::Result<Self> {
        let mut client = Self { stream: BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?), asked: 0 };
        client.line().await?;
        let options = serde_json::json!({
            "verbose": false, "pedantic": false, "user": user, "pass": password, "lang": "test", "version": "0", "protocol": 1,
            "headers": true, "no_responders": true
        });
        client.send(&format!("CONNECT {options}\r\nSUB _INBOX.test.* 1\r\nPING\r\n")).await?;
        loop {
            match client.line().await?.as_str() {
                "PONG" => return Ok(client),
                line if line.starts_with("-ERR") => bail!("{line}"),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).await? > 0, "NATS closed the connection");
        Ok(line.trim_end().to_owned())
    }

    async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.stream.get_mut().write_all(text.as_bytes()).await?)
    }

    /// Subscribes, and reads nothing of it.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn subscribe(&mut self, subject: &str) -> anyhow::Result<()> {
        self.send(&format!("SUB {subject} 9\r\n")).await
    }

    /// Publishes messages without waiting.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn publish(&mut self, subject: &str, payload: &str) -> anyhow::Result<()> {
        self.send(&format!("PUB {subject} {}\r\n{payload}\r\n", payload.len())).await
    }

    /// Asks, and gives the answer as JSON (null where it is empty).
    ///
    /// # Errors
    /// When there is none in ten seconds.
    pub async fn ask(&mut self, subject: &str, payload: &str) -> anyhow::Result<serde_json::Value> {
        let text = self.ask_text(subject, payload).await?;
        if text.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        Ok(serde_json::from_str(&text)?)
    }

    async fn ask_text(&mut self, subject: &str, payload: &str) -> anyhow::Result<String> {
        self.asked += 1;
        let inbox = format!("_INBOX.test.{}", self.asked);
        self.send(&format!("PUB {subject} {inbox} {}\r\n{payload}\r\n", payload.len())).await?;
        let answer = async {
            loop {
                let line = self.line().await?;
                let words: Vec<&str> = line.split(' ').collect();
                match words[0] {
                    "PING" => self.send("PONG\r\n").await?,
                    "MSG" | "HMSG" => {
                        let length: usize = words.last().context("a length")?.parse()?;
                        let head: usize = if words[0] == "HMSG" { words[words.len() - 2].parse()? } else { 0 };
                        let mut body = vec![0; length + 2];
                        self.stream.read_exact(&mut body).await?;
                        // What a consumer delivers comes under the subject that it was stored under.
                        if words[2] == "1" && (words[1] == inbox || !words[1].starts_with("_INBOX.")) {
                            return Ok(String::from_utf8_lossy(&body[head..length]).into_owned());
                        }
                    }
                    "-ERR" => bail!("{line}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answer).await.context("NATS did not answer")?
    }

    /// Asks JetStream; an error of its is one.
    ///
    /// # Errors
    /// What JetStream says.
    pub async fn api(&mut self, what: &str, request: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        // Where nothing is asked for, not even `null` may be.
        let request = if request.is_null() { String::new() } else { request.to_string() };
        let answer = self.ask(&format!("$JS.API.{what}"), &request).await?;
        ensure!(answer.get("error").is_none(), "{what}: {answer}");
        Ok(answer)
    }

    /// Makes a stream of the subjects `NAME.>`, with more settings.
    ///
    /// # Errors
    /// What JetStream says.
    pub async fn stream(&mut self, name: &str, more: &serde_json::Value) -> anyhow::Result<()> {
        let mut settings = serde_json::json!({ "name": name, "subjects": [format!("{name}.>")], "storage": "file", "num_replicas": 1 });
        merge(&mut settings, more);
        self.api(&format!("STREAM.CREATE.{name}"), &settings).await.map(drop)
    }

    /// Makes a durable consumer that pulls, with more settings.
    ///
    /// # Errors
    /// What JetStream says.
    pub async fn consumer(&mut self, stream: &str, name: &str, more: &serde_json::Value) -> anyhow::Result<()> {
        let mut settings = serde_json::json!({ "durable_name": name, "ack_policy": "explicit" });
        merge(&mut settings, more);
        let request = serde_json::json!({ "stream_name": stream, "config": settings });
        self.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &request).await.map(drop)
    }

    /// Publishes messages to a stream, each stored when this returns.
    ///
    /// # Errors
    /// What JetStream says.
    pub async fn store(&mut self, subject: &str, messages: usize, payload: &str) -> anyhow::Result<()> {
        for _ in 0..messages {
            let answer = self.ask(subject, payload).await?;
            ensure!(answer.get("error").is_none(), "{subject}: {answer}");
        }
        Ok(())
    }

    /// Fetches so many messages of a consumer and acknowledges none.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn fetch(&mut self, stream: &str, consumer: &str, messages: usize) -> anyhow::Result<()> {
        for _ in 0..messages {
            self.ask_text(
                &format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
                r#"{"batch":1,"expires":5000000000}"#,
            )
            .await?;
        }
        Ok(())
    }
}

fn merge(settings: &mut serde_json::Value, more: &serde_json::Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
}
