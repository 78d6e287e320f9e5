//! Several writes in one request, or several requests at once.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde_json::Value;

use crate::adapter::{BulkOp, BulkOutcome, CrmAdapter, WriteOptions, Written};
use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::filter::Wire;
use crate::custom::operation::{BatchMatch, BatchSpec};
use crate::custom::request::Draft;
use crate::custom::template::fill;
use crate::custom::writing::wrapped;
use crate::error::{Error, Result};
use crate::model::{Entity, Fields, RecordId, Version};
use crate::rest::{Dialect, Failure};

/// Requests of one bulk that are under way at once, unless the definition says otherwise.
const AT_ONCE: usize = 4;

impl Custom {
    pub(super) async fn run_bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let spec = self.spec(entity)?;
        let at_once = spec.concurrency.unwrap_or(AT_ONCE).max(1);
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut rest = ops;
        while !rest.is_empty() {
            // What touches a record twice waits until the first write of it is done.
            let (mut wave, after) = rest.split_at(distinct(rest.iter()).clamp(1, rest.len()));
            let mut runs: Vec<BoxFuture<'_, Vec<BulkOutcome>>> = Vec::new();
            while let Some(first) = wave.first() {
                let usable = options.if_version.is_none() && spec.related.is_empty();
                let batch = spec.all_batches().find(|batch| usable && takes(batch, first));
                let length = batch.map_or(1, |batch| {
                    let fits = |op: &&BulkOp| takes(batch, op) && (batch.mixed || op.operation() == first.operation());
                    wave.iter().take(batch.max).take_while(fits).count()
                });
                let (run, tail) = wave.split_at(length.clamp(1, wave.len()));
                runs.push(Box::pin(async move {
                    match batch {
                        None => vec![self.single(entity, first, options).await],
                        // The writes of the other requests have outcomes of their own: this one's error is its writes' alone.
                        Some(batch) => match self.batch(entity, spec, batch, run).await {
                            Ok(results) => results,
                            Err(error) => run.iter().map(|_| Err(error.echo())).collect(),
                        },
                    }
                }));
                wave = tail;
            }
            let mut done = stream::iter(runs).buffered(at_once);
            while let Some(results) = done.next().await {
                outcomes.extend(results);
            }
            rest = after;
        }
        Ok(outcomes)
    }

    async fn single(&self, entity: &Entity, op: &BulkOp, options: &WriteOptions) -> BulkOutcome {
        match op {
            BulkOp::Create { fields } => self.create(entity, fields, options).await,
            BulkOp::Update { id, fields } => self.update(entity, id, fields, options).await,
            BulkOp::Upsert { key, fields } => self.upsert(entity, key, fields, options).await,
            BulkOp::Delete { id } => self.delete(entity, id, options).await.map(|()| Written::new(id.clone())),
        }
    }

    async fn batch(&self, entity: &Entity, spec: &EntitySpec, batch: &BatchSpec, run: &[BulkOp]) -> Result<Vec<BulkOutcome>> {
        let names = self.shared.names().with("entity", entity.as_str());
        let items = run.iter().enumerate().map(|(at, op)| self.item(entity, spec, batch, op, at)).collect::<Result<Vec<_>>>()?;
        let items = Value::Array(items);
        let body = match &batch.body {
            None => items,
            Some(template) => {
                let values = BTreeMap::from([("items", &items)]);
                fill(template, &names, &values).map_err(|name| Error::config(format!("{name:?} stands for nothing in the batch")))?
            }
        };
        let none = BTreeMap::new();
        let draft = Draft {
            operation: "bulk",
            method: batch.method.as_deref().unwrap_or("POST"),
            path: &batch.path,
            params: Vec::new(),
            query: &none,
            headers: &batch.headers,
            body: Some(body),
            encoding: Default::default(),
            read_only: false,
        };
        let answer = self.send(&self.shared.call(draft, &names)?, &batch.success).await.map_err(|error| error.on(entity))?;
        let body: Value = answer.json()?;
        let unclear = |text: String| Error::decode(text).with_status(answer.status()).during("bulk").on(entity).ambiguous();
        let results = batch.results.find(&body).and_then(Value::as_array);
        let results = results.ok_or_else(|| unclear(format!("the batch's answer has no list at {}", batch.results.told())))?;
        let mut slots: Vec<Option<&Value>> = vec![None; run.len()];
        for (position, result) in results.iter().enumerate() {
            let at = match &batch.matching {
                BatchMatch::Order => Some(position),
                BatchMatch::Index(path) => path.text(result).and_then(|text| text.parse().ok()),
            };
            if let Some(slot) = at.and_then(|at: usize| slots.get_mut(at)) {
                *slot = Some(result);
            }
        }
        // Results by position that are not as many as the writes belong to nobody.
        if matches!(batch.matching, BatchMatch::Order) && results.len() != run.len() {
            return Err(unclear(format!("the batch has {} writes and {} results", run.len(), results.len())));
        }
        Ok(run
            .iter()
            .zip(slots)
            .map(|(op, result)| match result {
                None => Err(unclear("the batch's answer says nothing of this write".to_owned())),
                Some(result) => self.outcome(spec, batch, op, result).map_err(|error| error.during(op.operation()).on(entity)),
            })
            .collect())
    }

    fn item(&self, entity: &Entity, spec: &EntitySpec, batch: &BatchSpec, op: &BulkOp, at: usize) -> Result<Value> {
        let nothing = Fields::new();
        let (fields, id, key) = match op {
            BulkOp::Create { fields } => (fields.clone(), None, None),
            BulkOp::Update { id, fields } => (fields.clone(), Some(id.as_str()), None),
            BulkOp::Upsert { key, fields } => {
                let mut fields = fields.clone();
                if key.field != spec.id_name() {
                    fields.insert(&key.field, key.value.as_str());
                }
                (fields, None, Some(key))
            }
            BulkOp::Delete { id } => (nothing, Some(id.as_str()), None),
        };
        let record = self.encoded(entity, spec, &fields, id.map(RecordId::new).as_ref())?;
        let Some(template) = &batch.item else {
            let mut record = record;
            if let (Some(id), Value::Object(members)) = (id, &mut record) {
                members.insert(spec.id_name().to_owned(), spec.id_value(id));
            }
            return Ok(record);
        };
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let (write, method, suffix) = match op {
            BulkOp::Create { .. } => (&spec.create, "POST", ""),
            BulkOp::Update { .. } => (&spec.update, "PATCH", "/{id}"),
            BulkOp::Upsert { .. } => (&spec.upsert, "PUT", "/{key}"),
            BulkOp::Delete { .. } => (&spec.delete, "DELETE", "/{id}"),
        };
        let method = write.as_ref().and_then(|write| write.method.as_deref()).unwrap_or(method).to_ascii_uppercase();
        let path = write.as_ref().and_then(|write| write.path.clone()).unwrap_or_else(|| format!("{base}{suffix}"));
        let field = key.map(|key| spec.name(&key.field)).unwrap_or_default();
        let index = at.to_string();
        let mut names =
            self.shared.names().with("entity", entity.as_str()).with("index", &index).with("method", &method).with("field", &field);
        if let Some(id) = id {
            names = spec.with_id(names, id);
        }
        if let Some(key) = key {
            names = names.with("key", &key.value);
        }
        let path = format!("{}{}", self.shared.base.path().trim_end_matches('/'), self.shared.path(&path, &names)?);
        let body = if matches!(op, BulkOp::Delete { .. }) { Value::Null } else { wrapped(spec, record.clone())? };
        let bodiless;
        let template = if matches!(op, BulkOp::Delete { .. }) {
            // A null where a body goes is not the same as none.
            bodiless = without_body(template);
            &bodiless
        } else {
            template
        };
        let number = Value::from(at);
        let id_value = id.map(|id| spec.id_value(id));
        let mut values = BTreeMap::from([("record", &record), ("body", &body), ("index", &number)]);
        values.extend(id_value.as_ref().map(|id| ("id", id)));
        fill(template, &names.with("path", &path), &values)
            .map_err(|name| Error::config(format!("{name:?} stands for nothing in a batch's item")))
    }

    fn outcome(&self, spec: &EntitySpec, batch: &BatchSpec, op: &BulkOp, result: &Value) -> BulkOutcome {
        let status = batch
            .status
            .as_ref()
            .and_then(|path| path.number(result))
            .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
        let body = batch.answer.as_ref().map_or(Some(result), |path| path.find(result)).unwrap_or(&Value::Null);
        let failed = match (status, &batch.error) {
            (Some(status), _) => !status.is_success(),
            (None, Some(path)) => path
                .find(result)
                .filter(|found| batch.error_equals.as_ref().is_none_or(|wanted| *found == wanted))
                .is_some_and(|found| !matches!(found, Value::Bool(false)) && found.as_array().is_none_or(|list| !list.is_empty())),
            (None, None) => false,
        };
        let known = match op {
            BulkOp::Update { id, .. } | BulkOp::Delete { id } => Some(id.as_str()),
            BulkOp::Upsert { key, .. } if key.field == spec.id_name() => Some(key.value.as_str()),
            _ => None,
        };
        if failed {
            let bytes = body.to_string();
            let headers = http::HeaderMap::new();
            let status = status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
            let dialect = crate::custom::dialect::DefinedDialect {
                shared: std::sync::Arc::clone(&self.shared),
                operation: op.operation(),
                key: 0,
                success: Vec::new(),
            };
            let error = dialect.classify(Failure { status, headers: &headers, body: bytes.as_bytes() }).with_status(status);
            if let (BulkOp::Delete { id }, crate::error::ErrorKind::NotFound) = (op, error.kind()) {
                return Ok(Written::new(id.clone()));
            }
            return Err(if status.is_server_error() { error.ambiguous() } else { error });
        }
        let record = spec.record.as_ref().and_then(|path| path.find(body)).unwrap_or(body);
        let id = spec.id_of(record).or_else(|| known.map(ToOwned::to_owned));
        let id = id.ok_or_else(|| Error::decode("the batch does not say the id of a record it wrote").ambiguous())?;
        let mut written = Written::new(RecordId::new(id));
        written.version = spec.version.as_ref().and_then(|version| version.path.as_ref()?.text(record)).map(Version::new);
        written.created = match op {
            BulkOp::Create { .. } => Some(true),
            BulkOp::Update { .. } => Some(false),
            _ => status.filter(|status| *status == StatusCode::CREATED).map(|_| true),
        };
        Ok(written)
    }
}

/// A template without the members that hold nothing but a body or a record.
fn without_body(template: &Value) -> Value {
    match template {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !matches!(value.as_str(), Some("{body}" | "{record}")));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_body(value))).collect())
        }
        other => other.clone(),
    }
}

fn takes(batch: &BatchSpec, op: &BulkOp) -> bool {
    batch.operations.iter().any(|name| name == op.operation())
}

/// How many of the first writes touch each record once: a second one must come after the first, in a request of its own.
fn distinct<'a>(ops: impl Iterator<Item = &'a BulkOp>) -> usize {
    let mut seen: HashSet<String> = HashSet::new();
    let mut count = 0;
    for op in ops {
        let subject = match op {
            BulkOp::Update { id, .. } | BulkOp::Delete { id } => Some(format!("id {}", id.as_str())),
            BulkOp::Upsert { key, .. } => Some(format!("{} {}", key.field, key.value)),
            BulkOp::Create { .. } => None,
        };
        if let Some(subject) = subject
            && !seen.insert(subject)
        {
            break;
        }
        count += 1;
    }
    count
}
