//! A budget of retries shared by all calls to one CRM.
//!
//! When everything fails, a policy alone multiplies the load by its attempts, on a CRM that is already down. With a budget the
//! first few dozen retries spend it, and from then on each call is tried once, until successes fill it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, ErrorKind};

const CAPACITY: u32 = 500;
const FAULT: u32 = 14;
const THROTTLING: u32 = 5;

/// Tokens that retries spend and successes give back. Clones share the same tokens.
///
/// The figures are those of the AWS SDKs: 500 tokens; a retry costs 14, after throttling 5; a retry that succeeds gives its cost
/// back, a first attempt that succeeds gives one token.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    tokens: Arc<AtomicU32>,
    capacity: u32,
    fault: u32,
    throttling: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl RetryBudget {
    /// A full budget of `capacity` tokens.
    pub fn new(capacity: u32) -> Self {
        Self { tokens: Arc::new(AtomicU32::new(capacity)), capacity, fault: FAULT, throttling: THROTTLING }
    }

    /// What a retry costs after a fault and after throttling. Set before the budget is shared: clones keep their own costs.
    #[must_use]
    pub fn costs(mut self, fault: u32, throttling: u32) -> Self {
        self.fault = fault;
        self.throttling = throttling;
        self
    }

    /// How many tokens are left.
    pub fn left(&self) -> u32 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Pays for a retry after `error`. The cost if it was there, to be given back by [`RetryBudget::give_back`] when the retry
    /// succeeds; `None` if the budget is spent, in which case no token is taken.
    pub fn spend(&self, error: &Error) -> Option<u32> {
        let cost = if error.kind() == ErrorKind::RateLimited { self.throttling } else { self.fault };
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).ok().map(|_| cost)
    }

    /// Gives `tokens` back, up to the capacity. For a first attempt that succeeded, that is 1.
    pub fn give_back(&self, tokens: u32) {
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_add(tokens).min(self.capacity)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thirty_five_retries_and_then_none() {
        let budget = RetryBudget::default();
        let fault = Error::new(ErrorKind::Unavailable, "x");
        let retries = (0..100).filter(|_| budget.spend(&fault).is_some()).count();
        assert_eq!(retries, 35);
        assert_eq!(budget.left(), 10);
        assert_eq!(budget.spend(&Error::new(ErrorKind::RateLimited, "x")), Some(5));
    }

    #[test]
    fn success_fills_it_up_to_the_brim() {
        let budget = RetryBudget::new(20);
        let shared = budget.clone();
        assert_eq!(budget.spend(&Error::new(ErrorKind::Network, "x")), Some(14));
        assert_eq!(shared.left(), 6);
        shared.give_back(14);
        shared.give_back(1);
        assert_eq!(budget.left(), 20);
    }

    proptest! {
        #[test]
        fn never_above_capacity(steps in proptest::collection::vec(any::<bool>(), 0..200), capacity in 0u32..600) {
            let budget = RetryBudget::new(capacity);
            let fault = Error::new(ErrorKind::Network, "x");
            for up in steps {
                if up { budget.give_back(14) } else { let before = budget.left(); prop_assert_eq!(budget.spend(&fault).is_some(), before >= 14); }
                prop_assert!(budget.left() <= capacity);
            }
        }
    }
}
