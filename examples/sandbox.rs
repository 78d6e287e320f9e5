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
    let access = serde_json::json!({"salesforce": sandbox.salesforce(&format!("http://{address}"))});
    let mut out = std::io::stdout();
    writeln!(out, "{access}").and_then(|()| out.flush()).map_err(|error| format!("could not write to stdout: {error}"))?;
    sandbox.serve(listener, stopped()).await.map_err(|error| error.to_string())
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
