//! The adapter that follows a definition.
//!
//! Cost in HTTP requests: one per call, with these exceptions. An update of style `replace` reads the record first; an expired
//! token adds its renewal and the repeat; `bulk` is one request per run of up to `batch.max` writes the batch takes, and one per
//! write otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION};
use secrecy::SecretString;
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::adapter::{
    Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, Quota, QuotaWindow, WriteOptions, Written,
};
use crate::auth::TokenSource;
use crate::custom::build::CustomBuilder;
use crate::custom::codec;
use crate::custom::definition::{Definition, EntitySpec};
use crate::custom::dialect::{DefinedDialect, accepts, is_marked};
use crate::custom::hooks::Hooks;
use crate::custom::listing::{Listing, Place};
use crate::custom::operation::{SelectSpec, WriteOp, WriteStyle};
use crate::custom::pointer::{Paths, at, put};
use crate::custom::request::Draft;
use crate::custom::template::{Names, fill};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, FieldsSeed, Record, RecordId, ShapeCache, Version};
use crate::query::{Criteria, Cursor, Operator, Page, Query};
use crate::rest::{Answer, Call, Client, Failure};

const MOST_PAGES: u64 = 100_000;

/// An API that is described by a [`Definition`].
#[derive(Clone)]
pub struct Custom {
    pub(super) shared: Arc<Shared>,
}

/// What all clones share.
pub(super) struct Shared {
    pub(super) definition: Definition,
    pub(super) variables: BTreeMap<String, String>,
    /// The user of Basic, its variables filled in.
    pub(super) user: Option<String>,
    pub(super) base: Url,
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) tokens: Arc<dyn TokenSource>,
    pub(super) host: Host,
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) capabilities: Capabilities,
    pub(super) webhook_secret: Option<SecretString>,
    pub(super) usage: Mutex<Usage>,
}

/// What answers told of the allowance.
#[derive(Debug, Default)]
pub(super) struct Usage {
    window: Option<QuotaWindow>,
    /// The monotonic mark before which the API asked not to be called.
    paused: Option<Duration>,
}

/// Never a secret.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.definition.name).field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("name", &self.shared.definition.name)
            .field("host", &self.shared.base.host_str())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn usage(&self) -> std::sync::MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observed(&self, window: QuotaWindow) {
        self.usage().window = Some(window);
    }

    pub(super) fn pause_until(&self, mark: Duration) {
        let mut usage = self.usage();
        usage.paused = usage.paused.max(Some(mark));
    }
}

/// The text of a search's cursor.
#[derive(Serialize, Deserialize)]
struct Position {
    /// Of which query.
    query: String,
    /// Pages read.
    pages: u64,
    /// Records given.
    seen: u64,
    place: Place,
}

/// What a write sends.
pub(super) struct Sending<'a> {
    pub(super) operation: &'static str,
    pub(super) entity: &'a Entity,
    pub(super) spec: &'a EntitySpec,
    pub(super) op: &'a WriteOp,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) record: Option<Value>,
    pub(super) names: Names<'a>,
    pub(super) options: &'a WriteOptions,
}

