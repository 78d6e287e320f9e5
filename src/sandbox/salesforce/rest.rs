//! The circumstances of a REST request, and the rows resource.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::schema::{FieldDef, ObjectDef};
use crate::sandbox::salesforce::shown::field_value;
use crate::sandbox::salesforce::validate::canonical_datetime;
use crate::sandbox::salesforce::write::{Assign, Write};
use crate::sandbox::store::Row;

/// What is asked of a resource, alone or inside a composite request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    /// The segments below the version, decoded.
    pub(crate) path: &'a [&'a str],
    /// The query, decoded.
    pub(crate) params: &'a [(String, String)],
    /// The body as JSON.
    pub(crate) body: Option<&'a Value>,
}

impl<'a> Ask<'a> {
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }

    /// The body, which must be an object of fields.
    pub(crate) fn fields(&self) -> Result<&'a Map<String, Value>, ApiError> {
        match self.body {
            Some(Value::Object(map)) => Ok(map),
            Some(_) => {
                Err(ApiError::json("Cannot deserialize instance of sobject from START_ARRAY or request may be missing a required field"))
            }
            None => Err(ApiError::json("No content to map to Object due to end of input")),
        }
    }

    /// A member of the body.
    pub(crate) fn member(&self, name: &str) -> Option<&'a Value> {
        self.body?.get(name)
    }

    /// Refuses every method but `wanted`.
    pub(crate) fn only(&self, wanted: &Method) -> Result<(), ApiError> {
        if self.method == wanted { Ok(()) } else { Err(ApiError::method(self.method, wanted.as_str())) }
    }
}

/// What a request carries besides its path and body.
#[derive(Clone, Debug)]
pub(crate) struct Ctx {
    /// 68 of `v68.0`.
    pub(crate) number: u32,
    /// `v68.0`.
    pub(crate) version: String,
    pub(crate) now: Timestamp,
    pub(crate) user: String,
    pub(crate) headers: HeaderMap,
    pub(crate) origin: String,
    /// As in [`crate::sandbox::call::Call::locked`].
    pub(crate) locked: Option<Vec<usize>>,
    /// An outer composite request is all or nothing.
    pub(crate) all_or_none: bool,
    /// Inside a composite or batch request.
    pub(crate) nested: bool,
}

impl Ctx {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How this request writes, its headers checked.
    pub(crate) fn write(&self) -> Result<Write, ApiError> {
        let assign = match self.header("sforce-auto-assign") {
            // Without the header the active rule runs (REST API Developer Guide, Assignment Rule Header).
            None => Assign::Active,
            Some(value) if value.eq_ignore_ascii_case("true") => Assign::Active,
            Some(value) if value.eq_ignore_ascii_case("false") => Assign::Off,
            Some(value) => {
                let refuse =
                    || ApiError::bad("INVALID_ASSIGNMENT_RULE", "Sforce-Auto-Assign takes TRUE, FALSE or the id of an assignment rule");
                Assign::Rule(ids::normalize(value).filter(|id| id.starts_with("01Q")).ok_or_else(refuse)?)
            }
        };
        let mut write = Write {
            user: self.user.clone(),
            now: self.now,
            allow_duplicates: false,
            details: false,
            system: false,
            locked: self.locked.as_ref().is_some_and(Vec::is_empty),
            version: self.version.clone(),
            assign,
        };
        if let Some(value) = self.header("sforce-duplicate-rule-header") {
            for part in value.split([';', ',']).map(str::trim).filter(|part| !part.is_empty()) {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let on = match value.trim().to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => {
                        return Err(ApiError::bad(
                            "INVALID_ARGUMENT",
                            "Sforce-Duplicate-Rule-Header holds a value that is not true or false",
                        ));
                    }
                };
                match name.trim().to_ascii_lowercase().as_str() {
                    // The header exists since 52.0; before, it is not looked at.
                    "allowsave" => write.allow_duplicates = on && self.number >= 52,
                    "includerecorddetails" => write.details = on,
                    "runascurrentuser" => {}
                    _ => return Err(ApiError::bad("INVALID_ARGUMENT", "Sforce-Duplicate-Rule-Header holds an unknown option")),
                }
            }
        }
        Ok(write)
    }

    /// `Sforce-Query-Options: batchSize=`; a hint that is kept between 200 and 2000.
    pub(crate) fn batch_size(&self) -> Result<usize, ApiError> {
        let Some(value) = self.header("sforce-query-options") else { return Ok(2000) };
        let size = value.split([',', ';']).find_map(|part| {
            let (name, size) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("batchSize").then(|| size.trim().parse::<usize>().ok())
        });
        match size {
            None => Ok(2000),
            Some(Some(size)) => Ok(size.clamp(200, 2000)),
            Some(None) => Err(ApiError::bad("INVALID_BATCH_SIZE", "batchSize must be a number from 200 to 2000")),
        }
    }
}

