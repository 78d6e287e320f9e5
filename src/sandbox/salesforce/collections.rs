//! `/composite/sobjects` and `/composite/tree`.

use std::collections::HashSet;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::rest::{Ask, Ctx};
use crate::sandbox::salesforce::write::Write;

const MOST: usize = 200;

/// What became of one row: its id, and whether it is new if that is told.
type RowResult = Result<(String, Option<bool>), (Option<String>, ApiError)>;

fn rolled_back() -> ApiError {
    ApiError::field(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
        &[],
    )
}

fn too_many(count: usize) -> ApiError {
    ApiError::bad(
        "EXCEEDED_ID_LIMIT",
        format!("record limit reached. cannot submit more than {MOST} records in this operation; found {count}"),
    )
}

fn bare(error: ApiError) -> (Option<String>, ApiError) {
    (None, error)
}

impl Salesforce {
    /// `/composite/sobjects[/{T}[/{F}]]`.
    pub(crate) fn collections(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        let ["composite", "sobjects", path @ ..] = ask.path else { return Err(ApiError::not_found()) };
        let method = ask.method;
        if ctx.number < 42 {
            return Err(ApiError::not_found());
        }
        match path {
            [] if method == Method::POST || method == Method::PATCH => self.write_rows(ctx, ask, None),
            [] if method == Method::DELETE => self.delete_rows(ctx, ask),
            [] => Err(ApiError::method(method, "DELETE,PATCH,POST")),
            [name] if method == Method::GET || method == Method::POST => self.get_rows(ctx, ask, name),
            [_] => Err(ApiError::method(method, "GET,POST")),
            [name, field] if method == Method::PATCH => self.write_rows(ctx, ask, Some((name, field))),
            [_, _] => Err(ApiError::method(method, "PATCH")),
            _ => Err(ApiError::not_found()),
        }
    }

