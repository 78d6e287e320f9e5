//! The sandbox on a port: one future, no task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::api::Sandbox;
use crate::sandbox::world::Outcome;

/// Salesforce's limit on a request (SOAP API Developer Guide).
const LARGEST: usize = 50 * 1024 * 1024;
/// A little more than an upload of the Bulk API may have, so that the face can refuse the rest in its own words.
const LARGEST_UPLOAD: usize = 160 * 1024 * 1024;

/// The connection ends here.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox drops this connection")]
struct Dropped;

/// A body that may break off.
struct Answer {
    bytes: Bytes,
    whole: u64,
    broken: bool,
    /// What was handed over has had its chance to leave.
    flushed: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        if self.bytes.is_empty() {
            // hyper writes out what it has while a body is not ready, and drops it when one fails.
            if !std::mem::replace(&mut self.flushed, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let end = std::mem::take(&mut self.broken).then_some(Err(Dropped));
            return Poll::Ready(end);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole)
    }
}

impl Sandbox {
    /// Answers HTTP/1.1 on `listener` until `shutdown` completes; connections then still open are closed. It starts no task:
    /// all connections live in the returned future, which must be polled inside a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] if the listener breaks for good.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future) -> Result<()> {
        until(shutdown, accept(&listener, |stream| Box::pin(connection(self.clone(), stream)))).await
    }
}

/// Runs until either ends.
pub(crate) async fn until(shutdown: impl Future, serving: impl Future<Output = Result<()>>) -> Result<()> {
    match select(pin!(shutdown), pin!(serving)).await {
        Either::Left(_) => Ok(()),
        Either::Right((result, _)) => result,
    }
}

/// Accepts connections and drives them; ends only if the listener breaks for good.
pub(crate) async fn accept(listener: &TcpListener, connect: impl Fn(TcpStream) -> BoxFuture<'static, ()> + Send + Sync) -> Result<()> {
    let mut connections: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut failures = 0u32;
    poll_fn(|context| {
        loop {
            match listener.poll_accept(context) {
                Poll::Ready(Ok((stream, _))) => {
                    failures = 0;
                    connections.push(connect(stream));
                }
                // A client that gave up in the queue is no reason to stop.
                Poll::Ready(Err(error)) => {
                    failures += 1;
                    if failures > 100 {
                        return Poll::Ready(Err(Error::new(ErrorKind::Network, "the sandbox can accept no connection").with_source(error)));
                    }
                }
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(())) = connections.poll_next_unpin(context) {}
        Poll::Pending
    })
    .await
}

/// Answers the requests of one connection.
pub(crate) async fn connection(sandbox: Sandbox, stream: TcpStream) {
    // Small answers must not wait for the client's acknowledgement; without the option it is only slower.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| answer(sandbox.clone(), request));
    // A broken connection is the client's or a fault's doing; there is nobody to tell.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(sandbox: Sandbox, request: http::Request<Incoming>) -> Result<http::Response<Answer>, Dropped> {
    let (parts, body) = request.into_parts();
    let largest = if parts.uri.path().contains("/jobs/ingest/") { LARGEST_UPLOAD } else { LARGEST };
    let Ok(body) = Limited::new(body, largest).collect().await else {
        let text = br#"[{"message":"Maximum size of request reached. Maximum size of request is 52428800 bytes.","errorCode":"EXCEEDED_MAX_SIZE_REQUEST"}]"#;
        let mut response = whole(http::Response::new(Bytes::from_static(text)));
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(response);
    };
    match sandbox.handle(http::Request::from_parts(parts, body.to_bytes())).await {
        Outcome::Answer(response) => Ok(whole(response)),
        Outcome::Dropped => Err(Dropped),
        Outcome::Truncated(response, keep) => Ok(response.map(|bytes| {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            Answer { bytes: bytes.slice(..keep.min(bytes.len())), whole: length, broken: true, flushed: false }
        })),
    }
}

fn whole(response: http::Response<Bytes>) -> http::Response<Answer> {
    response.map(|bytes| {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Answer { bytes, whole: length, broken: false, flushed: true }
    })
}
