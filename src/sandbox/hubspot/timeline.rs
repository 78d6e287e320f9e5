//! Timeline events: templates and their events (v3), and app events of the projects platform (2026-03).

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::router::{Ask, created, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind, row};
use crate::sandbox::hubspot::tokens::Bearer;
use crate::sandbox::hubspot::values::{is_email, millis, stamp};
use crate::sandbox::store::Row;

const MOST_TEMPLATES: usize = 750;
const MOST_TOKENS: usize = 500;
const EVENT: &[&str] =
    &["eventTemplateId", "id", "email", "objectId", "utk", "domain", "timestamp", "tokens", "extraData", "timelineIFrame"];
const APP_EVENT: &[&str] = &[
    "eventTypeName",
    "id",
    "email",
    "objectId",
    "utk",
    "domain",
    "timestamp",
    "properties",
    "extraData",
    "timelineIFrame",
    "objectTypeFullyQualifiedName",
];

fn tokens(list: &[Value], at: &str) -> Result<Vec<Value>, Refusal> {
    if list.len() > MOST_TOKENS {
        return Err(Refusal::bad(format!("A template may have {MOST_TOKENS} tokens")));
    }
    let mut kept: Vec<Value> = Vec::new();
    for token in list {
        let mut token = object(token)?.clone();
        only(&token, &["name", "label", "type", "options", "objectPropertyName", "createdAt", "updatedAt"])?;
        let name = text(&token, "name")?;
        text(&token, "label")?;
        let valid = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        if !valid || name == "log" || name == "lookup" || kept.iter().any(|one| one.get("name") == Some(&json!(name))) {
            return Err(Refusal::bad(format!("Token name {name} is not valid or is used twice")));
        }
        match token.get("type").and_then(Value::as_str) {
            Some("date" | "number" | "string") => {}
            Some("enumeration") if token.get("options").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) => {}
            Some("enumeration") => return Err(Refusal::bad(format!("Enumeration token {name} needs options"))),
            _ => return Err(Refusal::bad(format!("Token {name} must be of type date, enumeration, number or string"))),
        }
        token.insert("createdAt".to_owned(), json!(at));
        token.insert("updatedAt".to_owned(), json!(at));
        kept.push(Value::Object(token));
    }
    Ok(kept)
}

