//! The list of checks passes an adapter that keeps the contract, and finds each way of breaking it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::adapter::{BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, Since, WriteOptions, Written};
use crm_sync::conformance::Report;
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::error::{Error, ErrorKind, FieldError, Result};
use crm_sync::host::Host;
use crm_sync::layer::{DryRun, Guard, LayerExt, Observe, RateLimit, Retry};
use crm_sync::model::{Change, ChangeKind, Entity, EntitySchema, ExternalKey, FieldSchema, FieldType, Fields, Record, RecordId, Version};
use crm_sync::observe::Counts;
use crm_sync::pace::{RetryPolicy, Window};
use crm_sync::query::{Cursor, Page, Query};
use serde_json::{Value, json};

const TICKET: Entity = Entity::from_static("Ticket");

/// One way to break the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    BulkReversesOutcomes,
    BulkStopsAtFailure,
    ClearingIsIgnored,
    CreateForgetsAField,
    DeleteTwiceFails,
    DeletesNothing,
    DescribeForgetsAField,
    ErrorsNameNothing,
    ErrorsShowValues,
    FeedForgetsDeletes,
    IgnoresUnclaimedVersions,
    IgnoresVersions,
    LimitIsPerPage,
    None,
    PagesOverlap,
    ReusesIds,
    SearchIgnoresTheFilter,
    SelectIsIgnored,
    UnknownFieldsAreDropped,
    UnsupportedIsValidation,
    UpdateReplaces,
    UpsertAlwaysCreates,
}

#[derive(Debug)]
struct Memory {
    fault: Fault,
    capabilities: Capabilities,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    rows: BTreeMap<u64, (Fields, u64)>,
    feed: Vec<Change>,
}

impl Memory {
    fn new(fault: Fault) -> Self {
        let mut capabilities = Capabilities::basic("id");
        capabilities.search_with_or = true;
        capabilities.search_with_not = true;
        capabilities.search_with_order = true;
        capabilities.update_with_version = fault != Fault::IgnoresUnclaimedVersions;
        capabilities.upsert = true;
        capabilities.changes = true;
        capabilities.changes_with_deletes = true;
        capabilities.describe = true;
        Self { fault, capabilities, state: Mutex::default() }
    }

    fn schema() -> EntitySchema {
        let fields = vec![
            FieldSchema::new("id", FieldType::Id),
            FieldSchema::new("title", FieldType::Text),
            FieldSchema::new("note", FieldType::Text),
            FieldSchema::new("weight", FieldType::Integer),
            FieldSchema::new("code", FieldType::Text),
        ];
        EntitySchema::new(TICKET, "Ticket", fields)
    }

    fn error(&self, kind: ErrorKind, message: &str, operation: &'static str) -> Error {
        let error = Error::new(kind, message);
        if self.fault == Fault::ErrorsNameNothing { error } else { error.during(operation).on(&TICKET) }
    }

    fn accept(&self, fields: &Fields, operation: &'static str) -> Result<Fields> {
        let schema = Self::schema();
        let mut kept = fields.clone();
        kept.retain(|name, _| schema.field(name).is_some());
        if kept.len() == fields.len() || self.fault == Fault::UnknownFieldsAreDropped {
            return Ok(kept);
        }
        let unknown = fields.names().find(|name| schema.field(name).is_none()).unwrap();
        let message = match self.fault {
            Fault::ErrorsShowValues => format!("there is no field {unknown} for {}", fields.text(unknown).unwrap()),
            _ => format!("there is no field {unknown}"),
        };
        Err(self.error(ErrorKind::Validation, &message, operation).with_fields(vec![FieldError::new(unknown, None)]))
    }
}

fn number(id: &RecordId) -> Option<u64> {
    id.as_str().parse().ok()
}

