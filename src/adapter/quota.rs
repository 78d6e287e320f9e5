//! How much may still be called.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One allowance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuotaWindow {
    /// The CRM's name of it.
    pub name: String,
    /// How much there is in a window.
    pub max: u64,
    /// How much of it is spent.
    pub used: u64,
    /// How long a window lasts, if known.
    pub window: Option<Duration>,
}

impl QuotaWindow {
    /// An allowance of unknown length.
    pub fn new(name: impl Into<String>, used: u64, max: u64) -> Self {
        Self { name: name.into(), max, used, window: None }
    }

    /// How much is left.
    pub fn left(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }
}

/// What calls take of an allowance that is not counted in calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Price {
    /// How many units.
    pub amount: u64,
    /// What is counted, in the plural: `tokens`.
    pub unit: Cow<'static, str>,
}

impl Price {
    /// So many of these.
    pub fn new(amount: u64, unit: impl Into<Cow<'static, str>>) -> Self {
        Self { amount, unit: unit.into() }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.unit)
    }
}

/// The allowances of a connection, as the CRM last reported them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quota {
    /// Each allowance.
    pub windows: Vec<QuotaWindow>,
}

impl Quota {
    /// Of these allowances.
    pub fn new(windows: Vec<QuotaWindow>) -> Self {
        Self { windows }
    }

    /// The smallest number of calls left, or of what calls are paid with ([`CrmAdapter::call_price`]).
    ///
    /// [`CrmAdapter::call_price`]: crate::adapter::CrmAdapter::call_price
    pub fn left(&self) -> Option<u64> {
        self.windows.iter().map(QuotaWindow::left).min()
    }
}