/// The time an HTTP date names.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp())
}

pub(crate) fn http_date_text(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// 304 if a thing that changed at `at` is not newer than the request says.
pub(crate) fn not_modified(ctx: &Ctx, at: Timestamp) -> bool {
    ctx.header("if-modified-since").and_then(http_date).is_some_and(|since| at.as_second() <= since.as_second())
}

fn saved(id: &str) -> Value {
    json!({"id": id, "success": true, "errors": []})
}

impl Salesforce {
    /// `/sobjects/{T}` and below, the describes aside.
    pub(crate) fn sobject(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        let ["sobjects", name, rest @ ..] = ask.path else { return Err(ApiError::not_found()) };
        let object = self.object(name)?;
        match rest {
            [] if ask.method == Method::POST => {
                let write = ctx.write()?;
                let id = self.insert(&write, &object, ask.fields()?)?;
                let mut answer = saved(&id);
                if events::is_event(&object)
                    && let Some(map) = answer.as_object_mut()
                {
                    map.insert("errors".to_owned(), events::enqueued(self.events.seed, &id));
                }
                Ok(created(ctx, &object, &id, answer))
            }
            [] => Err(ApiError::method(ask.method, "HEAD,GET,POST")),
            [id] => self.by_id(ctx, ask, &object, id),
            [field, rest @ ..] => {
                // A slash that was not encoded makes one segment too many.
                let [value] = rest else { return Err(ApiError::not_found()) };
                self.by_external(ctx, ask, &object, (field, value))
            }
        }
    }

    fn by_id(&mut self, ctx: &Ctx, ask: &Ask<'_>, object: &Arc<ObjectDef>, id: &str) -> Result<Reply, ApiError> {
        let method = ask.method;
        // `/sobjects/Lead/Id` takes a POST as `/sobjects/Lead` does.
        if method == Method::POST && id.eq_ignore_ascii_case("Id") {
            let write = ctx.write()?;
            let id = self.insert(&write, object, ask.fields()?)?;
            let answer = json!({"id": id, "success": true, "errors": [], "created": true});
            return Ok(created(ctx, object, &id, answer));
        }
        if method == Method::GET {
            let id = ids::normalize(id).filter(|id| id.starts_with(&object.prefix)).ok_or_else(ApiError::not_found)?;
            return self.read(ctx, ask, object, &id);
        }
        if method != Method::PATCH && method != Method::DELETE {
            return Err(ApiError::method(method, "HEAD,GET,PATCH,DELETE"));
        }
        let id = Self::id_of(object, id)?;
        let write = ctx.write()?;
        self.precondition(ctx, object, &id)?;
        if method == Method::DELETE {
            self.remove(&write, object, &id)?;
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        }
        let body = ask.fields()?;
        if body.keys().any(|name| name.eq_ignore_ascii_case("Id")) {
            return Err(ApiError::bad("INVALID_FIELD", "The Id field should not be specified in the sobject data."));
        }
        self.update(&write, object, &id, body)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    fn by_external(&mut self, ctx: &Ctx, ask: &Ask<'_>, object: &Arc<ObjectDef>, (name, value): (&str, &str)) -> Result<Reply, ApiError> {
        let field = Self::external_field(object, name)?.clone();
        let method = ask.method;
        if method == Method::PATCH {
            return self.upsert_one(ctx, ask, object, (&field, value));
        }
        if method != Method::GET && method != Method::DELETE {
            return Err(ApiError::method(method, "HEAD,GET,PATCH,DELETE"));
        }
        let found = self.find(object, &field, value);
        let id = match found.as_slice() {
            [] => return Err(ApiError::not_found()),
            [id] => id.clone(),
            several => return Ok(choices(ctx, object, several)),
        };
        if method == Method::GET {
            return self.read(ctx, ask, object, &id);
        }
        self.precondition(ctx, object, &id)?;
        self.remove(&ctx.write()?, object, &id)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    fn upsert_one(
        &mut self,
        ctx: &Ctx,
        ask: &Ask<'_>,
        object: &Arc<ObjectDef>,
        (field, value): (&FieldDef, &str),
    ) -> Result<Reply, ApiError> {
        let body = ask.fields()?;
        let write = ctx.write()?;
        let update_only = ask.param("updateOnly").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if body.keys().any(|name| name.eq_ignore_ascii_case("Id")) {
            return Err(ApiError::bad("INVALID_FIELD", "The Id field should not be specified in the sobject data."));
        }
        let repeated = body.iter().find(|(name, _)| name.eq_ignore_ascii_case(&field.name)).map(|(_, value)| value);
        if let Some(repeated) = repeated
            && repeated.as_str() != Some(value)
            && repeated.as_f64().is_none_or(|repeated| Some(repeated) != value.parse().ok())
        {
            let message = format!("The external id field {} in the body is not the value in the URL", field.name);
            return Err(ApiError::field("INVALID_FIELD", message, &[field.name.as_str()]));
        }
        let found = self.find(object, field, value);
        if found.len() > 1 {
            return Ok(choices(ctx, object, &found));
        }
        let (id, new) = self.upsert(&write, object, field, value, body, update_only)?;
        let answer = json!({"id": id, "success": true, "errors": [], "created": new});
        if new {
            return Ok(created(ctx, object, &id, if ctx.number < 46 { saved(&id) } else { answer }));
        }
        // Updates by external id have a body since 46.0.
        Ok(if ctx.number < 46 { Reply::empty(StatusCode::NO_CONTENT) } else { Reply::ok(answer) })
    }

    fn read(&self, ctx: &Ctx, ask: &Ask<'_>, object: &ObjectDef, id: &str) -> Result<Reply, ApiError> {
        let row = self.existing(object, id)?;
        let changed = row.text("LastModifiedDate").and_then(|at| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", at).ok());
        if let Some(changed) = changed
            && not_modified(ctx, changed)
        {
            return Ok(Reply::empty(StatusCode::NOT_MODIFIED));
        }
        let names: Option<Vec<&str>> = ask.param("fields").map(|list| list.split(',').map(str::trim).collect());
        let record = self.show(ctx, object, row, names.as_deref())?;
        let reply = Reply::ok(record);
        Ok(match changed {
            Some(changed) => reply.header("last-modified", http_date_text(changed)),
            None => reply,
        })
    }

    /// A record with the fields asked for, or all of them.
    pub(crate) fn show(&self, ctx: &Ctx, object: &ObjectDef, row: &Row, names: Option<&[&str]>) -> Result<Value, ApiError> {
        let id = row.text("Id").unwrap_or_default();
        let mut record = Map::new();
        record.insert("attributes".to_owned(), json!({"type": object.name, "url": url_of(ctx, object, id)}));
        match names {
            None => record.extend(object.fields.iter().map(|field| (field.name.clone(), field_value(row, field)))),
            Some(names) => {
                for name in names {
                    let field = object.field(name).ok_or_else(|| {
                        let message = format!(
                            "No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be sure to append the \
                             '__c' after the custom field name.",
                            object.name
                        );
                        ApiError::bad("INVALID_FIELD", message)
                    })?;
                    record.insert(field.name.clone(), field_value(row, field));
                }
                record.insert("Id".to_owned(), json!(id));
            }
        }
        Ok(Value::Object(record))
    }

    fn precondition(&self, ctx: &Ctx, object: &ObjectDef, id: &str) -> Result<(), ApiError> {
        let Some(limit) = ctx.header("if-unmodified-since").and_then(http_date) else { return Ok(()) };
        let changed = self.tables.get(&object.name, id).and_then(|row| row.text("LastModifiedDate"));
        let limit = canonical_datetime(&limit.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
        if changed.is_some_and(|changed| changed > limit.as_str()) {
            let message = "one or more preconditions given in the request header fields evaluated to false";
            return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", message));
        }
        Ok(())
    }
}

pub(crate) fn url_of(ctx: &Ctx, object: &ObjectDef, id: &str) -> String {
    format!("/services/data/{}/sobjects/{}/{id}", ctx.version, object.name)
}

fn created(ctx: &Ctx, object: &ObjectDef, id: &str, answer: Value) -> Reply {
    Reply::json(StatusCode::CREATED, answer).header("location", url_of(ctx, object, id))
}

fn choices(ctx: &Ctx, object: &ObjectDef, ids: &[String]) -> Reply {
    let urls: Vec<String> = ids.iter().map(|id| url_of(ctx, object, id)).collect();
    Reply::json(StatusCode::MULTIPLE_CHOICES, json!(urls))
}
