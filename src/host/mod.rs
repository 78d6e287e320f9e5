//! What the host lends: time, sleep, randomness and a place for blocking work.
//!
//! The library owns no runtime, starts no thread and reads no clock of its own. [`Host::tokio`] (feature `tokio`) lends those
//! of a tokio runtime; [`Host::manual`] lends a clock that moves only when something sleeps, so that a test of a retry, a
//! lease or a rate limit runs in microseconds and says the same thing twice.

mod bundle;
mod clock;
mod entropy;
mod offload;
mod sleep;

pub use bundle::{Host, HostBuilder};
pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
#[cfg(feature = "tokio")]
pub use offload::TokioBlocking;
pub use offload::{InPlace, Offload};
#[cfg(feature = "tokio")]
pub use sleep::TokioSleep;
pub use sleep::{ManualSleep, Sleep};