impl Custom {
    /// Begins an adapter for `definition`.
    pub fn builder(definition: Definition, transport: impl HttpTransport + 'static, host: Host) -> CustomBuilder {
        CustomBuilder::new(definition, Arc::new(transport), host)
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// What it follows.
    pub fn definition(&self) -> &Definition {
        &self.shared.definition
    }

    pub(super) fn client(&self, operation: &'static str) -> Client<DefinedDialect> {
        let shared = &self.shared;
        let dialect = DefinedDialect { shared: Arc::clone(shared), operation };
        let client = Client::new(Arc::clone(&shared.transport), Arc::clone(&shared.tokens), dialect, Some(shared.base.clone()));
        client.body_limit(shared.definition.max_body.unwrap_or(crate::rest::DEFAULT_BODY_LIMIT))
    }

    /// Sends a request of the host's own making, with the connection's credentials; the path stands upon the base URL.
    ///
    /// # Errors
    /// As the definition's rules say.
    pub async fn call(&self, call: &Call) -> Result<Answer> {
        self.send(call).await
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Answer> {
        let now = self.shared.host.monotonic();
        let paused = self.shared.usage().paused;
        if let Some(wait) = paused.and_then(|mark| mark.checked_sub(now)).filter(|wait| !wait.is_zero()) {
            let error = Error::new(ErrorKind::RateLimited, "the API asked for a pause that is not over").retrying(Retry::After(wait));
            return Err(error.during(call.operation));
        }
        let client = self.client(call.operation);
        let answer = client.send(call).await?;
        let failure = Failure { status: answer.status(), headers: answer.headers(), body: answer.bytes() };
        match client.dialect().hidden_failure(failure) {
            Some(error) => Err(error.with_status(answer.status()).during(call.operation)),
            None => Ok(answer),
        }
    }

    pub(super) fn spec(&self, entity: &Entity) -> Result<&EntitySpec> {
        let definition = &self.shared.definition;
        definition.entity(entity.as_str()).ok_or_else(|| {
            let help = crate::mapping::suggest::did_you_mean(entity.as_str(), definition.entities.keys().map(String::as_str));
            Error::config(format!("the definition has no such entity{}", help.map_or_else(String::new, |help| format!("; {help}"))))
                .on(entity)
        })
    }

    fn lacks(&self, what: &str, operation: &'static str, entity: &Entity) -> Error {
        Error::unsupported(format!("the definition of {} says no way to {what}", self.shared.definition.name)).during(operation).on(entity)
    }

    /// One record out of an answer or a list.
    pub(super) fn record(
        &self,
        entity: &Entity,
        spec: &EntitySpec,
        value: Value,
        etag: Option<&HeaderValue>,
        cache: &mut ShapeCache,
    ) -> Result<Record> {
        let value = self.shared.hooks.decode(entity, value)?;
        let ids = spec.id_paths();
        let id = ids.text(&value).ok_or_else(|| Error::decode(format!("a record has no id at {}", ids.told())).on(entity))?;
        let version = match &spec.version {
            None => None,
            Some(version) => {
                let header = etag.filter(|_| version.etag).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
                header.or_else(|| version.path.as_ref().and_then(|path| path.text(&value)))
            }
        };
        let format = spec.modified_format.unwrap_or_default();
        let modified = spec.modified.as_ref().and_then(|path| path.find(&value)).and_then(|value| codec::read(value, format));
        let deleted = spec.deleted.as_ref().is_some_and(|mark| is_marked(&value, &mark.path, mark.equals.as_ref()));
        let decoded = spec.decode(value).ok_or_else(|| Error::decode("a record is not an object").on(entity))?;
        let fields = FieldsSeed { cache }.deserialize(decoded).map_err(|_| Error::decode("a record is not an object").on(entity))?;
        let mut record = Record::new(entity.clone(), RecordId::new(id), fields);
        record.version = version.map(Version::new);
        record.modified_at = modified;
        record.deleted = deleted;
        Ok(record)
    }

    fn one(&self, entity: &Entity, spec: &EntitySpec, paths: Option<&Paths>, answer: &Answer) -> Result<Record> {
        let body: Value = answer.json()?;
        let paths = paths.or(spec.record.as_ref()).cloned().unwrap_or_default();
        let found = paths.all().iter().filter_map(|path| at(&body, path)).find(|value| value.is_object());
        let found = found.ok_or_else(|| Error::decode(format!("the answer has no record at {}", paths.told())).on(entity))?;
        self.record(entity, spec, found.clone(), answer.headers().get(ETAG), &mut ShapeCache::default())
    }

    async fn read_one(&self, operation: &'static str, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        Ok(self.read_raw(operation, entity, id, select).await?.map(|(record, _)| record))
    }

    /// The record, and its own JSON.
    async fn read_raw(
        &self,
        operation: &'static str,
        entity: &Entity,
        id: &RecordId,
        select: &[String],
    ) -> Result<Option<(Record, Value)>> {
        let spec = self.spec(entity)?;
        let get = spec.get.clone().unwrap_or_default();
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = get.path.clone().unwrap_or_else(|| format!("{base}/{{id}}"));
        let names = self.shared.names().with("entity", entity.as_str()).with("id", id.as_str());
        let body = get.body.as_ref().map(|body| fill(body, &names, &BTreeMap::new()).map_err(Error::config)).transpose()?;
        let draft = Draft {
            operation,
            method: get.method.as_deref().unwrap_or("GET"),
            path: &path,
            params: get.select.as_ref().map_or_else(Vec::new, |spec| selected(spec, select.iter().map(String::as_str))),
            query: &get.query,
            headers: &get.headers,
            body,
            encoding: spec.encoding,
            read_only: true,
        };
        let answer = match self.send(&self.shared.call(draft, &names)?).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.on(entity)),
        };
        let mut record = self.one(entity, spec, get.record.as_ref(), &answer)?;
        if record.deleted {
            return Ok(None);
        }
        if !select.is_empty() {
            record.fields.retain(|name, _| select.iter().any(|wanted| wanted == name));
        }
        let body: Value = answer.json()?;
        let paths = get.record.as_ref().or(spec.record.as_ref()).cloned().unwrap_or_default();
        let raw = paths.all().iter().filter_map(|path| at(&body, path)).find(|value| value.is_object()).cloned().unwrap_or_default();
        Ok(Some((record, raw)))
    }

