//! How fast and how often: arithmetic only.
//!
//! Nothing here sleeps, reads a clock or draws a random number: elapsed time, the monotonic mark and the random number are
//! arguments, and waits are answers. The retry and rate-limit layers do the waiting, with what the
//! [`Host`](crate::host::Host) lends.

mod bucket;
mod budget;
mod policy;
mod schedule;

pub use bucket::{Bucket, Window};
pub use budget::RetryBudget;
pub use policy::{Jitter, RetryPolicy};
pub use schedule::Schedule;
