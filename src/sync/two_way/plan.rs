//! A plan for both directions.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Entity, Fields, RecordId, Version};
use crate::store::base::Base;
use crate::store::gone::End;
use crate::store::lanes::Lane;
use crate::store::own::Marks;
use crate::store::pending::{Noted, Side};
use crate::sync::decide::FieldChange;
use crate::sync::merge::Merged;
use crate::sync::plan::PlanRow;
use crate::sync::records::LocalWrite;

/// What a row of the plan would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Make it in the CRM.
    CreateRemote,
    /// Make it in the host.
    CreateLocal,
    /// Write fields, to one side or to both.
    Update,
    /// Delete it in the CRM.
    DeleteRemote,
    /// Delete it in the host.
    DeleteLocal,
    /// Remember that both sides agree.
    Agree,
    /// Link it to the winner of a merge in the CRM.
    Relink,
    /// Forget the link; nothing is written.
    Unlink,
    /// A person has to decide.
    Review,
    /// Its fields went back and forth; nothing is written until it is freed.
    Frozen,
    /// It cannot be mapped.
    Invalid,
    /// Nothing.
    Skip,
}

impl Step {
    /// A stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateRemote => "create in CRM",
            Self::CreateLocal => "create in host",
            Self::Update => "update",
            Self::DeleteRemote => "delete in CRM",
            Self::DeleteLocal => "delete in host",
            Self::Agree => "agree",
            Self::Relink => "relink",
            Self::Unlink => "unlink",
            Self::Review => "review",
            Self::Frozen => "frozen",
            Self::Invalid => "invalid",
            Self::Skip => "skip",
        }
    }
}

/// One record of the plan.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TwoWayRow {
    /// The host's id, if it has the record.
    pub local: Option<String>,
    /// The CRM's id, if it has the record.
    pub remote: Option<RecordId>,
    /// What would be done.
    pub step: Step,
    /// Fields that go to the CRM, in its words.
    pub outward: Vec<FieldChange>,
    /// Fields that go to the host, in its words.
    pub inward: Vec<FieldChange>,
    /// Fields of the CRM that both sides changed.
    pub conflicts: Vec<String>,
    /// Why.
    pub reason: String,
    /// What told of the record.
    pub cause: String,
    #[serde(skip)]
    pub(super) work: Work,
}

/// What applying a row needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    pub(super) notes: Vec<Noted>,
    pub(super) linked: bool,
    /// The base as stored, and as far as it is agreed now.
    pub(super) stored: Option<Base>,
    pub(super) agreed: Fields,
    pub(super) agreed_local: Fields,
    pub(super) merged: Vec<Merged>,
    pub(super) mapped: Fields,
    pub(super) remote_fields: Fields,
    pub(super) remote_version: Option<Version>,
    pub(super) lane: Lane,
    pub(super) out: Option<PlanRow>,
    pub(super) into: Option<LocalWrite>,
    /// Marks of what goes to the host, as far as it is in doubt.
    pub(super) marks: Marks,
    /// Marks of an earlier try to make it in the host.
    pub(super) before: Marks,
    /// Unlinked, to be looked at again from this side.
    pub(super) again: Option<Side>,
    /// The winner of a merge that the host's record goes on with.
    pub(super) relink: Option<RecordId>,
    /// How it ends, if it does.
    pub(super) end: Option<End>,
}

/// What keeps a write from going over a change in the CRM that the plan did not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteGuard {
    /// The record is read once more right before it is written, and left if a field that would be written has moved. Between that
    /// read and the write there is a gap of one call.
    ReadAgain,
    /// The CRM refuses the write if the record has another version.
    Version,
}

/// What a settling would do. Applying it is refused, row by row, where a side moved since.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TwoWayPlan {
    /// The connection's label.
    pub connection: String,
    /// The CRM's entity.
    pub entity: Entity,
    /// The version of the mapping.
    pub mapping: String,
    /// What keeps updates of the CRM from going over changes that were not seen.
    pub guard: WriteGuard,
    /// The records that were noted.
    pub rows: Vec<TwoWayRow>,
    /// Records beyond these wait, or become due at this time.
    pub next: Option<Timestamp>,
}

impl TwoWayPlan {
    /// How many rows do this.
    pub fn count(&self, step: Step) -> usize {
        self.rows.iter().filter(|row| row.step == step).count()
    }

    /// How many writes applying it takes: into the CRM, and into the host.
    pub fn writes(&self) -> (usize, usize) {
        let out = self.rows.iter().filter(|row| row.work.out.is_some() || row.step == Step::DeleteRemote).count();
        (out, self.rows.iter().filter(|row| row.work.into.is_some()).count())
    }
}

/// A table for a person: names of fields, no values.
impl fmt::Display for TwoWayPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, into) = self.writes();
        writeln!(
            f,
            "{} <-> host, {}: {} records, {out} writes to the CRM, {into} to the host",
            self.connection,
            self.entity,
            self.rows.len()
        )?;
        if self.count(Step::Update) > 0 {
            let guard = match self.guard {
                WriteGuard::ReadAgain => "read again right before it is written",
                WriteGuard::Version => "written by the CRM only if its version is still the same",
            };
            writeln!(f, "  a record of the CRM is {guard}")?;
        }
        let names = |changes: &[FieldChange]| changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>().join(", ");
        let cells: Vec<[String; 5]> = std::iter::once(["step", "host", "CRM", "to the CRM", "to the host"].map(str::to_owned))
            .chain(self.rows.iter().map(|row| {
                [
                    row.step.as_str().to_owned(),
                    row.local.clone().unwrap_or_default(),
                    row.remote.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
                    names(&row.outward),
                    names(&row.inward),
                ]
            }))
            .collect();
        let mut widths = [0; 5];
        for row in &cells {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let reasons = std::iter::once("why").chain(self.rows.iter().map(|row| row.reason.as_str()));
        for (row, reason) in cells.iter().zip(reasons) {
            write!(f, " ")?;
            for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
                write!(f, " {cell:<width$} ")?;
            }
            writeln!(f, " {reason}")?;
        }
        Ok(())
    }
}

/// What became of one row.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Settled {
    /// The host's id.
    pub local: Option<String>,
    /// The CRM's id.
    pub remote: Option<RecordId>,
    /// What was planned.
    pub step: Step,
    /// Why it was not done, or not wholly; it is looked at again later.
    pub failed: Option<String>,
}

/// What a settling did.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct TwoWayReport {
    /// Another process was at it; nothing was done.
    pub busy: bool,
    /// The rows, in the order of the plan; those that needed nothing are left out.
    pub rows: Vec<Settled>,
    /// Records written in the CRM.
    pub wrote_remote: usize,
    /// Records written in the host.
    pub wrote_local: usize,
    /// When to come again, if something waits.
    pub next: Option<Timestamp>,
}
