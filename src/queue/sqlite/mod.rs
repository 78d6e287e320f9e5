//! A queue in a SQLite file.

mod api;
mod call;
mod claim;
mod enqueue;
mod parking;
mod rows;
mod settling;

pub use api::SqliteQueue;
pub(crate) use api::settle_in;
