//! What was built from outside keeps the contracts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::{adapter, queue, store};
use crm_sync::error::Result;
use crm_sync::host::{Host, ManualClock};
use crm_sync::model::{Entity, Fields};
use crm_sync::queue::{OP_WINDOW, Queue};
use crm_sync::store::Store;
use crm_sync_downstream::{PlainQueue, PlainStore, Rolodex};

#[derive(Debug)]
struct Bench {
    host: Host,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        Self { host, clock }
    }
}

#[async_trait]
impl queue::QueueBench for Bench {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        Ok(Arc::new(PlainQueue::new(self.host.clone())))
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn op_window(&self) -> Option<Duration> {
        Some(OP_WINDOW)
    }
}

#[async_trait]
impl store::StoreBench for Bench {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(PlainStore::new(self.host.clone())))
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

#[tokio::test]
async fn the_adapter() {
    let crm = Rolodex::new(Host::manual(1));
    let sample = |n: u64| -> Fields {
        let mut fields = Fields::new();
        fields.insert("key", format!("key-{n:04}"));
        fields.insert("name", format!("conformance {n:04}"));
        fields.insert("note", "a note");
        fields.insert("score", n);
        fields
    };
    let subject = adapter::Subject::new(Entity::from_static("Card"), "name", sample).clearable("note").number("score").key("key");
    let report = adapter::check(&crm, &subject).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test]
async fn the_queue() {
    let report = queue::all(&Bench::new()).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test]
async fn the_store() {
    let report = store::all(&Bench::new()).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}
