//! What must hold for a request: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.
//!
//! Rows and descriptions take the dates; entity tags work for Account rows only (REST API Developer Guide, "Conditional Request
//! Headers"). HTTP dates have whole seconds, so a change within the same second is not noticed.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use crate::error::{Error, Result};

/// What must hold for a request to be carried out. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Precondition {
    matches: Option<String>,
    differs: Option<String>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

impl Precondition {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The record still has this entity tag (`If-Match`); Account rows only.
    pub fn matches(mut self, etag: impl Into<String>) -> Self {
        self.matches = Some(etag.into());
        self
    }

    /// The record has another entity tag by now (`If-None-Match`); Account rows only.
    pub fn differs(mut self, etag: impl Into<String>) -> Self {
        self.differs = Some(etag.into());
        self
    }

    /// It was changed after this instant.
    pub fn modified_since(mut self, at: Timestamp) -> Self {
        self.modified_since = Some(at);
        self
    }

    /// It was not changed after this instant.
    pub fn unmodified_since(mut self, at: Timestamp) -> Self {
        self.unmodified_since = Some(at);
        self
    }

    pub(super) fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let tags = [(IF_MATCH, &self.matches), (IF_NONE_MATCH, &self.differs)];
        for (name, tag) in tags {
            if let Some(tag) = tag {
                let value = HeaderValue::try_from(tag).map_err(|_| Error::config("an entity tag holds characters no header can"))?;
                headers.insert(name, value);
            }
        }
        let dates = [(IF_MODIFIED_SINCE, self.modified_since), (IF_UNMODIFIED_SINCE, self.unmodified_since)];
        for (name, at) in dates {
            if let Some(at) = at {
                headers.insert(name, http_date(at)?);
            }
        }
        Ok(headers)
    }
}

/// An instant as HTTP writes it, whole seconds in GMT.
pub(super) fn http_date(at: Timestamp) -> Result<HeaderValue> {
    let text = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::try_from(text).map_err(|_| Error::internal("an HTTP date could not be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let at: Timestamp = "2026-01-02T03:04:05.999Z".parse().unwrap();
        let headers = Precondition::new().matches("\"a\"").modified_since(at).headers().unwrap();
        assert_eq!(headers.get(IF_MATCH).unwrap(), "\"a\"");
        assert_eq!(headers.get(IF_MODIFIED_SINCE).unwrap(), "Fri, 02 Jan 2026 03:04:05 GMT");
        let back = jiff::fmt::rfc2822::parse("Fri, 02 Jan 2026 03:04:05 GMT").unwrap().timestamp();
        assert_eq!(back.as_second(), at.as_second());
        assert!(Precondition::new().differs("a\nb").headers().is_err());
        assert!(Precondition::new().headers().unwrap().is_empty());
    }
}
