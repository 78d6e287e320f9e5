//! A transport of your own: HTTP/1.1 over a plain socket, and the library's list of checks says whether it keeps the contract.
//!
//! A real one would go through the host's own HTTP client, proxy or mesh. This one has no TLS and a connection per request.
//!
//! `cargo run --example your_own_transport`

#![allow(clippy::print_stdout, reason = "a program of its own, not the library")]

use std::fmt::Write;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::{CrmAdapter, CrmAdapterExt};
use crm_sync::conformance::transport::{FarEnd, Subject, check};
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crm_sync::query::Query;
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[derive(Debug)]
struct PlainHttp;

type Connection = BufReader<TcpStream>;

/// How much of the body is still to come.
enum Left {
    Chunks,
    Length(u64),
    UntilClosed,
}

fn broken(kind: HttpErrorKind, what: &str) -> impl Fn(std::io::Error) -> HttpError {
    // No URL, no header and no body in a message: each may hold a secret.
    move |error| HttpError::new(kind, what).with_source(error)
}

#[async_trait]
impl HttpTransport for PlainHttp {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        let (head, body) = request.into_parts();
        let wrong = || HttpError::new(HttpErrorKind::Request, "the URI is not an absolute http one");
        let authority = head.uri.authority().filter(|_| head.uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
        // Nothing was sent yet: the caller may repeat what fails here.
        let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(broken(HttpErrorKind::Connect, "could not connect"))?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut text =
            format!("{} {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-length: {}\r\n", head.method, body.len());
        let mut bytes = Vec::new();
        for (name, value) in &head.headers {
            write!(text, "{name}: ").map_err(|_| wrong())?;
            bytes.extend_from_slice(std::mem::take(&mut text).as_bytes());
            bytes.extend_from_slice(value.as_bytes());
            text.push_str("\r\n");
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        // From here on the request may have been executed, whatever happens.
        let sent = broken(HttpErrorKind::Sent, "the connection broke before an answer came");
        let mut connection = BufReader::new(stream);
        connection.get_mut().write_all(&bytes).await.map_err(&sent)?;
        answer(connection, head.method == Method::HEAD).await
    }
}

/// A line without its end. The end of the connection is an error: a head has an end of its own.
async fn line(connection: &mut Connection) -> std::io::Result<String> {
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

async fn answer(mut connection: Connection, bodiless: bool) -> Result<Response<Body>, HttpError> {
    let sent = broken(HttpErrorKind::Sent, "the connection broke before an answer came");
    let nonsense = || HttpError::new(HttpErrorKind::Sent, "the answer is no HTTP");
    let first = line(&mut connection).await.map_err(&sent)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).ok_or_else(nonsense)?;
    let mut response = Response::builder().status(status);
    let mut left = Left::UntilClosed;
    loop {
        let header = line(&mut connection).await.map_err(&sent)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(nonsense)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => left = Left::Length(value.parse().map_err(|_| nonsense())?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => left = Left::Chunks,
            _ => {}
        }
        response = response.header(name, value);
    }
    let empty = bodiless || status == 204 || status == 304;
    let body =
        if empty { Body::from_bytes(Bytes::new()) } else { Body::from_stream(stream::try_unfold((connection, left), piece).boxed()) };
    response.body(body).map_err(|_| nonsense())
}

/// The next piece of a body, as it comes. A body that ends early is an error, never a short body.
async fn piece((mut connection, left): (Connection, Left)) -> Result<Option<(Bytes, (Connection, Left))>, HttpError> {
    let broke = broken(HttpErrorKind::Body, "the answer broke off");
    let size = match left {
        Left::Length(left) => left.min(64 << 10),
        Left::UntilClosed => 64 << 10,
        Left::Chunks => {
            let size = line(&mut connection).await.map_err(&broke)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
            size.map_err(|_| HttpError::new(HttpErrorKind::Body, "a chunk has no size"))?
        }
    };
    if size == 0 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    match left {
        Left::Chunks => {
            (&mut connection).take(size).read_to_end(&mut bytes).await.map_err(&broke)?;
            line(&mut connection).await.map_err(&broke)?;
        }
        Left::Length(_) | Left::UntilClosed => {
            (&mut connection).take(size).read_buf(&mut bytes).await.map_err(&broke)?;
        }
    }
    let read = bytes.len() as u64;
    let left = match left {
        Left::Length(_) if read == 0 => return Err(broke(std::io::ErrorKind::UnexpectedEof.into())),
        Left::Length(left) => Left::Length(left - read),
        Left::UntilClosed if read == 0 => return Ok(None),
        other => other,
    };
    Ok(Some((bytes.into(), (connection, left))))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let far_end = FarEnd::bind(Host::tokio()).await?;
    let subject = Subject::far_end(&far_end);
    let report = far_end.serve_while(check(&PlainHttp, &subject)).await;
    println!("{report}");
    report.into_result()?;

    // And a CRM through it: the pretend Salesforce on loopback, in this process.
    let host = Host::tokio();
    let sandbox = Sandbox::new(host.clone(), 7);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let access = sandbox.salesforce(&format!("http://{}", listener.local_addr()?));
    let config = SalesforceConfig::with_access_token(access.instance_url, access.access_token.into());
    let crm = Salesforce::new(config, std::sync::Arc::new(PlainHttp), host)?;
    let work = async {
        crm.authenticate().await?;
        crm.find_one(Query::new(entity::LEAD)).await
    };
    let first = tokio::select! {
        first = work => first?,
        served = sandbox.serve(listener, std::future::pending::<()>()) => return Err(format!("the sandbox stopped: {served:?}").into()),
    };
    println!("the pretend Salesforce answered: {}", if first.is_some() { "a lead" } else { "no lead yet" });
    Ok(())
}
