//! What breaks, and what is said of it.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::pin_mut;
use http::{HeaderValue, Method, Request};

use crate::conformance::report::{Broken, Check, ensure};
use crate::conformance::transport::subject::Run;
use crate::error::chain;
use crate::http::{HttpError, HttpErrorKind};

const SECRET: &str = "kq7zv3secret";

pub(super) async fn redirects_are_not_followed(run: &Run<'_>) -> Check {
    run.seen("/seen?reset").await?;
    let mut request = run.request(Method::GET, "/redirect", Bytes::new())?;
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer kq7zv3secret"));
    let answer = run.transport.send(request).await.map_err(|error| Broken::new(format!("a redirect became an error: {error}")))?;
    let status = answer.status().as_u16();
    ensure!(answer.headers().contains_key("location") || status != 302, "the Location of a redirect is lost");
    run.read(answer).await?;
    let landed = count(run, "landed").await?;
    ensure!(status == 302 && landed == 0, "a redirect was followed ({status}): credentials would travel along");
    Ok(())
}

pub(super) async fn nothing_is_sent_twice(run: &Run<'_>) -> Check {
    for method in [Method::GET, Method::POST] {
        run.seen("/seen?reset").await?;
        let Err(error) = run.send(method.clone(), "/break").await? else {
            return Err(Broken::new("a connection that broke before an answer gave one"));
        };
        ensure!(error.may_have_executed(), "a {method} arrived and broke, and the error ({:?}) says it cannot have run", error.kind());
        let count = count(run, "broken").await?;
        ensure!(count == 1, "a {method} that broke was sent {count} times: repeating is for who knows what is repeatable");
    }
    for status in [500, 503, 429] {
        let answer = run.get(&format!("/status/{status}")).await?;
        ensure!(answer.status().as_u16() == status, "a {status} was not handed on");
    }
    Ok(())
}

pub(super) async fn half_a_body_is_an_error(run: &Run<'_>) -> Check {
    for path in ["/short", "/short-chunks"] {
        let error = match run.send(Method::GET, path).await? {
            // A transport that reads all before it answers tells it here.
            Err(error) => error,
            Ok(answer) => {
                let mut body = answer.into_body().into_stream();
                loop {
                    match body.next().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break error,
                        None => return Err(Broken::new("half a body passes for a whole one")),
                    }
                }
            }
        };
        let fits = matches!(error.kind(), HttpErrorKind::Body | HttpErrorKind::Sent);
        ensure!(fits && error.may_have_executed(), "half a body is told as {:?}", error.kind());
    }
    Ok(())
}

pub(super) async fn a_refused_connection_is_told(run: &Run<'_>) -> Check {
    let Some(refusing) = run.subject.refusing() else { return Ok(()) };
    let request = Request::get(format!("{refusing}/x?key={SECRET}")).body(Bytes::new());
    let request = request.map_err(|error| Broken::new(format!("the check's own request is wrong: {error}")))?;
    let Err(error) = run.transport.send(request).await else { return Err(Broken::new("nobody listens there, and an answer came")) };
    ensure!(error.kind() == HttpErrorKind::Connect, "a refused connection is told as {:?}", error.kind());
    ensure!(!error.may_have_executed(), "a refused connection cannot have done anything, and the error says it may have");
    silent(&error)
}

pub(super) async fn errors_hide_what_was_sent(run: &Run<'_>) -> Check {
    let mut request = run.request(Method::POST, &format!("/break?key={SECRET}"), SECRET)?;
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer kq7zv3secret"));
    let Err(error) = run.transport.send(request).await else { return Err(Broken::new("a connection that broke gave an answer")) };
    silent(&error)
}

fn silent(error: &HttpError) -> Check {
    let shown = format!("{} {error:?}", chain(error));
    ensure!(!shown.contains(SECRET), "an error shows the query, a header or the body of its request");
    Ok(())
}

pub(super) async fn a_drop_ends_the_request(run: &Run<'_>) -> Check {
    run.seen("/seen?reset").await?;
    {
        let held = run.send(Method::GET, "/hold");
        let watch = run.seen("/seen?held");
        pin_mut!(held, watch);
        match select(held, watch).await {
            Either::Left(_) => return Err(Broken::new("a request that is not answered was")),
            Either::Right((seen, _)) => {
                let held = seen?.get("held").and_then(serde_json::Value::as_bool);
                ensure!(held == Some(true), "two requests do not run side by side");
            }
        }
        // Both futures are dropped here.
    }
    let seen = run.seen("/seen?closed").await?;
    ensure!(seen.get("closed").and_then(serde_json::Value::as_bool) == Some(true), "a request whose future was dropped goes on");
    Ok(())
}

pub(super) async fn silence_ends(run: &Run<'_>) -> Check {
    let Err(error) = run.send(Method::GET, "/hold").await? else { return Err(Broken::new("silence gave an answer")) };
    ensure!(error.kind() == HttpErrorKind::Timeout, "no answer in time is told as {:?}", error.kind());
    ensure!(error.may_have_executed(), "a request without an answer may have been executed, and the error says it cannot");
    Ok(())
}

async fn count(run: &Run<'_>, what: &str) -> Result<u64, Broken> {
    Ok(run.seen("/seen").await?.get(what).and_then(serde_json::Value::as_u64).unwrap_or_default())
}
