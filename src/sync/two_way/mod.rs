//! Two-way sync: the host's records and those of one entity of a CRM, kept in step.
//!
//! What changed is noted in the store first, in the same commit that moves the cursor of whoever told of it. A
//! [`TwoWay::settle`] then looks at each noted record: what was agreed, what the host says now, what the CRM says now. That is
//! planned for both directions ([`TwoWayPlan`]: a table, or JSON), written, read back, and remembered as the CRM returned it.
//! Nothing depends on the order or the number of the notes, so late, repeated and missing events do no harm.
//!
//! One `settle` at a time works on an entity; another one finds the lock held and does nothing.

mod api;
mod apply;
mod decide;
mod erase;
mod fields;
mod pair;
mod plan;
mod planner;
mod relate;
mod remember;
mod rounds;
mod tend;

pub use api::{TwoWay, TwoWayBuilder};
pub use erase::Erased;
pub use plan::{Settled, Step, TwoWayPlan, TwoWayReport, TwoWayRow, WriteGuard};
pub use tend::{Attention, Decided};
