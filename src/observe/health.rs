//! How well an integration does, from counts.

/// When an integration counts as healthy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthRule {
    /// The least share of records that must succeed. Default: 0.95.
    pub success_share: f64,
    /// Below this many records nothing is concluded. Default: 1.
    pub least_records: u64,
}

impl Default for HealthRule {
    fn default() -> Self {
        Self { success_share: 0.95, least_records: 1 }
    }
}

/// The health of one entity or connection over a period the caller chose (the usual one is 24 hours).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HealthVerdict {
    /// Records that succeeded, skips included.
    pub succeeded: u64,
    /// Records that failed.
    pub failed: u64,
    /// The share that succeeded, from 0 to 1; `None` without records: nothing tried is neither well nor ill.
    pub success_share: Option<f64>,
    /// The verdict; `None` if there were too few records.
    pub healthy: Option<bool>,
}

impl HealthRule {
    /// The verdict on `succeeded` and `failed` records.
    pub fn judge(&self, succeeded: u64, failed: u64) -> HealthVerdict {
        let total = succeeded.saturating_add(failed);
        let success_share = (total > 0).then(|| succeeded as f64 / total as f64);
        let healthy = success_share.filter(|_| total >= self.least_records).map(|share| share >= self.success_share);
        HealthVerdict { succeeded, failed, success_share, healthy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_counts_as_healthy() {
        let rule = HealthRule::default();
        assert_eq!(rule.judge(95, 5).healthy, Some(true));
        assert_eq!(rule.judge(94, 6).healthy, Some(false));
        assert_eq!(rule.judge(0, 0).healthy, None);
        assert_eq!(HealthRule { least_records: 10, ..rule }.judge(0, 3).healthy, None);
    }
}
