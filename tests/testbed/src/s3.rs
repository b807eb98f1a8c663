//! A real S3 service (SeaweedFS) for a test or the demo.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::one_server::OneServer;
use crate::server::{Folder, LEFTOVERS};
use crate::tools::{free_port, random_secret, tool};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(60);
const HTTP: Duration = Duration::from_secs(10);

/// A bucket grows by one volume at a time instead of seven.
const MASTER_CONFIG: &str = "[master.volume_growth]\ncopy_1 = 1\n";

/// What service to start.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Buckets that it has from the start; the first is [`S3Access::bucket`].
    pub buckets: Vec<String>,
    /// Where its folder is made: a [`crate::SmallDisk`], or the folder for temporary files.
    pub parent: Option<PathBuf>,
}

impl Default for S3Options {
    fn default() -> Self {
        Self { buckets: vec!["rota".to_owned()], parent: None }
    }
}

/// A key pair of S3.
#[derive(Clone, Debug)]
pub struct S3Keys {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl S3Keys {
    fn random() -> anyhow::Result<Self> {
        Ok(Self { access_key: random_secret()?[..20].to_uppercase(), secret_key: random_secret()? })
    }
}

/// How a test reaches an S3 service: its own, or one that it shares with other tests.
#[derive(Clone, Debug)]
pub struct S3Access {
    pub(crate) port: u16,
    pub(crate) filer_port: u16,
    pub(crate) bucket: String,
    pub(crate) keys: S3Keys,
    pub(crate) reader: S3Keys,
}

impl S3Access {
    /// Its address, as clients want it: `http://127.0.0.1:PORT`. Any region will do.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The keys that may do everything.
    #[must_use]
    pub fn keys(&self) -> &S3Keys {
        &self.keys
    }

    /// Keys that may read and list, and not write.
    #[must_use]
    pub fn reader(&self) -> &S3Keys {
        &self.reader
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// When the service is away.
    pub async fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        // A bucket is a folder of the filer below S3, which asks for no signature.
        let status = http(self.filer_port, &format!("POST /buckets/{name}/")).await?;
        anyhow::ensure!(status == 201, "the bucket {name} was not made: HTTP {status}");
        // S3 hears of it from the filer. Unsigned, a bucket that it knows is "denied", not "no such".
        eventually(HTTP, "the new bucket", async || {
            Ok((http(self.port, &format!("GET /{name}")).await? == 403).then_some(()))
        })
        .await
    }

    /// A new bucket with a name of its own, which is returned.
    ///
    /// # Errors
    /// When the service is away.
    pub async fn fresh_bucket(&self, hint: &str) -> anyhow::Result<String> {
        let hint: String =
            hint.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
        let name = format!("{hint}-{}", &random_secret()?[..12]);
        self.create_bucket(&name).await?;
        Ok(name)
    }
}

/// An S3 service of our own. It and its files are gone when this is dropped, or the process ends in any
/// way. It takes more than three seconds to start: where a test need not break it, [`S3::shared`] is better.
#[derive(Debug)]
pub struct S3 {
    access: S3Access,
    command: Vec<String>,
    /// It is killed in the end, too: SIGTERM makes it wait for its clients.
    server: OneServer,
}

impl Deref for S3 {
    type Target = S3Access;

    fn deref(&self) -> &S3Access {
        &self.access
    }
}

impl S3 {
    /// Starts a service.
    ///
    /// # Errors
    /// When its program is missing, or it does not answer in a minute.
    pub async fn start(options: S3Options) -> anyhow::Result<Self> {
        let bucket = options.buckets.first().context("an S3 service needs a bucket")?.clone();
        let folder = Folder::create("s3", options.parent.as_deref())?;
        let keys = S3Keys::random()?;
        let reader = S3Keys::random()?;
        let identity = |name: &str, keys: &S3Keys, actions: &[&str]| {
            serde_json::json!({
                "name": name,
                "credentials": [{ "accessKey": keys.access_key, "secretKey": keys.secret_key }],
                "actions": actions,
            })
        };
        let config = serde_json::json!({ "identities": [
            identity("rota", &keys, &["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", &reader, &["Read", "List"]),
        ]});
        tokio::fs::write(folder.path().join("s3.json"), config.to_string()).await?;
        tokio::fs::write(folder.path().join("master.toml"), MASTER_CONFIG).await?;
        tokio::fs::create_dir(folder.path().join("data")).await?;
        if crate::tools::is_root() {
            let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path())?);
            std::os::unix::fs::chown(folder.path().join("data"), Some(user), None)?;
        }
        let ports = Ports { master: free_port()?, volume: free_port()?, filer: free_port()?, s3: free_port()? };
        let command = ports.command(&folder)?;
        let access = S3Access { port: ports.s3, filer_port: ports.filer, bucket, keys, reader };
        let mut s3 = Self { access, command, server: OneServer::new(folder) };
        s3.run().await?;
        for bucket in &options.buckets {
            s3.create_bucket(bucket).await?;
        }
        Ok(s3)
    }

