//! Serves the pretend CRMs on a loopback port, for clients in any language.
//!
//! `cargo run --example sandbox --features sandbox -- --port 0 [--data DIR] [--seed N]`
//!
//! Prints one line of JSON that says how to reach it, then serves until it is stopped.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;

struct Flags {
    port: u16,
    data: Option<PathBuf>,
    seed: u64,
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
    let mut flags = Flags { port: 0, data: None, seed: 1 };
    while let Some(flag) = args.next() {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag, None),
        };
        if !["--port", "--data", "--seed"].contains(&name.as_str()) {
            return Err(format!("unknown argument {name}; usage: sandbox [--port N] [--data DIR] [--seed N]"));
        }
        let value = value.or_else(|| args.next()).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--port" => flags.port = value.parse().map_err(|_| format!("--port takes a number from 0 to 65535, not {value}"))?,
            "--data" => flags.data = Some(PathBuf::from(value)),
            _ => flags.seed = value.parse().map_err(|_| format!("--seed takes a whole number from 0, not {value}"))?,
        }
    }
    Ok(flags)
}

async fn stopped() {
    #[cfg(unix)]
    {
        let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(_) => return std::future::pending().await,
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Sends outbound messages and webhooks as they become due.
#[cfg(feature = "reqwest")]
async fn post(sandbox: &Sandbox, base: &str) -> String {
    let transport = match crm_sync::http::ReqwestTransport::loopback() {
        Ok(transport) => transport,
        Err(error) => return error.to_string(),
    };
    loop {
        if let Err(error) = sandbox.send_outbound(&transport, base).await {
            return error.to_string();
        }
        if let Err(error) = sandbox.send_webhooks(&transport).await {
            return error.to_string();
        }
        if let Err(error) = sandbox.send_pipedrive_webhooks(&transport).await {
            return error.to_string();
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// Without a transport nothing can be sent.
#[cfg(not(feature = "reqwest"))]
async fn post(_: &Sandbox, _: &str) -> String {
    std::future::pending().await
}

async fn run(flags: Flags) -> Result<(), String> {
    let host = Host::tokio();
    let sandbox = match &flags.data {
        Some(dir) => Sandbox::open(host, flags.seed, dir).map_err(|error| error.to_string())?,
        None => Sandbox::new(host, flags.seed),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", flags.port))
        .await
        .map_err(|error| format!("could not listen on port {}: {error}", flags.port))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let base = format!("http://{address}");
    #[cfg(feature = "sandbox-pubsub")]
    let pubsub = {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| format!("could not listen: {error}"))?;
        sandbox.pubsub(listener).map_err(|error| error.to_string())?
    };
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(unused_mut, reason = "only the Pub/Sub face adds to it"))]
    let mut access = serde_json::json!({"hubspot": sandbox.hubspot(&base), "pipedrive": sandbox.pipedrive(&base), "salesforce": sandbox.salesforce(&base)});
    #[cfg(feature = "sandbox-pubsub")]
    {
        // Clients want the certificate authority as a file.
        let dir = flags.data.clone().unwrap_or_else(std::env::temp_dir);
        let path = dir.join(format!("sandbox-pubsub-{}.pem", address.port()));
        std::fs::write(&path, pubsub.ca_pem()).map_err(|error| format!("could not write {}: {error}", path.display()))?;
        if let Some(part) = access.get_mut("salesforce").and_then(serde_json::Value::as_object_mut) {
            part.insert("pubsub_ca_pem".to_owned(), path.display().to_string().into());
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "{access}").and_then(|()| out.flush()).map_err(|error| format!("could not write to stdout: {error}"))?;
    #[cfg(feature = "sandbox-pubsub")]
    let serving = sandbox.serve_with_pubsub(listener, pubsub, stopped());
    #[cfg(not(feature = "sandbox-pubsub"))]
    let serving = sandbox.serve(listener, stopped());
    tokio::select! {
        result = serving => result.map_err(|error| error.to_string()),
        error = post(&sandbox, &base) => Err(error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = match flags(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
