//! The one method a transport has.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::http::body::Body;
use crate::http::error::HttpError;

/// Sends one request and returns the head of the answer, with its body to be read.
///
/// An implementation must not follow redirects (credentials would travel along), must not retry, and must not fail on a
/// status: a 500 is an answer. It is object-safe.
#[async_trait]
pub trait HttpTransport: Debug + Send + Sync {
    /// Sends `request`, whose URI is absolute.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError>;
}

#[async_trait]
impl<T: HttpTransport + ?Sized> HttpTransport for Arc<T> {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        (**self).send(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn HttpTransport>) {}
        takes(None);
    }
}
