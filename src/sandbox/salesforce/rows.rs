//! Create, update, upsert and delete of one record, with everything Salesforce checks on the way.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::options::RuleAction;
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef};
use crate::sandbox::salesforce::validate::{coerce, stamp};
use crate::sandbox::salesforce::write::Write;
use crate::sandbox::store::{Row, fold};

fn lock_error(id: &str) -> ApiError {
    ApiError::field("UNABLE_TO_LOCK_ROW", format!("unable to obtain exclusive access to this record or 1 records: {id}"), &[])
}

fn dangling() -> ApiError {
    ApiError::field("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[])
}

type Values = Vec<(String, Option<Value>)>;

impl Salesforce {
    /// The object called `name`, or a 404.
    pub(crate) fn object(&self, name: &str) -> Result<Arc<ObjectDef>, ApiError> {
        self.schema.object(name).cloned().ok_or_else(ApiError::not_found)
    }

    /// The full form of an id in a path or list, checked for its object.
    pub(crate) fn id_of(object: &ObjectDef, text: &str) -> Result<String, ApiError> {
        let id = ids::normalize(text).ok_or_else(|| ApiError::field("MALFORMED_ID", format!("malformed id {text}"), &["Id"]))?;
        if !id.starts_with(&object.prefix) {
            let message = format!("{} ID: id value of incorrect type: {text}", object.label);
            return Err(ApiError::field("MALFORMED_ID", message, &["Id"]));
        }
        Ok(id)
    }

    pub(crate) fn insert(&mut self, write: &Write, object: &Arc<ObjectDef>, body: &Map<String, Value>) -> Result<String, ApiError> {
        if !object.writable && !write.system {
            let message = format!("entity type cannot be inserted: {}", object.label);
            return Err(ApiError::field("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]));
        }
        if body.keys().any(|name| name.eq_ignore_ascii_case("Id")) {
            return Err(ApiError::field("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", &["Id"]));
        }
        let values = self.values(write, object, body, true)?;
        let mut row = Row::default();
        for field in &object.fields {
            if let Some(default) = &field.default {
                row.fields.insert(field.name.clone(), default.clone());
            }
        }
        row.fields.extend(values.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if object.field("OwnerId").is_some() && !row.fields.contains_key("OwnerId") {
            row.fields.insert("OwnerId".to_owned(), json!(write.user));
        }
        self.assign(write, object, &mut row)?;
        require(object, &row)?;
        if events::is_event(object) {
            return Ok(self.enqueue(write, object, row));
        }
        self.automate(write, object, None, &mut row)?;
        self.before_save(write, object, None, &mut row)?;
        self.unique(object, "", &row)?;
        self.duplicate_rules(write, object, "", &row)?;
        if object.name == "Campaign" && !write.system && !self.options.marketing_user {
            let message = "insufficient access rights on object id";
            return Err(ApiError::field("INSUFFICIENT_ACCESS_OR_READONLY", message, &[]));
        }
        if write.locked {
            return Err(lock_error(row.text("OwnerId").unwrap_or_default()));
        }
        let id = self.new_id(&object.prefix);
        let now = json!(stamp(write.now));
        for name in ["CreatedDate", "LastModifiedDate", "SystemModstamp"] {
            row.fields.insert(name.to_owned(), now.clone());
        }
        for name in ["CreatedById", "LastModifiedById"] {
            row.fields.insert(name.to_owned(), json!(write.user));
        }
        row.fields.insert("Id".to_owned(), json!(id));
        row.fields.insert("IsDeleted".to_owned(), json!(false));
        self.tables.put(&object.name, &id, Some(row));
        self.after_insert(write, object, &id)?;
        Ok(id)
    }

    /// Changes a live row. `id` is in its full form.
    pub(crate) fn update(&mut self, write: &Write, object: &Arc<ObjectDef>, id: &str, body: &Map<String, Value>) -> Result<(), ApiError> {
        let old = self.existing(object, id)?.clone();
        if !object.writable && !write.system {
            let message = format!("entity type cannot be updated: {}", object.label);
            return Err(ApiError::field("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]));
        }
        let values = self.values(write, object, body, false)?;
        self.unlocked(write, id)?;
        if object.name == "Lead" && old.is_true("IsConverted") && !write.system {
            return Err(ApiError::field("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", &[]));
        }
        let mut row = old.clone();
        for (name, value) in values {
            match value {
                Some(value) => _ = row.fields.insert(name, value),
                None => _ = row.fields.remove(&name),
            }
        }
        self.assign(write, object, &mut row)?;
        require(object, &row)?;
        self.automate(write, object, Some(&old), &mut row)?;
        self.before_save(write, object, Some(&old), &mut row)?;
        self.unique(object, id, &row)?;
        self.duplicate_rules(write, object, id, &row)?;
        let now = json!(stamp(write.now));
        for name in ["LastModifiedDate", "SystemModstamp"] {
            row.fields.insert(name.to_owned(), now.clone());
        }
        row.fields.insert("LastModifiedById".to_owned(), json!(write.user));
        self.tables.put(&object.name, id, Some(row));
        self.after_update(object, id, &old);
        Ok(())
    }

    /// Moves a live row to the recycle bin, and what hangs on it.
    pub(crate) fn remove(&mut self, write: &Write, object: &ObjectDef, id: &str) -> Result<(), ApiError> {
        let mut row = self.existing(object, id)?.clone();
        if !object.writable && !write.system {
            let message = format!("entity type cannot be deleted: {}", object.label);
            return Err(ApiError::field("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]));
        }
        self.unlocked(write, id)?;
        row.deleted = true;
        row.fields.insert("IsDeleted".to_owned(), json!(true));
        for name in ["LastModifiedDate", "SystemModstamp"] {
            row.fields.insert(name.to_owned(), json!(stamp(write.now)));
        }
        self.before_remove(object, id);
        self.tables.put(&object.name, id, Some(row));
        let hanging: &[(&str, &str)] = match object.name.as_str() {
            "Account" => &[("Contact", "AccountId"), ("Opportunity", "AccountId")],
            "Campaign" => &[("CampaignMember", "CampaignId"), ("CampaignMemberStatus", "CampaignId")],
            "Contact" => &[("CampaignMember", "ContactId")],
            "Lead" => &[("CampaignMember", "LeadId"), ("Task", "WhoId"), ("Event", "WhoId")],
            _ => &[],
        };
        for (entity, lookup) in hanging {
            let children: Vec<String> = self.tables.lookup(entity, lookup, &id.to_lowercase()).map(str::to_owned).collect();
            if let Some(child) = self.schema.object(entity).cloned() {
                for id in children {
                    self.remove(write, &child, &id)?;
                }
            }
        }
        Ok(())
    }

    /// Refuses a write to a record somebody holds, for a moment or until an approval.
    fn unlocked(&self, write: &Write, id: &str) -> Result<(), ApiError> {
        if write.locked || (!write.system && self.options.locked_records.iter().any(|held| held == id)) {
            return Err(lock_error(id));
        }
        if !write.system && self.options.approval_locks.iter().any(|held| held == id) {
            let message = "the entity is locked for editing";
            return Err(ApiError::field("ENTITY_IS_LOCKED", message, &[]));
        }
        Ok(())
    }

    /// A live row, or why not.
    pub(crate) fn existing(&self, object: &ObjectDef, id: &str) -> Result<&Row, ApiError> {
        match self.tables.get(&object.name, id) {
            None => Err(ApiError::not_found()),
            Some(row) if row.deleted => Err(ApiError::new(StatusCode::NOT_FOUND, "ENTITY_IS_DELETED", "entity is deleted")),
            Some(row) => Ok(row),
        }
    }

    /// The field a path or collection names as external id.
    pub(crate) fn external_field<'a>(object: &'a ObjectDef, name: &str) -> Result<&'a FieldDef, ApiError> {
        object.field(name).filter(|field| field.external_id || field.name == "Id").ok_or_else(|| {
            let message = format!("Provided external ID field does not exist or is not accessible: {name}");
            ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
        })
    }

    /// Live rows whose external id is `value`.
    pub(crate) fn find(&self, object: &ObjectDef, field: &FieldDef, value: &str) -> Vec<String> {
        if field.name == "Id" {
            let id = ids::normalize(value).filter(|id| self.tables.live(&object.name, id).is_some());
            return id.into_iter().collect();
        }
        let wanted = match coerce(field, &json!(value)) {
            Ok(Some(value)) => value,
            _ => return Vec::new(),
        };
        let key = fold(&wanted).unwrap_or_default();
        let exact = |id: &&str| {
            !field.case_sensitive || self.tables.get(&object.name, id).and_then(|row| row.fields.get(&field.name)) == Some(&wanted)
        };
        self.tables.lookup(&object.name, &field.name, &key).filter(exact).map(str::to_owned).collect()
    }

    /// The id and whether it is new.
    pub(crate) fn upsert(
        &mut self,
        write: &Write,
        object: &Arc<ObjectDef>,
        field: &FieldDef,
        value: &str,
        body: &Map<String, Value>,
        update_only: bool,
    ) -> Result<(String, bool), ApiError> {
        let mut body = body.clone();
        body.retain(|name, _| !name.eq_ignore_ascii_case(&field.name));
        if field.name == "Id" {
            let id = Self::id_of(object, value)?;
            self.update(write, object, &id, &body)?;
            return Ok((id, false));
        }
        let known = self.find(object, field, value);
        match known.as_slice() {
            [] if update_only => Err(ApiError::not_found()),
            [] => {
                body.insert(field.name.clone(), json!(value));
                self.insert(write, object, &body).map(|id| (id, true))
            }
            [id] => {
                let id = id.clone();
                self.update(write, object, &id, &body)?;
                Ok((id, false))
            }
            several => {
                let message = format!("{}: more than one record found for external id field: [{}]", field.name, several.join(", "));
                Err(ApiError::field("DUPLICATE_EXTERNAL_ID", message, &[field.name.as_str()]))
            }
        }
    }

    /// The body's fields under their own names, in stored form.
    fn values(&self, write: &Write, object: &ObjectDef, body: &Map<String, Value>, insert: bool) -> Result<Values, ApiError> {
        let mut known = Vec::with_capacity(body.len());
        for (name, value) in body {
            if name == "attributes" {
                if value.get("type").and_then(Value::as_str).is_some_and(|kind| !kind.eq_ignore_ascii_case(&object.name)) {
                    return Err(ApiError::bad("INVALID_TYPE", "the type in attributes is not the object that is written"));
                }
                continue;
            }
            if let Some(field) = object.field(name) {
                known.push((field, value, None));
            } else if let Some(lookup) = object.relation(name)
                && let Value::Object(nested) = value
            {
                known.push((lookup, value, Some(nested)));
            } else {
                return Err(ApiError::bad("INVALID_FIELD", format!("No such column '{name}' on sobject of type {}", object.name)));
            }
        }
        let mut values = Vec::with_capacity(known.len());
        for (field, value, nested) in &known {
            let value = match nested {
                Some(nested) => Some(json!(self.by_external_id(field, nested)?)),
                // What cannot be written is refused as such, whatever its value.
                None if field.kind == FieldKind::Address || field.kind == FieldKind::Id => None,
                None => coerce(field, value)?,
            };
            values.push((field.name.clone(), value));
        }
        let closed: Vec<&str> = known
            .iter()
            .filter(|(field, ..)| !(if insert { field.createable } else { field.updateable }))
            .map(|(field, ..)| field.name.as_str())
            .collect();
        if !closed.is_empty() && !write.system {
            let message = format!(
                "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is read/write \
                 for your profile or permission set.",
                closed.join(", ")
            );
            return Err(ApiError::field("INVALID_FIELD_FOR_INSERT_UPDATE", message, &closed));
        }
        for ((field, ..), (_, value)) in known.iter().zip(&values) {
            if field.kind != FieldKind::Reference {
                continue;
            }
            let Some(id) = value.as_ref().and_then(Value::as_str) else { continue };
            let target = self.schema.of_id(id).filter(|target| field.refs.contains(&target.name));
            let Some(target) = target else {
                let message = format!("{}: id value of incorrect type: {id}", field.label);
                return Err(ApiError::field("MALFORMED_ID", message, &[field.name.as_str()]));
            };
            match self.tables.get(&target.name, id) {
                None => return Err(dangling()),
                Some(row) if row.deleted => return Err(ApiError::field("ENTITY_IS_DELETED", "entity is deleted", &[])),
                Some(row) if insert && !write.system && target.name == "Lead" && row.is_true("IsConverted") => {
                    return Err(ApiError::field("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", &[field.name.as_str()]));
                }
                Some(_) => {}
            }
        }
        Ok(values)
    }

    /// `{"Account":{"Ext__c":"A-1"}}`: the id of the one record meant.
    fn by_external_id(&self, lookup: &FieldDef, nested: &Map<String, Value>) -> Result<String, ApiError> {
        let kind = nested.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Value::as_str);
        let mut named = nested.iter().filter(|(name, _)| *name != "attributes");
        let (Some((name, value)), None) = (named.next(), named.next()) else {
            return Err(ApiError::bad("INVALID_FIELD", "a relationship names its record by exactly one external id field"));
        };
        if lookup.polymorphic() && kind.is_none() {
            return Err(ApiError::bad("INVALID_FIELD", "a relationship to several objects needs attributes with a type"));
        }
        let target = match kind {
            Some(kind) => lookup.refs.iter().find(|target| target.eq_ignore_ascii_case(kind)),
            None => lookup.refs.first(),
        };
        let Some(target) = target.and_then(|target| self.schema.object(target)) else {
            return Err(ApiError::bad("INVALID_FIELD", "the type in attributes is not one the relationship leads to"));
        };
        let Some(field) = target.field(name).filter(|field| field.id_lookup) else {
            return Err(ApiError::bad("INVALID_FIELD", format!("No such external id column '{name}' on sobject of type {}", target.name)));
        };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(ApiError::json("an external id is a text or a number")),
        };
        let mut found = self.find(target, field, &text);
        match (found.pop(), found.is_empty()) {
            (Some(id), true) => Ok(id),
            (Some(_), false) => Err(ApiError::bad(
                "DUPLICATE_EXTERNAL_ID",
                format!("Foreign key external ID: {text} is not unique in entity {}", target.name),
            )),
            (None, _) => {
                let message = format!(
                    "Foreign key external ID: {} not found for field {} in entity {}",
                    text.to_lowercase(),
                    field.name,
                    target.name
                );
                Err(ApiError::field("INVALID_FIELD", message, &[]))
            }
        }
    }

    pub(crate) fn unique(&self, object: &ObjectDef, id: &str, row: &Row) -> Result<(), ApiError> {
        for field in object.fields.iter().filter(|field| field.unique) {
            let Some(value) = row.fields.get(&field.name) else { continue };
            let Some(key) = fold(value) else { continue };
            let other = self.tables.lookup(&object.name, &field.name, &key).find(|other| {
                *other != id
                    && (!field.case_sensitive
                        || self.tables.get(&object.name, other).and_then(|row| row.fields.get(&field.name)) == Some(value))
            });
            if let Some(other) = other {
                let message = format!("duplicate value found: {} duplicates value on record with id: {other}", field.name);
                return Err(ApiError::field("DUPLICATE_VALUE", message, &[]));
            }
        }
        Ok(())
    }

    fn duplicate_rules(&self, write: &Write, object: &ObjectDef, id: &str, row: &Row) -> Result<(), ApiError> {
        if write.system {
            return Ok(());
        }
        for rule in self.options.duplicate_rules.iter().filter(|rule| rule.entity == object.name) {
            let allowed = rule.action != RuleAction::Block;
            if rule.action == RuleAction::Report || (allowed && write.allow_duplicates) {
                continue;
            }
            let entity = rule.match_entity.as_ref().unwrap_or(&rule.entity);
            let wanted: Option<Vec<(&str, String)>> =
                rule.fields.iter().map(|field| Some((field.as_str(), fold(row.fields.get(field)?)?))).collect();
            let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { continue };
            let same = |other: &Row| {
                wanted.iter().all(|(field, key)| other.fields.get(*field).and_then(fold).as_ref() == Some(key))
                    && other.text("Id") != Some(id)
            };
            let indexed = wanted.iter().find(|(field, _)| self.tables.has_index(entity, field));
            let hits: Vec<&Row> = match indexed {
                Some((field, key)) => {
                    self.tables.lookup(entity, field, key).filter_map(|id| self.tables.get(entity, id)).filter(|row| same(row)).collect()
                }
                None => self.tables.rows(entity).map(|(_, row)| row).filter(|row| !row.deleted && same(row)).collect(),
            };
            if hits.is_empty() {
                continue;
            }
            let records: Vec<Value> = hits.iter().map(|hit| match_record(write, entity, &rule.fields, hit)).collect();
            let mut error = ApiError::bad("DUPLICATES_DETECTED", rule.message.clone());
            error.duplicates = Some(Box::new(json!({
                "allowSave": allowed, "duplicateRule": rule.name, "duplicateRuleEntityType": rule.entity, "errorMessage": rule.message,
                "matchResults": [{"entityType": entity, "errors": [], "matchEngine": "ExactMatchEngine", "matchRecords": records,
                                  "rule": format!("{}_Match", rule.name), "size": records.len(), "success": true}],
            })));
            return Err(error);
        }
        Ok(())
    }
}

fn match_record(write: &Write, entity: &str, fields: &[String], row: &Row) -> Value {
    let id = row.text("Id").unwrap_or_default();
    let url = format!("/services/data/{}/sobjects/{entity}/{id}", write.version);
    let mut record = json!({"attributes": {"type": entity, "url": url}, "Id": id});
    if let Some(map) = record.as_object_mut()
        && write.details
    {
        map.extend(fields.iter().filter_map(|field| Some((field.clone(), row.fields.get(field)?.clone()))));
    }
    json!({"additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0, "record": record})
}

fn require(object: &ObjectDef, row: &Row) -> Result<(), ApiError> {
    let missing: Vec<&str> = object
        .fields
        .iter()
        .filter(|field| !field.nillable && field.createable && (!field.defaulted || field.default.is_some()))
        .filter(|field| !row.fields.contains_key(&field.name))
        .map(|field| field.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ApiError::field("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{}]", missing.join(", ")), &missing))
}
