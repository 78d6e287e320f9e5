//! Reading what changed in a CRM so that nothing is skipped.
//!
//! [`Reader`] reads the changes of one entity as pages and does not move by itself: a page carries a [`Checkpoint`], which goes
//! into the same [`crate::store::Batch`] as what was made of the page. A page that was not committed is read again.
//!
//! [`Reader::reconcile`] finds deletions that no feed tells, behind a [`MassDelete`] guard; [`ChangeLog`] joins an event log to
//! the snapshot.

mod api;
mod engine;
mod feed;
mod log;
mod position;
mod reconcile;
mod scan;
#[cfg(test)]
mod tests;

pub use api::{Checkpoint, ReadPage};
pub use engine::{Reader, ReaderBuilder};
pub use log::{ChangeLog, LogItem, LogPage};
pub use reconcile::{MassDelete, Reconciled};
