//! Logs a person in to Salesforce and prints the refresh token: authorization code with PKCE and a callback on this machine.
//!
//! `cargo run --example salesforce_login -- --client-id KEY [--login-url URL] [--port N] [--host NAME] [--scope "api refresh_token"]`
//!
//! The app's callback URL must be `http://HOST:PORT/callback` (default `http://127.0.0.1:1717/callback`; some orgs take `localhost`
//! only: `--host localhost`). A secret, if the app wants one, is read from `SALESFORCE_CLIENT_SECRET`. Any OAuth server with
//! Salesforce's paths will do as `--login-url`: an org's My Domain, or the sandbox.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::salesforce::SalesforceConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const USAGE: &str =
    "usage: salesforce_login --client-id KEY [--login-url URL] [--port N] [--host 127.0.0.1|localhost] [--scope \"api refresh_token\"]";
/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(300);

struct Flags {
    login_url: String,
    client_id: String,
    port: u16,
    host: String,
    scope: String,
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
    let mut flags = Flags {
        login_url: "https://login.salesforce.com".to_owned(),
        client_id: String::new(),
        port: 1717,
        host: "127.0.0.1".to_owned(),
        scope: "api refresh_token".to_owned(),
    };
    while let Some(flag) = args.next() {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag, None),
        };
        if !["--login-url", "--client-id", "--port", "--host", "--scope"].contains(&name.as_str()) {
            return Err(format!("unknown argument {name}; {USAGE}"));
        }
        let value = value.or_else(|| args.next()).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--login-url" => flags.login_url = value,
            "--client-id" => flags.client_id = value,
            "--port" => flags.port = value.parse().map_err(|_| format!("--port takes a number from 0 to 65535, not {value}"))?,
            "--host" if value == "127.0.0.1" || value == "localhost" => flags.host = value,
            "--host" => return Err(format!("--host is 127.0.0.1 or localhost, not {value}")),
            _ => flags.scope = value,
        }
    }
    if flags.client_id.is_empty() {
        return Err(format!("--client-id is missing: the consumer key of the app; {USAGE}"));
    }
    Ok(flags)
}

fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| format!("could not write to stdout: {error}"))
}

/// The target of one request, `None` if it is none.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(chunk.get(..read)?);
        if head.len() > 16_384 {
            return None;
        }
    }
    let line = String::from_utf8(head).ok()?.lines().next()?.to_owned();
    line.strip_prefix("GET ")?.split(' ').next().map(ToOwned::to_owned)
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let body = format!("<!doctype html><title>crm-sync</title><p>{text}</p>");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The browser may be gone; what it brought is here.
    let _gone = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _gone = stream.shutdown().await;
}

/// Waits for the browser to come back with the code.
async fn code(listener: &TcpListener, state: &str) -> Result<String, String> {
    loop {
        let (mut stream, _) = listener.accept().await.map_err(|error| format!("could not accept the callback: {error}"))?;
        let Ok(Some(target)) = tokio::time::timeout(Duration::from_secs(5), target(&mut stream)).await else {
            continue;
        };
        let Ok(url) = url::Url::parse("http://127.0.0.1").and_then(|base| base.join(&target)) else {
            continue;
        };
        if url.path() != "/callback" {
            answer(&mut stream, "404 Not Found", "This is not the callback.").await;
            continue;
        }
        let parameter = |name: &str| url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned());
        if parameter("state").as_deref() != Some(state) {
            answer(&mut stream, "400 Bad Request", "This answer belongs to another login.").await;
            continue;
        }
        if let Some(error) = parameter("error") {
            answer(&mut stream, "200 OK", "The login was refused. You can close this page.").await;
            let why = parameter("error_description").map(|text| format!(" ({text})")).unwrap_or_default();
            return Err(format!("the login was refused: {error}{why}"));
        }
        if let Some(code) = parameter("code") {
            answer(&mut stream, "200 OK", "Done. You can close this page.").await;
            return Ok(code);
        }
        answer(&mut stream, "400 Bad Request", "There is no code in this answer.").await;
    }
}

async fn run(flags: Flags) -> Result<(), String> {
    let told = |error: crm_sync::error::Error| crm_sync::error::chain(&error);
    let listener = TcpListener::bind(("127.0.0.1", flags.port))
        .await
        .map_err(|error| format!("could not listen on port {}: {error}; choose another with --port", flags.port))?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let redirect = format!("http://{}:{port}/callback", flags.host);
    let mut config = SalesforceConfig::default();
    config.login_url = flags.login_url;
    config.client_id = flags.client_id;
    config.client_secret = std::env::var("SALESFORCE_CLIENT_SECRET").ok().filter(|secret| !secret.is_empty()).map(Into::into);
    let local = url::Url::parse(&config.login_url).is_ok_and(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost")));
    let transport = if local { ReqwestTransport::loopback() } else { ReqwestTransport::builder().build() }.map_err(told)?;
    let client = config.oauth(Arc::new(transport), Host::tokio()).map_err(told)?;
    let scopes: Vec<&str> = flags.scope.split_whitespace().collect();
    let way = client.authorize(&redirect, &scopes, &[]).map_err(told)?;
    say("Open this page in a browser and log in:")?;
    say(way.url.as_str())?;
    let code = tokio::time::timeout(PATIENCE, code(&listener, &way.state))
        .await
        .map_err(|_| format!("nobody came back to {redirect} within {} minutes", PATIENCE.as_secs() / 60))??;
    let token = client.exchange_code(&code, &redirect, &way.verifier).await.map_err(told)?;
    match &token.refresh_token {
        Some(refresh) => say(&format!("refresh_token: {refresh}"))?,
        None => eprintln!("no refresh token was granted; ask for the scope refresh_token and allow it in the app"),
    }
    match &token.instance_url {
        Some(instance) => say(&format!("instance_url: {instance}")),
        None => Err("the server did not say where the API is; is it Salesforce?".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match flags(std::env::args().skip(1)) {
        Ok(flags) => run(flags).await,
        Err(message) => Err(message),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("salesforce_login: {message}");
            ExitCode::FAILURE
        }
    }
}
