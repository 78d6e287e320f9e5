//! How a request can fail to be answered.

use crate::error::{Error, ErrorKind};

/// How far the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The body of the answer broke off, or was not what HTTP allows. The request was executed or not: unknown.
    Body,
    /// No connection was made: name not found, refused, TLS failed. Nothing was executed; any request may be repeated.
    Connect,
    /// The request could not be built. Never retried.
    Request,
    /// The connection broke after the request was (partly) sent. Executed or not: unknown.
    Sent,
    /// No answer in time, after the request was (partly) sent. Executed or not: unknown.
    Timeout,
    /// The answer is longer than the caller allows. The request was executed.
    TooLarge,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    kind: HttpErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    /// An error; `message` must not hold a URL with a query, or a header.
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// How far the request came.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    /// True if the server may have executed the request.
    pub fn may_have_executed(&self) -> bool {
        !matches!(self.kind, HttpErrorKind::Connect | HttpErrorKind::Request)
    }
}

impl From<HttpError> for Error {
    /// The verdict for a request that changes nothing. A caller that sent a write adds [`Error::ambiguous`] if
    /// [`HttpError::may_have_executed`].
    fn from(error: HttpError) -> Self {
        let kind = match error.kind {
            HttpErrorKind::Body | HttpErrorKind::Connect | HttpErrorKind::Sent => ErrorKind::Network,
            HttpErrorKind::Timeout => ErrorKind::Timeout,
            HttpErrorKind::Request => ErrorKind::Config,
            HttpErrorKind::TooLarge => ErrorKind::Decode,
        };
        Self::new(kind, error.message.clone()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_connection_proves_that_nothing_happened() {
        assert!(!HttpError::new(HttpErrorKind::Connect, "x").may_have_executed());
        for kind in [HttpErrorKind::Body, HttpErrorKind::Sent, HttpErrorKind::Timeout, HttpErrorKind::TooLarge] {
            assert!(HttpError::new(kind, "x").may_have_executed());
        }
    }
}
