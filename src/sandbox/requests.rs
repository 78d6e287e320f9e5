//! What has been asked of the sandbox.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

/// A request the sandbox has seen.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The method.
    pub method: String,
    /// The path, percent-encoded, without the face's prefix.
    pub path: String,
    /// The query, as it came.
    pub query: String,
    /// The status of the answer; 0 if the connection was dropped.
    pub status: u16,
    /// When it came.
    pub at: Timestamp,
    /// API calls counted so far, this one included.
    pub api_calls: u64,
}

/// Not the query, which may hold personal values.
impl fmt::Debug for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.method, self.path, self.status)
    }
}
