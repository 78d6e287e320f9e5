//! What hosts rely on without calling it: thread safety, object safety, sizes.

use std::sync::Arc;

use crm_sync::adapter::{BulkOp, Capabilities, CrmAdapter, CrmAdapterExt, Identity, Quota, WriteOptions, Written};
use crm_sync::error::{Error, ErrorKind};
use crm_sync::host::{Clock, Entropy, Host, Offload, Sleep};
use crm_sync::http::HttpTransport;
use crm_sync::layer::{DryRun, Guard, LayerExt, Layered, Observe, RateLimit, Retry};
use crm_sync::model::{Change, Entity, EntitySchema, Fields, Record, RecordId};
use crm_sync::observe::{Counts, Observer};
use crm_sync::pace::{Bucket, RetryBudget, RetryPolicy, Schedule, Window};
use crm_sync::query::{Criteria, Page, ParseError, Query};

fn shareable<T: Send + Sync + 'static>() {}
fn sendable<T: Send>(value: T) -> T {
    value
}

#[test]
fn everything_crosses_threads() {
    shareable::<Error>();
    shareable::<ErrorKind>();
    shareable::<ParseError>();
    shareable::<Host>();
    shareable::<(Entity, Fields, Record, RecordId, Change, EntitySchema)>();
    shareable::<(Query, Criteria, Page<Record>)>();
    shareable::<(BulkOp, Capabilities, Identity, Quota, WriteOptions, Written)>();
    shareable::<(Bucket, RetryBudget, RetryPolicy, Schedule, Window)>();
    shareable::<(Guard, Observe, RateLimit, Retry, Counts)>();
    shareable::<Layered<Layered<Arc<dyn CrmAdapter>, Retry>, RateLimit>>();
    shareable::<DryRun<Box<dyn CrmAdapter>>>();
}

#[test]
fn the_seams_are_object_safe() {
    shareable::<Arc<dyn CrmAdapter>>();
    shareable::<Arc<dyn HttpTransport>>();
    shareable::<Arc<dyn Observer>>();
    shareable::<(Arc<dyn Clock>, Arc<dyn Sleep>, Arc<dyn Entropy>, Arc<dyn Offload>)>();
}

#[test]
fn an_error_is_one_word() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

#[test]
fn a_layered_adapter_is_an_adapter_behind_any_pointer() {
    fn takes(adapter: Arc<dyn CrmAdapter>) -> Arc<dyn CrmAdapter> {
        let host = Host::manual(1);
        Arc::new(adapter.layer(RateLimit::new(host.clone(), [Window::per_second(5)])).layer(Retry::new(host, RetryPolicy::default())))
    }
    // Type-checks that the comforts and futures of a layered trait object can be sent.
    async fn uses(adapter: Arc<dyn CrmAdapter>) -> Result<(), Error> {
        let adapter = takes(adapter);
        let entity = Entity::from_static("Lead");
        sendable(adapter.find_one(Query::new(entity.clone()))).await?;
        sendable(adapter.create(&entity, &Fields::new(), &WriteOptions::new())).await?;
        Ok(())
    }
    fn checks(adapter: Arc<dyn CrmAdapter>) -> impl Send {
        uses(adapter)
    }
    let _ = checks;
}
