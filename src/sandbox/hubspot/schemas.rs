//! Custom object schemas.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, id_of, object, only, text};
use crate::sandbox::hubspot::kinds;
use crate::sandbox::hubspot::router::{Ask, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind, row};
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;

const CREATE: &[&str] = &[
    "name",
    "description",
    "labels",
    "primaryDisplayProperty",
    "secondaryDisplayProperties",
    "searchableProperties",
    "requiredProperties",
    "properties",
    "associatedObjects",
    "allowsSensitiveProperties",
    "shouldCreateSameObjectAssociation",
];
const CHANGE: &[&str] = &[
    "description",
    "clearDescription",
    "labels",
    "primaryDisplayProperty",
    "secondaryDisplayProperties",
    "searchableProperties",
    "requiredProperties",
    "restorable",
    "allowsSensitiveProperties",
];
/// Searchable properties of a custom object (Custom objects guide).
const MOST_SEARCHABLE: usize = 20;
const MOST_SCHEMAS: usize = 10;

fn names(body: &Map<String, Value>, member: &str) -> Result<Option<Vec<String>>, Refusal> {
    match body.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            Ok(Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
        }
        Some(_) => Err(Refusal::bad(format!("{member} must be a list of strings"))),
    }
}

impl HubSpot {
    fn schema(&self, kind: &str, row: &Row) -> Value {
        let get = |name: &str| row.fields.get(name).cloned().unwrap_or(Value::Null);
        let list = |name: &str| row.fields.get(name).cloned().unwrap_or_else(|| json!([]));
        let prefix = format!("l/{kind}/");
        let mut associations: Vec<Value> = Vec::new();
        for entity in self.tables.entities().filter(|entity| entity.starts_with("l/")) {
            let Some((from, to)) = entity.strip_prefix("l/").and_then(|rest| rest.split_once('/')) else { continue };
            if !entity.starts_with(&prefix) && to != kind {
                continue;
            }
            for (id, row) in self.tables.rows(entity) {
                associations.push(json!({"id": id, "fromObjectTypeId": from, "toObjectTypeId": to, "name": row.text("name"), "createdAt": null, "updatedAt": null}));
            }
        }
        let known = self.kind(kind);
        let properties = known.map(|kind| self.all_properties(&kind, false)).unwrap_or_default();
        json!({"id": kind.strip_prefix("2-").unwrap_or(kind), "objectTypeId": kind, "fullyQualifiedName": get("fqn"), "name": get("name"),
            "labels": get("labels"), "description": get("description"), "requiredProperties": list("required"),
            "searchableProperties": list("searchable"), "primaryDisplayProperty": get("primary"), "secondaryDisplayProperties": list("secondary"),
            "properties": properties, "associations": associations, "archived": row.deleted, "createdAt": get("createdAt"),
            "updatedAt": get("updatedAt"), "allowsSensitiveProperties": false, "createdByUserId": 9_586_504, "updatedByUserId": 9_586_504})
    }

