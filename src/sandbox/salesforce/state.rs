//! The org: its rows, its schema, its tokens, and how they are kept.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Fields;
use crate::sandbox::salesforce::bulk::{JobLines, Jobs, OwnedJobLines};
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events::{Bus, Saved};
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::oauth::Auth;
use crate::sandbox::salesforce::options::Options;
use crate::sandbox::salesforce::org;
use crate::sandbox::salesforce::query::Cursors;
use crate::sandbox::salesforce::schema::{FieldDef, ObjectDef, Schema};
use crate::sandbox::salesforce::shown::field_value;
use crate::sandbox::salesforce::soql::Scope;
use crate::sandbox::salesforce::validate::stamp;
use crate::sandbox::salesforce::write::{Assign, Write};
use crate::sandbox::store::{Changed, Row, Tables};

/// API calls of the last day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) calls: u64,
    since: Option<Timestamp>,
}

impl Usage {
    /// Counts `calls` more. The window starts anew when it is a day old.
    pub(crate) fn count(&mut self, now: Timestamp, calls: u64) {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since).as_hours() >= 24 {
            *self = Self { calls: 0, since: Some(now) };
        }
        self.calls += calls;
    }
}

/// The org.
#[derive(Debug)]
pub(crate) struct Salesforce {
    seed: u64,
    pub(crate) schema: Schema,
    /// When the schema last changed, for conditional describes.
    pub(crate) schema_at: Timestamp,
    pub(crate) tables: Tables,
    next: u64,
    pub(crate) org: String,
    /// The user the tokens belong to.
    pub(crate) user: String,
    /// Somebody else in the org.
    pub(crate) other: String,
    pub(crate) auth: Auth,
    pub(crate) options: Options,
    pub(crate) cursors: Cursors,
    pub(crate) usage: Usage,
    pub(crate) events: Bus,
    pub(crate) jobs: Jobs,
    /// Objects that were added or changed since the start.
    changed_objects: Vec<String>,
    auth_saved: Auth,
    jobs_saved: Jobs,
    options_saved: Options,
    schema_dirty: bool,
}

/// One commit as it is logged.
#[derive(Serialize)]
struct Line<'a> {
    next: u64,
    rows: Vec<Changed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<&'a Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a Options>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<&'a ObjectDef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Saved>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<JobLines<'a>>,
}

/// One commit as it is read back.
#[derive(Deserialize)]
struct OwnedLine {
    next: u64,
    rows: Vec<(String, String, Option<Row>)>,
    auth: Option<Auth>,
    options: Option<Options>,
    #[serde(default)]
    objects: Vec<ObjectDef>,
    events: Option<Saved>,
    jobs: Option<OwnedJobLines>,
}

