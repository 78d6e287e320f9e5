//! Receives webhooks with axum: verified, enqueued, then answered; handled after.
//!
//! ```text
//! WEBHOOK_SECRET=… cargo run --example webhook_axum -- --listen 127.0.0.1:8080 --public-url https://hooks.example.org
//! cargo run --example webhook_axum -- --self-test yes      # sends signed and forged requests to itself
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a program may spawn")]

#[allow(dead_code, reason = "each example uses its own part")]
#[path = "support/args.rs"]
mod args;
#[path = "support/delivery.rs"]
mod delivery;
#[path = "support/receiver.rs"]
mod receiver;

use std::process::ExitCode;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::post;

use crm_sync::sync::Inbound;
use crm_sync::webhook::RawRequest;

use delivery::{Fault, PATH};

#[tokio::main]
async fn main() -> ExitCode {
    receiver::start(serve).await
}

#[derive(Clone)]
struct Receiver {
    public: Arc<str>,
    inbound: Arc<Inbound>,
}

async fn serve(listener: tokio::net::TcpListener, public: String, inbound: Arc<Inbound>) -> Result<(), Fault> {
    let app = axum::Router::new()
        .route(PATH, post(receive))
        .layer(DefaultBodyLimit::max(crm_sync::webhook::DEFAULT_BODY_LIMIT))
        .with_state(Receiver { public: public.into(), inbound });
    Ok(axum::serve(listener, app).await?)
}

/// `Bytes`, not `Json`: what is signed is the bytes.
async fn receive(State(receiver): State<Receiver>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let url = format!("{}{uri}", receiver.public);
    let outcome = receiver.inbound.accept(&RawRequest { method: &method, url: &url, headers: &headers, body: &body }).await;
    if let Err(error) = &outcome {
        eprintln!("{}", crm_sync::error::chain(error));
    }
    Inbound::status(&outcome)
}
