//! What a plan costs in tokens of the daily budget.

use std::fmt;

use crate::error::Result;
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::resource::{Kind, Op};
use crate::sync::Plan;

/// The price of a plan in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanPrice {
    /// For the records to make.
    pub creates: u64,
    /// For the records to change.
    pub updates: u64,
    /// Tokens left today, if known.
    pub left: Option<u64>,
}

impl PlanPrice {
    /// For all of it, if nothing has to be repeated.
    pub fn total(&self) -> u64 {
        self.creates + self.updates
    }

    /// False if the day's tokens are known not to be enough.
    pub fn is_affordable(&self) -> bool {
        self.left.is_none_or(|left| left >= self.total())
    }
}

impl fmt::Display for PlanPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens to apply ({} for creates, {} for updates)", self.total(), self.creates, self.updates)?;
        match self.left {
            Some(left) => write!(f, ", {left} left today"),
            None => Ok(()),
        }
    }
}

impl Pipedrive {
    /// The price of applying `plan`, beside the plan's own count of calls.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the plan's entity is not one of Pipedrive's.
    pub fn price(&self, plan: &Plan) -> Result<PlanPrice> {
        let kind = Kind::of(&plan.entity)?;
        let summary = plan.summary();
        let of = |count: usize, op: Op| count as u64 * u64::from(kind.price(op));
        Ok(PlanPrice { creates: of(summary.create, Op::Create), updates: of(summary.update, Op::Update), left: self.usage().tokens_left })
    }
}
