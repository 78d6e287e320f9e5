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
use crm_sync::store::audit::AuditEntry;
use crm_sync::sync::{
    Attention, BatchRecord, BatchReport, BatchSync, ChangeLog, Checkpoint, Chooser, Decided, Engine, Erased, Fate, Flow, LocalChanges,
    LocalRecord, LocalWrite, LogItem, LogPage, MassDelete, MemoryRecords, Merged, OnDelete, OnDeleteAndEdit, Pick, Policies, Policy,
    Presence, ReadPage, Reader, Reconciled, Records, Rules, Settled, Step, SyncDirection, SyncRules, TwoWay, TwoWayPlan, TwoWayReport,
    TwoWayRow, WriteGuard, Writes,
};

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
    shareable::<(Engine, Reader, ReadPage, Checkpoint, LogItem, LogPage, Reconciled, MassDelete)>();
    shareable::<(TwoWay, TwoWayPlan, TwoWayReport, TwoWayRow, Settled, Step, WriteGuard, Attention, Decided, Erased)>();
    shareable::<(Policy, Policies, Rules, Merged, Flow, Fate, Presence, OnDelete, OnDeleteAndEdit, Pick, Chooser)>();
    shareable::<(LocalChanges, LocalRecord, LocalWrite, MemoryRecords, AuditEntry)>();
    shareable::<(SyncRules, SyncDirection, Writes, BatchSync, BatchRecord, BatchReport)>();
}

#[test]
fn the_seams_are_object_safe() {
    shareable::<Arc<dyn CrmAdapter>>();
    shareable::<Arc<dyn HttpTransport>>();
    shareable::<Arc<dyn Observer>>();
    shareable::<(Arc<dyn ChangeLog>, Arc<dyn Records>)>();
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

#[test]
fn a_two_way_sync_runs_on_any_executor() {
    async fn uses(sync: TwoWay, reader: Reader) -> Result<(), Error> {
        sendable(sync.read_host()).await?;
        sendable(sync.pull(&reader)).await?;
        let plan = sendable(sync.plan()).await?;
        sendable(sync.apply(&plan)).await?;
        sendable(sync.settle()).await?;
        sendable(sync.round(&reader)).await?;
        sendable(sync.note(&[])).await?;
        sendable(sync.attention(None, 1)).await?;
        sendable(sync.answer("1", "Title", Decided::Local)).await?;
        sendable(sync.unfreeze("1")).await?;
        sendable(sync.audit_of("1", 1)).await?;
        sendable(sync.erase("1", None)).await?;
        sendable(reader.reconcile(MassDelete::default())).await?;
        let _ = (sendable(sync.rounds(&reader)), sendable(reader.stream(reader_interval())));
        Ok(())
    }
    fn reader_interval() -> std::time::Duration {
        SyncRules::default().interval
    }
    fn checks(sync: TwoWay, reader: Reader) -> impl Send {
        uses(sync, reader)
    }
    let _ = checks;
}
