//! One record on its way into a plan.

use crate::model::{Record, Successor};
use crate::store::gone::Tombstone;
use crate::store::own::Marks;
use crate::sync::records::LocalRecord;
use crate::sync::two_way::plan::{Step, TwoWayRow};

/// The cause of notes that a person's answer leads to.
pub(super) const TENDED: &str = "a person decided";

/// One record on its way into the plan.
pub(super) struct Pair {
    pub(super) row: TwoWayRow,
    pub(super) told_deleted: bool,
    /// The newest note of the CRM is of the version that was read back.
    pub(super) known: bool,
    pub(super) marks: Marks,
    pub(super) local: Option<LocalRecord>,
    pub(super) remote: Option<Record>,
    pub(super) tomb: Option<Tombstone>,
    /// The record that goes on for the CRM's.
    pub(super) successor: Option<Successor>,
}

impl Pair {
    pub(super) fn decided(&mut self, step: Step, reason: impl Into<String>) {
        (self.row.step, self.row.reason) = (step, reason.into());
    }
}