    fn write_rows(&mut self, ctx: &Ctx, ask: &Ask<'_>, upsert: Option<(&str, &str)>) -> Result<Reply, ApiError> {
        let write = ctx.write()?;
        let method = ask.method;
        let Some(Value::Object(body)) = ask.body else { return Err(ApiError::json("a collection is an object with records")) };
        for name in body.keys() {
            if name != "records" && name != "allOrNone" {
                return Err(ApiError::json(format!("Unrecognized field \"{name}\", not marked as ignorable")));
            }
        }
        let Some(Value::Array(records)) = body.get("records") else {
            return Err(ApiError::bad("REQUIRED_FIELD_MISSING", "Required fields are missing: [records]"));
        };
        if records.len() > MOST {
            return Err(too_many(records.len()));
        }
        let all_or_none = match body.get("allOrNone") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => return Err(ApiError::json("Cannot deserialize instance of boolean for allOrNone")),
        };
        let upsert = match upsert {
            None => None,
            Some((name, field)) => {
                let object = self.object(name)?;
                let field = Self::external_field(&object, field)?.clone();
                Some((object, field))
            }
        };
        let mut kinds = Vec::with_capacity(records.len());
        for record in records {
            let kind = record.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Value::as_str);
            let Some(kind) = kind else {
                return Err(ApiError::bad("INVALID_TYPE", "every record of a collection needs attributes with a type"));
            };
            if upsert.as_ref().is_some_and(|(object, _)| !object.name.eq_ignore_ascii_case(kind)) {
                return Err(ApiError::bad("INVALID_TYPE", format!("record type {kind} does not match the type in the URL")));
            }
            kinds.push(kind);
        }
        if method == Method::PATCH && upsert.is_none() {
            let mut seen = HashSet::new();
            let ids = records.iter().filter_map(|record| id_member(record).and_then(Value::as_str)).filter_map(ids::normalize);
            if ids.into_iter().any(|id| !seen.insert(id)) {
                return Err(ApiError::bad("DUPLICATE_VALUE", "duplicate id in the collection"));
            }
        }
        let mark = self.tables.mark();
        let mut results = Vec::with_capacity(records.len());
        let mut keys = HashSet::new();
        for (at, (record, kind)) in records.iter().zip(kinds).enumerate() {
            let row = self.tables.mark();
            let write = Write { locked: locked(ctx, at), ..write.clone() };
            let Value::Object(fields) = record else {
                return Err(ApiError::json("a record is an object"));
            };
            let result = match &upsert {
                Some((object, field)) => {
                    let key = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(&field.name)).map(|(_, value)| value);
                    match key {
                        _ if field.name != "Id" && id_member(record).is_some() => {
                            Err(bare(ApiError::field("INVALID_FIELD", "an upsert by external id takes no Id", &["Id"])))
                        }
                        Some(Value::String(key)) if !key.trim().is_empty() => {
                            if keys.insert(key.trim().to_lowercase()) {
                                let result = self.upsert(&write, object, field, key.trim(), fields, false);
                                result.map(|(id, new)| (id, Some(new))).map_err(bare)
                            } else {
                                let message = format!("Duplicate external id specified: {}", key.trim());
                                Err(bare(ApiError::field("DUPLICATE_VALUE", message, &[field.name.as_str()])))
                            }
                        }
                        Some(Value::Number(key)) => {
                            let result = self.upsert(&write, object, field, &key.to_string(), fields, false);
                            result.map(|(id, new)| (id, Some(new))).map_err(bare)
                        }
                        // By Id, a record without one is new.
                        None if field.name == "Id" => self.insert(&write, object, fields).map(|id| (id, Some(true))).map_err(bare),
                        _ => {
                            let message = format!("{} not specified", field.name);
                            Err(bare(ApiError::field("MISSING_ARGUMENT", message, &[])))
                        }
                    }
                }
                None if method == Method::POST => self.create_row(&write, kind, fields),
                None => self.update_row(&write, kind, record, fields),
            };
            if result.is_err() {
                self.tables.rollback(row);
            }
            results.push(result);
        }
        Ok(self.conclude(ctx, mark, results, all_or_none))
    }

    fn create_row(&mut self, write: &Write, kind: &str, fields: &Map<String, Value>) -> RowResult {
        let object = self.row_object(kind).map_err(bare)?;
        self.insert(write, &object, fields).map(|id| (id, None)).map_err(bare)
    }

    fn update_row(&mut self, write: &Write, kind: &str, record: &Value, fields: &Map<String, Value>) -> RowResult {
        let object = self.row_object(kind).map_err(bare)?;
        let Some(id) = id_member(record).and_then(Value::as_str) else {
            return Err(bare(ApiError::field("MISSING_ARGUMENT", "Id not specified in an update call", &[])));
        };
        let id = Self::id_of(&object, id).map_err(bare)?;
        let mut fields = fields.clone();
        fields.retain(|name, _| !name.eq_ignore_ascii_case("Id"));
        match self.update(write, &object, &id, &fields) {
            Ok(()) => Ok((id, None)),
            Err(error) => Err((Some(id), in_collection(error))),
        }
    }

    fn row_object(&self, kind: &str) -> Result<std::sync::Arc<crate::sandbox::salesforce::schema::ObjectDef>, ApiError> {
        let unknown = || ApiError::bad("INVALID_TYPE", format!("sObject type '{kind}' is not supported."));
        self.schema.object(kind).cloned().ok_or_else(unknown)
    }

    fn delete_rows(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        let write = ctx.write()?;
        let list = ask.param("ids").unwrap_or_default();
        let wanted: Vec<&str> = list.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        if wanted.is_empty() {
            return Err(ApiError::bad("REQUIRED_FIELD_MISSING", "Required fields are missing: [ids]"));
        }
        if wanted.len() > MOST {
            return Err(too_many(wanted.len()));
        }
        let all_or_none = ask.param("allOrNone").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
        let mark = self.tables.mark();
        let mut results = Vec::new();
        for (at, text) in wanted.into_iter().enumerate() {
            let row = self.tables.mark();
            let write = Write { locked: locked(ctx, at), ..write.clone() };
            let result = self.delete_row(&write, text);
            if result.is_err() {
                self.tables.rollback(row);
            }
            results.push(result);
        }
        Ok(self.conclude(ctx, mark, results, all_or_none))
    }

    fn delete_row(&mut self, write: &Write, text: &str) -> RowResult {
        let malformed = || bare(ApiError::field("MALFORMED_ID", format!("malformed id {text}"), &[]));
        let id = ids::normalize(text).ok_or_else(malformed)?;
        let object = self.schema.of_id(&id).cloned().ok_or_else(malformed)?;
        match self.remove(write, &object, &id) {
            Ok(()) => Ok((id, None)),
            Err(error) => Err((Some(id), in_collection(error))),
        }
    }

    /// The answer, after the rollback that all-or-none asks for.
    fn conclude(&mut self, ctx: &Ctx, mark: usize, results: Vec<RowResult>, all_or_none: bool) -> Reply {
        let failed = results.iter().any(Result::is_err);
        let undo = failed && (all_or_none || ctx.all_or_none);
        if undo {
            self.tables.rollback(mark);
        }
        let rows: Vec<Value> = results
            .into_iter()
            .map(|result| match result {
                Ok((id, _)) if undo => json!({"id": id, "success": false, "errors": [rolled_back().to_row_value()]}),
                Ok((id, Some(new))) => json!({"id": id, "success": true, "errors": [], "created": new}),
                Ok((id, None)) => json!({"id": id, "success": true, "errors": []}),
                Err((Some(id), error)) => json!({"id": id, "success": false, "errors": [error.to_row_value()]}),
                Err((None, error)) => json!({"success": false, "errors": [error.to_row_value()]}),
            })
            .collect();
        Reply::ok(Value::Array(rows))
    }

    fn get_rows(&self, ctx: &Ctx, ask: &Ask<'_>, name: &str) -> Result<Reply, ApiError> {
        let object = self.object(name)?;
        let list = |name: &str| -> Result<Vec<String>, ApiError> {
            let missing = || ApiError::bad("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{name}]"));
            let texts: Vec<String> = if ask.method == Method::GET {
                ask.param(name).unwrap_or_default().split(',').map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
            } else {
                let items = ask.member(name).and_then(Value::as_array).ok_or_else(missing)?;
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            };
            if texts.is_empty() { Err(missing()) } else { Ok(texts) }
        };
        let (wanted, fields) = (list("ids")?, list("fields")?);
        if wanted.len() > 2000 {
            return Err(ApiError::bad("EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 2000 records in this operation"));
        }
        let names: Vec<&str> = fields.iter().map(String::as_str).collect();
        for name in &names {
            if object.field(name).is_none() {
                return Err(ApiError::bad("INVALID_FIELD", format!("No such column '{name}' on sobject of type {}", object.name)));
            }
        }
        let mut rows = Vec::with_capacity(wanted.len());
        for text in &wanted {
            let id = ids::normalize(text).ok_or_else(|| ApiError::bad("MALFORMED_ID", format!("malformed id {text}")))?;
            rows.push(match self.tables.live(&object.name, &id) {
                None => Value::Null,
                Some(row) => self.show(ctx, &object, row, Some(&names))?,
            });
        }
        Ok(Reply::ok(Value::Array(rows)))
    }

    /// `POST /composite/tree/{T}`.
    pub(crate) fn tree(&mut self, ctx: &Ctx, ask: &Ask<'_>, name: &str) -> Result<Reply, ApiError> {
        ask.only(&Method::POST)?;
        let object = self.object(name)?;
        let write = ctx.write()?;
        let Some(Value::Array(records)) = ask.member("records") else {
            return Err(ApiError::json("a tree is an object with records"));
        };
        let mut nodes = Vec::new();
        self.flatten(records, &object.name, None, 1, &mut nodes)?;
        if nodes.len() > MOST {
            return Err(too_many(nodes.len()));
        }
        let mut names = HashSet::new();
        let kinds: HashSet<&str> = nodes.iter().map(|node| node.kind.as_str()).collect();
        if kinds.len() > 5 {
            return Err(ApiError::bad("INVALID_INPUT", "a tree has at most 5 types"));
        }
        if let Some(node) = nodes.iter().find(|node| !names.insert(node.reference.clone())) {
            return Err(ApiError::bad("INVALID_INPUT", format!("Duplicate ReferenceId provided in the request: {}", node.reference)));
        }
        let mark = self.tables.mark();
        let mut made: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let mut fields = node.fields.clone();
            if let Some((parent, lookup)) = &node.parent {
                let Some(id) = made.get(*parent).filter(|id| !id.is_empty()) else {
                    made.push(String::new());
                    continue;
                };
                fields.insert(lookup.clone(), json!(id));
            }
            let write = Write { locked: locked(ctx, at), ..write.clone() };
            match self.row_object(&node.kind).and_then(|object| self.insert(&write, &object, &fields)) {
                Ok(id) => made.push(id),
                Err(error) => {
                    errors.push(json!({"referenceId": node.reference, "errors": [error.to_row_value()]}));
                    made.push(String::new());
                }
            }
        }
        if !errors.is_empty() {
            self.tables.rollback(mark);
            return Ok(Reply::json(StatusCode::BAD_REQUEST, json!({"hasErrors": true, "results": errors})));
        }
        let results: Vec<Value> = nodes.iter().zip(&made).map(|(node, id)| json!({"referenceId": node.reference, "id": id})).collect();
        Ok(Reply::json(StatusCode::CREATED, json!({"hasErrors": false, "results": results})))
    }

    fn flatten(
        &self,
        records: &[Value],
        expected: &str,
        parent: Option<&(usize, String)>,
        level: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<(), ApiError> {
        if level > 5 {
            return Err(ApiError::bad("INVALID_INPUT", "a tree is at most 5 levels deep"));
        }
        for record in records {
            let Value::Object(map) = record else { return Err(ApiError::json("a record is an object")) };
            let attribute = |name: &str| map.get("attributes").and_then(|attributes| attributes.get(name)).and_then(Value::as_str);
            let Some(reference) = attribute("referenceId").filter(|name| !name.is_empty()) else {
                return Err(ApiError::bad("INVALID_INPUT", "Include a reference ID for each record in the request."));
            };
            let kind = attribute("type").unwrap_or_default();
            if !kind.eq_ignore_ascii_case(expected) {
                return Err(ApiError::bad("INVALID_INPUT", format!("the type of record {reference} should be {expected}")));
            }
            let mut node = Node { reference: reference.to_owned(), kind: expected.to_owned(), fields: Map::new(), parent: parent.cloned() };
            let mut below = Vec::new();
            for (name, value) in map.iter().filter(|(name, _)| *name != "attributes") {
                match value.get("records").and_then(Value::as_array) {
                    Some(children) => below.push((name, children)),
                    None => _ = node.fields.insert(name.clone(), value.clone()),
                }
            }
            let at = nodes.len();
            nodes.push(node);
            for (name, children) in below {
                let known = self
                    .schema
                    .children(expected)
                    .find(|(_, lookup)| lookup.child_name.as_ref().is_some_and(|child| child.eq_ignore_ascii_case(name)))
                    .map(|(object, lookup)| (object.name.clone(), lookup.name.clone()));
                let Some((child, lookup)) = known else {
                    return Err(ApiError::bad("INVALID_FIELD", format!("No such relation '{name}' on sobject of type {expected}")));
                };
                self.flatten(children, &child, Some(&(at, lookup)), level + 1, nodes)?;
            }
        }
        Ok(())
    }
}

/// A record of a tree.
struct Node {
    reference: String,
    kind: String,
    fields: Map<String, Value>,
    /// Position of the parent, and the lookup to it.
    parent: Option<(usize, String)>,
}

fn id_member(record: &Value) -> Option<&Value> {
    record.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case("id")).map(|(_, value)| value)
}

fn locked(ctx: &Ctx, at: usize) -> bool {
    ctx.locked.as_ref().is_some_and(|rows| rows.is_empty() || rows.contains(&at))
}

/// A missing row has another code inside a collection.
fn in_collection(error: ApiError) -> ApiError {
    if error.code == "NOT_FOUND" {
        return ApiError::field("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[]);
    }
    error
}
