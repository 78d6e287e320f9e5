//! Batches of records: answers in another order, failures inside a success, and all or nothing without trace ids.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::objects::{View, members, trace};
use crate::sandbox::hubspot::router::{Ask, input_id, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind};
use crate::sandbox::hubspot::values::stamp;

/// Inputs of an object batch (Objects guide).
const MOST: usize = 100;

fn names(body: &Map<String, Value>, member: &str) -> Result<Vec<String>, Refusal> {
    match body.get(member) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Some(_) => Err(Refusal::bad(format!("Invalid input JSON on line 1, column 1: {member} must be a list of strings"))),
    }
}

/// Whether every input has a trace id of its own. One twice is refused.
fn traced(list: &[Value]) -> Result<bool, Refusal> {
    let mut seen = BTreeSet::new();
    for input in list {
        match input.get("objectWriteTraceId") {
            None | Some(Value::Null) => {}
            Some(Value::String(id)) if seen.insert(id.as_str()) => {}
            Some(Value::String(_)) => return Err(Refusal::bad("Duplicate objectWriteTraceId found in batch input")),
            Some(_) => return Err(Refusal::bad("Invalid input JSON on line 1, column 1: objectWriteTraceId must be a string")),
        }
    }
    Ok(seen.len() == list.len())
}

