//! Waiting for a job: every look is an API call, so the pauses grow.

use std::time::Duration;

use http::HeaderMap;

use crate::error::{Result, Retry};
use crate::pace::Schedule;
use crate::rest::Call;
use crate::salesforce::bulk::job::JobInfo;
use crate::salesforce::client::Salesforce;

/// So many looks in a row may fail of passing trouble before the wait is given up; the job itself goes on meanwhile.
const PATIENCE: u32 = 5;

/// How often a job is looked at. Each look is one API call.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Polling {
    /// The first pause. Default: 1 s.
    pub initial: Duration,
    /// Each pause is so many times the one before. Default: 2.
    pub multiplier: f64,
    /// The longest pause. Default: 30 s.
    pub cap: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), multiplier: 2.0, cap: Duration::from_secs(30) }
    }
}

impl Polling {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the first and the longest pause.
    #[must_use]
    pub fn between(mut self, initial: Duration, cap: Duration) -> Self {
        self.initial = initial;
        self.cap = cap;
        self
    }

    pub(super) fn schedule(self) -> Schedule {
        Schedule::new(self.initial, self.multiplier, self.cap)
    }
}

/// Looks at the job at `path` until nothing happens any more. Passing trouble is waited out.
pub(super) async fn wait(client: &Salesforce, path: &str, polling: Polling) -> Result<JobInfo> {
    let mut failures = 0;
    let mut pauses = polling.schedule();
    loop {
        let pause = pauses.next().unwrap_or(polling.cap);
        match look(client, path).await {
            Ok(info) if info.state.is_terminal() => return Ok(info),
            Ok(_) => {
                failures = 0;
                client.host().sleep(pause).await;
            }
            Err(error) => {
                failures += 1;
                let pause = match error.retry() {
                    Retry::After(asked) if failures <= PATIENCE => asked.max(pause),
                    Retry::Backoff if failures <= PATIENCE => pause,
                    _ => return Err(error),
                };
                client.host().sleep(pause).await;
            }
        }
    }
}

/// One look.
pub(super) async fn look(client: &Salesforce, path: &str) -> Result<JobInfo> {
    client.send(Call::get("bulk job", path), &HeaderMap::new()).await?.json()
}
