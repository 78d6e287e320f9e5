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

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::post;

use crm_sync::host::Host;
use crm_sync::sync::Inbound;
use crm_sync::webhook::RawRequest;

use delivery::{Fault, PATH};

const USAGE: &str = "usage: webhook_axum [--listen ADDRESS] [--public-url URL] [--self-test yes]

  --listen      default 127.0.0.1:0, a free port
  --public-url  what senders call, if a proxy stands in between; default http:// and the address
  --self-test   yes: sends requests to itself, handles them, and ends
The secret is in WEBHOOK_SECRET; the self-test has one of its own.";

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::Args::read(USAGE, &["--listen", "--public-url", "--self-test"]) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let testing = match args.choice("--self-test", &[("no", false), ("yes", true)]) {
        Ok(testing) => testing,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let secret = match std::env::var("WEBHOOK_SECRET") {
        Ok(secret) if !secret.is_empty() => secret,
        _ if testing => "a secret of the self-test alone".to_owned(),
        _ => {
            eprintln!("{}", args.wrong("WEBHOOK_SECRET is not set"));
            return ExitCode::from(2);
        }
    };
    match run(args.get("--listen").unwrap_or("127.0.0.1:0"), args.get("--public-url"), &secret, testing).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crm_sync::error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: &str, public: Option<&str>, secret: &str, testing: bool) -> Result<(), Fault> {
    let host = Host::tokio();
    let inbound = delivery::inbound(secret, &host)?;
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {}", error.kind()))?;
    let base = format!("http://{}", listener.local_addr()?);
    let public = public.unwrap_or(&base).trim_end_matches('/').to_owned();
    println!("webhooks are taken at {public}{PATH}");
    let serving = tokio::spawn(serve(listener, public.clone(), Arc::clone(&inbound)));
    if testing {
        let outcome = delivery::self_test(&base, secret, &inbound, &host).await;
        serving.abort();
        return outcome;
    }
    let router = delivery::router(Arc::default());
    loop {
        if inbound.work(&router, 100).await?.is_idle() {
            host.sleep(Duration::from_millis(200)).await;
        }
        if serving.is_finished() {
            return serving.await?;
        }
    }
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
