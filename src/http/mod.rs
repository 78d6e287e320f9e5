//! The transport seam: an `http::Request` goes in, an `http::Response` comes out.
//!
//! [`ReqwestTransport`] (feature `reqwest`) is the ready one. A host can put hyper, a recorder or the sandbox behind the same
//! trait. Nothing here retries, follows a redirect or reads a token.

mod api;
mod body;
mod error;
#[cfg(feature = "reqwest")]
mod reqwest;
mod retry_after;

pub use api::HttpTransport;
pub use body::Body;
pub use error::{HttpError, HttpErrorKind};
#[cfg(feature = "reqwest")]
pub use reqwest::{ReqwestBuilder, ReqwestTransport};
pub use retry_after::{LONGEST_RETRY_AFTER, retry_after};