#[async_trait]
impl CrmAdapter for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn authenticate(&self) -> Result<Identity> {
        Ok(Identity::new())
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        let state = self.state.lock().unwrap();
        let mut hits: Vec<_> = state
            .rows
            .iter()
            .filter(|(_, (row, _))| match self.fault {
                Fault::SearchIgnoresTheFilter => true,
                _ => query.filter.matches(row),
            })
            .collect();
        if let Some(order) = query.order.first() {
            hits.sort_by_key(|(_, (row, _))| row.text(&order.field).unwrap_or_default().to_owned());
            if order.descending {
                hits.reverse();
            }
        }
        let start: usize = query.cursor.as_ref().map_or(0, |cursor| cursor.as_str().parse().unwrap());
        let size = query.page_size.unwrap_or(50) as usize;
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        let end = match self.fault {
            Fault::LimitIsPerPage => start + size.min(limit),
            _ => (start + size).min(limit),
        };
        let items: Vec<Record> = hits
            .iter()
            .take(end)
            .skip(if self.fault == Fault::PagesOverlap { start.saturating_sub(1) } else { start })
            .map(|(id, (row, version))| {
                let mut fields = row.clone();
                if !query.select.is_empty() && self.fault != Fault::SelectIsIgnored {
                    fields.retain(|name, _| query.select.iter().any(|wanted| wanted == name));
                }
                let mut record = Record::new(TICKET, RecordId::new(id.to_string()), fields);
                record.version = Some(Version::new(version.to_string()));
                record
            })
            .collect();
        let more = end < hits.len() && (self.fault == Fault::LimitIsPerPage || end < limit);
        Ok(Page::new(items, more.then(|| Cursor::new(end.to_string())), Some(hits.len() as u64)))
    }

    async fn create(&self, _entity: &Entity, fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        let fields = self.accept(fields, "create")?;
        let mut state = self.state.lock().unwrap();
        state.last = match self.fault {
            Fault::ReusesIds => state.rows.last_key_value().map_or(1, |(last, _)| last + 1),
            _ => state.last + 1,
        };
        let id = state.last;
        let mut row: Fields = Self::schema().fields.iter().map(|field| (field.name.clone(), Value::Null)).collect();
        row.merge(fields);
        row.insert("id", id.to_string());
        if self.fault == Fault::CreateForgetsAField {
            row.insert("weight", Value::Null);
        }
        state.rows.insert(id, (row, 1));
        let id = RecordId::new(id.to_string());
        state.feed.push(Change::new(TICKET, id.clone(), ChangeKind::Created));
        Ok(Written::new(id).created(true))
    }

    async fn update(&self, _entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let mut fields = self.accept(fields, "update")?;
        let mut state = self.state.lock().unwrap();
        let Some((row, version)) = number(id).and_then(|id| state.rows.get_mut(&id)) else {
            let message = match self.fault {
                Fault::ErrorsShowValues => format!("no such record for {}", fields.text("title").unwrap_or_default()),
                _ => "no such record".to_owned(),
            };
            return Err(self.error(ErrorKind::NotFound, &message, "update").record_id(id));
        };
        let held = options.if_version.as_ref().is_none_or(|wanted| wanted.as_str() == version.to_string());
        if !held && !matches!(self.fault, Fault::IgnoresVersions | Fault::IgnoresUnclaimedVersions) {
            return Err(self.error(ErrorKind::Conflict, "the record has changed", "update").record_id(id));
        }
        if self.fault == Fault::ClearingIsIgnored {
            fields.retain(|_, value| !value.is_null());
        }
        if self.fault == Fault::UpdateReplaces {
            row.retain(|name, _| name == "id");
        }
        row.merge(fields);
        *version += 1;
        state.feed.push(Change::new(TICKET, id.clone(), ChangeKind::Updated));
        Ok(Written::new(id.clone()).created(false))
    }

    async fn delete(&self, _entity: &Entity, id: &RecordId, _options: &WriteOptions) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        let gone = match self.fault {
            Fault::DeletesNothing => return Ok(()),
            _ => number(id).and_then(|id| state.rows.remove(&id)),
        };
        match gone {
            None if self.fault == Fault::DeleteTwiceFails => Err(self.error(ErrorKind::NotFound, "no such record", "delete")),
            None => Ok(()),
            Some(_) if self.fault == Fault::FeedForgetsDeletes => Ok(()),
            Some(_) => {
                state.feed.push(Change::new(TICKET, id.clone(), ChangeKind::Deleted));
                Ok(())
            }
        }
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let mut fields = fields.clone();
        fields.insert(&key.field, key.value.clone());
        let known = {
            let state = self.state.lock().unwrap();
            state.rows.iter().find(|(_, (row, _))| row.text(&key.field) == Some(&key.value)).map(|(id, _)| RecordId::new(id.to_string()))
        };
        match known {
            Some(id) if self.fault != Fault::UpsertAlwaysCreates => self.update(entity, &id, &fields, options).await,
            _ => self.create(entity, &fields, options).await,
        }
    }

    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let mut outcomes = Vec::new();
        for op in ops {
            let outcome = match op {
                BulkOp::Create { fields } => self.create(entity, fields, options).await,
                BulkOp::Update { id, fields } => self.update(entity, id, fields, options).await,
                BulkOp::Upsert { key, fields } => self.upsert(entity, key, fields, options).await,
                BulkOp::Delete { id } => self.delete(entity, id, options).await.map(|()| Written::new(id.clone())),
                _ => unreachable!(),
            };
            let failed = outcome.is_err();
            outcomes.push(outcome);
            if failed && self.fault == Fault::BulkStopsAtFailure {
                break;
            }
        }
        if self.fault == Fault::BulkReversesOutcomes {
            outcomes.reverse();
        }
        Ok(outcomes)
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let start: usize = match &feed.since {
            Since::Cursor(cursor) => cursor.as_str().parse().unwrap(),
            _ => 0,
        };
        let state = self.state.lock().unwrap();
        let items: Vec<Change> = state.feed.iter().skip(start).take(10).cloned().collect();
        let next = Cursor::new((start + items.len()).to_string());
        Ok(Page::new(items, Some(next), None))
    }

    async fn associate(&self, _link: &crm_sync::adapter::Association) -> Result<()> {
        let kind = if self.fault == Fault::UnsupportedIsValidation { ErrorKind::Validation } else { ErrorKind::Unsupported };
        Err(self.error(kind, "tickets have no ties", "associate"))
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        if *entity != TICKET {
            return Err(Error::config("there is no such entity").during("describe").on(entity));
        }
        let mut schema = Self::schema();
        if self.fault == Fault::DescribeForgetsAField {
            schema.fields.pop();
        }
        Ok(schema)
    }
}

