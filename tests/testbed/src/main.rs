//! `rota-testbed up` starts the real servers and leaves them running; `rota-testbed down` ends them.
//! The tests' set-up script (`.config/nextest.toml`) and `scripts/demo` use it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser};
use rota_testbed::{Cluster, Postgres, PostgresOptions, PostgresVersion, S3, S3Options, shared};
use rustix::process::{Pid, Signal, kill_process};

/// Real servers for tests and the demo.
#[derive(Parser)]
enum Cli {
    /// Start servers in the background and print how to reach them.
    Up(Up),
    /// End the servers that `up --state FILE` started.
    Down {
        /// The file that `up` wrote.
        #[arg(long)]
        state: PathBuf,
    },
    /// The background process of `up`.
    #[command(hide = true)]
    Serve(Servers),
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    servers: Servers,
    /// Also write the JSON object to this file, for `down`.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Also append NAME=VALUE lines for the tests (see `rota_testbed::shared`) to this file.
    #[arg(long)]
    env_file: Option<PathBuf>,
    /// Print a JSON object (it names the process, and the URL of each server with its password).
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Servers {
    /// A PostgreSQL of this major version (16 or 18); may be given twice.
    #[arg(long = "postgres", value_parser = version)]
    postgres: Vec<PostgresVersion>,
    /// An S3 service.
    #[arg(long)]
    s3: bool,
    /// A Kubernetes cluster.
    #[arg(long)]
    cluster: bool,
    /// End the servers when the process of this number ends.
    #[arg(long)]
    watch: Option<i32>,
}

fn version(text: &str) -> Result<PostgresVersion, String> {
    match text {
        "16" => Ok(PostgresVersion::V16),
        "18" => Ok(PostgresVersion::V18),
        _ => Err("it is 16 or 18".to_owned()),
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse() {
        Cli::Up(options) => up(&options),
        Cli::Down { state } => down(&state),
        Cli::Serve(servers) => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve(servers))
        }
    }
}

/// Starts `serve` in a session of its own and waits for its one line.
fn up(options: &Up) -> anyhow::Result<()> {
    let mut command = Command::new("setsid");
    command.arg(std::env::current_exe()?).arg("serve");
    for version in &options.servers.postgres {
        command.arg(format!("--postgres={}", version.major()));
    }
    if options.servers.s3 {
        command.arg("--s3");
    }
    if options.servers.cluster {
        command.arg("--cluster");
    }
    if let Some(pid) = options.servers.watch {
        command.arg(format!("--watch={pid}"));
    }
    // Its standard error is a pipe too: what outlives us must not hold whatever ours is.
    let mut child =
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
    if line.is_empty() {
        let mut error = String::new();
        child.stderr.take().context("no pipe")?.read_to_string(&mut error)?;
        bail!("the servers did not start: {}", error.trim());
    }
    let state: serde_json::Value = serde_json::from_str(&line)?;
    if let Some(path) = &options.state {
        std::fs::write(path, &line).with_context(|| path.display().to_string())?;
    }
    let variables = state["environment"].as_object().into_iter().flatten();
    let lines: String =
        variables.map(|(name, value)| format!("{name}={}\n", value.as_str().unwrap_or_default())).collect();
    if let Some(path) = &options.env_file {
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| path.display().to_string())?;
        file.write_all(lines.as_bytes())?;
    }
    print!("{}", if options.json { line } else { lines });
    Ok(())
}

async fn serve(options: Servers) -> anyhow::Result<()> {
    let watched = options.watch.map(|pid| (pid, birth(pid)));
    anyhow::ensure!(!matches!(watched, Some((_, None))), "the process to watch is gone");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let ended = async {
        let watched_ended = async {
            let mut look = tokio::time::interval(Duration::from_millis(100));
            while watched.as_ref().is_none_or(|(pid, born)| birth(*pid) == *born) {
                look.tick().await;
            }
        };
        tokio::select! {
            () = watched_ended => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let serving = async {
        // Dropped, and so ended, when `ended` is first.
        let servers = start(&options).await?;
        println!("{}", servers.state);
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        () = ended => Ok(()),
        result = serving => result,
    }
}

/// When a process was born, by the kernel's count, so that another one of its number is not taken for it.
/// None for one that has ended.
fn birth(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces. What follows starts with the third field, the state.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields[0] == "Z" { None } else { fields.get(19)?.parse().ok() }
}

struct Running {
    state: serde_json::Value,
    _postgres: Vec<Postgres>,
    _s3: Option<S3>,
    _cluster: Option<Cluster>,
}

async fn start(options: &Servers) -> anyhow::Result<Running> {
    let postgres = async {
        let mut started = Vec::new();
        for version in &options.postgres {
            started.push(Postgres::start(PostgresOptions { version: *version, ..PostgresOptions::default() }).await?);
        }
        anyhow::Ok(started)
    };
    let s3 = async {
        Ok(match options.s3 {
            true => Some(S3::start(S3Options::default()).await?),
            false => None,
        })
    };
    let cluster = async {
        Ok(match options.cluster {
            true => Some(Cluster::start().await?),
            false => None,
        })
    };
    let (postgres, s3, cluster) = tokio::try_join!(postgres, s3, cluster)?;
    let mut environment = serde_json::Map::new();
    for server in &postgres {
        environment.insert(shared::postgres_variable(server.version()), server.url("postgres").into());
    }
    if let Some(s3) = &s3 {
        environment.insert(shared::S3_VARIABLE.to_owned(), shared::s3_to_text(s3).into());
    }
    if let Some(cluster) = &cluster {
        let path = cluster.kubeconfig().to_str().context("the folder's name is no text")?;
        environment.insert(shared::CLUSTER_VARIABLE.to_owned(), path.into());
    }
    let state = serde_json::json!({
        "pid": std::process::id(),
        "postgres": postgres.iter().map(|server| serde_json::json!({
            "version": server.version().major(),
            "port": server.port(),
            "url": server.url("postgres"),
        })).collect::<Vec<_>>(),
        "s3": s3.as_ref().map(|s3| serde_json::json!({
            "endpoint": s3.endpoint(),
            "bucket": s3.bucket(),
            "access_key": s3.keys().access_key,
            "secret_key": s3.keys().secret_key,
        })),
        "cluster": cluster.as_ref().map(|cluster| serde_json::json!({
            "server": cluster.server(),
            "kubeconfig": cluster.kubeconfig(),
        })),
        "environment": environment,
    });
    Ok(Running { state, _postgres: postgres, _s3: s3, _cluster: cluster })
}

/// Ends the background process and waits for it.
fn down(state: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(state).with_context(|| state.display().to_string())?;
    let pid = serde_json::from_str::<serde_json::Value>(&text)?["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).context("the file names no process")?;
    let start = Instant::now();
    // Not by the number alone, which may be another process's by now, or a zombie's that nobody collects.
    while is_serve(pid) {
        anyhow::ensure!(start.elapsed() < Duration::from_secs(30), "the servers do not end");
        kill_process(pid, Signal::TERM).or_else(|error| if is_serve(pid) { Err(error) } else { Ok(()) })?;
        std::thread::sleep(Duration::from_millis(10));
    }
    std::fs::remove_file(state)?;
    Ok(())
}

fn is_serve(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
}
