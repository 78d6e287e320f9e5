//! The four loans in one cheap clone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::host::clock::{Clock, ManualClock, SystemClock};
use crate::host::entropy::{Entropy, OsEntropy, SeededEntropy};
use crate::host::offload::{InPlace, Offload};
use crate::host::sleep::{ManualSleep, Sleep};

/// Clock, sleep, entropy and offload of the host. Cloning copies four pointers.
#[derive(Clone, Debug)]
pub struct Host {
    clock: Arc<dyn Clock>,
    sleep: Arc<dyn Sleep>,
    entropy: Arc<dyn Entropy>,
    offload: Arc<dyn Offload>,
}

impl Host {
    /// The system's clock and randomness, tokio's timers and blocking pool.
    #[cfg(feature = "tokio")]
    pub fn tokio() -> Self {
        Self::builder(crate::host::sleep::TokioSleep).offload(crate::host::offload::TokioBlocking).build()
    }

    /// A repeatable host: seeded randomness, and a clock that starts on 2026-01-01 and moves only by sleeping.
    pub fn manual(seed: u64) -> Self {
        Self::manual_with_clock(seed).0
    }

    /// As [`Host::manual`], with the clock's own handle, to move it by hand.
    pub fn manual_with_clock(seed: u64) -> (Self, Arc<ManualClock>) {
        let start = Timestamp::new(1_767_225_600, 0).unwrap_or(Timestamp::UNIX_EPOCH);
        let clock = Arc::new(ManualClock::new(start));
        let host = Self::builder(ManualSleep::new(Arc::clone(&clock)))
            .clock_shared(Arc::clone(&clock) as Arc<dyn Clock>)
            .entropy(SeededEntropy::new(seed))
            .build();
        (host, clock)
    }

    /// A host from parts. Only sleeping has no default, since it belongs to a runtime.
    pub fn builder(sleep: impl Sleep + 'static) -> HostBuilder {
        HostBuilder { clock: None, sleep: Arc::new(sleep), entropy: Arc::new(OsEntropy), offload: Arc::new(InPlace) }
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The monotonic mark.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep.sleep(duration).await;
    }

    /// Fills `bytes` with randomness.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.entropy.fill(bytes);
    }

    /// A number in `0.0..1.0`.
    pub fn random(&self) -> f64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        // 53 bits are what a double can hold.
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A fresh, time-ordered id (UUID version 7) from the host's clock and entropy.
    pub fn new_id(&self) -> String {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(self.now().as_millisecond()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().to_string()
    }

    /// Runs blocking work where the host wants it.
    ///
    /// # Errors
    /// What `work` returns; [`crate::error::ErrorKind::Internal`] if the host dropped the work without running it.
    pub async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        self.offload
            .offload(Box::new(move || {
                let value = work();
                *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            }))
            .await;
        let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.unwrap_or_else(|| Err(Error::internal("the host did not run the blocking work")))
    }
}

/// Puts a [`Host`] together.
#[derive(Debug)]
pub struct HostBuilder {
    clock: Option<Arc<dyn Clock>>,
    sleep: Arc<dyn Sleep>,
    entropy: Arc<dyn Entropy>,
    offload: Arc<dyn Offload>,
}

impl HostBuilder {
    /// Default: [`SystemClock`].
    #[must_use]
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        self.clock_shared(Arc::new(clock))
    }

    /// As [`HostBuilder::clock`], for a clock that somebody else holds too.
    #[must_use]
    pub fn clock_shared(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Default: [`OsEntropy`].
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Default: [`InPlace`].
    #[must_use]
    pub fn offload(mut self, offload: impl Offload + 'static) -> Self {
        self.offload = Arc::new(offload);
        self
    }

    /// The host.
    pub fn build(self) -> Host {
        Host {
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            sleep: self.sleep,
            entropy: self.entropy,
            offload: self.offload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_manual_host_repeats_itself() {
        let (a, b) = (Host::manual(7), Host::manual(7));
        assert_eq!(a.new_id(), b.new_id());
        assert_ne!(a.new_id(), Host::manual(8).new_id());
        let r = a.random();
        assert!((0.0..1.0).contains(&r));
    }

    #[test]
    fn manual_sleep_moves_the_clock() {
        let host = Host::manual(1);
        let before = host.now();
        host.sleep(Duration::from_secs(90)).now_or_never().unwrap();
        assert_eq!(host.now().duration_since(before).as_secs(), 90);
        assert_eq!(host.monotonic(), Duration::from_secs(90));
    }

    #[test]
    fn offloaded_work_answers() {
        let host = Host::manual(1);
        assert_eq!(host.offload(|| Ok(41 + 1)).now_or_never().unwrap().unwrap(), 42);
    }
}
