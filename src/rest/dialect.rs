//! What one vendor's answers mean.

use std::fmt::Debug;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use crate::auth::AccessToken;
use crate::error::{Error, Result};

/// An answer as the dialect sees it.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body; may be JSON, a web page or nothing.
    pub body: &'a [u8],
}

/// A vendor's conventions over plain HTTP and JSON. It is object-safe.
pub trait Dialect: Debug + Send + Sync {
    /// The vendor, in lower case, for messages.
    fn name(&self) -> &'static str;

    /// The error an answer stands for. Whether a write may have been applied is added by the [`Client`](crate::rest::Client).
    fn classify(&self, failure: Failure<'_>) -> Error;

    /// True if the answer says that the token has expired, so that a renewed one helps.
    fn session_expired(&self, failure: Failure<'_>) -> bool {
        failure.status == StatusCode::UNAUTHORIZED
    }

    /// True if an answer that is not 2xx is no failure either.
    fn tolerates(&self, failure: Failure<'_>) -> bool {
        let _none_by_default = failure;
        false
    }

    /// A name and value that carry the token in the query, for APIs that know no header. Default: none.
    fn query_credential(&self, token: &AccessToken) -> Option<(String, String)> {
        let _none_by_default = token;
        None
    }

    /// Reads the allowance the vendor writes into each answer's headers.
    fn observe(&self, headers: &HeaderMap) {
        let _none_by_default = headers;
    }

    /// Puts the token into a request. Default: `Authorization: Bearer`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the token cannot stand in a header.
    fn authorize(&self, token: &AccessToken, headers: &mut HeaderMap) -> Result<()> {
        headers.insert(AUTHORIZATION, token.header("Bearer ")?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn Dialect>) {}
        takes(None);
    }
}
