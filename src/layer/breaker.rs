//! Leaves a CRM in peace that is down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::layer::api::{Call, Middleware};
use crate::observe::{BreakerStep, Event, Ignore, Observer};

/// A circuit breaker: after several outages in a row no call goes out for a while; then a single one probes.
///
/// | state | a call | what changes it |
/// | --- | --- | --- |
/// | closed | goes out | [`Breaker::failures`] outages in a row open it |
/// | open | fails at once: [`ErrorKind::Unavailable`], certainly not applied, [`Retry::After`] the rest of the pause | the pause is over |
/// | half open | one goes out as the probe, the others fail at once | an answer closes it; an outage opens it for twice as long |
///
/// An outage is [`ErrorKind::Network`], [`ErrorKind::Timeout`] or [`ErrorKind::Unavailable`]. Every other error is an answer: the
/// CRM is there, and a rate limit has its own time. Clones share the state. A probe that is dropped lets the next call probe.
/// Put it inside of [`crate::layer::Retry`].
#[derive(Clone, Debug)]
pub struct Breaker {
    host: Host,
    state: Arc<Mutex<State>>,
    failures: u32,
    pause: Duration,
    longest: Duration,
    observer: Arc<dyn Observer>,
}

#[derive(Debug, Default)]
struct State {
    /// Outages in a row.
    failed: u32,
    /// Until when nothing goes out; `None` if it is closed.
    until: Option<Duration>,
    /// The last pause.
    pause: Duration,
    /// A probe is under way.
    probing: bool,
}

/// How a call may go on.
enum Way {
    Go,
    Probe,
    Refused(Duration),
}

/// Frees the place of a probe, also if its future is dropped.
struct Probe<'a>(&'a Breaker);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.lock().probing = false;
    }
}

impl Breaker {
    /// Opens after five outages in a row, for 30 s at first and 10 minutes at most.
    pub fn new(host: Host) -> Self {
        Self {
            host,
            state: Arc::default(),
            failures: 5,
            pause: Duration::from_secs(30),
            longest: Duration::from_secs(600),
            observer: Arc::new(Ignore),
        }
    }

    /// After so many outages in a row; 0 counts as 1.
    #[must_use]
    pub fn failures(mut self, failures: u32) -> Self {
        self.failures = failures.max(1);
        self
    }

    /// The first pause, and the longest that doubling leads to.
    #[must_use]
    pub fn pause(mut self, first: Duration, longest: Duration) -> Self {
        self.pause = first;
        self.longest = longest.max(first);
        self
    }

    /// Who hears of [`Event::Breaker`].
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// True while calls are refused or a probe decides.
    pub fn is_open(&self) -> bool {
        self.lock().until.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way(&self) -> Way {
        let now = self.host.monotonic();
        let mut state = self.lock();
        match state.until {
            None => Way::Go,
            Some(until) if until > now => Way::Refused(until.saturating_sub(now)),
            // Nobody knows how long the probe takes.
            Some(_) if state.probing => Way::Refused(Duration::from_secs(1)),
            Some(_) => {
                state.probing = true;
                Way::Probe
            }
        }
    }

    /// Notes the end of a call; what it changed.
    fn ended(&self, error: Option<&Error>, probe: bool) -> Option<BreakerStep> {
        let outage = |error: &Error| matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Unavailable);
        let now = self.host.monotonic();
        let mut state = self.lock();
        if !error.is_some_and(outage) {
            // A call that was sent before it opened says nothing about the CRM now.
            if state.until.is_some() && !probe {
                return None;
            }
            let was_open = state.until.is_some();
            *state = State { probing: state.probing, ..State::default() };
            return was_open.then_some(BreakerStep::Closed);
        }
        state.failed = state.failed.saturating_add(1);
        let opens = if state.until.is_some() { probe } else { state.failed >= self.failures };
        if !opens {
            return None;
        }
        state.pause = if probe { state.pause.saturating_mul(2).min(self.longest) } else { self.pause };
        let asked = error.and_then(Error::retry_after).unwrap_or_default();
        state.until = Some(now.saturating_add(state.pause.max(asked)));
        Some(BreakerStep::Opened)
    }