fn subject() -> Subject {
    let sample = |n: u64| {
        let mut fields = Fields::new();
        fields.insert("title", format!("conformance ticket {n:04}"));
        fields.insert("note", json!("a note"));
        fields.insert("weight", n);
        fields.insert("code", format!("code-{n}"));
        fields
    };
    Subject::new(TICKET, "title", sample).clearable("note").number("weight").key("code")
}

async fn report(fault: Fault) -> Report {
    check(&Memory::new(fault), &subject()).await
}

#[tokio::test]
async fn a_sound_adapter_passes_every_check() {
    let memory = Memory::new(Fault::None);
    let report = check(&memory, &subject()).await;
    assert!(report.is_ok(), "{report}");
    assert!(report.skipped.is_empty() && report.passed.len() > 25, "{report}");
    assert!(memory.state.lock().unwrap().rows.is_empty(), "what the checks made is deleted again");
    assert!(report.clone().into_result().is_ok());
}

#[tokio::test]
async fn layers_do_not_change_the_answers() {
    let host = Host::manual(3);
    let counts = Counts::new();
    let adapter: Arc<dyn CrmAdapter> = Arc::new(Memory::new(Fault::None));
    let adapter = adapter
        .layer(RateLimit::new(host.clone(), [Window::per_second(50)]))
        .layer(Retry::new(host.clone(), RetryPolicy::default()))
        .layer(Guard::new())
        .layer(Observe::new(host, counts.clone()));
    let report = check(&adapter, &subject()).await;
    assert!(report.is_ok(), "{report}");
    assert!(counts.tally().calls > 100);
}

#[tokio::test]
async fn a_dry_run_is_found_out() {
    let report = check(&DryRun::new(Memory::new(Fault::None)), &subject()).await;
    assert!(report.has_failed("create_then_get"), "{report}");
}

#[tokio::test]
async fn each_fault_fails_its_check() {
    use Fault::*;
    let expected = [
        (BulkReversesOutcomes, "bulk_keeps_order_and_length"),
        (BulkStopsAtFailure, "bulk_failures_stay_apart"),
        (ClearingIsIgnored, "null_clears"),
        (CreateForgetsAField, "create_then_get"),
        (DeleteTwiceFails, "delete_twice_is_fine"),
        (DeletesNothing, "delete_then_get_none"),
        (DescribeForgetsAField, "describe_lists_the_fields"),
        (ErrorsNameNothing, "errors_name_and_hide"),
        (ErrorsShowValues, "errors_name_and_hide"),
        (FeedForgetsDeletes, "changes_tell_of_writes"),
        (IgnoresUnclaimedVersions, "version_guards_update"),
        (IgnoresVersions, "version_guards_update"),
        (LimitIsPerPage, "search_limit"),
        (PagesOverlap, "search_pages_return_all_once"),
        (ReusesIds, "deleted_ids_stay_dead"),
        (SearchIgnoresTheFilter, "create_then_search_finds"),
        (SelectIsIgnored, "get_selects"),
        (UnknownFieldsAreDropped, "unknown_field_is_refused"),
        (UnsupportedIsValidation, "unclaimed_is_unsupported"),
        (UpdateReplaces, "update_changes_only_what_is_given"),
        (UpsertAlwaysCreates, "upsert_twice_creates_once"),
    ];
    for (fault, name) in expected {
        let report = report(fault).await;
        assert!(report.has_failed(name), "{fault:?} should fail {name}:\n{report}");
        let error = report.into_result().unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_lagging_search_needs_the_wait() {
    let (host, clock) = Host::manual_with_clock(1);
    let subject = subject().search_lag(host, Duration::from_secs(5));
    let report = check(&Memory::new(Fault::None), &subject).await;
    assert!(report.is_ok(), "{report}");
    assert!(crm_sync::host::Clock::monotonic(&*clock) >= Duration::from_secs(25));
}
