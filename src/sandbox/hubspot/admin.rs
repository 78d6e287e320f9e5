//! The account as its own users, and the sandbox's, handle it.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fields, Shape, Value as Cell};
use crate::sandbox::call::{Call, Reply};
use crate::sandbox::hubspot::errors::Refusal;
use crate::sandbox::hubspot::state::{Actor, HubSpot, Kind};

impl HubSpot {
    fn object_named(&self, name: &str) -> Result<Kind> {
        self.kind(name).ok_or_else(|| Error::config(format!("the sandbox's HubSpot account has no object {name}")))
    }

    /// As a person in the account does it.
    fn by_hand<T>(&mut self, now: Timestamp, edit: impl FnOnce(&mut Self) -> std::result::Result<T, Refusal>) -> Result<T> {
        self.begin(now);
        self.actor = Actor { source: "CRM_UI", id: "userId:9586505".to_owned() };
        let mark = self.tables.mark();
        edit(self).map_err(|refusal| {
            self.tables.rollback(mark);
            Error::new(ErrorKind::Validation, format!("the sandbox refused the edit: {}", refusal.message()))
        })
    }

    pub(crate) fn edit_create(&mut self, now: Timestamp, object: &str, properties: &Map<String, Value>) -> Result<String> {
        let kind = self.object_named(object)?;
        self.by_hand(now, |hubspot| hubspot.create(&kind, properties))
    }

    pub(crate) fn edit_update(&mut self, now: Timestamp, object: &str, id: &str, properties: &Map<String, Value>) -> Result<()> {
        let kind = self.object_named(object)?;
        self.by_hand(now, |hubspot| hubspot.change(&kind, id, properties))
    }

    pub(crate) fn edit_delete(&mut self, now: Timestamp, object: &str, id: &str) -> Result<()> {
        let kind = self.object_named(object)?;
        self.by_hand(now, |hubspot| {
            hubspot.resolve(&kind, id, false).ok_or_else(Refusal::missing)?;
            hubspot.archive(&kind, id);
            Ok(())
        })
    }

    /// Takes a record out of the recycle bin.
    pub(crate) fn edit_restore(&mut self, now: Timestamp, object: &str, id: &str) -> Result<()> {
        let kind = self.object_named(object)?;
        self.by_hand(now, |hubspot| {
            let row = hubspot.tables.get(&kind.table(), id).filter(|row| row.deleted && row.text("#mergedInto").is_none());
            let mut row = row.cloned().ok_or_else(Refusal::missing)?;
            row.deleted = false;
            row.fields.remove("#archivedAt");
            hubspot.apply(&kind, &mut row, &Map::new());
            hubspot.store(&kind, id, Some(row));
            Ok(())
        })
    }

    /// Live records with every property that has a value, by id.
    pub(crate) fn records(&self, object: &str) -> Vec<Fields> {
        let Some(kind) = self.kind(object) else { return Vec::new() };
        let names: Vec<String> = self.tables.rows(&format!("p/{}", kind.id)).map(|(name, _)| name.to_owned()).collect();
        let shape = Shape::new(names.iter().map(String::as_str));
        let table = kind.table();
        let live = self.tables.rows(&table).filter(|(_, row)| !row.deleted);
        live.map(|(_, row)| {
            let values = names.iter().map(|name| Some(row.text(name).map_or(Cell::Null, Cell::from)));
            Fields::from_values(std::sync::Arc::clone(&shape), values.collect())
        })
        .collect()
    }

    /// `/_sandbox/hubspot/...`.
    pub(crate) fn admin(&mut self, call: &Call, path: &[&str]) -> Result<Reply> {
        let body = || {
            serde_json::from_slice::<Map<String, Value>>(&call.body)
                .map_err(|error| Error::config(format!("the body must be an object: {error}")))
        };
        let done = Reply::empty(StatusCode::NO_CONTENT);
        match (path, &call.method) {
            (["options"], &Method::GET) => Ok(Reply::ok(json!(self.options))),
            (["options"], &Method::POST) => {
                let mut options = json!(self.options);
                if let Some(map) = options.as_object_mut() {
                    map.extend(body()?);
                }
                self.options = serde_json::from_value(options).map_err(|error| Error::config(format!("these are not options: {error}")))?;
                Ok(done)
            }
            (["tokens"], &Method::DELETE) => {
                self.auth.expire_all(call.now);
                Ok(done)
            }
            (["installation"], &Method::DELETE) => {
                self.auth.uninstall();
                Ok(done)
            }
            (["webhooks"], &Method::GET) => {
                let waiting: Vec<Value> = self.tables.rows("whq").map(|(_, row)| Value::Object(row.fields.clone())).collect();
                Ok(Reply::ok(json!({"waiting": waiting})))
            }
            (["records", object], &Method::GET) => {
                let kind = self.object_named(object)?;
                let table = kind.table();
                let rows = self.tables.rows(&table).filter(|(_, row)| !row.deleted);
                let list: Vec<Value> = rows
                    .map(|(_, row)| {
                        Value::Object(
                            row.fields
                                .iter()
                                .filter(|(name, _)| !name.starts_with('#'))
                                .map(|(name, value)| (name.clone(), value.clone()))
                                .collect(),
                        )
                    })
                    .collect();
                Ok(Reply::ok(json!(list)))
            }
            (["records", object], &Method::POST) => {
                let id = self.edit_create(call.now, object, &body()?)?;
                Ok(Reply::json(StatusCode::CREATED, json!({"id": id})))
            }
            (["records", object, id], &Method::PATCH) => self.edit_update(call.now, object, id, &body()?).map(|()| done),
            (["records", object, id], &Method::DELETE) => self.edit_delete(call.now, object, id).map(|()| done),
            (["restore", object, id], &Method::POST) => self.edit_restore(call.now, object, id).map(|()| done),
            _ => {
                let known = "below hubspot the sandbox has options, tokens, installation, webhooks, restore/{object}/{id} and records/{object}[/{id}]";
                Ok(Reply::json(StatusCode::NOT_FOUND, json!({"error": known})))
            }
        }
    }
}
