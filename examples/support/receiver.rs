//! The start of both receivers of webhooks: command line, secret, listener, and the work behind it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::sync::Inbound;
use tokio::net::TcpListener;

use crate::args;
use crate::delivery::{self, Fault, PATH};

const USAGE: &str = concat!(
    "usage: ",
    env!("CARGO_BIN_NAME"),
    " [--listen ADDRESS] [--public-url URL] [--self-test yes]

  --listen      default 127.0.0.1:0, a free port
  --public-url  what senders call, if a proxy stands in between; default http:// and the address
  --self-test   yes: sends requests to itself, handles them, and ends
The secret is in WEBHOOK_SECRET; the self-test has one of its own."
);

/// Runs the receiver whose web server is `serve`; it gets the listener, what senders call, and what takes the deliveries.
pub(crate) async fn start<S>(serve: impl FnOnce(TcpListener, String, Arc<Inbound>) -> S) -> ExitCode
where
    S: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let args = match args::or_end(args::Args::read(USAGE, &["--listen", "--public-url", "--self-test"]), USAGE) {
        Ok(args) => args,
        Err(code) => return code,
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
    match run(args.get("--listen").unwrap_or("127.0.0.1:0"), args.get("--public-url"), &secret, testing, serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crm_sync::error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run<S>(
    listen: &str,
    public: Option<&str>,
    secret: &str,
    testing: bool,
    serve: impl FnOnce(TcpListener, String, Arc<Inbound>) -> S,
) -> Result<(), Fault>
where
    S: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let host = Host::tokio();
    let inbound = delivery::inbound(secret, &host)?;
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {}", error.kind()))?;
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
