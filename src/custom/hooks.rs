//! Code of the host's where data does not reach.

use std::fmt::Debug;

use http::HeaderMap;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::Entity;
use crate::rest::{Answer, Call, Failure};

/// What the host does itself. Every method has a default that leaves things as the definition says. It is object-safe.
pub trait Hooks: Debug + Send + Sync {
    /// Looks at a finished request and may change it, e.g. sign it. Called once per request, before the credentials are added.
    ///
    /// # Errors
    /// Whatever keeps the request from being sent.
    fn prepare(&self, call: Call) -> Result<Call> {
        Ok(call)
    }

    /// Changes the body of a write, after fields were encoded and before it is wrapped.
    ///
    /// # Errors
    /// Whatever keeps the record from being sent.
    fn encode(&self, entity: &Entity, record: Value) -> Result<Value> {
        let _ = entity;
        Ok(record)
    }

    /// Changes a record as it came, before its fields are decoded.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] if it cannot be read.
    fn decode(&self, entity: &Entity, record: Value) -> Result<Value> {
        let _ = entity;
        Ok(record)
    }

    /// What an answer means, before the definition's rules are asked; `None`: they decide. Also called for 2xx answers.
    fn classify(&self, operation: &'static str, failure: Failure<'_>) -> Option<Error> {
        let _ = (operation, failure);
        None
    }

    /// The next page of a list, as path and query from the base URL; `None`: the definition's paging decides; `Some(None)`: there
    /// is none.
    fn next_page(&self, entity: &Entity, answer: &Answer) -> Option<Option<String>> {
        let _ = (entity, answer);
        None
    }

    /// Puts a credential of the host's own kind into the headers; true if it did, so that the definition's is left out.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Authentication`] if there is none.
    fn authorize(&self, headers: &mut HeaderMap) -> Result<bool> {
        let _ = headers;
        Ok(false)
    }
}

/// Leaves everything to the definition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NoHooks;

impl Hooks for NoHooks {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn Hooks>) {}
        takes(Some(&NoHooks));
    }
}
