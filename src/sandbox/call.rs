//! A request as a face sees it, and its answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Percent-encoded, without the face's prefix.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) now: Timestamp,
    /// Scheme and authority under which the client reached us.
    pub(crate) origin: String,
    /// A fault holds these rows of a collection, or all if the list is empty.
    pub(crate) locked: Option<Vec<usize>>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The query's pairs, decoded.
    pub(crate) fn params(&self) -> Vec<(String, String)> {
        pairs(self.query.as_bytes())
    }

    /// The path's segments, decoded; empty ones at the end are dropped.
    pub(crate) fn segments(&self) -> Vec<String> {
        segments(&self.path)
    }
}

pub(crate) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

pub(crate) fn segments(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(decode).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        if byte == b'%'
            && let (Some(high), Some(low)) = (ahead.next(), ahead.next())
            && let (Some(high), Some(low)) = (char::from(high).to_digit(16), char::from(low).to_digit(16))
        {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            rest = ahead;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn param<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// CSV, as UTF-8.
    Csv(String),
    Empty,
    Html(String),
    Json(Value),
}

impl Reply {
    pub(crate) fn json(status: StatusCode, value: Value) -> Self {
        Self { status, headers: Vec::new(), body: Content::Json(value) }
    }

    pub(crate) fn ok(value: Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Content::Empty }
    }

    pub(crate) fn csv(text: String) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Content::Csv(text) }
    }

    pub(crate) fn html(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: Content::Html(text.into()) }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As an HTTP answer.
    pub(crate) fn into_response(self) -> http::Response<Bytes> {
        let (kind, body) = match self.body {
            Content::Csv(text) => ("text/csv; charset=UTF-8", text.into_bytes()),
            Content::Empty => ("", Vec::new()),
            Content::Html(text) => ("text/html; charset=UTF-8", text.into_bytes()),
            Content::Json(value) => ("application/json;charset=UTF-8", serde_json::to_vec(&value).unwrap_or_default()),
        };
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        if !kind.is_empty() {
            response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(http::HeaderName::from_static(name), value);
            }
        }
        response
    }
}
