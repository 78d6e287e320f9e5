//! What each layer adds to a call: an adapter that answers at once, called 100 times.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is a program of its own")]

use async_trait::async_trait;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crm_sync::adapter::{Capabilities, CrmAdapter, Identity, WriteOptions, Written};
use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::layer::{Guard, LayerExt, Observe, RateLimit, Retry};
use crm_sync::model::{Entity, Fields, Record, RecordId};
use crm_sync::observe::Counts;
use crm_sync::pace::{RetryPolicy, Window};
use crm_sync::query::{Page, Query};

const LEAD: Entity = Entity::from_static("Lead");
const CALLS: u32 = 100;

#[derive(Debug)]
struct AtOnce(Capabilities);

#[async_trait]
impl CrmAdapter for AtOnce {
    fn name(&self) -> &str {
        "at-once"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    async fn authenticate(&self) -> Result<Identity> {
        Ok(Identity::new())
    }

    async fn search(&self, _: &Query) -> Result<Page<Record>> {
        Ok(Page::new(Vec::new(), None, None))
    }

    async fn create(&self, _: &Entity, _: &Fields, _: &WriteOptions) -> Result<Written> {
        Ok(Written::new(RecordId::new("1")))
    }

    async fn update(&self, _: &Entity, id: &RecordId, _: &Fields, _: &WriteOptions) -> Result<Written> {
        Ok(Written::new(id.clone()))
    }

    async fn delete(&self, _: &Entity, _: &RecordId, _: &WriteOptions) -> Result<()> {
        Ok(())
    }
}

fn layers(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let host = Host::tokio();
    let (id, options) = (RecordId::new("1"), WriteOptions::new());
    let change: Fields = [("LastName", "Lovelace")].into_iter().collect();
    let bare = || AtOnce(Capabilities::basic("Id"));
    // So wide that no call waits: what is measured is the counting.
    let limit = || RateLimit::new(host.clone(), [Window::per_second(1_000_000_000)]);
    let retry = || Retry::new(host.clone(), RetryPolicy::default());
    let observe = || Observe::new(host.clone(), Counts::new());
    let adapters: [(&str, Box<dyn CrmAdapter>); 6] = [
        ("none", Box::new(bare())),
        ("rate limit", Box::new(bare().layer(limit()))),
        ("retry", Box::new(bare().layer(retry()))),
        ("guard", Box::new(bare().layer(Guard::new()))),
        ("observe", Box::new(bare().layer(observe()))),
        ("all four", Box::new(bare().layer(limit()).layer(retry()).layer(Guard::new()).layer(observe()))),
    ];
    let mut group = c.benchmark_group("update through layers");
    group.throughput(Throughput::Elements(CALLS.into()));
    for (name, adapter) in &adapters {
        group.bench_function(*name, |b| {
            b.iter(|| {
                runtime.block_on(async {
                    for _ in 0..CALLS {
                        adapter.update(&LEAD, &id, &change, &options).await.unwrap();
                    }
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);
