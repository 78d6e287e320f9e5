//! Records: what a write must pass, and what it leaves behind.

use serde_json::{Map, Value, json};

use crate::sandbox::hubspot::errors::{Refusal, Wrong, invalid};
use crate::sandbox::hubspot::kinds;
use crate::sandbox::hubspot::state::{HubSpot, Kind};
use crate::sandbox::hubspot::values::{self, stamp};
use crate::sandbox::store::Row;

/// Meta fields of a record's row; no property's name begins like this.
pub(crate) const CREATED: &str = "#created";
pub(crate) const UPDATED: &str = "#updated";
pub(crate) const ARCHIVED_AT: &str = "#archivedAt";
pub(crate) const HISTORY: &str = "#history";
/// The record this one was merged into.
pub(crate) const MERGED_INTO: &str = "#mergedInto";

/// Versions of a value that are remembered.
const VERSIONS: usize = 20;

const STAGES: [&str; 8] =
    ["subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist", "other"];

pub(crate) fn meta(row: &Row, name: &str) -> i64 {
    row.fields.get(name).and_then(Value::as_i64).unwrap_or(0)
}

impl HubSpot {
    /// The id of a live record. With `follow`, ids that were merged away lead to what they became.
    pub(crate) fn resolve(&self, kind: &Kind, id: &str, follow: bool) -> Option<String> {
        if self.tables.live(&kind.table(), id).is_some() {
            return Some(id.to_owned());
        }
        let mut id = id.to_owned();
        let mut steps = 0;
        while follow && steps < 100 {
            id = self.tables.get(&kind.table(), &id)?.text(MERGED_INTO)?.to_owned();
            if self.tables.live(&kind.table(), &id).is_some() {
                return Some(id);
            }
            steps += 1;
        }
        None
    }

    /// The id of the live record with this value of a unique property.
    pub(crate) fn by_property(&self, kind: &Kind, property: &str, value: &str) -> Result<Option<String>, Refusal> {
        if property == "hs_object_id" {
            return Ok(self.resolve(kind, value, true));
        }
        let unique = self.property(kind, property).is_some_and(|definition| definition.get("hasUniqueValue") == Some(&json!(true)));
        if !unique {
            return Err(Refusal::bad(format!("idProperty {property} does not exist or is not a unique property of {}", kind.singular)));
        }
        let folded = value.trim().to_lowercase();
        if let Some(id) = self.tables.lookup(&kind.table(), property, &folded).next() {
            return Ok(Some(id.to_owned()));
        }
        if kind.id == "0-1" && property == "email" {
            let second = self.tables.live("mail", &folded).and_then(|row| row.text("id"));
            return Ok(second.and_then(|id| self.resolve(kind, id, true)));
        }
        Ok(None)
    }

    /// Checks what is to be written against the properties. `None` clears.
    fn accept(&self, kind: &Kind, properties: &Map<String, Value>, old: Option<&Row>) -> Result<Map<String, Value>, Refusal> {
        let mut wrong: Vec<Wrong> = Vec::new();
        let mut kept = Map::new();
        for (name, value) in properties {
            let Some(definition) = self.property(kind, name) else {
                wrong.push(Wrong {
                    name: name.clone(),
                    code: "PROPERTY_DOESNT_EXIST",
                    message: format!("Property \"{name}\" does not exist"),
                });
                continue;
            };
            let read_only = definition.get("modificationMetadata").and_then(|meta| meta.get("readOnlyValue")) == Some(&json!(true));
            if read_only || definition.get("calculated") == Some(&json!(true)) {
                let message = format!("\"{name}\" is a read only property; its value cannot be set.");
                wrong.push(Wrong { name: name.clone(), code: "READ_ONLY_VALUE", message });
                continue;
            }
            match values::accept(definition, value, old.and_then(|row| row.text(name))) {
                Ok(text) => {
                    if let Err(one) = self.fits(kind, definition, name, text.as_deref()) {
                        wrong.push(one);
                    }
                    let text = if kind.id == "0-1" && name == "email" { text.map(|text| text.trim().to_lowercase()) } else { text };
                    kept.insert(name.clone(), text.map_or(Value::Null, Value::String));
                }
                Err((code, message)) => wrong.push(Wrong { name: name.clone(), code, message }),
            }
        }
        if wrong.is_empty() { Ok(kept) } else { Err(invalid(self.portal, &wrong)) }
    }

