//! Several writes in one request, and the description of fields.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;

use crate::adapter::{BulkOp, BulkOutcome, CrmAdapter, WriteOptions, Written};
use crate::custom::connection::Custom;
use crate::custom::definition::{EntitySpec, ValueType};
use crate::custom::filter::Wire;
use crate::custom::operation::{BatchMatch, BatchSpec};
use crate::custom::pointer::plain;
use crate::custom::request::Draft;
use crate::custom::template::fill;
use crate::custom::writing::wrapped;
use crate::error::{Error, Result};
use crate::model::{Entity, EntitySchema, FieldSchema, Fields, Picklist, RecordId, Version};
use crate::rest::{Dialect, Failure};

impl Custom {
    pub(super) async fn run_bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let spec = self.spec(entity)?;
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut rest = ops;
        while let Some(first) = rest.first() {
            let batch = spec.batch.as_ref().filter(|batch| takes(batch, first) && options.if_version.is_none() && spec.related.is_empty());
            let Some(batch) = batch else {
                outcomes.push(self.single(entity, first, options).await);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            };
            let fits = |op: &&BulkOp| takes(batch, op) && (batch.mixed || op.operation() == first.operation());
            let length = distinct(rest.iter().take(batch.max).take_while(fits));
            let (run, tail) = rest.split_at(length.max(1).min(rest.len()));
            match self.batch(entity, spec, batch, run).await {
                Ok(results) => outcomes.extend(results),
                // The writes of the other requests have outcomes of their own: this one's error is its writes' alone.
                Err(error) => outcomes.extend(run.iter().map(|_| Err(error.echo()))),
            }
            rest = tail;
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
            headers: &none,
            body: Some(body),
            encoding: Default::default(),
            read_only: false,
        };
        let answer = self.send(&self.shared.call(draft, &names)?).await.map_err(|error| error.on(entity))?;
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
        let record = self.shared.hooks.encode(entity, spec.encode(entity, &fields)?)?;
        let Some(template) = &batch.item else {
            let mut record = record;
            if let (Some(id), Value::Object(members)) = (id, &mut record) {
                members.insert(spec.id_name().to_owned(), id.into());
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
            names = names.with("id", id);
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
        let values = BTreeMap::from([("record", &record), ("body", &body), ("index", &number)]);
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
            let dialect = crate::custom::dialect::DefinedDialect { shared: std::sync::Arc::clone(&self.shared), operation: op.operation() };
            let error = dialect.classify(Failure { status, headers: &headers, body: bytes.as_bytes() }).with_status(status);
            if let (BulkOp::Delete { id }, crate::error::ErrorKind::NotFound) = (op, error.kind()) {
                return Ok(Written::new(id.clone()));
            }
            return Err(if status.is_server_error() { error.ambiguous() } else { error });
        }
        let record = spec.record.as_ref().and_then(|path| path.find(body)).unwrap_or(body);
        let id = spec.id_paths().text(record).or_else(|| known.map(ToOwned::to_owned));
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

    pub(super) async fn described(&self, entity: &Entity) -> Result<EntitySchema> {
        let spec = self.spec(entity)?;
        let mut fields: Vec<FieldSchema> = spec.fields.iter().map(|(name, field)| declared(name, field, spec)).collect();
        let Some(schema) = &spec.schema else {
            if fields.is_empty() {
                return Err(Error::unsupported("the definition describes no fields"));
            }
            return Ok(EntitySchema::new(entity.clone(), entity.as_str(), fields));
        };
        let names = self.shared.names().with("entity", entity.as_str());
        let none = BTreeMap::new();
        let draft = Draft {
            operation: "describe",
            method: "GET",
            path: &schema.path,
            params: Vec::new(),
            query: &none,
            headers: &none,
            body: None,
            encoding: Default::default(),
            read_only: true,
        };
        let answer = self.send(&self.shared.call(draft, &names)?).await?;
        let body: Value = answer.json()?;
        let required: Vec<&str> = match schema.required.as_ref().and_then(|path| path.find(&body)) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let entries: Vec<(Option<&str>, &Value)> = match schema.fields.find(&body) {
            Some(Value::Array(items)) => items.iter().map(|item| (None, item)).collect(),
            Some(Value::Object(members)) => members.iter().map(|(name, value)| (Some(name.as_str()), value)).collect(),
            _ => return Err(Error::decode(format!("the answer has no fields at {}", schema.fields.told()))),
        };
        for (key, entry) in entries {
            let name =
                key.map(ToOwned::to_owned).or_else(|| schema.name.as_ref().and_then(|path| path.text(entry))).or_else(|| plain(entry));
            let name = name.ok_or_else(|| Error::decode("a field of the description has no name"))?;
            // What the definition says of a field is said on purpose.
            if fields
                .iter()
                .any(|field| field.name == name || spec.fields.get(&field.name).and_then(|own| own.path.as_deref()) == Some(name.as_str()))
            {
                continue;
            }
            let told = schema.kind.as_ref().and_then(|path| path.text(entry));
            let kind = told.as_deref().and_then(|told| schema.types.get(told).copied().or_else(|| usual_type(told))).unwrap_or_default();
            let like = crate::custom::definition::FieldSpec { kind, ..Default::default() };
            let mut field = FieldSchema::new(name.clone(), like.field_type());
            let flag = |path: &Option<crate::custom::pointer::Paths>| {
                path.as_ref().and_then(|path| path.find(entry)).and_then(Value::as_bool).unwrap_or(false)
            };
            if let Some(label) = schema.label.as_ref().and_then(|path| path.text(entry)) {
                field.label = label;
            }
            field.required = flag(&schema.required) || required.contains(&name.as_str());
            field.unique = flag(&schema.unique);
            if flag(&schema.read_only) {
                (field.creatable, field.updatable, field.required) = (false, false, false);
            }
            field.max_length = schema.max_length.as_ref().and_then(|path| path.number(entry)).and_then(|length| u32::try_from(length).ok());
            if let Some(Value::Array(options)) = schema.options.as_ref().and_then(|path| path.find(entry)) {
                let value = |option: &Value| schema.option.as_ref().and_then(|path| path.text(option)).or_else(|| plain(option));
                field.picklist = Some(Picklist::of(true, options.iter().filter_map(value)));
            }
            field.external_id = spec.keys.contains(&name) && field.unique;
            fields.push(field);
        }
        Ok(EntitySchema::new(entity.clone(), entity.as_str(), fields))
    }
}

fn declared(name: &str, field: &crate::custom::definition::FieldSpec, spec: &EntitySpec) -> FieldSchema {
    let mut described = FieldSchema::new(name, field.field_type());
    described.required = field.required;
    described.unique = field.unique;
    described.max_length = field.max_length;
    (described.creatable, described.updatable) = (!field.read_only, !field.read_only);
    described.external_id = spec.keys.iter().any(|key| key == name) && (spec.upsert.is_some() || spec.client_id);
    described.references = field.references.clone();
    if !field.options.is_empty() {
        described.picklist = Some(Picklist::of(true, field.options.keys().cloned()));
    }
    described
}

/// The words most APIs and JSON Schema use.
fn usual_type(told: &str) -> Option<ValueType> {
    Some(match told.to_ascii_lowercase().as_str() {
        "boolean" | "bool" | "checkbox" => ValueType::Boolean,
        "date" => ValueType::Date,
        "datetime" | "date-time" | "timestamp" => ValueType::Datetime,
        "number" | "decimal" | "double" | "float" | "currency" | "money" => ValueType::Decimal,
        "integer" | "int" | "bigint" => ValueType::Integer,
        "email" => ValueType::Email,
        "phone" | "tel" => ValueType::Phone,
        "select" | "enum" | "picklist" | "choice" | "dropdown" => ValueType::Picklist,
        "multiselect" | "multi_select" | "set" | "tags" => ValueType::MultiPicklist,
        "url" | "uri" => ValueType::Url,
        "string" | "text" | "textarea" | "varchar" => ValueType::Text,
        _ => return None,
    })
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
    let mut seen: Vec<String> = Vec::new();
    let mut count = 0;
    for op in ops {
        let subject = match op {
            BulkOp::Update { id, .. } | BulkOp::Delete { id } => Some(format!("id {}", id.as_str())),
            BulkOp::Upsert { key, .. } => Some(format!("{} {}", key.field, key.value)),
            BulkOp::Create { .. } => None,
        };
        if let Some(subject) = subject {
            if seen.contains(&subject) {
                break;
            }
            seen.push(subject);
        }
        count += 1;
    }
    count
}