impl Salesforce {
    /// A fresh org. The same seed makes the same ids and tokens.
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        let auth = Auth::new(seed);
        let mut salesforce = Self {
            seed,
            schema: org::schema(),
            schema_at: now,
            tables: Tables::default(),
            next: 1,
            org: String::new(),
            user: String::new(),
            other: String::new(),
            auth_saved: auth.clone(),
            auth,
            options: Options::default(),
            options_saved: Options::default(),
            cursors: Cursors::default(),
            usage: Usage::default(),
            events: Bus::new(seed),
            jobs: Jobs::default(),
            jobs_saved: Jobs::default(),
            changed_objects: Vec::new(),
            schema_dirty: false,
        };
        let objects: Vec<Arc<ObjectDef>> = salesforce.schema.objects().cloned().collect();
        for object in &objects {
            salesforce.index(object);
        }
        let at = json!(stamp(now));
        for (entity, value) in org::rows() {
            let Some(object) = salesforce.schema.object(entity).cloned() else { continue };
            let id = salesforce.new_id(&object.prefix);
            let mut row = Row { fields: value.as_object().cloned().unwrap_or_default(), deleted: false };
            for field in &object.fields {
                if let Some(default) = &field.default {
                    row.fields.entry(field.name.clone()).or_insert_with(|| default.clone());
                }
            }
            row.fields.insert("Id".to_owned(), json!(id));
            for name in ["CreatedDate", "LastModifiedDate", "SystemModstamp"] {
                row.fields.insert(name.to_owned(), at.clone());
            }
            match entity {
                "Organization" => salesforce.org.clone_from(&id),
                "User" if salesforce.user.is_empty() => salesforce.user.clone_from(&id),
                "User" if salesforce.other.is_empty() => salesforce.other.clone_from(&id),
                _ => {}
            }
            for name in ["CreatedById", "LastModifiedById"] {
                row.fields.insert(name.to_owned(), json!(salesforce.user));
            }
            salesforce.tables.put(entity, &id, Some(row));
        }
        salesforce.auth.start(&salesforce.org);
        salesforce
    }

    fn index(&mut self, object: &ObjectDef) {
        for field in object.fields.iter().filter(|field| ObjectDef::is_indexed(field) && field.name != "Id") {
            if !self.tables.has_index(&object.name, &field.name) {
                self.tables.add_index(&object.name, &field.name);
            }
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        let id = ids::make(prefix, self.seed, self.next);
        self.next += 1;
        id
    }

    pub(crate) fn scope<'a>(&'a self, version: &'a str, today: Date) -> Scope<'a> {
        Scope { schema: &self.schema, tables: &self.tables, today, version }
    }

    /// How the org itself, or a person in it, writes.
    pub(crate) fn by_hand(&self, now: Timestamp) -> Write {
        Write {
            user: self.other.clone(),
            now,
            allow_duplicates: true,
            details: false,
            system: true,
            locked: false,
            version: "v68.0".to_owned(),
            assign: Assign::Off,
        }
    }

    pub(crate) fn edit_create(&mut self, now: Timestamp, entity: &str, fields: &Map<String, Value>) -> Result<String> {
        let object = self.schema.object(entity).cloned().ok_or_else(|| unknown(entity))?;
        let mark = self.tables.mark();
        self.events.begin_by_hand(now, &self.other);
        let result = self.insert(&self.by_hand(now), &object, fields);
        self.settle(mark, result)
    }

    pub(crate) fn edit_update(&mut self, now: Timestamp, entity: &str, id: &str, fields: &Map<String, Value>) -> Result<()> {
        let object = self.schema.object(entity).cloned().ok_or_else(|| unknown(entity))?;
        let mark = self.tables.mark();
        let write = self.by_hand(now);
        self.events.begin_by_hand(now, &self.other);
        let result = Self::id_of(&object, id).and_then(|id| self.update(&write, &object, &id, fields));
        self.settle(mark, result)
    }

    pub(crate) fn edit_delete(&mut self, now: Timestamp, entity: &str, id: &str) -> Result<()> {
        let object = self.schema.object(entity).cloned().ok_or_else(|| unknown(entity))?;
        let mark = self.tables.mark();
        let write = self.by_hand(now);
        self.events.begin_by_hand(now, &self.other);
        let result = Self::id_of(&object, id).and_then(|id| self.remove(&write, &object, &id));
        self.settle(mark, result)
    }

    pub(crate) fn settle<T>(&mut self, mark: usize, result: Result<T, ApiError>) -> Result<T> {
        result.map_err(|error| {
            self.tables.rollback(mark);
            Error::new(ErrorKind::Validation, "the sandbox refused the edit").with_code(error.code)
        })
    }

    /// Adds or replaces a field.
    pub(crate) fn add_field(&mut self, now: Timestamp, entity: &str, field: FieldDef) -> Result<()> {
        let mut object = self.schema.object(entity).map(|object| ObjectDef::clone(object)).ok_or_else(|| unknown(entity))?;
        object.fields.retain(|known| !known.name.eq_ignore_ascii_case(&field.name));
        object.fields.push(field);
        self.put_object(now, object);
        Ok(())
    }

    /// Adds an object.
    pub(crate) fn add_object(&mut self, now: Timestamp, object: ObjectDef) -> Result<()> {
        if object.prefix.len() != 3 || self.schema.prefix_taken(&object.prefix) || self.schema.object(&object.name).is_some() {
            return Err(Error::config("the object's name or its three-character prefix is taken or malformed"));
        }
        self.put_object(now, object);
        Ok(())
    }

    fn put_object(&mut self, now: Timestamp, object: ObjectDef) {
        self.index(&object);
        if !self.changed_objects.contains(&object.name) {
            self.changed_objects.push(object.name.clone());
        }
        self.events.object_changed(&object.name);
        self.schema.add(object);
        self.schema_at = now;
        self.schema_dirty = true;
    }

    /// Live rows of an object, with every field.
    pub(crate) fn records(&self, entity: &str) -> Vec<Fields> {
        let Some(object) = self.schema.object(entity) else { return Vec::new() };
        let names: Vec<&str> = object.fields.iter().map(|field| field.name.as_str()).collect();
        let shape = crate::model::Shape::new(names);
        self.tables
            .rows(&object.name)
            .filter(|(_, row)| !row.deleted)
            .map(|(_, row)| {
                let values = object.fields.iter().map(|field| Some(field_value(row, field))).collect();
                Fields::from_values(Arc::clone(&shape), values)
            })
            .collect()
    }

    /// Every row that is not the org's own furniture, by object.
    pub(crate) fn state(&self) -> Value {
        let all: Map<String, Value> = self
            .tables
            .entities()
            .map(|entity| {
                let rows: Vec<Value> = self.tables.rows(entity).map(|(_, row)| Value::Object(row.fields.clone())).collect();
                (entity.to_owned(), Value::Array(rows))
            })
            .collect();
        Value::Object(all)
    }

    /// The line to log for what has changed since the last commit; `None` if nothing has.
    pub(crate) fn pending(&self) -> Option<Value> {
        let rows = self.tables.changes();
        let auth = (self.auth != self.auth_saved).then_some(&self.auth);
        let options = (self.options != self.options_saved).then_some(&self.options);
        let objects = if self.schema_dirty { self.custom_objects() } else { Vec::new() };
        let jobs = self.jobs.changes(&self.jobs_saved);
        let events = self.events.pending();
        if rows.is_empty() && auth.is_none() && options.is_none() && objects.is_empty() && jobs.is_none() && events.is_none() {
            return None;
        }
        serde_json::to_value(Line { next: self.next, rows, auth, options, objects, jobs, events }).ok()
    }

    fn custom_objects(&self) -> Vec<&ObjectDef> {
        self.changed_objects.iter().filter_map(|name| self.schema.object(name)).map(AsRef::as_ref).collect()
    }

    /// True if [`Salesforce::pending`] would say something; cheaper.
    pub(crate) fn is_dirty(&self) -> bool {
        self.tables.mark() > 0
            || self.auth != self.auth_saved
            || self.options != self.options_saved
            || self.schema_dirty
            || self.events.is_dirty()
            || self.jobs.stamp() != self.jobs_saved.stamp()
    }

    /// The pending changes are safe.
    pub(crate) fn committed(&mut self) {
        self.tables.commit();
        self.events.committed();
        if self.auth != self.auth_saved {
            self.auth_saved = self.auth.clone();
        }
        if self.options != self.options_saved {
            self.options_saved = self.options.clone();
        }
        if self.jobs.stamp() != self.jobs_saved.stamp() {
            self.jobs_saved = self.jobs.clone();
        }
        self.schema_dirty = false;
    }

    /// The pending changes could not be kept.
    pub(crate) fn discarded(&mut self) {
        self.tables.rollback(0);
        self.events.discarded();
        self.auth = self.auth_saved.clone();
        self.options = self.options_saved.clone();
        let horizon = self.jobs.horizon;
        self.jobs = self.jobs_saved.clone();
        self.jobs.horizon = horizon;
    }

    /// Everything in one line, to compact the log.
    pub(crate) fn snapshot(&self) -> Option<Value> {
        let entities: Vec<&str> = self.tables.entities().collect();
        let rows = entities.iter().flat_map(|entity| self.tables.rows(entity).map(|(id, row)| (*entity, id, Some(row)))).collect();
        let nothing = Jobs::default();
        let line = Line {
            next: self.next,
            rows,
            auth: Some(&self.auth),
            options: Some(&self.options),
            objects: self.custom_objects(),
            events: Some(self.events.snapshot()),
            jobs: self.jobs.changes(&nothing),
        };
        serde_json::to_value(line).ok()
    }

    /// Applies a line of the log.
    pub(crate) fn replay(&mut self, now: Timestamp, line: Value) -> Result<()> {
        let line: OwnedLine = serde_json::from_value(line)
            .map_err(|_| Error::store("the sandbox's log holds a line this version cannot read; remove the data directory"))?;
        for object in line.objects {
            self.put_object(now, object);
        }
        for (entity, id, row) in line.rows {
            self.tables.put(&entity, &id, row);
        }
        self.next = line.next;
        if let Some(auth) = line.auth {
            self.auth = auth;
        }
        if let Some(options) = line.options {
            self.options = options;
        }
        if let Some(events) = line.events {
            self.events.restore(events);
        }
        if let Some(jobs) = line.jobs {
            self.jobs.replay(jobs);
        }
        self.committed();
        Ok(())
    }
}

fn unknown(entity: &str) -> Error {
    Error::config(format!("the sandbox's org has no object {entity}"))
}
