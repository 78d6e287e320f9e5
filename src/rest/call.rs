//! One request, relative to wherever the API answers, and its answer.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::http::Body;
use crate::rest::path::decode_error;

/// A request without host and credential: the client adds both, so that it can add new ones after a renewal.
#[derive(Clone)]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) write: bool,
    pub(crate) operation: &'static str,
    pub(crate) also: Option<StatusCode>,
}

/// Never the query, a header or the body: each may be personal.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("method", &self.method)
            .field("write", &self.write)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Call {
    /// A request of `method` for `path`, which starts with `/`, is percent-encoded and may hold a query. Everything but GET
    /// and HEAD counts as a write: if its outcome is unknown the error says so.
    pub fn new(operation: &'static str, method: Method, path: impl Into<String>) -> Self {
        let write = method != Method::GET && method != Method::HEAD;
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), write, operation, also: None }
    }

    /// A read.
    pub fn get(operation: &'static str, path: impl Into<String>) -> Self {
        Self::new(operation, Method::GET, path)
    }

    /// A write by POST.
    pub fn post(operation: &'static str, path: impl Into<String>) -> Self {
        Self::new(operation, Method::POST, path)
    }

    /// A write by PATCH.
    pub fn patch(operation: &'static str, path: impl Into<String>) -> Self {
        Self::new(operation, Method::PATCH, path)
    }

    /// A write by DELETE.
    pub fn delete(operation: &'static str, path: impl Into<String>) -> Self {
        Self::new(operation, Method::DELETE, path)
    }

    /// Says that this request changes nothing, whatever its method (a search by POST).
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.write = false;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Takes over headers.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// A body as it is.
    #[must_use]
    pub fn body(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// A JSON body, serialised straight into one buffer.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if `value` does not serialise.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        self.json_of(value, 128)
    }

    /// As [`Call::json`], of a body that is guessed to have `expected` bytes.
    pub(crate) fn json_of<T: Serialize + ?Sized>(self, value: &T, expected: usize) -> Result<Self> {
        let mut body = Vec::with_capacity(expected);
        serde_json::to_writer(&mut body, value)
            .map_err(|error| Error::config(format!("the request body does not serialise ({:?} error)", error.classify())))?;
        Ok(self.body(HeaderValue::from_static("application/json"), body))
    }

    /// The length of path and query, for vendors that limit it.
    pub fn path_len(&self) -> usize {
        self.path.len()
    }

    /// Counts this status as an answer, beside the 2xx ones.
    #[must_use]
    pub fn accept(mut self, status: StatusCode) -> Self {
        self.also = Some(status);
        self
    }
}

/// As `serde_json::from_slice`. The text is looked at once as a whole, which is faster than once for each text in it.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        // It says where.
        Err(_) => serde_json::from_slice(body),
    }
}

/// An answer that is no error, with its body still to be read.
pub struct Streamed {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Never a header or the body.
impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streamed").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Streamed {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn into_body(self) -> Body {
        self.body
    }
}

/// An answer that is no error.
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) write: bool,
    pub(crate) operation: &'static str,
}

/// Never the body.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Answer {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.body
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] with the path of what does not fit; after a write it
    /// [may have been applied](Error::may_have_applied).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.decode(from_json)
    }

    /// The body by a decoder of the caller's.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub fn decode<T>(&self, decoder: impl FnOnce(&[u8]) -> serde_json::Result<T>) -> Result<T> {
        decoder(&self.body).map_err(|error| {
            let error = decode_error(&self.body, &error).with_status(self.status).during(self.operation);
            if self.write { error.ambiguous() } else { error }
        })
    }
}
