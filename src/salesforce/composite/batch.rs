//! Batches: independent requests, each counted by itself.

use crate::error::{Error, Result};
use crate::salesforce::composite::build::Composite;

/// Requests of one batch (REST API Developer Guide, "Batch").
const MAX_PARTS: usize = 25;

/// Up to 25 independent requests in one. It saves round trips, not API calls: each part counts. The parts are those of a
/// [`Composite`] that do not refer to each other; their names tell the outcomes apart.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) parts: Composite,
    pub(super) halt: bool,
}

impl Batch {
    /// These parts.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if there are none, more than 25, or some refer to others.
    pub fn new(parts: Composite) -> Result<Self> {
        if parts.is_empty() || parts.len() > MAX_PARTS {
            return Err(Error::config(format!("a batch takes 1 to {MAX_PARTS} requests")));
        }
        if parts.parts.iter().any(|part| part.depth > 1) {
            return Err(Error::config("the requests of a batch are independent; use a composite for references"));
        }
        Ok(Self { parts, halt: false })
    }

    /// Whether the first failure keeps the rest from being carried out; what came before it stays done. Default: no.
    #[must_use]
    pub fn halt_on_error(mut self, halt: bool) -> Self {
        self.halt = halt;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fields;
    use crate::salesforce::entity::ACCOUNT;

    #[test]
    fn independent_and_few() {
        assert!(Batch::new(Composite::new()).is_err());
        let mut parts = Composite::new();
        let first = parts.create("a", &ACCOUNT, &Fields::new(), &[]).unwrap();
        Batch::new(parts.clone()).unwrap();
        parts.create("b", &ACCOUNT, &Fields::new(), &[("ParentId", first)]).unwrap();
        assert!(Batch::new(parts).is_err());
    }
}