/// `{{name}}` replaced by its value, `{{extraData.a.b}}` by what the path leads to.
fn filled(template: &str, values: &Map<String, Value>, extra: &Value) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        let name = name.trim();
        let value = match name.strip_prefix("extraData.") {
            Some(path) => extra.pointer(&format!("/{}", path.replace('.', "/"))),
            None => values.get(name),
        };
        match value {
            Some(Value::String(text)) => out.push_str(text),
            Some(Value::Null) | None => {}
            Some(other) => out.push_str(&other.to_string()),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

impl HubSpot {
    pub(crate) fn timeline(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match rest {
            ["events", ..] if ask.bearer != Bearer::OAuth => {
                Err(Refusal::new(403, "MISSING_SCOPES", "Timeline events need the OAuth token of an app; private apps cannot create them."))
            }
            ["events"] if ask.is(&Method::POST) => {
                let event = self.event(object(ask.body()?)?)?;
                Ok(created(event))
            }
            ["events", "batch", "create"] if ask.is(&Method::POST) => {
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 500)? {
                    let mark = self.tables.mark();
                    match object(input).and_then(|body| self.event(body)) {
                        Ok(event) => results.push(event),
                        Err(refusal) => {
                            self.tables.rollback(mark);
                            let id = input.get("id").and_then(Value::as_str).unwrap_or_default();
                            errors.push(if id.is_empty() { refusal } else { refusal.context("id", [id]) });
                        }
                    }
                }
                Ok(self.batch(ask, StatusCode::CREATED, results, errors))
            }
            ["events", template, event, rest @ ..] if ask.is(&Method::GET) => {
                let kept = self.tables.live(&format!("ev/{template}"), event).ok_or_else(Refusal::missing)?;
                let shown = Value::Object(kept.fields.clone());
                let empty = Map::new();
                let values = kept.fields.get("tokens").and_then(Value::as_object).unwrap_or(&empty);
                let extra = kept.fields.get("extraData").unwrap_or(&Value::Null);
                let layout = |name: &str| {
                    let text = self.tables.live("tpl", template).and_then(|row| row.text(name));
                    filled(text.unwrap_or_default(), values, extra)
                };
                match rest {
                    [] => Ok(Reply::ok(shown)),
                    ["detail"] => Ok(Reply::ok(json!({"details": layout("detailTemplate")}))),
                    ["render"] => {
                        Ok(Reply::html(StatusCode::OK, layout(if ask.flag("detail")? { "detailTemplate" } else { "headerTemplate" })))
                    }
                    _ => Err(Refusal::no_path()),
                }
            }
            ["events", ..] => Err(if rest.len() <= 4 { Refusal::method() } else { Refusal::no_path() }),
            [app, "event-templates", rest @ ..] if *app == self.app.to_string() => self.templates(ask, rest),
            [_, "event-templates", ..] => Err(Refusal::missing()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn templates(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        let now = stamp(ask.now.as_millisecond());
        let known = |hubspot: &Self, id: &str| hubspot.tables.live("tpl", id).cloned().ok_or_else(Refusal::missing);
        let list_of = |row: &Row| row.fields.get("tokens").and_then(Value::as_array).cloned().unwrap_or_default();
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let list: Vec<Value> = self.tables.rows("tpl").map(|(_, row)| Value::Object(row.fields.clone())).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => {
                let body = object(ask.body()?)?;
                only(body, &["name", "objectType", "headerTemplate", "detailTemplate", "tokens"])?;
                let kind = self.kind_or(text(body, "objectType")?)?;
                if self.tables.rows("tpl").count() >= MOST_TEMPLATES {
                    return Err(Refusal::bad(format!("An app may have {MOST_TEMPLATES} event templates")));
                }
                let empty = Vec::new();
                let list = tokens(body.get("tokens").and_then(Value::as_array).unwrap_or(&empty), &now)?;
                let id = (1_000_000 + self.number()).to_string();
                let template = json!({"id": id, "name": text(body, "name")?, "objectType": kind.plural, "headerTemplate": body.get("headerTemplate"),
                    "detailTemplate": body.get("detailTemplate"), "tokens": list, "createdAt": now, "updatedAt": now});
                self.tables.put("tpl", &id, Some(row(template.clone())));
                Ok(created(template))
            }
            ([id], &Method::GET) => Ok(Reply::ok(Value::Object(known(self, id)?.fields))),
            ([id], &Method::PUT) => {
                let mut row = known(self, id)?;
                let body = object(ask.body()?)?;
                only(body, &["id", "name", "headerTemplate", "detailTemplate", "tokens"])?;
                if text(body, "id")? != *id {
                    return Err(Refusal::bad("the id of the body is not that of the path"));
                }
                let empty = Vec::new();
                let list = tokens(body.get("tokens").and_then(Value::as_array).unwrap_or(&empty), &now)?;
                for (name, value) in [
                    ("name", json!(text(body, "name")?)),
                    ("tokens", json!(list)),
                    ("updatedAt", json!(now)),
                    ("headerTemplate", json!(body.get("headerTemplate"))),
                    ("detailTemplate", json!(body.get("detailTemplate"))),
                ] {
                    row.fields.insert(name.to_owned(), value);
                }
                self.tables.put("tpl", id, Some(row.clone()));
                Ok(Reply::ok(Value::Object(row.fields)))
            }
            ([id], &Method::DELETE) => {
                known(self, id)?;
                self.tables.put("tpl", id, None);
                Ok(no_content())
            }
            ([id, "tokens"], &Method::POST) => {
                let mut row = known(self, id)?;
                let mut list = list_of(&row);
                list.push(ask.body()?.clone());
                let list = tokens(&list, &now)?;
                let shown = list.last().cloned().unwrap_or_default();
                row.fields.insert("tokens".to_owned(), json!(list));
                self.tables.put("tpl", id, Some(row));
                Ok(Reply::ok(shown))
            }
            ([id, "tokens", name], &Method::PUT | &Method::DELETE) => {
                let mut row = known(self, id)?;
                let mut list = list_of(&row);
                let at = list.iter().position(|one| one.get("name").and_then(Value::as_str) == Some(name)).ok_or_else(Refusal::missing)?;
                let mut token = list.remove(at);
                let reply = if ask.is(&Method::PUT) {
                    let body = object(ask.body()?)?;
                    only(body, &["label", "options", "objectPropertyName"])?;
                    text(body, "label")?;
                    if let Some(map) = token.as_object_mut() {
                        map.extend(body.clone());
                    }
                    list.insert(at, token.clone());
                    Reply::ok(token)
                } else {
                    no_content()
                };
                row.fields.insert("tokens".to_owned(), json!(list));
                self.tables.put("tpl", id, Some(row));
                Ok(reply)
            }
            ([] | [_] | [_, "tokens"] | [_, "tokens", _], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    /// The record an event belongs to; a contact of an unknown address is made.
    fn subject(&mut self, kind: &Kind, body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
        let given = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(id) = given("objectId") {
            let message = format!("{} {id} does not exist", kind.singular);
            return self.resolve(kind, id, true).map(Some).ok_or_else(|| Refusal::new(404, "OBJECT_NOT_FOUND", message));
        }
        match (kind.id.as_str(), given("email"), given("domain"), given("utk")) {
            ("0-1", Some(email), ..) => {
                if !is_email(email) {
                    return Err(Refusal::bad(format!("Email address {email} is invalid")));
                }
                if let Some(id) = self.by_property(kind, "email", email)? {
                    return Ok(Some(id));
                }
                let properties = [("email".to_owned(), json!(email))].into_iter().collect();
                self.create(kind, &properties).map(Some)
            }
            ("0-1", None, _, Some(_)) => Ok(None),
            ("0-2", _, Some(domain), _) => {
                let found = self.tables.rows(&kind.table()).find(|(_, row)| !row.deleted && row.text("domain") == Some(domain));
                found
                    .map(|(id, _)| Some(id.to_owned()))
                    .ok_or_else(|| Refusal::new(404, "OBJECT_NOT_FOUND", format!("no company has the domain {domain}")))
            }
            ("0-1", ..) => Err(Refusal::bad("A contact's event needs one of email, objectId and utk")),
            ("0-2", ..) => Err(Refusal::bad("A company's event needs objectId or domain")),
            _ => Err(Refusal::bad("The event needs objectId")),
        }
    }

    fn moment(&self, body: &Map<String, Value>) -> Result<String, Refusal> {
        match body.get("timestamp") {
            None | Some(Value::Null) => Ok(stamp(self.now.as_millisecond())),
            Some(Value::String(text)) => millis(text).map(stamp).ok_or_else(|| Refusal::bad("timestamp must be ISO 8601 or milliseconds")),
            Some(Value::Number(number)) => number.as_i64().map(stamp).ok_or_else(|| Refusal::bad("timestamp must be whole milliseconds")),
            Some(_) => Err(Refusal::bad("timestamp must be ISO 8601 or milliseconds")),
        }
    }

    fn event(&mut self, body: &Map<String, Value>) -> Result<Value, Refusal> {
        only(body, EVENT)?;
        let template_id = text(body, "eventTemplateId")?;
        if template_id.parse::<u64>().is_err() {
            return Err(Refusal::bad(format!("eventTemplateId must be the numeric id of a template, not {template_id}")));
        }
        let template = self
            .tables
            .live("tpl", template_id)
            .cloned()
            .ok_or_else(|| Refusal::new(404, "OBJECT_NOT_FOUND", format!("No event template with id {template_id} exists")))?;
        let kind = self.kind_or(template.text("objectType").unwrap_or_default())?;
        let known = template.fields.get("tokens").and_then(Value::as_array).cloned().unwrap_or_default();
        let given = body
            .get("tokens")
            .and_then(Value::as_object)
            .ok_or_else(|| Refusal::bad("some of required attributes are not set [tokens]"))?;
        let mut sets: Map<String, Value> = Map::new();
        for (name, value) in given {
            let token = known.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name));
            let token = token.ok_or_else(|| Refusal::bad(format!("Token {name} is not one of the template's")))?;
            let value = value.as_str().ok_or_else(|| Refusal::bad(format!("The value of token {name} must be a string")))?;
            let options: Vec<&str> =
                token.get("options").and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.get("value")?.as_str()).collect();
            let fits = match token.get("type").and_then(Value::as_str) {
                Some("number") => value.parse::<f64>().is_ok_and(f64::is_finite),
                Some("date") => millis(value).is_some(),
                Some("enumeration") => options.contains(&value),
                _ => true,
            };
            if !fits {
                return Err(Refusal::bad(format!("{value} is not a valid value for token {name}")));
            }
            if let Some(property) = token.get("objectPropertyName").and_then(Value::as_str) {
                sets.insert(property.to_owned(), json!(value));
            }
        }
        let at = self.moment(body)?;
        let id = match body.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => self.uuid("event"),
        };
        let table = format!("ev/{template_id}");
        if self.tables.live(&table, &id).is_some() {
            return Err(Refusal::conflict(format!("An event with id {id} already exists; events cannot be changed")));
        }
        let subject = self.subject(&kind, body)?;
        if let (Some(subject), false) = (&subject, sets.is_empty()) {
            self.change(&kind, subject, &sets)?;
        }
        let mut kept = body.clone();
        kept.insert("id".to_owned(), json!(id));
        kept.insert("objectId".to_owned(), json!(subject));
        kept.insert("objectType".to_owned(), json!(kind.plural));
        kept.insert("timestamp".to_owned(), json!(at));
        kept.insert("createdAt".to_owned(), json!(stamp(self.now.as_millisecond())));
        self.tables.put(&table, &id, Some(Row { fields: kept.clone(), deleted: false }));
        Ok(Value::Object(kept))
    }

    pub(crate) fn app_events(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        if !matches!(rest, ["events"] | ["events", "batch"] | ["types", "projects"]) {
            return Err(Refusal::no_path());
        }
        if !ask.is(&Method::POST) {
            return Err(Refusal::method());
        }
        if ask.bearer != Bearer::OAuth {
            return Err(Refusal::new(403, "MISSING_SCOPES", "App events need the OAuth token of a project's app."));
        }
        match rest {
            ["events"] => {
                let (event, new) = self.app_event(object(ask.body()?)?)?;
                Ok(if new { created(event) } else { Reply::ok(event) })
            }
            ["events", "batch"] => {
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 500)? {
                    let mark = self.tables.mark();
                    match object(input).and_then(|body| self.app_event(body)) {
                        Ok((event, _)) => results.push(event),
                        Err(refusal) => {
                            self.tables.rollback(mark);
                            errors.push(refusal.context("id", input.get("id").and_then(Value::as_str)));
                        }
                    }
                }
                Ok(self.batch(ask, StatusCode::OK, results, errors))
            }
            _ => {
                let body = object(ask.body()?)?;
                only(body, &["projectName", "developerSymbol"])?;
                let (project, symbol) = (text(body, "projectName")?, text(body, "developerSymbol")?);
                let name = format!("ae{}_{project}_{symbol}", self.app).to_lowercase().replace('-', "_");
                self.tables.put("aet", &name, Some(row(json!({"projectName": project, "developerSymbol": symbol}))));
                Ok(Reply::ok(
                    json!({"fullyQualifiedName": name, "developerQualifiedSymbol": {"projectName": project, "developerSymbol": symbol}}),
                ))
            }
        }
    }

    /// The event, and whether it is new: the same one again is answered as it stands, another one of that id is refused.
    fn app_event(&mut self, body: &Map<String, Value>) -> Result<(Value, bool), Refusal> {
        only(body, APP_EVENT)?;
        let (name, id) = (text(body, "eventTypeName")?, text(body, "id")?);
        if self.tables.live("aet", name).is_none() {
            return Err(Refusal::bad(format!("{name} is not the fully qualified name of an event type of this app")));
        }
        let properties = body.get("properties").and_then(Value::as_object);
        let properties = properties.ok_or_else(|| Refusal::bad("some of required attributes are not set [properties]"))?;
        if let Some((name, _)) = properties.iter().find(|(_, value)| !value.is_string()) {
            return Err(Refusal::bad(format!("The value of property {name} must be a string")));
        }
        let table = format!("ae/{name}");
        if let Some(old) = self.tables.live(&table, id) {
            if old.fields.get("sent") == Some(&json!(body)) {
                return Ok((old.fields.get("shown").cloned().unwrap_or_default(), false));
            }
            return Err(Refusal::conflict(format!("Another event with id {id} already exists")));
        }
        let kind = match body.get("objectTypeFullyQualifiedName").and_then(Value::as_str) {
            Some(name) => self.kind_or(name)?,
            None if body.contains_key("domain") => self.kind_or("companies")?,
            None => self.kind_or("contacts")?,
        };
        let at = self.moment(body)?;
        let subject = self.subject(&kind, body)?;
        let mut shown = body.clone();
        shown.insert("timestamp".to_owned(), json!(at));
        if let Some(subject) = subject {
            shown.insert("objectId".to_owned(), json!(subject));
        }
        self.tables.put(&table, id, Some(row(json!({"sent": body, "shown": shown}))));
        Ok((Value::Object(shown), true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let values = json!({"subject": "Hello", "count": 2}).as_object().cloned().unwrap();
        let extra = json!({"a": {"b": "deep"}});
        assert_eq!(filled("Opened {{subject}} {{ count }}x {{extraData.a.b}} {{gone}}!", &values, &extra), "Opened Hello 2x deep !");
        assert_eq!(filled("broken {{subject", &values, &extra), "broken subject");
    }
}
