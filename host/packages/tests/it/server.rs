//! A small HTTP server whose every answer a test writes by hand, lies included.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request: its path, and its head.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Body,
}

/// What follows the head.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// Zeros until the other side goes away, or so many bytes.
    Zeros(u64),
    /// A byte now and then.
    Drip,
    /// Nothing ever.
    Silence,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: &[(&str, String)], body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        Self { head: head + "\r\n", body: Body::Bytes(body) }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, &[], body)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, &[], "")
    }

    /// A head of its own, and what follows it.
    pub(crate) fn raw(head: &str, body: Body) -> Self {
        Self { head: head.replace('\n', "\r\n") + "\r\n\r\n", body }
    }
}

type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// The server, which ends with the test's runtime.
pub(crate) struct HandServer {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    sent: Arc<Mutex<u64>>,
}

impl HandServer {
    pub(crate) async fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let sent: Arc<Mutex<u64>> = Arc::default();
        let (handler, heard, counted): (Handler, _, _) = (Arc::new(handler), requests.clone(), sent.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, handler.clone(), heard.clone(), counted.clone()));
            }
        });
        Self { port, requests, sent }
    }

    pub(crate) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Bytes of bodies that were written.
    pub(crate) fn sent(&self) -> u64 {
        *self.sent.lock().unwrap()
    }
}

async fn serve(mut stream: TcpStream, handler: Handler, heard: Arc<Mutex<Vec<Request>>>, sent: Arc<Mutex<u64>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let request = Request { path: head.split(' ').nth(1).unwrap_or_default().to_owned(), head: head.clone() };
    if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        let mut body = vec![0; length];
        let _ = stream.read_exact(&mut body).await;
    }
    heard.lock().unwrap().push(request.clone());
    let answer = handler(&request);
    let _ = stream.write_all(answer.head.as_bytes()).await;
    match answer.body {
        Body::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            *sent.lock().unwrap() += bytes.len() as u64;
        }
        Body::Zeros(mut left) => {
            let zeros = vec![0; 1 << 16];
            while left > 0 {
                let part = usize::try_from(left.min(1 << 16)).unwrap();
                if stream.write_all(&zeros[..part]).await.is_err() {
                    return;
                }
                left -= part as u64;
                *sent.lock().unwrap() += part as u64;
            }
        }
        Body::Drip => {
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
        Body::Silence => std::future::pending().await,
    }
    let _ = stream.shutdown().await;
}
