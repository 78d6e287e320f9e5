//! What every queue must do.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use async_trait::async_trait;
//! # use crm_sync::{conformance::queue::{self, QueueBench}, error::Result, host::{Host, ManualClock}, queue::{MemoryQueue, Queue}};
//! #[derive(Debug)]
//! struct Bench(Host, Arc<ManualClock>);
//!
//! #[async_trait]
//! impl QueueBench for Bench {
//!     async fn queue(&self) -> Result<Arc<dyn Queue>> {
//!         Ok(Arc::new(MemoryQueue::new(self.0.clone())))
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         self.1.advance(time);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (host, clock) = Host::manual_with_clock(1);
//! let report = queue::all(&Bench(host, clock)).await;
//! assert!(report.is_ok(), "{report}");
//! # }
//! ```

mod api;
mod claims;
mod enqueue;
mod leases;
mod list;
mod model;
mod parking;
mod settling;
mod whole;

pub use api::QueueBench;
pub use claims::{
    claims_come_by_priority_then_age, entries_wait_for_their_time, kinds_are_selected, lanes_keep_their_order, scopes_are_skipped,
};
pub use enqueue::{
    bad_entries_are_refused, entries_come_back, entries_join_as_they_say, large_batches_work, op_ids_are_enqueued_once,
    op_ids_are_forgotten_after_their_window,
};
pub use leases::{extended_leases_hold, fences_grow_for_ever, leases_end_by_themselves, one_lease_per_lane, stale_tokens_change_nothing};
pub use list::all;
pub use model::random_histories_match_the_model;
pub use parking::{
    dead_letters_come_in_pages_and_groups, frozen_lanes_stand_still, parked_entries_leave_their_lane, replayed_entries_take_their_place,
    subjects_are_erased,
};
pub use settling::{
    deferrals_count_no_attempt, done_prefixes_are_gone, released_lanes_are_free, retries_keep_their_place, rows_settle_one_by_one,
};
pub use whole::{durable_means_durable, statistics_count, wakeups_come, workers_side_by_side_lose_and_repeat_nothing};
