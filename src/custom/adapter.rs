//! The adapter that follows a definition.
//!
//! Cost in HTTP requests: one per call, with these exceptions. An update of style `replace` reads the record first, a write with
//! `reread` reads it afterwards; fields that live in related records cost what their module says; an expired token adds its
//! renewal and the repeat; `bulk` is one request per run of up to `batch.max` writes the batch takes, and
//! one per write otherwise, some at once. A page that is too large is asked for again by halves; a pool of keys sends with each at
//! most once.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::adapter::{Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, Quota, WriteOptions, Written};
use crate::custom::connection::Custom;
use crate::custom::definition::ValueType;
use crate::custom::dialect::accepts;
use crate::custom::filter::Wire;
use crate::custom::operation::WriteOp;
use crate::custom::request::Draft;
use crate::custom::writing::Sending;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId};
use crate::query::{Page, Query};

#[async_trait]
impl CrmAdapter for Custom {
    fn name(&self) -> &str {
        &self.shared.definition.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn authenticate(&self) -> Result<Identity> {
        let definition = &self.shared.definition;
        let mut identity = Identity::new();
        let Some(check) = &definition.check else {
            let entity = definition.entities.iter().find(|(_, spec)| spec.search.is_some()).map(|(name, _)| name.clone());
            let entity = entity.ok_or_else(|| Error::unsupported("the definition has no check and no entity that can be listed"))?;
            self.search_page(&Query::new(Entity::new(entity)).page_size(1)).await.map_err(|error| error.during("authenticate"))?;
            return Ok(identity);
        };
        let none = BTreeMap::new();
        let draft = Draft {
            operation: "authenticate",
            method: &check.method,
            path: &check.path,
            params: Vec::new(),
            query: &none,
            headers: &none,
            body: None,
            encoding: Default::default(),
            read_only: true,
        };
        let mut call = self.shared.call(draft, &self.shared.names())?;
        for status in
            check.status.iter().filter_map(|status| http::StatusCode::from_u16(*status).ok()).filter(|status| !status.is_success())
        {
            call = call.accept(status);
        }
        let answer = self.send(&call, &check.status).await?;
        if !accepts(answer.status(), &check.status) {
            let text = format!("the check answered {}, which the definition does not count as yes", answer.status().as_u16());
            return Err(Error::new(ErrorKind::Authentication, text).with_status(answer.status()).during("authenticate"));
        }
        let body: Value = serde_json::from_slice(answer.bytes()).unwrap_or(Value::Null);
        identity.user = check.user.as_ref().and_then(|path| path.text(&body));
        identity.account = check.account.as_ref().and_then(|path| path.text(&body));
        Ok(identity)
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        let outcome = self.search_page(query).await;
        outcome.map_err(|error| error.during("search").on(&query.entity))
    }

    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let spec = self.spec(entity)?;
        let (own, related) = spec.apart(fields);
        let written = self.create_own(entity, spec, &own, options).await?;
        self.attach(entity, &written, related).await?;
        Ok(written)
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let spec = self.spec(entity)?;
        let (own, related) = spec.apart(fields);
        let elsewhere_only = own.is_empty() && !related.is_empty() && options.if_version.is_none();
        let written =
            if elsewhere_only { Written::new(id.clone()).created(false) } else { self.update_own(entity, spec, id, &own, options).await? };
        for (related, value) in related {
            self.relate(entity, id, related, value).await?;
        }
        Ok(written)
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
        let spec = self.spec(entity)?;
        self.delete_own(entity, spec, id, options).await?;
        self.detach(spec, id).await.map_err(|error| error.during("delete").on(entity).record_id(id))
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        self.read_one("get", entity, id, select).await
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let spec = self.spec(entity)?;
        let own_id = spec.client_id && key.field == spec.id_name();
        let default = WriteOp::default();
        let op = match &spec.upsert {
            Some(op) => op,
            None if own_id => &default,
            None => return Err(self.lacks("make a record by a key of its own", "upsert", entity)),
        };
        if !own_id && !spec.keys.contains(&key.field) {
            let text = format!("the definition does not name {} as a key that identifies a record", key.field);
            return Err(Error::config(text).during("upsert").on(entity));
        }
        if let Some(name) = fields.names().find(|name| spec.related.contains_key(*name)) {
            let text = format!("the field {name} lives in a related record: an upsert cannot set it, an update can");
            return Err(Error::unsupported(text).during("upsert").on(entity));
        }
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = op.path.clone().unwrap_or_else(|| format!("{base}/{{key}}"));
        let field = spec.name(&key.field);
        let mut sent = fields.clone();
        if !own_id {
            sent.insert(&key.field, key.value.as_str());
        }
        let sending = Sending {
            operation: "upsert",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or("PUT"),
            path: &path,
            record: Some(self.body_of(entity, spec, &sent, None, options).map_err(|error| error.during("upsert"))?),
            names: self.shared.names().with("entity", entity.as_str()).with("key", &key.value).with("field", &field),
            options,
        };
        let answer = self.write(sending).await?;
        let known = own_id.then_some(key.value.as_str());
        let mut written = self.written(spec, op, &answer, known).map_err(|error| error.during("upsert").on(entity))?;
        let body: Value = serde_json::from_slice(answer.bytes()).unwrap_or(Value::Null);
        let told = op.created.as_ref().and_then(|path| path.find(&body)).and_then(Value::as_bool);
        written.created = told.or_else(|| (answer.status() == http::StatusCode::CREATED).then_some(true));
        Ok(written)
    }

    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        self.run_bulk(entity, ops, options).await
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let outcome = self.changes_page(feed).await;
        outcome.map_err(|error| error.during("changes").on(&feed.entity))
    }

    /// Sets the field `relation` of `from`, which the definition calls a reference, to `to`.
    async fn associate(&self, link: &Association) -> Result<()> {
        let spec = self.spec(&link.from.0)?;
        if spec.update.is_none() || spec.fields.get(&link.relation).is_none_or(|field| field.kind != ValueType::Reference) {
            let what = format!("tie records by {:?}, which is no reference field", link.relation);
            return Err(self.lacks(&what, "associate", &link.from.0));
        }
        let fields: Fields = [(link.relation.as_str(), link.to.1.as_str())].into_iter().collect();
        self.update(&link.from.0, &link.from.1, &fields, &WriteOptions::new()).await.map(drop)
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        self.described(entity).await.map_err(|error| error.during("describe").on(entity))
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        Ok(self.shared.window().map(|window| Quota::new(vec![window])))
    }
}
