//! A TCP proxy that a test can stall, slow down and cut, in front of a real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const BUFFER: usize = 16 * 1024;

/// What the proxy does with what passes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Pass,
    /// Bytes a second, in each direction of each connection.
    Throttle(u64),
    /// Connections stay open and nothing passes.
    Stall,
    /// Connections are reset, new ones at once.
    Refuse,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Counts the cuts; a connection ends when it changes.
    cuts: watch::Sender<u64>,
    /// How many more bytes may go from the server to clients before everything is cut.
    left: AtomicU64,
    forwarded: AtomicU64,
    connections: AtomicUsize,
}

/// A proxy on a port of 127.0.0.1. Dropping it closes its connections and its port.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts a proxy in front of `target`, which lets everything pass.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target,
            mode: watch::Sender::new(Mode::Pass),
            cuts: watch::Sender::new(0),
            left: AtomicU64::new(u64::MAX),
            forwarded: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, Arc::clone(&accepting)));
            }
        });
        Ok(Self { port, shared, listener })
    }

    /// The same in front of a port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to_port(port: u16) -> anyhow::Result<Self> {
        Self::start(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// The proxy's port, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets all connections that are open now (the peers see "connection reset"). New ones pass.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts, once, after so many further bytes from the server to clients, in the middle of a stream.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.left.store(bytes, Relaxed);
    }

    /// Lets nothing pass any more, with the connections left open; new ones are accepted too.
    pub fn stall(&self) {
        self.shared.mode.send_replace(Mode::Stall);
    }

    /// Lets so many bytes a second pass in each direction of each connection.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.shared.mode.send_replace(Mode::Throttle(bytes_per_second.max(1)));
    }

    /// Resets all connections and every new one, as if the server were gone.
    pub fn refuse(&self) {
        self.shared.mode.send_replace(Mode::Refuse);
        self.cut();
    }

    /// Lets everything pass again.
    pub fn pass(&self) {
        self.shared.mode.send_replace(Mode::Pass);
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }

    /// Bytes that went from the server to clients so far.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Relaxed)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

async fn connection(mut client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    shared.connections.fetch_add(1, Relaxed);
    let refused = *shared.mode.borrow() == Mode::Refuse;
    let server = if refused { None } else { TcpStream::connect(shared.target).await.ok() };
    if let Some(mut server) = server {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let whole = async {
            tokio::try_join!(
                forward(from_client, to_server, &shared, false),
                forward(from_server, to_client, &shared, true)
            )
        };
        let orderly = tokio::select! {
            result = whole => result.is_ok(),
            _ = cuts.changed() => false,
        };
        if !orderly {
            reset(&client);
            reset(&server);
        }
    } else {
        reset(&client);
    }
    drop(client);
    shared.connections.fetch_sub(1, Relaxed);
}

/// Passes on one direction of a connection, until its end.
async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    is_answer: bool,
) -> std::io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let mut buffer = vec![0; BUFFER];
    loop {
        let room = match *mode.borrow() {
            // Twenty pieces a second, so that a slow stream flows evenly.
            Mode::Throttle(rate) => usize::try_from(rate / 20).unwrap_or(BUFFER).clamp(1, BUFFER),
            _ => BUFFER,
        };
        let count = from.read(&mut buffer[..room]).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        // What was on its way when the proxy was stalled waits too.
        let Ok(now) = mode.wait_for(|mode| *mode != Mode::Stall).await.map(|now| *now) else { return Ok(()) };
        let passing = if is_answer { shared.passing(count) } else { count };
        to.write_all(&buffer[..passing]).await?;
        if is_answer {
            shared.forwarded.fetch_add(passing as u64, Relaxed);
        }
        if passing < count {
            shared.cuts.send_modify(|cuts| *cuts += 1);
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        if let Mode::Throttle(rate) = now {
            tokio::time::sleep(Duration::from_secs_f64(count as f64 / rate as f64)).await;
        }
    }
}

impl Shared {
    /// How many of `count` bytes may still pass; fewer than `count` means that it is time to cut.
    fn passing(&self, count: usize) -> usize {
        let count = count as u64;
        let before = self.left.fetch_update(Relaxed, Relaxed, |left| match left {
            u64::MAX => None,
            left if left < count => Some(u64::MAX),
            left => Some(left - count),
        });
        usize::try_from(before.map_or(count, |left| left.min(count))).unwrap_or(usize::MAX)
    }
}

/// Makes the connection end with a reset instead of an orderly end when it is closed.
fn reset(connection: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(connection, Some(Duration::ZERO));
}