    async fn search_page(&self, query: &Query) -> Result<Page<Record>> {
        let entity = &query.entity;
        let spec = self.spec(entity)?;
        if let (Some(id), None) = (by_id(&query.filter, spec), &query.cursor) {
            let found = self.read_one("search", entity, &RecordId::new(id), &query.select).await?;
            return Ok(Page::new(found.into_iter().collect(), None, None));
        }
        let Some(op) = &spec.search else { return Err(self.lacks("search or list", "search", entity)) };
        let mark = query.fingerprint();
        let position = match &query.cursor {
            None => None,
            Some(cursor) => {
                let read = serde_json::from_str::<Position>(cursor.as_str()).ok().filter(|position| position.query == mark);
                Some(read.ok_or_else(|| Error::config("the cursor belongs to another query"))?)
            }
        };
        let posts = op.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case("GET"));
        let lowered = if query.filter == Criteria::always() { Default::default() } else { op.filter.lower(&query.filter, spec, posts)? };
        if lowered.residual.is_some() && !query.residual {
            let text = "the API cannot say this condition; allow the rest to be filtered here (Query::allow_residual), or extend the definition's filter";
            return Err(Error::unsupported(text));
        }
        let residual = if op.filter.recheck { Some(query.filter.clone()) } else { lowered.residual };
        let mut params = lowered.params;
        if !query.order.is_empty() {
            let sort = op.sort.as_ref().ok_or_else(|| Error::unsupported("the definition says no way to order records"))?;
            let mut parts = Vec::new();
            for order in &query.order {
                let name = crate::custom::filter::Wire::name(spec, &order.field);
                let template = if order.descending { &sort.descending } else { &sort.ascending };
                let names = Names::default().with("field", &name);
                let text = crate::custom::template::Template::parse(template).and_then(|template| template.plain(&names));
                parts.push(text.map_err(|_| Error::config("the order of the definition is no template with {field}"))?);
            }
            params.push((sort.param.clone(), parts.join(&sort.join)));
        }
        if let (Some(select), false) = (&op.select, query.select.is_empty()) {
            let mut names: Vec<&str> = query.select.iter().map(String::as_str).collect();
            if let Some(residual) = &residual {
                residual.visit_fields(&mut |name| names.push(name));
            }
            names.push(spec.id_name());
            let wired: Vec<String> = names.iter().map(|name| crate::custom::filter::Wire::name(spec, name)).collect();
            params.extend(selected(select, wired.iter().map(String::as_str)));
        }
        let (pages, seen) = position.as_ref().map_or((0, 0), |position| (position.pages, position.seen));
        if pages >= self.shared.definition.max_pages.unwrap_or(MOST_PAGES) {
            return Err(Error::decode(format!("the list has more than {pages} pages; it seems to have no end")));
        }
        let listing = Listing {
            operation: "search",
            entity,
            spec,
            op,
            path: None,
            params,
            document: lowered.document,
            page_size: query.page_size,
            place: position.map(|position| position.place),
        };
        let listed = self.list(listing).await?;
        let mut cache = ShapeCache::default();
        let mut records = Vec::with_capacity(listed.items.len());
        for value in listed.items {
            let mut record = self.record(entity, spec, value, None, &mut cache)?;
            if record.deleted || residual.as_ref().is_some_and(|rest| !rest.matches(&record.fields)) {
                continue;
            }
            if !query.select.is_empty() {
                record.fields.retain(|name, _| query.select.iter().any(|wanted| wanted == name));
            }
            records.push(record);
        }
        let left = query.limit.map(|limit| limit.saturating_sub(seen));
        if let Some(left) = left {
            records.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let given = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let full = left.is_some_and(|left| given >= left);
        let next = listed.next.filter(|_| !full).map(|place| Position { query: mark, pages: pages + 1, seen: seen + given, place });
        let next = next.map(|next| serde_json::to_string(&next).map(Cursor::new)).transpose();
        let next = next.map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(records, next, listed.total.filter(|_| residual.is_none())))
    }

    /// Sends a write and returns its answer.
    pub(super) async fn write(&self, sending: Sending<'_>) -> Result<Answer> {
        let call = self.write_call(&sending)?;
        self.send(&call).await.map_err(|error| error.on(sending.entity))
    }

    fn write_call(&self, sending: &Sending<'_>) -> Result<Call> {
        let (op, spec, options) = (sending.op, sending.spec, sending.options);
        let body = match (&op.body, &sending.record) {
            (Some(template), record) => {
                let values = record.as_ref().map(|record| ("record", record)).into_iter().collect();
                Some(
                    fill(template, &sending.names, &values)
                        .map_err(|name| Error::config(format!("{name:?} stands for nothing in the body")))?,
                )
            }
            (None, Some(record)) => Some(wrapped(spec, record.clone())?),
            (None, None) => None,
        };
        let draft = Draft {
            operation: sending.operation,
            method: sending.method,
            path: sending.path,
            params: Vec::new(),
            query: &op.query,
            headers: &op.headers,
            body,
            encoding: spec.encoding,
            read_only: false,
        };
        let mut call = self.shared.call(draft, &sending.names)?;
        if let Some(version) = &options.if_version {
            let known = spec.version.as_ref();
            if known.is_some_and(|known| known.etag || known.quoted) {
                let text = version.as_str();
                let quote = known.is_some_and(|known| known.quoted) && !text.starts_with(['"', 'W']);
                let text = if quote { format!("\"{text}\"") } else { text.to_owned() };
                let value = HeaderValue::try_from(text).map_err(|_| Error::config("the version cannot stand in a header"))?;
                call = call.header(IF_MATCH, value);
            } else if known.is_none_or(|known| known.send.is_none()) {
                return Err(Error::unsupported("the definition says no way to write on a condition"));
            }
        }
        if op.create_only {
            call = call.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if let (Some(name), Some(key)) = (&op.idempotency_header, &options.idempotency_key) {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| Error::config("the idempotency header has an impossible name"))?;
            let value = HeaderValue::try_from(key).map_err(|_| Error::config("the idempotency key cannot stand in a header"))?;
            call = call.header(name, value);
        }
        Ok(call)
    }

    /// What a create or upsert made.
    pub(super) fn written(&self, spec: &EntitySpec, op: &WriteOp, answer: &Answer, known: Option<&str>) -> Result<Written> {
        let body: Value = serde_json::from_slice(answer.bytes()).unwrap_or(Value::Null);
        let record = op.record.as_ref().or(spec.record.as_ref()).cloned().unwrap_or_default();
        let record = record.find(&body).unwrap_or(&Value::Null);
        let location = || {
            let header = answer.headers().get(LOCATION)?.to_str().ok()?;
            let path = header.split(['?', '#']).next().unwrap_or(header);
            path.trim_end_matches('/').rsplit('/').next().filter(|id| !id.is_empty()).map(ToOwned::to_owned)
        };
        let told = op.id.as_ref().and_then(|path| path.text(&body)).or_else(|| spec.id_paths().text(record));
        let id = told.or_else(location).or_else(|| known.map(ToOwned::to_owned));
        let id = id.ok_or_else(|| {
            let text = format!("the API did not say the id of the record it wrote (looked at {} and Location)", spec.id_paths().told());
            Error::decode(text).with_status(answer.status()).ambiguous()
        })?;
        let mut written = Written::new(RecordId::new(id));
        if let Some(version) = &spec.version {
            let etag = answer.headers().get(ETAG).filter(|_| version.etag).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
            written.version = etag.or_else(|| version.path.as_ref().and_then(|path| path.text(record))).map(Version::new);
        }
        Ok(written)
    }

    fn body_of(&self, entity: &Entity, spec: &EntitySpec, fields: &Fields, options: &WriteOptions) -> Result<Value> {
        if let Some((name, _)) = options.native.iter().next() {
            return Err(Error::config(format!("a defined API has no native option {name:?}")).on(entity));
        }
        let mut record = self.shared.hooks.encode(entity, spec.encode(entity, fields)?)?;
        let send = spec.version.as_ref().and_then(|version| version.send.as_deref());
        if let (Some(name), Some(version)) = (send, &options.if_version) {
            // A bare number stays one.
            let value = serde_json::from_str(version.as_str()).ok().filter(Value::is_number).unwrap_or_else(|| version.as_str().into());
            put(&mut record, name, value).ok_or_else(|| Error::config("another field stands where the version goes").on(entity))?;
        }
        Ok(record)
    }
}

