//! Properties and their groups.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::kinds;
use crate::sandbox::hubspot::router::{Ask, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind, row};
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;

const CREATE: &[&str] = &[
    "name",
    "label",
    "type",
    "fieldType",
    "groupName",
    "description",
    "options",
    "displayOrder",
    "hidden",
    "formField",
    "hasUniqueValue",
    "calculationFormula",
    "externalOptions",
    "referencedObjectType",
    "dataSensitivity",
    "numberDisplayHint",
    "textDisplayHint",
    "currencyPropertyName",
    "showCurrencySymbol",
    "searchableInGlobalSearch",
    "optionSortStrategy",
    "externalOptionsReferenceType",
];
const CHANGE: &[&str] = &[
    "label",
    "type",
    "fieldType",
    "groupName",
    "description",
    "options",
    "displayOrder",
    "hidden",
    "formField",
    "calculationFormula",
    "numberDisplayHint",
    "currencyPropertyName",
    "showCurrencySymbol",
];

/// Custom unique properties of an object type (Properties guide).
const MOST_UNIQUE: usize = 10;
const MOST_CUSTOM: usize = 1_000;

fn fits(kind: &str, field: &str) -> bool {
    match kind {
        "bool" => matches!(field, "booleancheckbox" | "calculation_equation"),
        "enumeration" => matches!(field, "booleancheckbox" | "checkbox" | "radio" | "select" | "calculation_equation"),
        "date" | "datetime" => field == "date",
        "string" => matches!(field, "text" | "textarea" | "html" | "file" | "phonenumber" | "calculation_equation"),
        "number" => matches!(field, "number" | "calculation_equation"),
        "phone_number" => field == "phonenumber",
        _ => false,
    }
}

fn named(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

fn options(value: Option<&Value>) -> Result<Vec<Value>, Refusal> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Refusal::bad("options must be a list")),
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut kept = Vec::new();
    for (at, option) in list.iter().enumerate() {
        let option = object(option)?;
        only(option, &["label", "value", "displayOrder", "hidden", "description"])?;
        let (label, value) = (text(option, "label")?, text(option, "value")?);
        if seen.contains(&value) || value.contains(';') {
            return Err(Refusal::bad(format!("Property option values must be unique and without semicolons: {value}"))
                .sub("PropertyDefinitionError.INVALID_OPTIONS"));
        }
        seen.push(value);
        let order = option.get("displayOrder").and_then(Value::as_i64).unwrap_or(i64::try_from(at).unwrap_or(0));
        kept.push(json!({"label": label, "value": value, "displayOrder": order, "hidden": option.get("hidden") == Some(&json!(true)),
                         "description": option.get("description").and_then(Value::as_str).unwrap_or("")}));
    }
    Ok(kept)
}

impl HubSpot {
    /// A property as it is kept, from the body that asks for it.
    fn define(&self, kind: &Kind, body: &Map<String, Value>) -> Result<(String, Map<String, Value>), Refusal> {
        only(body, CREATE)?;
        let (name, label) = (text(body, "name")?, text(body, "label")?);
        if !named(name) {
            return Err(Refusal::bad(format!(
                "Property name {name} is not valid: lower case letters, digits and underscores, a letter first"
            )));
        }
        let (of, field) = (body.get("type").and_then(Value::as_str), body.get("fieldType").and_then(Value::as_str));
        let (of, field) = (
            of.ok_or_else(|| Refusal::bad("some of required attributes are not set [type]"))?,
            field.ok_or_else(|| Refusal::bad("some of required attributes are not set [fieldType]"))?,
        );
        if !fits(of, field) {
            return Err(Refusal::bad(format!("Property type {of} does not go with fieldType {field}")));
        }
        let group = text(body, "groupName")?;
        if self.tables.live(&format!("g/{}", kind.id), group).is_none() {
            return Err(Refusal::bad(format!("Property group {group} does not exist")));
        }
        let mut list = options(body.get("options"))?;
        let external = body.get("externalOptions") == Some(&json!(true));
        match of {
            "enumeration" if list.is_empty() && !external => return Err(Refusal::bad("An enumeration property needs options")),
            "bool" if list.is_empty() => {
                list = options(Some(&json!([{"label": "Yes", "value": "true"}, {"label": "No", "value": "false"}])))?
            }
            "bool" => {
                let mut values: Vec<&str> = list.iter().filter_map(|option| option.get("value")?.as_str()).collect();
                values.sort_unstable();
                if values != ["false", "true"] {
                    return Err(Refusal::bad("The options of a bool property must be true and false"));
                }
            }
            "enumeration" => {}
            _ if !list.is_empty() => return Err(Refusal::bad(format!("A property of type {of} has no options"))),
            _ => {}
        }
        let unique = body.get("hasUniqueValue") == Some(&json!(true));
        if unique && !matches!((of, field), ("string", "text") | ("number", "number")) {
            return Err(Refusal::bad("Only text and number properties can have unique values"));
        }
        let custom = |row: &Row| row.fields.get("hubspotDefined") != Some(&json!(true)) && !row.deleted;
        let all: Vec<&Row> = self.tables.rows(&format!("p/{}", kind.id)).map(|(_, row)| row).filter(|row| custom(row)).collect();
        if unique && all.iter().filter(|row| row.is_true("hasUniqueValue")).count() >= MOST_UNIQUE {
            return Err(Refusal::bad(format!("An object type may have {MOST_UNIQUE} properties with unique values")));
        }
        if all.len() >= MOST_CUSTOM {
            return Err(Refusal::bad(format!("An object type may have {MOST_CUSTOM} custom properties")));
        }
        let calculated = field == "calculation_equation";
        let now = stamp(self.now.as_millisecond());
        let mut property: Map<String, Value> = body.clone();
        let mut set = |name: &str, value: Value| property.insert(name.to_owned(), value);
        set("name", json!(name));
        set("label", json!(label));
        set("type", json!(of));
        set("fieldType", json!(field));
        set("groupName", json!(group));
        set("options", json!(list));
        set("hasUniqueValue", json!(unique));
        set("calculated", json!(calculated));
        set("externalOptions", json!(external));
        set("hubspotDefined", json!(false));
        set("archived", json!(false));
        set("createdAt", json!(now));
        set("updatedAt", json!(now));
        set("createdUserId", json!("9586504"));
        set("updatedUserId", json!("9586504"));
        set(
            "modificationMetadata",
            json!({"archivable": true, "readOnlyDefinition": false, "readOnlyOptions": false, "readOnlyValue": calculated}),
        );
        for (name, value) in [
            ("description", json!("")),
            ("displayOrder", json!(-1)),
            ("hidden", json!(false)),
            ("formField", json!(false)),
            ("dataSensitivity", json!("non_sensitive")),
        ] {
            property.entry(name).or_insert(value);
        }
        Ok((name.to_owned(), property))
    }

