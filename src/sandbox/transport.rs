//! The sandbox without a socket.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crate::sandbox::api::Sandbox;
use crate::sandbox::world::Outcome;

/// [`HttpTransport`] over the sandbox's function.
#[derive(Debug)]
pub(crate) struct InProcess {
    sandbox: Sandbox,
}

impl InProcess {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox }
    }
}

impl Sandbox {
    /// The sandbox as a transport, without a socket.
    pub fn transport(&self) -> Arc<dyn HttpTransport> {
        Arc::new(InProcess::new(self.clone()))
    }
}

#[async_trait]
impl HttpTransport for InProcess {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        match self.sandbox.handle(request).await {
            Outcome::Answer(response) => Ok(response.map(Body::from_bytes)),
            Outcome::Dropped => Err(HttpError::new(HttpErrorKind::Sent, "the connection to the sandbox broke before an answer came")),
            Outcome::Truncated(response, keep) => Ok(response.map(|body| {
                let part = body.slice(..keep.min(body.len()));
                let broken = HttpError::new(HttpErrorKind::Body, "the sandbox's answer broke off");
                Body::from_stream(futures_util::stream::iter([Ok(part), Err(broken)]).boxed())
            })),
        }
    }
}