/// The record where the API wants it in a body.
pub(super) fn wrapped(spec: &EntitySpec, record: Value) -> Result<Value> {
    match &spec.wrap {
        None => Ok(record),
        Some(path) => {
            let mut body = Value::Null;
            put(&mut body, path, record).ok_or_else(|| Error::config("the wrapping of a record is no path"))?;
            Ok(body)
        }
    }
}

/// The id, if that is all a condition asks for.
fn by_id<'a>(filter: &'a Criteria, spec: &EntitySpec) -> Option<&'a str> {
    let filter = match filter {
        Criteria::All(parts) => match parts.as_slice() {
            [one] => one,
            _ => return None,
        },
        other => other,
    };
    match filter {
        Criteria::Compare { field, op: Operator::Eq, value: Value::String(id) } if field == spec.id_name() => Some(id),
        _ => None,
    }
}

fn selected<'a>(spec: &SelectSpec, names: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut unique: Vec<&str> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    match &spec.join {
        _ if unique.is_empty() => Vec::new(),
        Some(join) => vec![(spec.param.clone(), unique.join(join))],
        None => unique.into_iter().map(|name| (spec.param.clone(), name.to_owned())).collect(),
    }
}

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
        let answer = self.send(&call).await?;
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
        let Some(op) = &spec.create else { return Err(self.lacks("create a record", "create", entity)) };
        let sending = Sending {
            operation: "create",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or("POST"),
            path: op.path.as_deref().or(spec.path.as_deref()).unwrap_or("/{entity}"),
            record: Some(self.body_of(entity, spec, fields, options)?),
            names: self.shared.names().with("entity", entity.as_str()),
            options,
        };
        let answer = self.write(sending).await?;
        Ok(self.written(spec, op, &answer, None).map_err(|error| error.during("create").on(entity))?.created(true))
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let spec = self.spec(entity)?;
        let Some(op) = &spec.update else { return Err(self.lacks("update a record", "update", entity)) };
        let mut options = options.clone();
        let mut record = self.body_of(entity, spec, fields, &options)?;
        if op.style == WriteStyle::Replace {
            let found = self.read_raw("update", entity, id, &[]).await?;
            let gone = || Error::new(ErrorKind::NotFound, "there is no such record").during("update").on(entity).record_id(id);
            let (before, raw) = found.ok_or_else(gone)?;
            record = merged(raw, record);
            let conditional = spec.version.as_ref().is_some_and(|version| version.etag || version.quoted);
            if options.if_version.is_none() && conditional {
                // What was read is what is replaced: whoever writes in between is not overwritten.
                options.if_version = before.version;
            }
        }
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = op.path.clone().unwrap_or_else(|| format!("{base}/{{id}}"));
        let usual = if op.style == WriteStyle::Replace { "PUT" } else { "PATCH" };
        let sending = Sending {
            operation: "update",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or(usual),
            path: &path,
            record: Some(record),
            names: self.shared.names().with("entity", entity.as_str()).with("id", id.as_str()),
            options: &options,
        };
        let answer = self.write(sending).await.map_err(|error| error.record_id(id))?;
        Ok(self.written(spec, op, &answer, Some(id.as_str()))?.created(false))
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
        let spec = self.spec(entity)?;
        let Some(op) = &spec.delete else { return Err(self.lacks("delete a record", "delete", entity)) };
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = op.path.clone().unwrap_or_else(|| format!("{base}/{{id}}"));
        let sending = Sending {
            operation: "delete",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or("DELETE"),
            path: &path,
            record: None,
            names: self.shared.names().with("entity", entity.as_str()).with("id", id.as_str()),
            options,
        };
        match self.write(sending).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.record_id(id)),
        }
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
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = op.path.clone().unwrap_or_else(|| format!("{base}/{{key}}"));
        let field = crate::custom::filter::Wire::name(spec, &key.field);
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
            record: Some(self.body_of(entity, spec, &sent, options)?),
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

    /// Sets the reference field `relation` of `from` to `to`.
    async fn associate(&self, link: &Association) -> Result<()> {
        let fields: Fields = [(link.relation.as_str(), link.to.1.as_str())].into_iter().collect();
        self.update(&link.from.0, &link.from.1, &fields, &WriteOptions::new()).await.map(drop)
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        self.described(entity).await.map_err(|error| error.during("describe").on(entity))
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        Ok(self.shared.usage().window.clone().map(|window| Quota::new(vec![window])))
    }
}

/// `over` laid upon `under`, objects member by member.
fn merged(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut below), Value::Object(above)) => {
            for (key, value) in above {
                let before = below.remove(&key).unwrap_or(Value::Null);
                below.insert(key, merged(before, value));
            }
            Value::Object(below)
        }
        (_, over) => over,
    }
}
