//! `/objects/{type}`: one record at a time, and the list.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, id_of, object, only};
use crate::sandbox::hubspot::kinds;
use crate::sandbox::hubspot::records::{ARCHIVED_AT, CREATED, HISTORY, MERGED_INTO, UPDATED, meta};
use crate::sandbox::hubspot::router::{Ask, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind};
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;

/// What a read shows of a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Names to show besides the dates and the id; the type's defaults if empty.
    pub(crate) properties: Vec<String>,
    pub(crate) history: Vec<String>,
    pub(crate) associations: Vec<Kind>,
}

impl HubSpot {
    /// Everything below `/objects/{type}` but associations.
    pub(crate) fn objects(&mut self, ask: &Ask<'_>, kind: &str, rest: &[&str]) -> Answer {
        let kind = self.kind_or(kind)?;
        match rest {
            [] if ask.is(&Method::GET) => self.list(ask, &kind),
            [] if ask.is(&Method::POST) => self.create_one(ask, &kind),
            ["batch", "read" | "create" | "update" | "upsert" | "archive"] | ["search" | "merge" | "gdpr-delete"]
                if !ask.is(&Method::POST) =>
            {
                Err(Refusal::method())
            }
            ["batch", "read"] => self.batch_read(ask, &kind),
            ["batch", "create"] => self.batch_create(ask, &kind),
            ["batch", "update"] => self.batch_update(ask, &kind),
            ["batch", "upsert"] => self.batch_upsert(ask, &kind),
            ["batch", "archive"] => self.batch_archive(ask, &kind),
            ["search"] => self.search(ask, &kind),
            ["merge"] => self.merge(ask, &kind),
            ["gdpr-delete"] if kind.id == "0-1" => self.gdpr_delete(ask, &kind),
            ["gdpr-delete"] => Err(Refusal::no_path()),
            [id, "associations", rest @ ..] => self.associations_of_v3(ask, &kind, id, rest),
            [id] => match *ask.method {
                Method::GET => self.read_one(ask, &kind, id),
                Method::PATCH => self.update_one(ask, &kind, id),
                Method::DELETE => {
                    if let Some(id) = self.resolve(&kind, id, false) {
                        self.archive(&kind, &id);
                    }
                    // Deleting again is answered as the first time.
                    Ok(no_content())
                }
                _ => Err(Refusal::method()),
            },
            [] => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    pub(crate) fn view(&self, ask: &Ask<'_>) -> Result<View, Refusal> {
        let associations: Result<Vec<Kind>, Refusal> = ask.list("associations").iter().map(|name| self.kind_or(name)).collect();
        Ok(View { properties: ask.list("properties"), history: ask.list("propertiesWithHistory"), associations: associations? })
    }

    fn create_one(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        let body = object(ask.body()?)?;
        only(body, &["properties", "associations", "objectWriteTraceId"])?;
        let properties = members(body)?;
        let id = self.create(kind, properties)?;
        self.associate_new(kind, &id, body.get("associations"))?;
        let mut record = self.written(kind, &id, properties);
        trace(&mut record, body.get("objectWriteTraceId"));
        Ok(Reply::json(StatusCode::CREATED, record))
    }

    fn read_one(&mut self, ask: &Ask<'_>, kind: &Kind, id: &str) -> Answer {
        let view = self.view(ask)?;
        let archived = ask.flag("archived")?;
        let found = match ask.param("idProperty").filter(|name| !name.is_empty()) {
            Some(property) => self.by_property(kind, property, id)?,
            None if archived => {
                self.tables.get(&kind.table(), id).filter(|row| row.deleted && row.text(MERGED_INTO).is_none()).map(|_| id.to_owned())
            }
            None => self.resolve(kind, id, true),
        };
        let id = found.ok_or_else(Refusal::missing)?;
        let row = self.tables.get(&kind.table(), &id).ok_or_else(Refusal::missing)?;
        Ok(Reply::ok(self.render(kind, &id, row, &view)))
    }

    fn update_one(&mut self, ask: &Ask<'_>, kind: &Kind, id: &str) -> Answer {
        let body = object(ask.body()?)?;
        only(body, &["properties", "objectWriteTraceId"])?;
        let properties = members(body)?;
        let found = match ask.param("idProperty").filter(|name| !name.is_empty()) {
            Some(property) => self.by_property(kind, property, id)?,
            None => self.resolve(kind, id, true),
        };
        let id = found.ok_or_else(Refusal::missing)?;
        self.change(kind, &id, properties)?;
        let mut record = self.written(kind, &id, properties);
        trace(&mut record, body.get("objectWriteTraceId"));
        Ok(Reply::ok(record))
    }

    /// The list: by id, without a ceiling; `after` is the id of the next record.
    fn list(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        let view = self.view(ask)?;
        let limit = ask.limit(10, if view.history.is_empty() { 100 } else { 50 })?;
        let archived = ask.flag("archived")?;
        let after: u64 = match ask.param("after") {
            None | Some("") => 0,
            Some(text) => text.parse().map_err(|_| Refusal::bad(format!("Invalid after: {text}")))?,
        };
        let wanted = |id: &str, row: &Row| {
            row.deleted == archived && row.text(MERGED_INTO).is_none() && id.parse::<u64>().is_ok_and(|number| number >= after)
        };
        let table = kind.table();
        let mut rows = self.tables.rows(&table).filter(|(id, row)| wanted(id, row));
        let results: Vec<Value> = rows.by_ref().take(limit).map(|(id, row)| self.render(kind, id, row, &view)).collect();
        let mut body = json!({"results": results});
        if let (Some((next, _)), Some(map)) = (rows.next(), body.as_object_mut()) {
            // The link names the old version whatever the request's was.
            let link = format!("https://api.hubapi.com/crm/v3/objects/{}?after={next}&limit={limit}", kind.plural);
            map.insert("paging".to_owned(), json!({"next": {"after": next, "link": link}}));
        }
        Ok(Reply::ok(body))
    }

    /// What a write answers: the default properties and those that were sent.
    pub(crate) fn written(&self, kind: &Kind, id: &str, sent: &Map<String, Value>) -> Value {
        let mut properties: Vec<String> = self.defaults(kind);
        properties.extend(sent.keys().cloned());
        let view = View { properties, ..View::default() };
        self.tables.get(&kind.table(), id).map_or(Value::Null, |row| self.render(kind, id, row, &view))
    }

    pub(crate) fn defaults(&self, kind: &Kind) -> Vec<String> {
        let standard = kinds::STANDARD.iter().find(|one| one.id == kind.id);
        standard.map(|one| one.defaults.iter().map(|name| (*name).to_owned()).collect()).unwrap_or_default()
    }

    /// A record as reads show it. Unknown names are passed over; a property without a value is null.
    pub(crate) fn render(&self, kind: &Kind, id: &str, row: &Row, view: &View) -> Value {
        let mut properties = Map::new();
        let defaults;
        let wanted = if view.properties.is_empty() {
            defaults = self.defaults(kind);
            &defaults
        } else {
            &view.properties
        };
        for name in wanted.iter().map(String::as_str).chain([kind.created(), kind.modified(), "hs_object_id"]) {
            if self.property(kind, name).is_some() {
                properties.insert(name.to_owned(), row.fields.get(name).cloned().unwrap_or(Value::Null));
            }
        }
        let mut record = Map::new();
        record.insert("id".to_owned(), json!(id));
        record.insert("properties".to_owned(), Value::Object(properties));
        record.insert("createdAt".to_owned(), row.fields.get(kind.created()).cloned().unwrap_or_else(|| json!(stamp(meta(row, CREATED)))));
        record.insert("updatedAt".to_owned(), json!(stamp(meta(row, UPDATED))));
        record.insert("archived".to_owned(), json!(row.deleted));
        if row.deleted {
            record.insert("archivedAt".to_owned(), json!(stamp(meta(row, ARCHIVED_AT))));
        }
        record.insert("url".to_owned(), json!(format!("https://app.hubspot.com/contacts/{}/record/{}/{id}", self.portal, kind.id)));
        if !view.history.is_empty() {
            let history = row.fields.get(HISTORY);
            let versions = |name: &String| history.and_then(|history| history.get(name)).cloned().unwrap_or_else(|| json!([]));
            let all: Map<String, Value> =
                view.history.iter().filter(|name| self.property(kind, name).is_some()).map(|name| (name.clone(), versions(name))).collect();
            record.insert("propertiesWithHistory".to_owned(), Value::Object(all));
        }
        if !view.associations.is_empty() {
            let mut all = Map::new();
            for to in &view.associations {
                let results = self.associated_v3(kind, id, to);
                if !results.is_empty() {
                    all.insert(to.plural.clone(), json!({"results": results}));
                }
            }
            if !all.is_empty() {
                record.insert("associations".to_owned(), Value::Object(all));
            }
        }
        Value::Object(record)
    }

    /// A merge; the result has a new id if the options say so, and the old ids lead to it.
    fn merge(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        if !(matches!(kind.id.as_str(), "0-1" | "0-2" | "0-3" | "0-5") || kind.custom) {
            return Err(Refusal::bad(format!("Merging is not supported for {}", kind.plural)));
        }
        let body = object(ask.body()?)?;
        only(body, &["primaryObjectId", "objectIdToMerge"])?;
        let find = |name: &str| {
            let id = id_of(body.get(name)).ok_or_else(|| Refusal::bad(format!("some of required attributes are not set [{name}]")))?;
            self.resolve(kind, &id, true).ok_or_else(Refusal::missing)
        };
        let (primary, other) = (find("primaryObjectId")?, find("objectIdToMerge")?);
        if primary == other {
            return Err(Refusal::bad("A record cannot be merged with itself"));
        }
        let table = kind.table();
        let (Some(first), Some(second)) = (self.tables.live(&table, &primary).cloned(), self.tables.live(&table, &other).cloned()) else {
            return Err(Refusal::missing());
        };
        let merged = |id: &str, row: &Row| {
            let mut ids: Vec<String> =
                row.text("hs_merged_object_ids").unwrap_or_default().split(';').filter(|id| !id.is_empty()).map(str::to_owned).collect();
            ids.push(id.to_owned());
            ids
        };
        let mut ids = merged(&primary, &first);
        ids.extend(merged(&other, &second));
        if ids.len() > 250 {
            return Err(Refusal::new(414, "VALIDATION_ERROR", "The merged record would have more than 250 identities"));
        }
        let target = if self.options.merge_new_id { self.record_id() } else { primary.clone() };
        ids.retain(|id| *id != target);
        let mut kept: Map<String, Value> = Map::new();
        let own = |name: &str| name.starts_with('#') || name.starts_with("hs_object_") || name == kind.modified();
        for (name, value) in second.fields.iter().filter(|(name, _)| !own(name)) {
            if !first.fields.contains_key(name) {
                kept.insert(name.clone(), value.clone());
            }
        }
        kept.insert("hs_merged_object_ids".to_owned(), json!(ids.join(";")));
        kept.insert("hs_object_id".to_owned(), json!(target));
        if kind.id == "0-1" {
            let mails: Vec<&str> =
                [&first, &second].iter().filter_map(|row| row.text("hs_additional_emails")).flat_map(|list| list.split(';')).collect();
            let mut mails: Vec<String> = mails.into_iter().map(str::to_owned).collect();
            if let (Some(_), Some(lost)) = (first.text("email"), second.text("email")) {
                mails.push(lost.to_owned());
            }
            for mail in &mails {
                self.tables.put("mail", mail, Some(crate::sandbox::hubspot::state::row(json!({"id": target}))));
            }
            if !mails.is_empty() {
                kept.insert("hs_additional_emails".to_owned(), json!(mails.join(";")));
            }
        }
        let gone: Vec<&String> = [&primary, &other].into_iter().filter(|id| **id != target).collect();
        for (id, row) in [(&primary, &first), (&other, &second)].into_iter().filter(|(id, _)| **id != target) {
            let mut row = row.clone();
            row.deleted = true;
            row.fields.insert(ARCHIVED_AT.to_owned(), json!(self.now.as_millisecond()));
            row.fields.insert(MERGED_INTO.to_owned(), json!(target));
            row.fields.insert("#primary".to_owned(), json!(primary));
            self.store(kind, id, Some(row));
        }
        let mut row = first.clone();
        self.apply(kind, &mut row, &kept);
        self.store(kind, &target, Some(row));
        for id in gone {
            self.move_associations(kind, id, &target);
        }
        Ok(Reply::ok(self.written(kind, &target, &Map::new())))
    }

    /// Deletes a contact for good; its address is remembered as one not to take again.
    fn gdpr_delete(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        let body = object(ask.body()?)?;
        only(body, &["objectId", "idProperty"])?;
        let id = id_of(body.get("objectId")).ok_or_else(|| Refusal::bad("some of required attributes are not set [objectId]"))?;
        let found = match body.get("idProperty").and_then(Value::as_str) {
            Some(property) => self.by_property(kind, property, &id)?,
            None => self.resolve(kind, &id, true),
        };
        if let Some(id) = found {
            self.drop_associations(kind, &id);
            self.store(kind, &id, None);
        }
        Ok(no_content())
    }
}

/// The `properties` of a body.
pub(crate) fn members(body: &Map<String, Value>) -> Result<&Map<String, Value>, Refusal> {
    match body.get("properties") {
        Some(Value::Object(properties)) => Ok(properties),
        Some(_) => Err(Refusal::bad("Invalid input JSON on line 1, column 1: properties must be an object")),
        None => Err(Refusal::bad("Invalid input JSON on line 1, column 1: some of required attributes are not set [properties]")),
    }
}

/// Gives a record the trace id of its input.
pub(crate) fn trace(record: &mut Value, id: Option<&Value>) {
    if let (Some(map), Some(id)) = (record.as_object_mut(), id) {
        map.insert("objectWriteTraceId".to_owned(), id.clone());
    }
}
