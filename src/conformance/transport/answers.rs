//! Answers as they were sent.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use http::{HeaderValue, Method};

use crate::conformance::report::{Broken, Check, ensure};
use crate::conformance::transport::far_end::large;
use crate::conformance::transport::subject::{LIMIT, Run};
use crate::webhook::signature::{hex, sha256};

pub(super) async fn every_status_is_an_answer(run: &Run<'_>) -> Check {
    for (request, status) in run.subject.known() {
        let answer = run.transport.send(request.clone()).await;
        let answer = answer.map_err(|error| Broken::new(format!("a {status} became an error: {error}")))?;
        ensure!(answer.status() == *status, "a {status} came as a {}", answer.status());
    }
    Ok(())
}

pub(super) async fn a_body_is_the_same_whole_and_in_pieces(run: &Run<'_>) -> Check {
    for (request, _) in run.subject.known() {
        let send = || async { run.transport.send(request.clone()).await.map_err(|error| Broken::new(format!("no answer: {error}"))) };
        let whole = run.read(send().await?).await?;
        let mut pieces = Vec::new();
        let mut stream = send().await?.into_body().into_stream();
        while let Some(piece) = stream.next().await {
            pieces.extend(piece.map_err(|error| Broken::new(format!("a stream broke: {error}")))?);
        }
        // Servers put times and ids into their answers: the length is what must agree.
        ensure!(whole.is_empty() == pieces.is_empty(), "a body is empty in one form and not in the other");
    }
    Ok(())
}

pub(super) async fn many_requests_at_once(run: &Run<'_>) -> Check {
    let known = run.subject.known();
    let requests = known.iter().cycle().take(known.len() * 8);
    let answers = join_all(requests.map(|(request, status)| async move { (run.transport.send(request.clone()).await, *status) })).await;
    for (answer, status) in answers {
        let answer = answer.map_err(|error| Broken::new(format!("one of many requests failed: {error}")))?;
        ensure!(answer.status() == status, "the answer to another request came: a {} for a {status}", answer.status());
        run.read(answer).await?;
    }
    Ok(())
}

pub(super) async fn a_request_arrives_as_it_was_sent(run: &Run<'_>) -> Check {
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let body: &[u8] = if method == Method::GET { b"" } else { b"\x00\xff{}\r\n\r\n" };
        // Escapes, an empty value, a slash and a plus in the query: nothing is decoded, sorted or added.
        let target = "/echo?a=%2F%20b&empty=&z=1+2&a=again";
        let mut request = run.request(method.clone(), target, body)?;
        request.headers_mut().insert("x-conformance", HeaderValue::from_static("Value, with; marks"));
        request.headers_mut().append("x-many", HeaderValue::from_static("one"));
        request.headers_mut().append("x-many", HeaderValue::from_static("two"));
        let answer = run.transport.send(request).await.map_err(|error| Broken::new(format!("{method} failed: {error}")))?;
        let body_sent = body;
        let seen = run.read(answer).await?;
        let seen: serde_json::Value =
            serde_json::from_slice(&seen).map_err(|_| Broken::new("the far end's report did not come through as it was sent"))?;
        let text = |name: &str| seen.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        ensure!(text("method") == method.as_str(), "{method} arrived as {}", text("method"));
        ensure!(text("target") == target, "the target arrived as {}", text("target"));
        ensure!(text("sum") == hex(&sha256(&[body_sent])), "the body of a {method} arrived changed");
        let headers = seen.get("headers").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let values = |wanted: &str| -> String {
            let of = headers.iter().filter(|pair| pair.get(0).and_then(serde_json::Value::as_str) == Some(wanted));
            of.filter_map(|pair| pair.get(1)?.as_str()).collect::<Vec<_>>().join(", ")
        };
        ensure!(values("x-conformance") == "Value, with; marks", "a header of a {method} arrived changed or not at all");
        ensure!(values("x-many") == "one, two", "a header given twice arrived as {:?}", values("x-many"));
    }
    Ok(())
}

pub(super) async fn headers_of_an_answer_are_all_there(run: &Run<'_>) -> Check {
    for method in [Method::GET, Method::HEAD] {
        let answer = run.send(method.clone(), "/headers").await?;
        let answer = answer.map_err(|error| Broken::new(format!("{method} failed: {error}")))?;
        let headers = answer.headers();
        ensure!(headers.get("x-mixed-case").is_some_and(|value| value == "kept"), "a header in mixed case is lost");
        let many: Vec<&[u8]> = headers.get_all("x-many").iter().map(HeaderValue::as_bytes).collect();
        ensure!(many == [b"one".as_slice(), b"two"], "a header that comes twice is not there twice, in order");
        ensure!(headers.contains_key("x-empty"), "an empty header is lost");
        let body = run.read(answer).await?;
        ensure!(body.is_empty() == (method == Method::HEAD), "the body of a {method} is wrong");
    }
    Ok(())
}

pub(super) async fn no_content_is_an_empty_body(run: &Run<'_>) -> Check {
    for status in [204, 304] {
        let body = run.read(run.get(&format!("/status/{status}")).await?).await?;
        ensure!(body.is_empty(), "a {status} has a body");
    }
    // The connection is good for another request.
    let next = run.get("/status/200").await?;
    ensure!(run.read(next).await? == "as asked", "the answer after a {} is not its own", 304);
    Ok(())
}

pub(super) async fn large_bodies_go_both_ways(run: &Run<'_>) -> Check {
    let large = Bytes::from(large());
    let down = run.read(run.get("/large").await?).await?;
    ensure!(down == large, "a large answer came changed ({} of {} bytes)", down.len(), large.len());
    let sum = hex(&sha256(&[&large]));
    let request = run.request(Method::POST, "/echo", large)?;
    let answer = run.transport.send(request).await.map_err(|error| Broken::new(format!("a large request failed: {error}")))?;
    let seen: serde_json::Value = serde_json::from_slice(&run.read(answer).await?).unwrap_or_default();
    ensure!(seen.get("sum").and_then(serde_json::Value::as_str) == Some(&sum), "a large request arrived changed");
    Ok(())
}

pub(super) async fn a_limit_stops_the_reading(run: &Run<'_>) -> Check {
    let answer = run.get("/large").await?;
    let read = answer.into_body().bytes(1000).await;
    let kind = read.as_ref().map_err(crate::http::HttpError::kind).err();
    ensure!(kind == Some(crate::http::HttpErrorKind::TooLarge), "more than the limit was read: {kind:?}");
    Ok(())
}

pub(super) async fn a_body_is_handed_on_as_it_comes(run: &Run<'_>) -> Check {
    let mut body = run.get("/drip").await?.into_body().into_stream();
    let mut text = Vec::new();
    while text.len() < 5 {
        let Some(piece) = body.next().await else { return Err(Broken::new("the body ended early")) };
        text.extend(piece.map_err(|error| Broken::new(format!("the body broke: {error}")))?);
    }
    run.read(run.get("/go").await?).await?;
    while let Some(piece) = body.next().await {
        text.extend(piece.map_err(|error| Broken::new(format!("the body broke: {error}")))?);
    }
    ensure!(text != b"firstlate", "a body is held back until it is whole: a stream would never be seen");
    ensure!(text == b"firstsoon" && text.len() < LIMIT, "a body in chunks came changed");
    Ok(())
}