    /// What a value must be beyond its type.
    fn fits(&self, kind: &Kind, definition: &Map<String, Value>, name: &str, text: Option<&str>) -> Result<(), Wrong> {
        let Some(text) = text else { return Ok(()) };
        let wrong = |code: &'static str, message: String| Err(Wrong { name: name.to_owned(), code, message });
        if kind.id == "0-1" && name == "email" && !values::is_email(text.trim()) {
            return wrong("INVALID_EMAIL", format!("Email address {text} is invalid"));
        }
        let owner = definition.get("referencedObjectType") == Some(&json!("OWNER"));
        if owner && self.tables.live("owner", text).is_none_or(|owner| owner.is_true("archived")) {
            return wrong("INVALID_OWNER_ID", format!("Owner {text} does not exist"));
        }
        if name == "hs_email_headers" && !serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object()) {
            return wrong("INVALID_VALUE", "hs_email_headers must be a JSON object".to_owned());
        }
        Ok(())
    }

    /// Unique values that another live record has.
    fn unique(&self, kind: &Kind, id: &str, kept: &Map<String, Value>) -> Result<(), Refusal> {
        for (name, value) in kept {
            let Some(text) = value.as_str() else { continue };
            let unique = self.property(kind, name).is_some_and(|definition| definition.get("hasUniqueValue") == Some(&json!(true)));
            if !unique {
                continue;
            }
            let Some(other) = self.by_property(kind, name, text)?.filter(|other| other != id) else { continue };
            if kind.id == "0-1" && name == "email" {
                return Err(Refusal::conflict(format!("Contact already exists. Existing ID: {other}")));
            }
            let message = format!(
                "Cannot set PropertyValueCoordinates{{portalId={}, objectTypeId={}, propertyName={name}, value={text}}} on {id}. {other} already has that value.",
                self.portal, kind.id
            );
            return Err(invalid(self.portal, &[Wrong { name: name.clone(), code: "CONFLICTING_UNIQUE_VALUE", message }]));
        }
        Ok(())
    }

    /// The stage must be one of the pipeline's.
    fn staged(&self, kind: &Kind, row: &Row) -> Result<(), Refusal> {
        let (pipeline, stage) = stage_names(&kind.id);
        let (Some(at), stage_id) = (row.text(pipeline), row.text(stage)) else { return Ok(()) };
        let wrong =
            |name: &str, message: String| Err(invalid(self.portal, &[Wrong { name: name.to_owned(), code: "INVALID_OPTION", message }]));
        let Some(found) = self.tables.live(&format!("pl/{}", kind.id), at) else {
            return wrong(pipeline, format!("{at} is not a valid pipeline ID"));
        };
        let Some(stage_id) = stage_id else { return Ok(()) };
        if stage_of(found, stage_id).is_none() {
            return wrong(stage, format!("{stage_id} is not a valid stage of pipeline {at}"));
        }
        Ok(())
    }

    /// Creates a record, and returns its id.
    pub(crate) fn create(&mut self, kind: &Kind, properties: &Map<String, Value>) -> Result<String, Refusal> {
        let kept = self.accept(kind, properties, None)?;
        let set = |name: &str| kept.get(name).is_some_and(|value| !value.is_null());
        let missing: Vec<String> =
            self.required(kind).into_iter().filter(|group| !group.iter().any(|name| set(name))).map(|group| group.join(" or ")).collect();
        if !missing.is_empty() {
            let message = format!("Error creating {}. Some required properties were not set.", kind.singular.to_uppercase());
            return Err(Refusal::bad(message).context("properties", missing));
        }
        let id = self.record_id();
        self.unique(kind, &id, &kept)?;
        let millis = self.now.as_millisecond();
        let now = stamp(millis);
        let mut row = Row::default();
        row.fields.insert(CREATED.to_owned(), json!(millis));
        let mut all = kept;
        let mut fill = |name: &str, value: String| {
            if all.get(name).is_none_or(Value::is_null) {
                all.insert(name.to_owned(), Value::String(value));
            }
        };
        fill(kind.created(), now);
        fill("hs_object_id", id.clone());
        fill("hs_object_source", self.actor.source.to_owned());
        fill("hs_object_source_id", self.actor.id.clone());
        fill("hs_object_source_label", self.actor.source.to_owned());
        match kind.id.as_str() {
            "0-3" => fill("pipeline", "default".to_owned()),
            "0-5" => {
                fill("hs_pipeline", "0".to_owned());
                fill("hs_ticket_id", id.clone());
            }
            _ => {}
        }
        self.apply(kind, &mut row, &all);
        self.staged(kind, &row)?;
        self.store(kind, &id, Some(row));
        Ok(id)
    }

    /// Changes a live record.
    pub(crate) fn change(&mut self, kind: &Kind, id: &str, properties: &Map<String, Value>) -> Result<(), Refusal> {
        let Some(old) = self.tables.live(&kind.table(), id).cloned() else { return Err(Refusal::missing()) };
        let mut kept = self.accept(kind, properties, Some(&old))?;
        self.unique(kind, id, &kept)?;
        // A lifecycle stage only goes forward; going back takes an empty one first (Lifecycle stages guide).
        let rank = |stage: &str| STAGES.iter().position(|known| *known == stage);
        if let (Some(before), Some(after)) = (old.text("lifecyclestage"), kept.get("lifecyclestage").and_then(Value::as_str))
            && rank(after) < rank(before)
        {
            kept.remove("lifecyclestage");
        }
        kept.retain(|name, value| old.fields.get(name).unwrap_or(&Value::Null) != value);
        if kept.is_empty() {
            return Ok(());
        }
        let mut row = old;
        self.apply(kind, &mut row, &kept);
        self.staged(kind, &row)?;
        self.store(kind, id, Some(row));
        Ok(())
    }

    /// Puts values into a row, with what follows from them.
    pub(crate) fn apply(&mut self, kind: &Kind, row: &mut Row, kept: &Map<String, Value>) {
        let millis = self.now.as_millisecond();
        let mut all = kept.clone();
        all.insert(kind.modified().to_owned(), json!(stamp(millis)));
        if kept.contains_key("hubspot_owner_id") {
            all.insert("hubspot_owner_assigneddate".to_owned(), json!(stamp(millis)));
        }
        let text = |name: &str| all.get(name).or_else(|| row.fields.get(name)).and_then(Value::as_str).map(str::to_owned);
        let mut derived: Vec<(&str, Option<String>)> = Vec::new();
        match kind.id.as_str() {
            "0-1" | "0-2" => {
                derived.push(("hs_searchable_calculated_phone_number", text("phone").and_then(|phone| values::national(&phone))));
                if kind.id == "0-1" {
                    derived
                        .push(("hs_searchable_calculated_mobile_number", text("mobilephone").and_then(|phone| values::national(&phone))));
                    derived.push((
                        "hs_email_domain",
                        text("email").and_then(|email| email.rsplit_once('@').map(|(_, domain)| domain.to_owned())),
                    ));
                }
            }
            "0-3" => {
                let stage =
                    text("pipeline").and_then(|id| self.tables.live("pl/0-3", &id)).and_then(|row| stage_of(row, &text("dealstage")?));
                let metadata = |name: &str| stage.as_ref().and_then(|stage| stage.get("metadata")?.get(name)?.as_str().map(str::to_owned));
                let probability = metadata("probability");
                let closed = metadata("isClosed").unwrap_or_else(|| "false".to_owned());
                let won = closed == "true"
                    && probability.as_deref().and_then(|text| text.parse::<f64>().ok()).is_some_and(|number| number >= 1.0);
                derived.push(("hs_is_closed_won", Some(won.to_string())));
                derived.push(("hs_is_closed", Some(closed)));
                derived.push(("hs_deal_stage_probability", probability));
            }
            "0-49" => {
                let headers: Value = text("hs_email_headers").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
                let from = |name: &str| headers.pointer(&format!("/from/{name}")).and_then(Value::as_str).map(str::to_owned);
                let list = |name: &str| {
                    let list = headers.get(name).and_then(Value::as_array)?;
                    let list: Vec<&str> = list.iter().filter_map(|one| one.get("email").and_then(Value::as_str)).collect();
                    (!list.is_empty()).then(|| list.join(";"))
                };
                derived.extend([("hs_email_from_email", from("email")), ("hs_email_from_firstname", from("firstName"))]);
                derived.extend([("hs_email_from_lastname", from("lastName")), ("hs_email_to_email", list("to"))]);
                derived.extend([("hs_email_cc_email", list("cc")), ("hs_email_bcc_email", list("bcc"))]);
            }
            "0-46" => derived.push(("hs_body_preview", text("hs_note_body"))),
            // The start of a meeting and its place on the timeline are one (Meetings guide).
            "0-47" if kept.contains_key("hs_meeting_start_time") => derived.push(("hs_timestamp", text("hs_meeting_start_time"))),
            "0-47" => derived.push(("hs_meeting_start_time", text("hs_timestamp"))),
            _ => {}
        }
        for (name, value) in derived {
            all.insert(name.to_owned(), value.map_or(Value::Null, Value::String));
        }
        let mut history = row.fields.get(HISTORY).and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, value) in all {
            if row.fields.get(&name).unwrap_or(&Value::Null) == &value {
                continue;
            }
            let version = json!({"value": value.as_str().unwrap_or(""), "timestamp": stamp(millis), "sourceType": self.actor.source, "sourceId": self.actor.id});
            let versions = history.entry(name.clone()).or_insert_with(|| json!([]));
            if let Some(versions) = versions.as_array_mut() {
                versions.insert(0, version);
                versions.truncate(VERSIONS);
            }
            if value.is_null() {
                row.fields.remove(&name);
            } else {
                row.fields.insert(name, value);
            }
        }
        row.fields.insert(HISTORY.to_owned(), Value::Object(history));
        row.fields.insert(UPDATED.to_owned(), json!(millis));
    }

    /// Writes the row; the search index follows later.
    pub(crate) fn store(&mut self, kind: &Kind, id: &str, row: Option<Row>) {
        let table = kind.table();
        let lag = i64::try_from(self.options.search_lag_millis).unwrap_or(0);
        let now = self.now.as_millisecond();
        if lag > 0 {
            let old = self.tables.get(&table, id).cloned();
            let stale = self.stale.entry((kind.id.clone(), id.to_owned())).or_default();
            stale.retain(|(until, _)| *until > now);
            stale.push((now + lag, old));
        }
        self.tables.put(&table, id, row);
    }

    /// Moves a record to the recycle bin.
    pub(crate) fn archive(&mut self, kind: &Kind, id: &str) {
        let Some(mut row) = self.tables.live(&kind.table(), id).cloned() else { return };
        let now = self.now.as_millisecond();
        row.deleted = true;
        row.fields.insert(ARCHIVED_AT.to_owned(), json!(now));
        row.fields.insert(UPDATED.to_owned(), json!(now));
        self.store(kind, id, Some(row));
    }

    /// Groups of properties of which one must be set at creation.
    fn required(&self, kind: &Kind) -> Vec<Vec<String>> {
        if let Some(one) = kinds::STANDARD.iter().find(|one| one.id == kind.id) {
            return one.required.iter().map(|group| group.iter().map(|name| (*name).to_owned()).collect()).collect();
        }
        let list = self.tables.get("o", &kind.id).and_then(|row| row.fields.get("required")).and_then(Value::as_array).cloned();
        list.unwrap_or_default().iter().filter_map(Value::as_str).map(|name| vec![name.to_owned()]).collect()
    }
}

/// The properties that hold a record's pipeline and stage.
pub(crate) fn stage_names(kind: &str) -> (&'static str, &'static str) {
    if kind == "0-3" { ("pipeline", "dealstage") } else { ("hs_pipeline", "hs_pipeline_stage") }
}

/// A stage of a pipeline's row.
pub(crate) fn stage_of(pipeline: &Row, id: &str) -> Option<Value> {
    let stages = pipeline.fields.get("stages").and_then(Value::as_array)?;
    stages.iter().find(|stage| stage.get("id").and_then(Value::as_str) == Some(id) && stage.get("archived") != Some(&json!(true))).cloned()
}