impl HubSpot {
    /// The answer to a batch: shuffled results, and errors in the version's way.
    pub(crate) fn batch(&mut self, ask: &Ask<'_>, status: StatusCode, mut results: Vec<Value>, errors: Vec<Refusal>) -> Reply {
        if self.options.shuffle {
            self.shuffle(&mut results);
        }
        let now = stamp(ask.now.as_millisecond());
        let mut body = json!({"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now});
        if errors.is_empty() {
            return Reply::json(status, body);
        }
        let unattributed = self.options.unattributed;
        let list: Vec<Value> = errors.into_iter().map(|error| if unattributed { error.bare() } else { error }.entry()).collect();
        if let Some(map) = body.as_object_mut() {
            map.insert("numErrors".to_owned(), json!(list.len()));
            map.insert("errors".to_owned(), json!(list));
        }
        let plain = self.options.partial_as_success.unwrap_or(ask.version.late);
        Reply::json(if plain { status } else { StatusCode::MULTI_STATUS }, body)
    }

    pub(crate) fn batch_read(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        let body = object(ask.body()?)?;
        only(body, &["inputs", "properties", "propertiesWithHistory", "idProperty"])?;
        let archived = ask.flag("archived")?;
        let view =
            View { properties: names(body, "properties")?, history: names(body, "propertiesWithHistory")?, associations: Vec::new() };
        let property = body.get("idProperty").and_then(Value::as_str).filter(|name| !name.is_empty());
        let list = inputs(ask.body()?, MOST)?;
        let mut results: Vec<Value> = Vec::new();
        let mut missing: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        for input in list {
            only(object(input)?, &["id"])?;
            let wanted = input_id(input)?;
            let found = match property {
                Some(property) => self.by_property(kind, property, &wanted)?,
                None if archived => self.tables.get(&kind.table(), &wanted).filter(|row| row.deleted).map(|_| wanted.clone()),
                None => self.resolve(kind, &wanted, true),
            };
            match found.as_ref().and_then(|id| self.tables.get(&kind.table(), id).map(|row| (id, row))) {
                // A record that is asked for twice comes once.
                Some((id, row)) => {
                    if seen.insert(id.clone()) {
                        results.push(self.render(kind, id, row, &view));
                    }
                }
                None => missing.push(wanted),
            }
        }
        let errors = if missing.is_empty() { Vec::new() } else { vec![absent(kind, missing)] };
        Ok(self.batch(ask, StatusCode::OK, results, errors))
    }

    pub(crate) fn batch_create(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        let list = inputs(ask.body()?, MOST)?;
        let each = traced(list)?;
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in list {
            let body = object(input)?;
            only(body, &["properties", "associations", "objectWriteTraceId"])?;
            let properties = members(body)?;
            let mark = self.tables.mark();
            let made = self.create(kind, properties).and_then(|id| self.associate_new(kind, &id, body.get("associations")).map(|()| id));
            match made {
                Ok(id) => {
                    let mut record = self.written(kind, &id, properties);
                    trace(&mut record, body.get("objectWriteTraceId"));
                    results.push(record);
                }
                // Without trace ids the first failure is the answer, and nothing was done.
                Err(refusal) if !each => return Err(refusal),
                Err(refusal) => {
                    self.tables.rollback(mark);
                    errors.push(attributed(refusal, body));
                }
            }
        }
        Ok(self.batch(ask, StatusCode::CREATED, results, errors))
    }

    pub(crate) fn batch_update(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        let list = inputs(ask.body()?, MOST)?;
        let each = traced(list)?;
        let mut ids = BTreeSet::new();
        for input in list {
            only(object(input)?, &["id", "idProperty", "properties", "objectWriteTraceId"])?;
            members(object(input)?)?;
            if !ids.insert(input_id(input)?) {
                return Err(Refusal::bad("Duplicate IDs found in batch input").context("ids", [input_id(input)?]));
            }
        }
        let (mut results, mut errors, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for input in list {
            let body = object(input)?;
            let properties = members(body)?;
            let wanted = input_id(input)?;
            let found = match body.get("idProperty").and_then(Value::as_str).filter(|name| !name.is_empty()) {
                Some(property) => self.by_property(kind, property, &wanted)?,
                // Ids that were merged away are not followed here (Merge guide).
                None => self.resolve(kind, &wanted, false),
            };
            let Some(id) = found else {
                if each {
                    errors.push(attributed(absent(kind, vec![wanted]), body));
                } else {
                    missing.push(wanted);
                }
                continue;
            };
            let mark = self.tables.mark();
            match self.change(kind, &id, properties) {
                Ok(()) => {
                    let mut record = self.written(kind, &id, properties);
                    trace(&mut record, body.get("objectWriteTraceId"));
                    results.push(record);
                }
                Err(refusal) if !each => return Err(refusal),
                Err(refusal) => {
                    self.tables.rollback(mark);
                    errors.push(attributed(refusal, body));
                }
            }
        }
        if !missing.is_empty() {
            errors.push(absent(kind, missing));
        }
        Ok(self.batch(ask, StatusCode::OK, results, errors))
    }

    pub(crate) fn batch_upsert(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        let list = inputs(ask.body()?, MOST)?;
        let each = traced(list)?;
        let mut keys = BTreeSet::new();
        for input in list {
            let body = object(input)?;
            only(body, &["id", "idProperty", "properties", "objectWriteTraceId"])?;
            members(body)?;
            let key = (text(body, "idProperty")?.to_owned(), input_id(input)?.to_lowercase());
            if !keys.insert(key.clone()) {
                return Err(Refusal::bad("Duplicate IDs found in batch input").context("ids", [key.1]));
            }
        }
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in list {
            let body = object(input)?;
            let mark = self.tables.mark();
            match self.upsert(kind, body) {
                Ok((id, new)) => {
                    let mut record = self.written(kind, &id, members(body)?);
                    trace(&mut record, body.get("objectWriteTraceId"));
                    if let Some(map) = record.as_object_mut() {
                        map.insert("new".to_owned(), json!(new));
                    }
                    results.push(record);
                }
                Err(refusal) if !each => return Err(refusal),
                Err(refusal) => {
                    self.tables.rollback(mark);
                    errors.push(attributed(refusal, body));
                }
            }
        }
        Ok(self.batch(ask, StatusCode::OK, results, errors))
    }

    /// One input of an upsert: the record's id, and whether it is new.
    fn upsert(&mut self, kind: &Kind, body: &Map<String, Value>) -> Result<(String, bool), Refusal> {
        let (property, key) = (text(body, "idProperty")?, crate::sandbox::hubspot::errors::id_of(body.get("id")).unwrap_or_default());
        let mut properties = members(body)?.clone();
        if property == "hs_object_id" {
            return Err(Refusal::bad("idProperty must be email or a property with unique values"));
        }
        let Some(id) = self.by_property(kind, property, &key)? else {
            if properties.get(property).and_then(Value::as_str).is_none_or(str::is_empty) {
                properties.insert(property.to_owned(), json!(key));
            }
            return self.create(kind, &properties).map(|id| (id, true));
        };
        if property == "email" && kind.id == "0-1" && !self.options.partial_email_upsert {
            let left_out = self.tables.live(&kind.table(), &id).into_iter().flat_map(|row| row.fields.keys()).find(|name| {
                let definition = self.property(kind, name);
                let writable = definition
                    .and_then(|definition| definition.get("modificationMetadata")?.get("readOnlyValue"))
                    .is_some_and(|flag| flag == false);
                name.as_str() != "email" && writable && !properties.contains_key(*name)
            });
            if let Some(name) = left_out {
                let message = format!(
                    "Partial upserts are not supported when email is the idProperty: contact {id} has a value of {name}, which the input leaves out"
                );
                return Err(Refusal::bad(message));
            }
        }
        self.change(kind, &id, &properties).map(|()| (id, false))
    }

    pub(crate) fn batch_archive(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        for input in inputs(ask.body()?, MOST)? {
            only(object(input)?, &["id"])?;
            let id = input_id(input)?;
            self.archive(kind, &id);
        }
        Ok(no_content())
    }
}

/// Says which input a failure means.
fn attributed(refusal: Refusal, body: &Map<String, Value>) -> Refusal {
    match body.get("objectWriteTraceId").and_then(Value::as_str) {
        Some(id) => refusal.context("objectWriteTraceId", [id]),
        None => refusal,
    }
}

fn absent(kind: &Kind, ids: Vec<String>) -> Refusal {
    let message =
        format!("Could not get some {} objects, they may be deleted or not exist. Check that ids are valid.", kind.singular.to_uppercase());
    Refusal::new(404, "OBJECT_NOT_FOUND", message).context("ids", ids)
}