    /// The lists of names in a schema must name properties it has.
    fn check_names(body: &Map<String, Value>, known: &[String]) -> Result<(), Refusal> {
        let mut used: Vec<(&str, String)> = Vec::new();
        for member in ["requiredProperties", "searchableProperties", "secondaryDisplayProperties"] {
            let list = names(body, member)?.unwrap_or_default();
            if member == "searchableProperties" && list.len() > MOST_SEARCHABLE {
                return Err(Refusal::bad(format!("At most {MOST_SEARCHABLE} properties can be searchable")));
            }
            used.extend(list.into_iter().map(|name| (member, name)));
        }
        if let Some(name) = body.get("primaryDisplayProperty").and_then(Value::as_str) {
            used.push(("primaryDisplayProperty", name.to_owned()));
        }
        match used.into_iter().find(|(_, name)| !known.contains(name)) {
            Some((member, name)) => {
                let message = format!("{member} names property {name}, which does not exist in this schema");
                Err(Refusal::bad(message).sub("ObjectTypeDefinition.PROPERTY_DOES_NOT_EXIST").context("propertyName", [name]))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn schemas(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let archived = ask.flag("archived")?;
                let rows = self.tables.rows("o").filter(|(_, row)| row.is_true("custom") && row.deleted == archived);
                let list: Vec<Value> = rows.map(|(id, row)| self.schema(id, row)).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => self.create_schema(ask),
            (["batch", "read"], &Method::POST) => {
                let mut results = Vec::new();
                for input in inputs(ask.body()?, 100)? {
                    let name = id_of(input.get("id"))
                        .or_else(|| input.as_str().map(str::to_owned))
                        .ok_or_else(|| Refusal::bad("some of required attributes are not set [id]"))?;
                    if let Some(kind) = self.kind(&name)
                        && let Some(row) = self.tables.live("o", &kind.id)
                    {
                        results.push(self.schema(&kind.id, row));
                    }
                }
                Ok(self.batch(ask, StatusCode::OK, results, Vec::new()))
            }
            ([name], &Method::GET) => {
                let kind = self.kind(name).ok_or_else(Refusal::missing)?;
                let row = self.tables.live("o", &kind.id).ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(self.schema(&kind.id, row)))
            }
            ([name], &Method::PATCH) => self.change_schema(ask, name),
            ([name], &Method::DELETE) => self.delete_schema(ask, name),
            ([name, "associations"], &Method::POST) => {
                let kind = self.kind(name).ok_or_else(Refusal::missing)?;
                let body = object(ask.body()?)?;
                only(body, &["fromObjectTypeId", "toObjectTypeId", "name"])?;
                let (from, to) = (self.kind_or(text(body, "fromObjectTypeId")?)?, self.kind_or(text(body, "toObjectTypeId")?)?);
                if from != kind && to != kind {
                    return Err(Refusal::bad("The association must begin or end at the schema's object"));
                }
                let name =
                    body.get("name").and_then(Value::as_str).map_or_else(|| format!("{}_to_{}", from.singular, to.singular), str::to_owned);
                let id = self.relate(&from, &to, &name);
                Ok(Reply::json(
                    StatusCode::CREATED,
                    json!({"id": id.to_string(), "fromObjectTypeId": from.id, "toObjectTypeId": to.id, "name": name,
                    "createdAt": stamp(ask.now.as_millisecond()), "updatedAt": stamp(ask.now.as_millisecond())}),
                ))
            }
            ([name, "associations", id], &Method::DELETE) => {
                let kind = self.kind(name).ok_or_else(Refusal::missing)?;
                let id: u64 = id.parse().map_err(|_| Refusal::missing())?;
                let all: Vec<String> = self.tables.rows("o").map(|(id, _)| id.to_owned()).collect();
                let to = all.iter().filter_map(|to| self.kind(to)).find(|to| self.link_type(&kind, to, Some("USER_DEFINED"), id).is_some());
                let to = to.ok_or_else(Refusal::missing)?;
                let inverse = self.link_type(&kind, &to, None, id).map_or(id, |one| one.inverse);
                self.drop_link_type(&kind, &to, id);
                self.drop_link_type(&to, &kind, inverse);
                Ok(no_content())
            }
            ([] | [_] | [_, "associations"] | [_, "associations", _], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn relate(&mut self, from: &Kind, to: &Kind, name: &str) -> u64 {
        let (id, inverse) = (self.number() + 100, self.number() + 100);
        self.add_association_type("USER_DEFINED", (&from.id, &to.id), (id, inverse), name, None, None);
        id
    }

    fn create_schema(&mut self, ask: &Ask<'_>) -> Answer {
        let body = object(ask.body()?)?;
        only(body, CREATE)?;
        let name = text(body, "name")?;
        if !name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            return Err(Refusal::bad(format!("Schema name {name} is not valid: letters, digits and underscores, a letter first")));
        }
        let labels = body
            .get("labels")
            .and_then(Value::as_object)
            .ok_or_else(|| Refusal::bad("some of required attributes are not set [labels]"))?;
        only(labels, &["singular", "plural"])?;
        text(labels, "singular")?;
        text(labels, "plural")?;
        let fqn = format!("p{}_{name}", self.portal);
        let taken = self.tables.rows("o").any(|(_, row)| row.text("fqn").is_some_and(|known| known.eq_ignore_ascii_case(&fqn)));
        if taken {
            return Err(Refusal::conflict(format!("A schema named '{name}' already exists.")).sub("ObjectTypeDefinition.NAME_EXISTS"));
        }
        if self.tables.rows("o").filter(|(_, row)| row.is_true("custom") && !row.deleted).count() >= MOST_SCHEMAS {
            return Err(Refusal::bad(format!("The account may have {MOST_SCHEMAS} custom objects")));
        }
        let list = body
            .get("properties")
            .and_then(Value::as_array)
            .ok_or_else(|| Refusal::bad("some of required attributes are not set [properties]"))?;
        let mut defined: Vec<Map<String, Value>> = Vec::new();
        for property in list {
            let mut property = object(property)?.clone();
            property.entry("type").or_insert_with(|| json!("string"));
            property.entry("fieldType").or_insert_with(|| json!("text"));
            property.entry("groupName").or_insert_with(|| json!(kinds::group(name)));
            defined.push(property);
        }
        let known: Vec<String> = defined.iter().filter_map(|one| one.get("name")?.as_str().map(str::to_owned)).collect();
        names(body, "requiredProperties")?.ok_or_else(|| Refusal::bad("some of required attributes are not set [requiredProperties]"))?;
        Self::check_names(body, &known)?;
        let id = format!("2-{}", 3_465_000 + self.number());
        let kind = Kind { id: id.clone(), plural: fqn.clone(), singular: fqn.clone(), custom: true };
        let now = stamp(ask.now.as_millisecond());
        let get = |member: &str| body.get(member).cloned().unwrap_or_else(|| json!([]));
        let definition = json!({"id": id, "plural": fqn, "singular": fqn, "custom": true, "fqn": fqn, "name": name, "labels": labels,
            "required": get("requiredProperties"), "searchable": get("searchableProperties"), "primary": body.get("primaryDisplayProperty"),
            "secondary": get("secondaryDisplayProperties"), "createdAt": now, "updatedAt": now, "description": body.get("description")});
        self.tables.put("o", &id, Some(row(definition)));
        self.add_properties(&id, name, &now);
        for property in &defined {
            self.add_property(&kind, property)?;
        }
        for to in names(body, "associatedObjects")?.unwrap_or_default() {
            let to = self.kind_or(&to)?;
            self.relate(&kind, &to, &format!("{name}_to_{}", to.singular));
        }
        for to in kinds::ACTIVITIES {
            let to = self.kind_or(to)?;
            if self.link_types(&kind, &to).is_empty() {
                self.relate(&kind, &to, &format!("{name}_to_{}", to.singular));
            }
        }
        if body.get("shouldCreateSameObjectAssociation") == Some(&json!(true)) {
            self.relate(&kind, &kind, &format!("{name}_to_{name}"));
        }
        let made = self.tables.live("o", &id).map(|row| self.schema(&id, row));
        Ok(Reply::json(StatusCode::CREATED, made.unwrap_or_default()))
    }

    fn change_schema(&mut self, ask: &Ask<'_>, name: &str) -> Answer {
        let kind = self.kind(name).filter(|kind| kind.custom).ok_or_else(Refusal::missing)?;
        let body = object(ask.body()?)?;
        only(body, CHANGE)?;
        let known: Vec<String> =
            self.tables.rows(&format!("p/{}", kind.id)).filter(|(_, row)| !row.deleted).map(|(name, _)| name.to_owned()).collect();
        Self::check_names(body, &known)?;
        let mut row = self.tables.live("o", &kind.id).cloned().ok_or_else(Refusal::missing)?;
        for (member, field) in [
            ("description", "description"),
            ("labels", "labels"),
            ("requiredProperties", "required"),
            ("searchableProperties", "searchable"),
            ("primaryDisplayProperty", "primary"),
            ("secondaryDisplayProperties", "secondary"),
        ] {
            if let Some(value) = body.get(member) {
                row.fields.insert(field.to_owned(), value.clone());
            }
        }
        if body.get("clearDescription") == Some(&json!(true)) {
            row.fields.insert("description".to_owned(), Value::Null);
        }
        row.fields.insert("updatedAt".to_owned(), json!(stamp(ask.now.as_millisecond())));
        let shown = self.schema(&kind.id, &row);
        self.tables.put("o", &kind.id, Some(row));
        Ok(Reply::ok(shown))
    }

    /// Only a schema without records goes; an archived one keeps its name until it is purged.
    fn delete_schema(&mut self, ask: &Ask<'_>, name: &str) -> Answer {
        let found = self.tables.rows("o").find(|(id, row)| {
            row.is_true("custom") && (*id == name || row.text("fqn") == Some(name) || row.text("name") == name.strip_prefix("p_"))
        });
        let (id, row) = found.map(|(id, row)| (id.to_owned(), row.clone())).ok_or_else(Refusal::missing)?;
        if ask.flag("archived")? {
            if !row.deleted {
                return Err(Refusal::bad("The schema must be archived before it can be purged"));
            }
            self.tables.put("o", &id, None);
            let properties: Vec<String> = self.tables.rows(&format!("p/{id}")).map(|(name, _)| name.to_owned()).collect();
            for name in properties {
                self.put_property(&id, &name, None);
            }
            return Ok(no_content());
        }
        if row.deleted {
            return Err(Refusal::missing());
        }
        if self.tables.rows(&format!("r/{id}")).any(|(_, row)| !row.deleted) {
            return Err(Refusal::bad("The schema cannot be deleted while it has records").sub("ObjectTypeDefinition.HAS_RECORDS"));
        }
        self.tables.put("o", &id, Some(Row { deleted: true, ..row }));
        Ok(no_content())
    }
}
