//! The transports of this crate pass the common list, and a transport that breaks a rule does not.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that fails should stop, and may spawn what the library must not"
)]

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::conformance::Report;
use crm_sync::conformance::transport::{FarEnd, Subject, check};
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpErrorKind, HttpTransport, ReqwestTransport};
use crm_sync::sandbox::Sandbox;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};

async fn run(transport: &dyn HttpTransport, impatient: bool) -> Report {
    let far_end = FarEnd::bind(Host::tokio()).await.unwrap();
    let subject = Subject::far_end(&far_end);
    let subject = if impatient { subject.impatient() } else { subject };
    far_end.serve_while(check(transport, &subject)).await
}

#[tokio::test]
async fn reqwest_keeps_the_contract() {
    let transport = ReqwestTransport::builder().loopback().timeout(Duration::from_secs(6)).build().unwrap();
    let report = run(&transport, true).await;
    println!("{report}");
    assert!(report.is_ok() && report.skipped.is_empty() && report.passed.len() == 16, "{report}");
}

#[tokio::test]
async fn the_sandbox_keeps_what_needs_no_far_end() {
    let sandbox = Sandbox::new(Host::manual(7), 7);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let ask = |path: &str, token: &str| {
        let request = Request::get(format!("{}{path}", access.instance_url)).header("authorization", format!("Bearer {token}"));
        request.body(Bytes::new()).unwrap()
    };
    let sobjects = "/services/data/v60.0/sobjects";
    let known = [
        (ask("/services/data/", &access.access_token), StatusCode::OK),
        (ask(sobjects, "wrong"), StatusCode::UNAUTHORIZED),
        (ask(&format!("{sobjects}/Lead/00Q000000000000AAA"), &access.access_token), StatusCode::NOT_FOUND),
    ];
    let report = check(&*sandbox.transport(), &Subject::answers(known)).await;
    assert!(report.is_ok() && report.passed.len() == 3 && report.skipped.len() == 13, "{report}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Buffers,
    CallsRefusalSent,
    CutsBodies,
    DropsHeaders,
    DropsQuery,
    FailsOnStatus,
    FollowsRedirects,
    GoesOnAfterDrop,
    LeaksUrl,
    Repeats,
    SaysNeverExecuted,
}

#[derive(Debug)]
struct Broken {
    inner: std::sync::Arc<ReqwestTransport>,
    fault: Fault,
}

#[async_trait]
impl HttpTransport for Broken {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        let uri = request.uri().to_string();
        if self.fault == Fault::DropsQuery {
            *request.uri_mut() = uri.split('?').next().unwrap().parse().unwrap();
        }
        let answer = if self.fault == Fault::GoesOnAfterDrop {
            let (inner, request) = (self.inner.clone(), request.clone());
            tokio::spawn(async move { inner.send(request).await }).await.unwrap()
        } else {
            self.inner.send(request.clone()).await
        };
        let mut answer = match (answer, self.fault) {
            (Err(_), Fault::Repeats) => self.inner.send(request.clone()).await?,
            (Err(_), Fault::LeaksUrl) => return Err(HttpError::new(HttpErrorKind::Sent, format!("{uri} broke"))),
            (Err(error), Fault::CallsRefusalSent) if error.kind() == HttpErrorKind::Connect => {
                return Err(HttpError::new(HttpErrorKind::Sent, "it broke"));
            }
            (Err(_), Fault::SaysNeverExecuted) => return Err(HttpError::new(HttpErrorKind::Connect, "it broke")),
            (answer, _) => answer?,
        };
        match self.fault {
            Fault::FailsOnStatus if answer.status().is_server_error() => Err(HttpError::new(HttpErrorKind::Sent, "a bad status")),
            Fault::FollowsRedirects if answer.status() == StatusCode::FOUND => {
                let location = answer.headers().get("location").unwrap().to_str().unwrap().to_owned();
                self.inner.send(Request::get(location).body(Bytes::new()).unwrap()).await
            }
            Fault::DropsHeaders => {
                let kept: Vec<_> = answer.headers().keys().cloned().collect();
                for name in kept {
                    // An insert replaces all values of the name.
                    let last = answer.headers().get_all(&name).iter().next_back().unwrap().clone();
                    answer.headers_mut().insert(name, last);
                }
                Ok(answer)
            }
            Fault::Buffers => {
                let (head, body) = answer.into_parts();
                let body = body.bytes(1 << 30).await?;
                Ok(Response::from_parts(head, Body::from_bytes(body)))
            }
            Fault::CutsBodies => Ok(answer.map(|body| {
                let pieces = body.into_stream().take_while(|piece| std::future::ready(piece.is_ok()));
                Body::from_stream(pieces.boxed())
            })),
            _ => Ok(answer),
        }
    }
}

#[tokio::test]
async fn a_transport_that_breaks_a_rule_is_found_out() {
    for (fault, check) in [
        (Fault::Buffers, "a_body_is_handed_on_as_it_comes"),
        (Fault::CallsRefusalSent, "a_refused_connection_is_told"),
        (Fault::CutsBodies, "half_a_body_is_an_error"),
        (Fault::DropsHeaders, "headers_of_an_answer_are_all_there"),
        (Fault::DropsQuery, "a_request_arrives_as_it_was_sent"),
        (Fault::FailsOnStatus, "every_status_is_an_answer"),
        (Fault::FollowsRedirects, "redirects_are_not_followed"),
        (Fault::GoesOnAfterDrop, "a_drop_ends_the_request"),
        (Fault::LeaksUrl, "errors_hide_what_was_sent"),
        (Fault::Repeats, "nothing_is_sent_twice"),
        (Fault::SaysNeverExecuted, "nothing_is_sent_twice"),
    ] {
        let inner = std::sync::Arc::new(ReqwestTransport::loopback().unwrap());
        let report = run(&Broken { inner, fault }, false).await;
        assert!(report.has_failed(check), "{fault:?} was not found by {check}: {report}");
    }
}
