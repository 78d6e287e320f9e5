//! From a request to its answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use crate::sandbox::admin;
use crate::sandbox::api::{Sandbox, TICK};
use crate::sandbox::call::{Call, Reply};
use crate::sandbox::encoding;
use crate::sandbox::fault::FaultKind;
use crate::sandbox::salesforce::{Ended, Held};
use crate::sandbox::world::{Face, Outcome};

impl Sandbox {
    /// The one function behind the transport and the server.
    pub(crate) async fn handle(&self, request: http::Request<Bytes>) -> Outcome {
        let (parts, body) = request.into_parts();
        let authority = parts
            .headers
            .get(http::header::HOST)
            .and_then(|value| value.to_str().ok())
            .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
            .unwrap_or("localhost");
        let scheme = parts.uri.scheme_str().unwrap_or("http");
        let path = parts.uri.path();
        let size: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
        let mut call = Call {
            method: parts.method,
            path: path.to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body,
            now: self.host().now(),
            origin: format!("{scheme}://{authority}"),
            headers: parts.headers,
            locked: None,
        };
        if path.starts_with("/_sandbox/") {
            return Outcome::Answer(admin::handle(self, &call).into_response());
        }
        encoding::request(&mut call);
        let Some((face, rest)) = Face::of(path, &call.query) else {
            return Outcome::Answer(Reply::html(http::StatusCode::NOT_FOUND, "<html><body>Not Found</body></html>").into_response());
        };
        call.path = rest.to_owned();
        // URI and headers together are limited to 16,384 bytes (REST API Developer Guide, status codes 414 and 431).
        if size + target > 16_384 {
            let status = if target > size { http::StatusCode::URI_TOO_LONG } else { http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE };
            let page =
                format!("<h1>Bad Message {}</h1><pre>reason: {}</pre>", status.as_u16(), status.canonical_reason().unwrap_or_default());
            return Outcome::Answer(Reply::html(status, page).into_response());
        }
        let hit = self.world().faults.strike(call.method.as_str(), &call.path);
        if !hit.delay.is_zero() {
            self.host().sleep(hit.delay).await;
            call.now = self.host().now();
        }
        let result = self.world().run(face, &mut call, hit.kind.as_ref());
        match result {
            Ok(outcome) => outcome,
            Err(held) => self.hold(&held, call, hit.kind.as_ref()).await,
        }
    }

    /// A long poll: waits until it has something to say. Dropping it leaves the session as if its answer had been lost.
    async fn hold(&self, held: &Held, mut call: Call, fault: Option<&FaultKind>) -> Outcome {
        loop {
            let mut sleep = pin!(self.host().sleep(TICK));
            let mut yielded = false;
            let ended = poll_fn(|context| {
                let mut world = self.world();
                let now = self.host().now();
                // What the clock does by itself may be what the client waits for; a failure shows in the next request.
                let _ = world.advance(now);
                if let Some(ended) = world.salesforce.poll_held(held, now) {
                    return Poll::Ready(Some(ended));
                }
                world.salesforce.events.register(context.waker());
                drop(world);
                // On a manual clock the sleep is over at once: whoever shares the thread gets a turn first.
                if !std::mem::replace(&mut yielded, true) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                sleep.as_mut().poll(context).map(|()| None)
            })
            .await;
            let mut world = self.world();
            match ended {
                None => {}
                Some(Ended::Cut) => {
                    world.remember(&call, 0);
                    return Outcome::Dropped;
                }
                Some(Ended::Reply(reply)) => {
                    call.now = self.host().now();
                    return world.finish(&call, fault, Ok(()), reply);
                }
            }
        }
    }
}
