//! The HTTP side: `GET /metrics`, nothing else.

use std::net::SocketAddr;

use axum::{Router, http::header, routing::get};
use tokio::net::TcpListener;

use super::Metrics;
use crate::{error::Failure, explain::Exit};

/// What Prometheus expects its text format to be called.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `metrics` on `address` for as long as the runtime lives, and says which address that came to be (port 0
/// takes any free one). Call inside a tokio runtime.
///
/// # Errors
/// [`Exit::Config`] when the address cannot be listened on.
pub async fn serve(address: SocketAddr, metrics: Metrics) -> Result<SocketAddr, Failure> {
    let refused = |error: std::io::Error| {
        Failure::new(Exit::Config, format!("cannot serve metrics on {address}"))
            .because(error)
            .hint("Choose another address with --set net.metrics=ADDRESS:PORT; port 0 takes any free one.")
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    let page = move || async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text()) };
    let router = Router::new().route("/metrics", get(page));
    tokio::spawn(async move {
        // It only returns when the listener breaks; training goes on without metrics.
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "metrics are no longer served");
        }
    });
    Ok(bound)
}
