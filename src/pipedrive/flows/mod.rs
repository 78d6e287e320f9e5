//! The journey of a marketing lead: organization, person, deal if qualified, notes and activities.
//!
//! Each step may be repeated: what is done already is recognised by a link in the store, by a key the CRM can be searched for, or
//! by a mark in the text, and is not done again. A step that was under way when the process ended is looked for in the CRM
//! before it is tried again. Nothing here waits: what cannot be told yet is an error with the time to come back.

mod lead;
mod person;
mod probe;
mod steps;
mod sync;

pub use lead::{MarketingActivity, MarketingLead};
pub use steps::Ensured;
pub use sync::{PersonSync, SyncedPerson};
