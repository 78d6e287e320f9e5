//! What every adapter must do, as a list of named checks.
//!
//! The list is chosen by the adapter's [`Capabilities`](crate::adapter::Capabilities): what it claims must work, and what it
//! does not claim must say [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) instead of doing something else. It makes real records and deletes them
//! again: run it against a sandbox account.

mod bulk;
mod contract;
mod list;
mod records;
mod run;
mod search;
mod subject;

pub use list::check;
pub use subject::Subject;
