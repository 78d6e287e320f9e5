//! Pipedrive as a [`CrmAdapter`].
//!
//! Entities are the words of the paths (`persons`, `deals`); `person` is understood too. Fields are named by their API names,
//! custom ones by key, by the host's names of them, or by their visible names.
//!
//! Cost in HTTP requests: one per call, with these exceptions. A name that is not built in reads the account's description (a
//! page of 500 fields, once in a while). A search for values costs a search and a read by id for each value, one value a page.
//! An update with a version reads the record first: between the two somebody else may write. A label by name reads the labels,
//! once in a while. `bulk` is one request for each operation, a few at once. Each request waits for its turn under the burst
//! limits, which are those of the token and not of an operation ([`pace`](crate::pipedrive::PipedriveConfig::pace)).

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;

use crate::adapter::{
    Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, Price, Quota, QuotaWindow, WriteOptions, Written,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Change, Entity, EntitySchema, Fields, Record, RecordId, Version};
use crate::pipedrive::client::{Pipedrive, row_id};
use crate::pipedrive::envelope::marks;
use crate::pipedrive::record::record;
use crate::pipedrive::resource::{Kind, Op};
use crate::query::{Page, Query};

#[async_trait]
impl CrmAdapter for Pipedrive {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn authenticate(&self) -> Result<Identity> {
        let me = self.me().await.map_err(|error| error.during("authenticate"))?;
        let mut identity = Identity::new();
        identity.user = me.id.map(|id| id.to_string());
        identity.account = me.company_domain.or_else(|| me.company_id.map(|id| id.to_string()));
        identity.api_version = Some("v2".to_owned());
        Ok(identity)
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        self.find_page(query).await.map_err(|error| error.during("search").on(&query.entity))
    }

