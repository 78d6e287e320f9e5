//! What the checks work with.

use std::fmt;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use crate::conformance::report::Broken;
use crate::conformance::transport::far_end::FarEnd;
use crate::http::{Body, HttpError, HttpTransport};

/// No body of the checks is longer.
pub(super) const LIMIT: usize = 32 << 20;

/// What a transport is asked in the checks.
#[derive(Default)]
pub struct Subject {
    base: Option<String>,
    refusing: Option<String>,
    known: Vec<(Request<Bytes>, StatusCode)>,
    impatient: bool,
}

/// No request: it may hold a credential.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("far_end", &self.base).field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Subject {
    /// A transport over sockets, against this far end: every check.
    pub fn far_end(far_end: &FarEnd) -> Self {
        let known = [200, 404, 500].into_iter().filter_map(|status| {
            let request = Request::get(format!("{}/status/{status}", far_end.url())).body(Bytes::new()).ok()?;
            Some((request, StatusCode::from_u16(status).ok()?))
        });
        let known = known.collect();
        Self { base: Some(far_end.url().to_owned()), refusing: Some(far_end.refusing().to_owned()), known, impatient: false }
    }

    /// A transport that answers by itself: requests, and the status each is answered with, one that is no success among them.
    /// Each is sent several times.
    pub fn answers(known: impl IntoIterator<Item = (Request<Bytes>, StatusCode)>) -> Self {
        Self { known: known.into_iter().collect(), ..Self::default() }
    }

    /// Says that the transport gives up within ten seconds if nothing comes: that it does is checked too.
    #[must_use]
    pub fn impatient(mut self) -> Self {
        self.impatient = true;
        self
    }

    pub(super) fn known(&self) -> &[(Request<Bytes>, StatusCode)] {
        &self.known
    }

    pub(super) fn refusing(&self) -> Option<&str> {
        self.refusing.as_deref()
    }

    pub(super) fn is_impatient(&self) -> bool {
        self.impatient
    }

    pub(super) fn has_far_end(&self) -> bool {
        self.base.is_some()
    }
}

/// A transport and its far end.
pub(super) struct Run<'a> {
    pub(super) transport: &'a dyn HttpTransport,
    pub(super) subject: &'a Subject,
}

impl Run<'_> {
    pub(super) fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Request<Bytes>, Broken> {
        let base = self.subject.base.as_deref().unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("{base}{path}")).body(body.into());
        request.map_err(|error| Broken::new(format!("the check's own request is wrong: {error}")))
    }

    pub(super) async fn send(&self, method: Method, path: &str) -> Result<Result<Response<Body>, HttpError>, Broken> {
        Ok(self.transport.send(self.request(method, path, Bytes::new())?).await)
    }

    /// An answer that must come.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Body>, Broken> {
        self.send(Method::GET, path).await?.map_err(|error| Broken::new(format!("GET {path} failed: {error}")))
    }

    pub(super) async fn read(&self, answer: Response<Body>) -> Result<Bytes, Broken> {
        answer.into_body().bytes(LIMIT).await.map_err(|error| Broken::new(format!("a body could not be read: {error}")))
    }

    /// What the far end has seen.
    pub(super) async fn seen(&self, path: &str) -> Result<serde_json::Value, Broken> {
        let body = self.read(self.get(path).await?).await?;
        serde_json::from_slice(&body).map_err(|_| Broken::new("the far end's report did not come through as it was sent"))
    }
}
