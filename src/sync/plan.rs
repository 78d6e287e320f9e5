//! A plan: what would be written, why, how safely and at what price.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Entity, Fields, RecordId};
use crate::sync::decide::FieldChange;
use crate::sync::guarantee::Guarantee;

/// What a row of the plan would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Make the record.
    Create,
    /// Nothing: the record cannot be mapped; the reason says why.
    Invalid,
    /// Nothing: a person should look at it.
    Review,
    /// Nothing: the CRM has it already.
    Skip,
    /// Change the record.
    Update,
}

/// One record of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanRow {
    /// The host's id.
    pub local: String,
    /// What would be done.
    pub action: Action,
    /// The CRM's record, if known.
    pub remote: Option<RecordId>,
    /// Fields that differ (updates only).
    pub changes: Vec<FieldChange>,
    /// Why.
    pub reason: String,
    /// What would be sent: all fields for a create, the changed ones for an update.
    pub fields: Fields,
    /// The whole record as mapped, to be remembered once it is written.
    pub(crate) mapped: Fields,
    /// Its hash; equal hashes mean that nothing changed since.
    pub(crate) hash: String,
    /// True if the store links the record already.
    pub(crate) linked: bool,
    /// The state of the base the plan was made on: its hash and when it was taken.
    pub(crate) seen: Option<(String, jiff::Timestamp)>,
}

/// The price in API calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Calls that making the plan took.
    pub read_calls: u64,
    /// Calls that applying it takes, if nothing has to be repeated.
    pub write_calls: u64,
    /// Calls the CRM says are left in its current window.
    pub left: Option<u64>,
}

/// How many rows of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Records to make.
    pub create: usize,
    /// Records to change.
    pub update: usize,
    /// Records that need nothing.
    pub skip: usize,
    /// Records for a person.
    pub review: usize,
    /// Records that cannot be mapped.
    pub invalid: usize,
}

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The connection's label.
    pub connection: String,
    /// The CRM's entity.
    pub entity: Entity,
    /// How safe its creates are.
    pub guarantee: Guarantee,
    /// The version of the mapping it was made with.
    pub mapping: String,
    /// The rows, in the order of the input.
    pub rows: Vec<PlanRow>,
    /// The price.
    pub cost: Cost,
}

impl Plan {
    /// The counts.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for row in &self.rows {
            match row.action {
                Action::Create => summary.create += 1,
                Action::Update => summary.update += 1,
                Action::Skip => summary.skip += 1,
                Action::Review => summary.review += 1,
                Action::Invalid => summary.invalid += 1,
            }
        }
        summary
    }

    /// Rows of one kind.
    pub fn rows_to(&self, action: Action) -> impl Iterator<Item = &PlanRow> {
        self.rows.iter().filter(move |row| row.action == action)
    }

    /// How many records applying it would write.
    pub fn writes(&self) -> usize {
        let summary = self.summary();
        summary.create + summary.update
    }
}

/// The plan as a person reads it; no field value is shown.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary();
        writeln!(f, "plan for {} of {}", self.entity, self.connection)?;
        for (name, count, what) in [
            ("create", summary.create, "not in the CRM yet"),
            ("update", summary.update, "some fields differ"),
            ("skip", summary.skip, "nothing to write"),
            ("review", summary.review, "held back for a person"),
            ("invalid", summary.invalid, "cannot be mapped"),
        ] {
            writeln!(f, "  {name:<8}{count:>8}  {what}")?;
        }
        writeln!(f, "  guarantee for creates: {}", self.guarantee)?;
        write!(f, "  API calls: {} made to plan, {} needed to apply", self.cost.read_calls, self.cost.write_calls)?;
        if let Some(left) = self.cost.left {
            write!(f, ", {left} left in the CRM's window")?;
        }
        writeln!(f)
    }
}
