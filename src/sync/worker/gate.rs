//! How much may be under way, and which scopes must wait.

use std::collections::BTreeMap;
use std::time::Duration;

/// Additive increase, multiplicative decrease; and the scopes that are out.
#[derive(Debug)]
pub(super) struct Gate {
    limit: f64,
    most: usize,
    /// Until which monotonic mark a scope waits, and how often in a row it had to.
    scopes: BTreeMap<String, (Duration, u32)>,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        Self { limit: 1.0, most: most.max(1), scopes: BTreeMap::new() }
    }

    /// How many batches may be under way.
    pub(super) fn limit(&self) -> usize {
        // At least 1 and at most `most`, so it fits.
        self.limit as usize
    }

    /// A batch was answered: one more after a whole round of them.
    pub(super) fn answered(&mut self, scopes: &[String]) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.most as f64);
        for scope in scopes {
            self.scopes.remove(scope);
        }
    }

    /// The CRM asked for less.
    pub(super) fn throttled(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
    }

    /// How often in a row the worst of these scopes had to wait.
    pub(super) fn failures(&self, scopes: &[String]) -> u32 {
        scopes.iter().filter_map(|scope| self.scopes.get(scope)).map(|(_, failures)| *failures).max().unwrap_or(0)
    }

    /// These scopes wait until a monotonic mark.
    pub(super) fn pause(&mut self, scopes: &[String], until: Duration) {
        for scope in scopes {
            let (at, failures) = self.scopes.entry(scope.clone()).or_default();
            *at = (*at).max(until);
            *failures = failures.saturating_add(1);
        }
    }

    /// A scope waits no longer. True if it did.
    pub(super) fn resume(&mut self, scope: &str) -> bool {
        self.scopes.remove(scope).is_some()
    }

    /// The scopes that wait now. One that may go again keeps its count until it is answered.
    pub(super) fn paused(&self, now: Duration) -> Vec<String> {
        self.scopes.iter().filter(|(_, (until, _))| *until > now).map(|(scope, _)| scope.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_a_round_and_halves() {
        let mut gate = Gate::new(4);
        let mut limits = vec![gate.limit()];
        for _ in 0..12 {
            gate.answered(&[]);
            limits.push(gate.limit());
        }
        assert_eq!(limits, [1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4]);
        gate.throttled();
        assert_eq!(gate.limit(), 2);
        gate.throttled();
        gate.throttled();
        assert_eq!(gate.limit(), 1);
    }

    #[test]
    fn a_scope_waits_for_its_time() {
        let mut gate = Gate::new(1);
        let scopes = ["a".to_owned()];
        gate.pause(&scopes, Duration::from_secs(5));
        gate.pause(&scopes, Duration::from_secs(3));
        assert_eq!(gate.failures(&scopes), 2);
        assert_eq!(gate.paused(Duration::from_secs(4)), ["a"]);
        assert!(gate.paused(Duration::from_secs(5)).is_empty());
        gate.answered(&scopes);
        assert_eq!(gate.failures(&scopes), 0);
    }
}
