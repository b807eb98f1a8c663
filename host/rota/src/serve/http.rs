//! What a serving host says of itself over HTTP: alive, ready, and its metrics. Nothing here changes anything.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use rota_runs::{Host, Worker};
use rota_store::Store;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the pages look at.
pub(crate) struct Served {
    pub(crate) worker: Arc<Worker>,
    pub(crate) host: Arc<Host>,
    pub(crate) store: Arc<dyn Store>,
    /// A store that has not answered for so long makes the host unready.
    pub(crate) patience: Duration,
}

/// Listen; the address is the one that was got, where port 0 was asked for.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serve until told to stop.
pub(crate) async fn serve(listener: TcpListener, served: Served, mut stop: watch::Receiver<bool>) {
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(served));
    let stopped = async move {
        // A sender that is gone has stopped, too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the HTTP pages are not served any more");
    }
}

async fn ready(State(served): State<Arc<Served>>) -> impl IntoResponse {
    let silent = served.worker.last_answer().map(|answer| answer.elapsed());
    let store = silent.is_some_and(|silent| silent <= served.patience);
    let draining = served.worker.is_draining();
    let status = if store && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let said = json!({
        "ready": store && !draining,
        "store_answered_seconds_ago": silent.map(|silent| silent.as_secs_f64()),
        "draining": draining,
        "running": served.worker.running(),
    });
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{said}\n"))
}

async fn metrics(State(served): State<Arc<Served>>) -> impl IntoResponse {
    if let Ok(status) = served.store.status().await {
        served.host.metrics().refused(status.refused_writes);
    }
    let settings = served.host.settings();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], served.host.metrics().text(|job| settings.jobs.contains_key(job)))
}
