//! What something took: time, memory, and processor time of this process and of a server's, which is what a busy machine leaves
//! comparable.

use std::path::Path;
use std::time::{Duration, Instant};

/// Whose processor time counts: this process, and a server with its children.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    server: Option<u32>,
}

/// Since when.
pub(crate) struct Started {
    at: Instant,
    used: Option<Duration>,
}

/// What it took. The processor time is known where the system tells.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    pub(crate) processor: Option<Duration>,
}

impl Meter {
    pub(crate) fn new(server: Option<u32>) -> Self {
        Self { server }
    }

    pub(crate) fn start(self) -> Started {
        Started { used: self.used(), at: Instant::now() }
    }

    pub(crate) fn stop(self, started: &Started) -> Took {
        let time = started.at.elapsed();
        Took { time, processor: self.used().zip(started.used).map(|(now, then)| now.saturating_sub(then)) }
    }

    /// Memory in KiB: of this process, and of the server, pages that its processes share counted once.
    pub(crate) fn memory(self) -> (Option<u64>, Option<u64>) {
        let server = self.server.and_then(|server| {
            let mut all = memory_of(&server.to_string())?;
            for child in children(server) {
                all += memory_of(&child).unwrap_or_default();
            }
            Some(all)
        });
        (memory_of("self"), server)
    }

    fn used(self) -> Option<Duration> {
        let mut all = of_process("self")?;
        if let Some(server) = self.server {
            all += of_process(&server.to_string()).unwrap_or_default();
            for child in children(server) {
                all += of_process(&child).unwrap_or_default();
            }
        }
        Some(all)
    }
}

/// The time all threads of a process have run.
fn of_process(id: &str) -> Option<Duration> {
    let threads = std::fs::read_dir(Path::new("/proc").join(id).join("task")).ok()?;
    let nanos = |thread: std::fs::DirEntry| -> Option<u64> {
        std::fs::read_to_string(thread.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Some(Duration::from_nanos(threads.filter_map(|thread| nanos(thread.ok()?)).sum()))
}

fn memory_of(id: &str) -> Option<u64> {
    let all = std::fs::read_to_string(Path::new("/proc").join(id).join("smaps_rollup")).ok()?;
    all.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().split(' ').next()?.parse().ok()
}

fn children(of: u32) -> Vec<String> {
    let path = format!("/proc/{of}/task/{of}/children");
    std::fs::read_to_string(path).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
