//! Receives webhooks with plain hyper: verified, enqueued, then answered; handled after.
//!
//! ```text
//! WEBHOOK_SECRET=… cargo run --example webhook_hyper -- --listen 127.0.0.1:8080 --public-url https://hooks.example.org
//! cargo run --example webhook_hyper -- --self-test yes      # sends signed and forged requests to itself
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

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crm_sync::sync::Inbound;
use crm_sync::webhook::RawRequest;

use delivery::{Fault, PATH};

#[tokio::main]
async fn main() -> ExitCode {
    receiver::start(serve).await
}

async fn serve(listener: tokio::net::TcpListener, public: String, inbound: Arc<Inbound>) -> Result<(), Fault> {
    let public: Arc<str> = public.into();
    loop {
        let (stream, _) = listener.accept().await?;
        let (public, inbound) = (Arc::clone(&public), Arc::clone(&inbound));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (public, inbound) = (Arc::clone(&public), Arc::clone(&inbound));
                async move {
                    let mut answer = Response::new(Empty::<Bytes>::new());
                    *answer.status_mut() = receive(request, &public, &inbound).await;
                    Ok::<_, std::convert::Infallible>(answer)
                }
            });
            if let Err(error) = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection broke: {error}");
            }
        });
    }
}

async fn receive(request: Request<Incoming>, public: &str, inbound: &Inbound) -> StatusCode {
    if request.uri().path() != PATH {
        return StatusCode::NOT_FOUND;
    }
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, crm_sync::webhook::DEFAULT_BODY_LIMIT).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let (url, body) = (format!("{public}{}", parts.uri), body.to_bytes());
    let outcome = inbound.accept(&RawRequest { method: &parts.method, url: &url, headers: &parts.headers, body: &body }).await;
    if let Err(error) = &outcome {
        eprintln!("{}", crm_sync::error::chain(error));
    }
    Inbound::status(&outcome)
}