    fn tell(&self, adapter: &str, step: BreakerStep) {
        self.observer.on(&Event::Breaker { adapter, step });
    }
}

impl Middleware for Breaker {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let probe = match self.way() {
            Way::Go => None,
            Way::Probe => {
                self.tell(call.adapter, BreakerStep::Probing);
                Some(Probe(self))
            }
            Way::Refused(wait) => {
                let message = format!("{} is down: no call is made until a probe is answered", call.adapter);
                let error = Error::new(ErrorKind::Unavailable, message).retrying(Retry::After(wait)).during(call.operation);
                return Err(match call.entity {
                    Some(entity) => error.on(entity),
                    None => error,
                });
            }
        };
        let result = run().await;
        if let Some(step) = self.ended(result.as_ref().err(), probe.is_some()) {
            self.tell(call.adapter, step);
        }
        drop(probe);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt;

    use super::*;
    use crate::adapter::Capabilities;
    use crate::observe::Counts;

    async fn call(breaker: &Breaker, sent: &AtomicU32, answer: Option<ErrorKind>) -> Result<()> {
        let capabilities = Capabilities::basic("Id");
        let run = || -> BoxFuture<'_, Result<()>> {
            sent.fetch_add(1, Ordering::Relaxed);
            let answer = answer.map_or(Ok(()), |kind| Err(Error::new(kind, "x")));
            async move { answer }.boxed()
        };
        breaker.around(Call::new("a", &capabilities, "get"), run).await
    }

    #[tokio::test]
    async fn it_opens_probes_once_and_closes() {
        let (host, clock) = Host::manual_with_clock(1);
        let counts = Counts::new();
        let breaker = Breaker::new(host).failures(2).pause(Duration::from_secs(10), Duration::from_secs(15)).observer(counts.clone());
        let sent = AtomicU32::new(0);
        let down = Some(ErrorKind::Unavailable);
        // An answer in between starts the count anew; a refusal is an answer.
        for answer in [down, Some(ErrorKind::RateLimited), down, None, down] {
            let _ = call(&breaker, &sent, answer).await;
        }
        assert!(!breaker.is_open());
        call(&breaker, &sent, Some(ErrorKind::Timeout)).await.unwrap_err();
        assert!(breaker.is_open() && sent.load(Ordering::Relaxed) == 6);
        let refused = call(&breaker, &sent, None).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.retry_after(), refused.may_have_applied()),
            (ErrorKind::Unavailable, Some(Duration::from_secs(10)), false)
        );
        assert_eq!(sent.load(Ordering::Relaxed), 6);
        // The probe fails: twice as long, at most the longest.
        clock.advance(Duration::from_secs(10));
        call(&breaker, &sent, down).await.unwrap_err();
        assert_eq!(call(&breaker, &sent, None).await.unwrap_err().retry_after(), Some(Duration::from_secs(15)));
        clock.advance(Duration::from_secs(15));
        call(&breaker, &sent, None).await.unwrap();
        assert!(!breaker.is_open());
        call(&breaker, &sent, None).await.unwrap();
        assert_eq!((sent.load(Ordering::Relaxed), counts.tally().breaker_opened), (9, 2));
    }

    #[tokio::test]
    async fn a_dropped_probe_lets_another_one_go() {
        let (host, clock) = Host::manual_with_clock(1);
        let breaker = Breaker::new(host).failures(1);
        let sent = AtomicU32::new(0);
        call(&breaker, &sent, Some(ErrorKind::Network)).await.unwrap_err();
        clock.advance(Duration::from_secs(30));
        let capabilities = Capabilities::basic("Id");
        let mut waiting =
            breaker.around(Call::new("a", &capabilities, "get"), || futures_util::future::pending::<Result<()>>().boxed()).boxed();
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(call(&breaker, &sent, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
        drop(waiting);
        call(&breaker, &sent, None).await.unwrap();
        assert!(!breaker.is_open());
    }
}
