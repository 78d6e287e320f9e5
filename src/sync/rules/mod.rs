//! The sync rules of the original guide as data, and its configuration blocks.

mod api;
mod setup;

pub use api::{SyncDirection, SyncRules, Writes};
pub use setup::Setup;