    /// Adds a property, and shows it.
    pub(crate) fn add_property(&mut self, kind: &Kind, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let (name, property) = self.define(kind, body)?;
        if let Some(old) = self.tables.get(&format!("p/{}", kind.id), &name) {
            let state = if old.deleted { "is archived" } else { "already exists" };
            return Err(Refusal::conflict(format!("A property named '{name}' {state}."))
                .sub("Properties.PROPERTY_EXISTS")
                .context("name", [name]));
        }
        self.put_property(&kind.id, &name, Some(Row { fields: property.clone(), deleted: false }));
        Ok(Value::Object(property))
    }

    pub(crate) fn all_properties(&self, kind: &Kind, archived: bool) -> Vec<Value> {
        let table = format!("p/{}", kind.id);
        let rows = self.tables.rows(&table);
        rows.filter(|(_, row)| row.deleted == archived).map(|(_, row)| Value::Object(row.fields.clone())).collect()
    }

    pub(crate) fn properties(&mut self, ask: &Ask<'_>, kind: &str, rest: &[&str]) -> Answer {
        let kind = self.kind_or(kind)?;
        let table = format!("p/{}", kind.id);
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let mut list = self.all_properties(&kind, ask.flag("archived")?);
                let names = ask.list("properties");
                if !names.is_empty() {
                    list.retain(|one| one.get("name").and_then(Value::as_str).is_some_and(|name| names.iter().any(|known| known == name)));
                }
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => Ok(Reply::json(StatusCode::CREATED, self.add_property(&kind, object(ask.body()?)?)?)),
            (["groups", rest @ ..], _) => self.property_groups(ask, &kind, rest),
            (["batch", "read"], &Method::POST) => {
                let body = object(ask.body()?)?;
                only(body, &["inputs", "archived", "dataSensitivity"])?;
                let archived = body.get("archived") == Some(&json!(true));
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 100)? {
                    let name = text(object(input)?, "name")?;
                    match self.tables.get(&table, name).filter(|row| row.deleted == archived) {
                        Some(row) => results.push(Value::Object(row.fields.clone())),
                        None => errors
                            .push(Refusal::new(404, "OBJECT_NOT_FOUND", format!("Property {name} does not exist")).context("name", [name])),
                    }
                }
                Ok(self.batch(ask, StatusCode::OK, results, errors))
            }
            (["batch", "create"], &Method::POST) => {
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 100)? {
                    let body = object(input)?;
                    let name = text(body, "name")?;
                    match self.add_property(&kind, body) {
                        Ok(one) => results.push(one),
                        Err(refusal) => errors.push(refusal.context("name", [name])),
                    }
                }
                let status = if ask.version.late { StatusCode::OK } else { StatusCode::CREATED };
                Ok(self.batch(ask, status, results, errors))
            }
            (["batch", "archive"], &Method::POST) => {
                only(object(ask.body()?)?, &["inputs"])?;
                for input in inputs(ask.body()?, 100)? {
                    let name = text(object(input)?, "name")?.to_owned();
                    self.archive_property(&kind, &name)?;
                }
                Ok(no_content())
            }
            ([name], &Method::GET) => {
                let archived = ask.flag("archived")?;
                let row = self.tables.get(&table, name).filter(|row| row.deleted == archived).ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(Value::Object(row.fields.clone())))
            }
            ([name], &Method::PATCH) => self.change_property(ask, &kind, name),
            ([name], &Method::DELETE) => {
                self.archive_property(&kind, name)?;
                Ok(no_content())
            }
            ([] | [_] | ["batch", _], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn change_property(&mut self, ask: &Ask<'_>, kind: &Kind, name: &str) -> Answer {
        let body = object(ask.body()?)?;
        only(body, CHANGE)?;
        let mut property = self.property(kind, name).cloned().ok_or_else(Refusal::missing)?;
        let fixed = property.get("modificationMetadata").and_then(|meta| meta.get("readOnlyDefinition")) == Some(&json!(true));
        if fixed && body.keys().any(|member| member != "options" && member != "hidden") {
            return Err(Refusal::bad(format!("Property {name} is defined by HubSpot; its definition is read only"))
                .sub("Properties.READ_ONLY_DEFINITION"));
        }
        for (member, value) in body {
            let value = if member == "options" { json!(options(Some(value))?) } else { value.clone() };
            property.insert(member.clone(), value);
        }
        let of = |name: &str| property.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if !fixed && !fits(&of("type"), &of("fieldType")) {
            return Err(Refusal::bad(format!("Property type {} does not go with fieldType {}", of("type"), of("fieldType"))));
        }
        if self.tables.live(&format!("g/{}", kind.id), &of("groupName")).is_none() {
            return Err(Refusal::bad(format!("Property group {} does not exist", of("groupName"))));
        }
        property.insert("updatedAt".to_owned(), json!(stamp(self.now.as_millisecond())));
        self.put_property(&kind.id, name, Some(Row { fields: property.clone(), deleted: false }));
        Ok(Reply::ok(Value::Object(property)))
    }

    fn archive_property(&mut self, kind: &Kind, name: &str) -> Result<(), Refusal> {
        let Some(property) = self.property(kind, name) else { return Err(Refusal::missing()) };
        if property.get("hubspotDefined") == Some(&json!(true)) {
            return Err(Refusal::bad(format!("Property {name} is defined by HubSpot and cannot be archived")));
        }
        let mut fields = property.clone();
        fields.insert("archived".to_owned(), json!(true));
        fields.insert("archivedAt".to_owned(), json!(stamp(self.now.as_millisecond())));
        self.put_property(&kind.id, name, Some(Row { fields, deleted: true }));
        Ok(())
    }

    fn property_groups(&mut self, ask: &Ask<'_>, kind: &Kind, rest: &[&str]) -> Answer {
        let table = format!("g/{}", kind.id);
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let list: Vec<Value> =
                    self.tables.rows(&table).filter(|(_, row)| !row.deleted).map(|(_, row)| Value::Object(row.fields.clone())).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => {
                let body = object(ask.body()?)?;
                only(body, &["name", "label", "displayOrder"])?;
                let (name, label) = (text(body, "name")?, text(body, "label")?);
                if self.tables.live(&table, name).is_some() {
                    return Err(Refusal::conflict(format!("A property group named '{name}' already exists.")));
                }
                let order = body.get("displayOrder").cloned().unwrap_or_else(|| json!(-1));
                let group = json!({"name": name, "label": label, "displayOrder": order, "archived": false});
                self.tables.put(&table, name, Some(row(group.clone())));
                Ok(Reply::json(StatusCode::CREATED, group))
            }
            ([name], &Method::GET) => {
                let row = self.tables.live(&table, name).ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(Value::Object(row.fields.clone())))
            }
            ([name], &Method::PATCH) => {
                let body = object(ask.body()?)?;
                only(body, &["label", "displayOrder"])?;
                let mut row = self.tables.live(&table, name).cloned().ok_or_else(Refusal::missing)?;
                row.fields.extend(body.clone());
                self.tables.put(&table, name, Some(row.clone()));
                Ok(Reply::ok(Value::Object(row.fields)))
            }
            ([name], &Method::DELETE) => {
                self.tables.live(&table, name).ok_or_else(Refusal::missing)?;
                let used = self.tables.rows(&format!("p/{}", kind.id)).any(|(_, row)| !row.deleted && row.text("groupName") == Some(*name));
                if used || *name == kinds::group(&kind.singular) {
                    return Err(Refusal::bad(format!("Property group {name} still has properties")));
                }
                self.tables.put(&table, name, None);
                Ok(no_content())
            }
            ([] | [_], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }
}