    /// An S3 service that other tests use too: that of the test run (see [`crate::shared`]), else one
    /// that is started for this process. Isolation is by [`S3Access::fresh_bucket`].
    ///
    /// # Errors
    /// When none can be started.
    pub async fn shared() -> anyhow::Result<S3Access> {
        static OWN: tokio::sync::OnceCell<S3> = tokio::sync::OnceCell::const_new();
        if let Some(text) = crate::shared::variable(crate::shared::S3_VARIABLE) {
            return crate::shared::s3_from_text(&text);
        }
        let s3 = OWN.get_or_try_init(|| Self::start(S3Options::default())).await?;
        Ok((**s3).clone())
    }

    /// Kills the service, in the middle of what it does.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again after [`S3::kill`], with its objects, on the same port.
    ///
    /// # Errors
    /// When it does not answer in a minute.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.run().await
    }

    /// Stops it where it is (SIGSTOP): it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets a paused service go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Whether the service runs.
    pub fn is_running(&mut self) -> bool {
        self.server.is_running()
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(tool("bin/weed")?);
        command.args(&self.command).env("HOME", self.server.path()).env("TMPDIR", self.server.path());
        let (port, filer_port) = (self.access.port, self.access.filer_port);
        self.server
            .run("SeaweedFS", &command, START, "the S3 service's first answer", async || {
                // The filer may answer later than S3 above it, and is needed for buckets.
                Ok(http(port, "GET /healthz").await? == 200 && http(filer_port, "GET /").await? == 200)
            })
            .await
    }
}

/// The ports of the service's parts. gRPC has ports of its own for each.
struct Ports {
    master: u16,
    volume: u16,
    filer: u16,
    s3: u16,
}

impl Ports {
    fn command(&self, folder: &Folder) -> anyhow::Result<Vec<String>> {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut arguments: Vec<String> = [
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            // It reports itself to its makers unless told not to.
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            // Or its only master waits 20 s after a restart for others to elect it.
            "-master.electionTimeout=500ms",
            "-volume.max=10000",
            "-volume.preStopSeconds=0",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("-dir={}", path("data")));
        arguments.push(format!("-s3.config={}", path("s3.json")));
        arguments.push(format!("-filer.localSocket={}", path("filer.sock")));
        arguments.push(format!("-s3.localSocket={}", path("s3.sock")));
        let mut sockets = String::new();
        for (part, port) in [("master", self.master), ("volume", self.volume), ("filer", self.filer), ("s3", self.s3)] {
            let grpc = free_port()?;
            arguments.push(format!("-{part}.port={port}"));
            arguments.push(format!("-{part}.port.grpc={grpc}"));
            // These have no setting.
            sockets.push_str(&format!("/tmp/seaweedfs-{part}-grpc-{grpc}.sock\n"));
        }
        std::fs::write(folder.path().join(LEFTOVERS), sockets)?;
        Ok(arguments)
    }
}

/// The status of a request without a body to 127.0.0.1.
async fn http(port: u16, request: &str) -> anyhow::Result<u16> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let head =
            format!("{request} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match answer.split(' ').nth(1).and_then(|status| status.parse().ok()) {
            Some(status) => Ok(status),
            None => bail!("no HTTP answer to {request}"),
        }
    };
    tokio::time::timeout(HTTP, exchange).await?
}
