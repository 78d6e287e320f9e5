//! What every store must do.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use async_trait::async_trait;
//! # use crm_sync::{conformance::store::{self, StoreBench}, error::Result, host::{Host, ManualClock}, store::{MemoryStore, Store}};
//! #[derive(Debug)]
//! struct Bench(Host, Arc<ManualClock>);
//!
//! #[async_trait]
//! impl StoreBench for Bench {
//!     async fn store(&self) -> Result<Arc<dyn Store>> {
//!         Ok(Arc::new(MemoryStore::new(self.0.clone())))
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
//! let report = store::all(&Bench(host, clock)).await;
//! assert!(report.is_ok(), "{report}");
//! # }
//! ```

mod api;
mod commits;
mod families;
mod list;
mod model;
mod reads;
mod time;

pub use api::StoreBench;
pub use commits::{
    batches_are_all_or_nothing, concurrent_changes_are_not_lost, conflicts_name_the_first_key, one_of_many_inserts_wins,
    preconditions_see_the_state_before, versions_grow_for_ever,
};
pub use families::{base_comes_back, intents_open_once_and_close_once, links_are_unique_both_ways, merged_records_are_relinked};
pub use list::all;
pub use model::random_batches_match_a_model;
pub use reads::{large_batches_work, reads_keep_their_order, scans_are_ordered_and_bounded, values_come_back};
pub use time::{durable_means_durable, expired_rows_are_absent, locks_exclude_and_fence};
