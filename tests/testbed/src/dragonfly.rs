//! A proxy in front of Valkey that answers as Dragonfly 1.15 does, where that differs: Dragonfly itself cannot be had here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::resp::Resp;

#[derive(Debug, Default)]
struct Shared {
    loading: AtomicBool,
    /// The most elements that a collection had when UNLINK freed it, in place, as this Dragonfly does.
    largest: AtomicU64,
    commands: std::sync::Mutex<Vec<String>>,
}

/// The proxy, on a port of 127.0.0.1.
#[derive(Debug)]
pub struct Dragonfly {
    port: u16,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl Dragonfly {
    /// Starts it in front of a Valkey.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(valkey: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                // A connection that breaks is the client's to notice.
                tokio::spawn(async move { drop(serve(client, valkey, &shared).await) });
            }
        });
        Ok(Self { port, shared, listener })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is loading its data, and says so to everything.
    pub fn loading(&self, loading: bool) {
        self.shared.loading.store(loading, Relaxed);
    }

    /// The most elements of a collection that UNLINK met: while it frees them, it serves nobody else.
    #[must_use]
    pub fn largest_unlinked(&self) -> u64 {
        self.shared.largest.load(Relaxed)
    }

    /// The names of the commands that came, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Drop for Dragonfly {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(client: TcpStream, valkey: u16, shared: &Shared) -> anyhow::Result<()> {
    let mut client = BufReader::new(client);
    let mut server = BufReader::new(TcpStream::connect(("127.0.0.1", valkey)).await?);
    while let Some(command) = Resp::read(&mut client).await? {
        let words: Vec<String> = command.clone().array().iter().map(Resp::text).collect();
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        shared.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name.clone());
        if shared.loading.load(Relaxed) && name != "AUTH" {
            let refused = "LOADING Dragonfly is loading the dataset in memory";
            Resp::Error(refused.to_owned()).send(&mut client).await?;
            continue;
        }
        match name.as_str() {
            "LATENCY" => {
                Resp::Array(Vec::new()).send(&mut client).await?;
                continue;
            }
            "UNLINK" => measure(&mut server, &command, shared).await?,
            _ => {}
        }
        let mut answer = ask(&mut server, &command).await?;
        if name == "INFO" {
            answer = Resp::bulk(as_dragonfly(&answer.text()));
        }
        answer.send(&mut client).await?;
    }
    Ok(())
}

async fn ask(server: &mut BufReader<TcpStream>, command: &Resp) -> anyhow::Result<Resp> {
    command.send(server).await?;
    Ok(Resp::read(server).await?.unwrap_or(Resp::Error("ERR the server behind is gone".to_owned())))
}

/// How large the collections are that are about to be freed.
async fn measure(server: &mut BufReader<TcpStream>, unlink: &Resp, shared: &Shared) -> anyhow::Result<()> {
    for key in unlink.clone().array().into_iter().skip(1) {
        for length in ["LLEN", "SCARD", "ZCARD", "HLEN", "XLEN"] {
            let command = Resp::Array(vec![Resp::bulk(length), key.clone()]);
            if let Some(length) = ask(server, &command).await?.integer() {
                shared.largest.fetch_max(length.unsigned_abs(), Relaxed);
            }
        }
    }
    Ok(())
}

/// What Dragonfly 1.15 says in INFO: its version beside that of the Redis which it imitates, and -1 for what it does not count.
fn as_dragonfly(info: &str) -> String {
    let mut text =
        String::from("# Server\r\nredis_version:6.2.11\r\ndragonfly_version:df-v1.15.0\r\nredis_mode:standalone\r\n");
    for line in info.lines() {
        let key = line.split(':').next().unwrap_or_default();
        match key {
            "redis_version"
            | "valkey_version"
            | "redis_mode"
            | "server_name"
            | "rdb_last_bgsave_status"
            | "# Server" => {}
            "rejected_connections" => text.push_str("rejected_connections:-1\r\n"),
            _ => {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
    }
    text
}