    /// Keeps [`WriteOptions::idempotency_key`] in the configured operation field, so that [`Pipedrive::resolve_create`] finds it.
    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let kind = Kind::of(entity).map_err(|error| error.during("create"))?;
        no_options(options).map_err(|error| error.during("create").on(entity))?;
        let marked = self.with_operation(kind, fields, options.idempotency_key.as_deref()).await;
        let marked = marked.map_err(|error| error.during("create").on(entity))?;
        let row = self.create_as(kind, marked.as_ref().unwrap_or(fields), marks).await?;
        let id = row_id(&row).ok_or_else(|| Error::decode("pipedrive made the record and did not say its id").ambiguous())?;
        let mut written = Written::new(id).created(true);
        written.version = version(&row);
        Ok(written)
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let kind = Kind::of(entity).map_err(|error| error.during("update"))?;
        no_options(options).map_err(|error| error.during("update").on(entity))?;
        let mut written = Written::new(id.clone()).created(false);
        if fields.is_empty() {
            return Ok(written);
        }
        if let Some(wanted) = &options.if_version {
            let named = |error: Error| error.during("update").on(entity).record_id(id);
            let row = self.row(kind, id).await?;
            let row = row.ok_or_else(|| named(Error::new(ErrorKind::NotFound, "the record does not exist or is not visible")))?;
            if version(&row).as_ref() != Some(wanted) {
                return Err(named(Error::new(ErrorKind::Conflict, "somebody changed the record since it was read")));
            }
        }
        written.version = self.update_as(kind, id, fields, marks).await?.as_ref().and_then(version);
        Ok(written)
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
        let kind = Kind::of(entity).map_err(|error| error.during("delete"))?;
        no_options(options).map_err(|error| error.during("delete").on(entity))?;
        self.delete_row(kind, id).await.map(drop)
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        let kind = Kind::of(entity).map_err(|error| error.during("get"))?;
        let found = async {
            let Some(row) = self.row(kind, id).await? else { return Ok(None) };
            let map = self.names(kind, select.iter().map(String::as_str)).await?;
            record(kind, &row, select, &map).map(Some)
        };
        found.await.map_err(|error: Error| error.during("get").on(entity))
    }

    /// A few calls at once; operations on the same record come one after the other. Once the day's tokens are spent, the rest
    /// fail without being sent.
    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let mut lanes: Vec<Vec<usize>> = Vec::new();
        let mut by_record: HashMap<&str, usize> = HashMap::new();
        for (at, op) in ops.iter().enumerate() {
            let lane = match op {
                BulkOp::Update { id, .. } | BulkOp::Delete { id } => *by_record.entry(id.as_str()).or_insert_with(|| {
                    lanes.push(Vec::new());
                    lanes.len() - 1
                }),
                _ => {
                    lanes.push(Vec::new());
                    lanes.len() - 1
                }
            };
            if let Some(lane) = lanes.get_mut(lane) {
                lane.push(at);
            }
        }
        let work = lanes.into_iter().map(|lane| async move {
            let mut done = Vec::with_capacity(lane.len());
            for at in lane {
                let Some(op) = ops.get(at) else { continue };
                done.push((at, self.one(entity, op, options).await));
            }
            done
        });
        let at_once = self.config.settings.concurrency.clamp(1, 16);
        let mut all: Vec<(usize, BulkOutcome)> = stream::iter(work).buffer_unordered(at_once).flat_map(stream::iter).collect().await;
        all.sort_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        self.changes_page(feed).await.map_err(|error| error.during("changes").on(&feed.entity))
    }

    /// Sets the field `relation` of `from` (`org_id`, `person_id`, `stage_id`, …) to `to`.
    async fn associate(&self, link: &Association) -> Result<()> {
        let fields: Fields = [(link.relation.as_str(), link.to.1.as_str())].into_iter().collect();
        let outcome = CrmAdapter::update(self, &link.from.0, &link.from.1, &fields, &WriteOptions::new()).await;
        outcome.map(drop).map_err(|error| error.during("associate"))
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        let kind = Kind::of(entity).map_err(|error| error.during("describe"))?;
        let mut schema = self.entity_schema(kind).await.map_err(|error| error.during("describe").on(entity))?;
        schema.entity = entity.clone();
        Ok(schema)
    }

    /// Tokens of the daily budget, by the published prices.
    fn call_price(&self, entity: &Entity, operation: &str) -> Option<Price> {
        let op = match operation {
            "create" => Op::Create,
            "delete" => Op::Delete,
            "update" => Op::Update,
            _ => return None,
        };
        Some(Price::new(Kind::of(entity).ok()?.price(op).into(), "tokens"))
    }

    /// The day's tokens: by the newest answer's headers, else by the configured plan and seats and what this client has spent.
    async fn quota(&self) -> Result<Option<Quota>> {
        let usage = self.usage();
        let configured = self.config.seats.map(|seats| self.config.plan.daily_tokens(seats));
        let Some(max) = usage.tokens_max.or(configured).or(usage.tokens_left) else { return Ok(None) };
        let used = usage.tokens_left.map_or(usage.spent, |left| max.saturating_sub(left));
        let mut window = QuotaWindow::new("DailyTokens", used, max);
        window.window = Some(std::time::Duration::from_secs(24 * 60 * 60));
        Ok(Some(Quota::new(vec![window])))
    }
}

impl Pipedrive {
    async fn one(&self, entity: &Entity, op: &BulkOp, options: &WriteOptions) -> BulkOutcome {
        match op {
            BulkOp::Create { fields } => CrmAdapter::create(self, entity, fields, options).await,
            BulkOp::Update { id, fields } => CrmAdapter::update(self, entity, id, fields, options).await,
            BulkOp::Delete { id } => CrmAdapter::delete(self, entity, id, options).await.map(|()| Written::new(id.clone())),
            BulkOp::Upsert { .. } => {
                Err(Error::unsupported("pipedrive has no upsert; search, then create or update").during("upsert").on(entity))
            }
        }
    }
}

fn version(row: &serde_json::Map<String, serde_json::Value>) -> Option<Version> {
    row.get("update_time").and_then(serde_json::Value::as_str).map(Version::new)
}

fn no_options(options: &WriteOptions) -> Result<()> {
    if options.native.is_empty() {
        return Ok(());
    }
    Err(Error::config("Pipedrive has no native options"))
}
