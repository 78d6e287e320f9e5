//! Which of Salesforce's ways a number of records should take, and what it costs.

use serde::{Deserialize, Serialize};

use crate::salesforce::limits::COLLECTION_LIMIT;

/// A way to write or read many records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Route {
    /// A Bulk API 2.0 job.
    Bulk,
    /// sObject collections of 200; for reads the pages of a query.
    Collections,
    /// One request for each record.
    Rows,
}

/// Where one way becomes cheaper than another. The default follows the guide: jobs above 2,000 rows written or 50,000 rows read
/// (Bulk API 2.0 Developer Guide, "When to Use Bulk API 2.0").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Volume {
    /// Writes of more rows than this are a job.
    pub bulk_writes_above: usize,
    /// Reads of more rows than this are a job.
    pub bulk_reads_above: u64,
}

impl Default for Volume {
    fn default() -> Self {
        Self { bulk_writes_above: 2_000, bulk_reads_above: 50_000 }
    }
}

/// Making a job, its upload, its start and its three result files; looks at its state come on top.
const JOB_CALLS: u64 = 6;
/// The looks of a job of some seconds, as the pauses grow from one second on.
const LOOKS: u64 = 4;
/// About how many requests one job takes.
pub(super) const CALLS_OF_A_JOB: u64 = JOB_CALLS + LOOKS;

impl Volume {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Volume::bulk_writes_above`].
    #[must_use]
    pub fn bulk_writes_above(mut self, rows: usize) -> Self {
        self.bulk_writes_above = rows;
        self
    }

    /// The way for `count` writes of one operation on one object. `left` is what remains of the day's API requests, if known:
    /// if collections would take more than that, a job is chosen although it is slower.
    pub fn writes(&self, count: usize, left: Option<u64>) -> Route {
        match count {
            0 | 1 => Route::Rows,
            _ if count > self.bulk_writes_above => Route::Bulk,
            _ if left.is_some_and(|left| Route::Collections.write_calls(count) > left && left >= Route::Bulk.write_calls(count)) => {
                Route::Bulk
            }
            _ => Route::Collections,
        }
    }

    /// The way to read `rows` rows.
    pub fn reads(&self, rows: u64) -> Route {
        match rows {
            0 | 1 => Route::Rows,
            _ if rows > self.bulk_reads_above => Route::Bulk,
            _ => Route::Collections,
        }
    }
}

impl Route {
    /// About how many API requests `count` writes take this way.
    pub fn write_calls(self, count: usize) -> u64 {
        match self {
            _ if count == 0 => 0,
            Self::Bulk => CALLS_OF_A_JOB,
            Self::Collections => count.div_ceil(COLLECTION_LIMIT) as u64,
            Self::Rows => count as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_volume() {
        let volume = Volume::default();
        let ways: Vec<Route> = [1, 2, 200, 2_000, 2_001].into_iter().map(|count| volume.writes(count, None)).collect();
        assert_eq!(ways, [Route::Rows, Route::Collections, Route::Collections, Route::Collections, Route::Bulk]);
        assert_eq!(volume.reads(50_000), Route::Collections);
        assert_eq!(volume.reads(50_001), Route::Bulk);
        assert_eq!((Route::Collections.write_calls(401), Route::Rows.write_calls(7), Route::Bulk.write_calls(0)), (3, 7, 0));
    }

    #[test]
    fn a_small_allowance_prefers_the_job_that_fits() {
        let volume = Volume::new().bulk_writes_above(1_000_000);
        assert_eq!(volume.writes(100_000, Some(499)), Route::Bulk);
        assert_eq!(volume.writes(100_000, Some(500)), Route::Collections);
        assert_eq!(volume.writes(100_000, Some(3)), Route::Collections, "neither fits: the error of the first call tells");
    }
}
