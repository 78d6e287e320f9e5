//! Whole journeys: a contact with its associations, what it did with emails, and the forms it filled in.
//!
//! Each step looks before it writes, so a flow that is repeated, whole or after a failure half way, writes nothing twice and
//! writes nothing at all if nothing changed.

mod contacts;
mod told;

pub use contacts::{ContactSync, MarketingContact, SyncedContact};
pub use told::{EmailEngagement, Telling};
