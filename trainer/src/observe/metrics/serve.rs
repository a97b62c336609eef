//! The HTTP side: `GET /metrics` for Prometheus and `GET /status` for `murmur status`, nothing else.

use std::{future::Future, net::SocketAddr};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use super::Metrics;
use crate::{
    crash::{Part, endless},
    error::{Exit, Failure},
    observe::status::Status,
};

/// What Prometheus expects its text format to be called.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A peer's HTTP address, taken but not answering yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes `address`; port 0 takes any free one. Call inside a tokio runtime.
///
/// # Errors
/// [`Exit::Config`] when the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> Result<Listener, Failure> {
    let refused = |error: std::io::Error| {
        Failure::new(Exit::Config, format!("cannot serve metrics on {address}"))
            .because(error)
            .hint("Choose another address with --set net.metrics=ADDRESS:PORT; port 0 takes any free one.")
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok(Listener { listener, address })
}

impl Listener {
    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `metrics` and what `status` gives, for as long as the runtime lives.
    pub fn serve<S, F>(self, metrics: Metrics, status: S)
    where
        S: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<Status>> + Send,
    {
        let page = move || async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text()) };
        let status = move || async move { answer(status().await.as_ref()) };
        let router = Router::new().route("/metrics", get(page)).route("/status", get(status));
        tokio::spawn(endless(Part::Metrics, async move {
            if let Err(error) = axum::serve(self.listener, router).await {
                tracing::error!(%error, "metrics are no longer served");
            }
        }));
    }
}

fn answer(status: Option<&Status>) -> impl IntoResponse + use<> {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match status.map(serde_json::to_string) {
        Some(Ok(text)) => (StatusCode::OK, json, text),
        Some(Err(_)) | None => (StatusCode::SERVICE_UNAVAILABLE, json, "{}".to_owned()),
    }
}
