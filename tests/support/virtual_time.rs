//! Time that stands still while anybody has work, and then jumps to the next who sleeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crm_sync::host::{Clock, Host, SeededEntropy, Sleep};
use futures_util::future::{BoxFuture, poll_fn};
use jiff::Timestamp;

#[derive(Debug, Default)]
struct Now {
    at: Duration,
    numbers: u64,
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

/// The clock and the timers of one virtual world.
#[derive(Clone, Debug, Default)]
pub struct VirtualTime(Arc<Mutex<Now>>);

impl VirtualTime {
    pub fn host(&self, seed: u64) -> Host {
        Host::builder(self.clone()).clock(self.clone()).entropy(SeededEntropy::new(seed)).build()
    }

    pub fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().at
    }

    /// Runs `future` to its end.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            while flag.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                    return value;
                }
            }
            let mut now = self.0.lock().unwrap();
            let ((at, _), sleeper) = now.sleepers.pop_first().expect("everybody waits and nobody sleeps");
            now.at = at;
            drop(now);
            sleeper.wake();
        }
    }
}

impl Clock for VirtualTime {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + self.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }
}

impl Sleep for VirtualTime {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let time = self.clone();
        let mut entry = None;
        Box::pin(poll_fn(move |context| {
            let mut now = time.0.lock().unwrap();
            let entry = *entry.get_or_insert_with(|| {
                now.numbers += 1;
                (now.at + duration, now.numbers)
            });
            if now.at >= entry.0 {
                return Poll::Ready(());
            }
            now.sleepers.insert(entry, context.waker().clone());
            Poll::Pending
        }))
    }
}
