//! A plan: what would be written, why, how safely and at what price.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::adapter::Price;
use crate::model::{Entity, Fields, RecordId, Version};
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
    /// Marks of the values that are in doubt while no answer has been read back, for a two-way sync.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) marks: BTreeMap<String, Vec<String>>,
    /// The version the CRM's record must still have, where the CRM looks at versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<Version>,
}

/// How writes of one kind go to the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Way {
    /// Several records in one call.
    Batches {
        /// Most records in one call.
        size: usize,
    },
    /// Jobs that the CRM carries out in its own time ([`crate::adapter::CrmAdapter::open_job`]).
    Jobs {
        /// Most records in one job.
        size: usize,
        /// About how many calls one job takes.
        calls: usize,
    },
    /// One call for each record.
    Rows,
}

impl Way {
    /// Records that are written together.
    pub fn size(self) -> usize {
        match self {
            Self::Batches { size } | Self::Jobs { size, .. } => size,
            Self::Rows => 1,
        }
    }

    /// About how many calls `count` records take.
    pub fn calls(self, count: usize) -> u64 {
        let groups = count.div_ceil(self.size().max(1)) as u64;
        match self {
            Self::Jobs { calls, .. } => groups.saturating_mul(calls as u64),
            Self::Batches { .. } | Self::Rows => groups,
        }
    }
}

/// The price in API calls, and in what the CRM counts instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Calls that making the plan took.
    pub read_calls: u64,
    /// Calls that applying it takes, if nothing has to be repeated.
    pub write_calls: u64,
    /// What applying it takes of the CRM's allowance, if nothing has to be repeated, where calls have prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What the CRM says is left in its current window: calls, or the units of the price.
    pub left: Option<u64>,
}

impl Cost {
    /// False if it is known that the allowance is not enough.
    pub fn is_affordable(&self) -> bool {
        let needed = self.price.as_ref().map_or(self.write_calls, |price| price.amount);
        self.left.is_none_or(|left| left >= needed)
    }
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
    /// How creates are written.
    pub creates: Way,
    /// How updates are written.
    pub updates: Way,
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
        for (what, way, count) in [("creates", self.creates, summary.create), ("updates", self.updates, summary.update)] {
            if let (Way::Jobs { size, .. }, true) = (way, count > 0) {
                let jobs = count.div_ceil(size.max(1));
                writeln!(f, "  {what} go as {jobs} {} of up to {size} records", if jobs == 1 { "job" } else { "jobs" })?;
            }
        }
        write!(f, "  API calls: {} made to plan, {} needed to apply", self.cost.read_calls, self.cost.write_calls)?;
        if let Some(price) = &self.cost.price {
            write!(f, ", for {price}")?;
        }
        if let Some(left) = self.cost.left {
            write!(f, ", {left} left in the CRM's window")?;
        }
        writeln!(f)
    }
}
