//! Reads of one record and searches.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::ETAG;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::filter::Wire;
use crate::custom::listing::{Listing, Place};
use crate::custom::operation::SelectSpec;
use crate::custom::paging::PageTarget;
use crate::custom::pointer::{at, put};
use crate::custom::request::Draft;
use crate::custom::template::{Names, fill};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, Record, RecordId, ShapeCache};
use crate::query::{Criteria, Cursor, Operator, Page, Query};

const MOST_PAGES: u64 = 100_000;

/// The text of a search's cursor.
#[derive(Serialize, Deserialize)]
struct Position {
    /// Of which query.
    query: String,
    /// Pages read.
    pages: u64,
    /// Records given.
    seen: u64,
    /// The size of pages, where they had to become smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    place: Place,
}

impl Custom {
    pub(super) async fn read_one(
        &self,
        operation: &'static str,
        entity: &Entity,
        id: &RecordId,
        select: &[String],
    ) -> Result<Option<Record>> {
        let Some((mut record, _)) = self.read_raw(operation, entity, id, select).await? else { return Ok(None) };
        self.fill_related(self.spec(entity)?, select, std::slice::from_mut(&mut record)).await.map_err(|error| error.on(entity))?;
        Ok(Some(record))
    }

    /// The record, and its own JSON.
    pub(super) async fn read_raw(
        &self,
        operation: &'static str,
        entity: &Entity,
        id: &RecordId,
        select: &[String],
    ) -> Result<Option<(Record, Value)>> {
        let spec = self.spec(entity)?;
        let get = spec.get.clone().unwrap_or_default();
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = get.path.clone().unwrap_or_else(|| format!("{base}/{{id}}"));
        let names = spec.with_id(self.shared.names().with("entity", entity.as_str()), id.as_str());
        let typed = spec.id_value(id.as_str());
        let values = BTreeMap::from([("id", &typed)]);
        let mut body = get.body.as_ref().map(|body| fill(body, &names, &values).map_err(Error::config)).transpose()?;
        let own = select.iter().filter(|name| !spec.related.contains_key(*name));
        let mut wired: Vec<String> = own.map(|name| spec.name(name)).collect();
        if !wired.is_empty() {
            // Without its id a record cannot be told.
            wired.extend(spec.id_members().into_iter().map(ToOwned::to_owned));
        }
        let chosen = get.select.as_ref().map_or_else(Said::default, |choice| selected(choice, wired.iter().map(String::as_str)));
        for (path, value) in chosen.members {
            let blocked = || Error::config(format!("the body has something else where {path:?} goes"));
            put(body.get_or_insert(Value::Null), &path, value).ok_or_else(blocked)?;
        }
        let draft = Draft {
            operation,
            method: get.method.as_deref().unwrap_or("GET"),
            path: &path,
            params: chosen.params,
            query: &get.query,
            headers: &get.headers,
            body,
            encoding: spec.encoding,
            read_only: true,
        };
        let answer = match self.send(&self.shared.call(draft, &names)?, &get.success).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.on(entity)),
        };
        if answer.bytes().trim_ascii().is_empty() && answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let body: Value = answer.json()?;
        let paths = get.record.as_ref().or(spec.record.as_ref()).cloned().unwrap_or_default();
        let raw = paths.all().iter().filter_map(|path| at(&body, path)).find(|value| value.is_object());
        if raw.is_none() && paths.all().iter().any(|path| is_absent(&body, path)) {
            return Ok(None);
        }
        let mut raw = raw.ok_or_else(|| Error::decode(format!("the answer has no record at {}", paths.told())).on(entity))?.clone();
        for (name, path) in &get.beside {
            if let Some(value) = path.find(&body) {
                let blocked = || Error::config(format!("the record has something else where {name:?} goes")).on(entity);
                put(&mut raw, name, value.clone()).ok_or_else(blocked)?;
            }
        }
        let mut record = self.record(entity, spec, raw.clone(), answer.headers().get(ETAG), &mut ShapeCache::default())?;
        if record.deleted {
            return Ok(None);
        }
        if !select.is_empty() {
            record.fields.retain(|name, _| select.iter().any(|wanted| wanted == name));
        }
        Ok(Some((record, raw)))
    }

    pub(super) async fn search_page(&self, query: &Query) -> Result<Page<Record>> {
        let entity = &query.entity;
        let spec = self.spec(entity)?;
        let mark = query.fingerprint();
        let rewritten;
        let query = if spec.related.is_empty() {
            query
        } else {
            if let Some(order) = query.order.iter().find(|order| spec.related.contains_key(&order.field)) {
                return Err(Error::unsupported(format!("the field {} lives in related records; it gives no order", order.field)));
            }
            let Some(filter) = self.without_related(spec, &query.filter).await? else { return Ok(Page::last(Vec::new())) };
            rewritten = Query { filter, ..query.clone() };
            &rewritten
        };
        if let (Some(id), None) = (by_id(&query.filter, spec), &query.cursor) {
            let found = self.read_one("search", entity, &RecordId::new(id), &query.select).await?;
            return Ok(Page::new(found.into_iter().collect(), None, None));
        }
        let Some(op) = &spec.search else { return Err(self.lacks("search or list", "search", entity)) };
        let position = match &query.cursor {
            None => None,
            Some(cursor) => {
                let read = serde_json::from_str::<Position>(cursor.as_str()).ok().filter(|position| position.query == mark);
                Some(read.ok_or_else(|| Error::config("the cursor belongs to another query"))?)
            }
        };
        let Some(filter) = op.filter.simplified(&query.filter) else { return Ok(Page::last(Vec::new())) };
        let posts = op.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case("GET"));
        let lowered = if filter == Criteria::always() { Default::default() } else { op.filter.lower(&filter, spec, posts)? };
        if lowered.residual.is_some() && !query.residual {
            let text = "the API cannot say this condition; allow the rest to be filtered here (Query::allow_residual), or extend the definition's filter";
            return Err(Error::unsupported(text));
        }
        let residual = if op.filter.recheck { Some(query.filter.clone()) } else { lowered.residual };
        let mut params = lowered.params;
        let mut members = Vec::new();
        if !query.order.is_empty() {
            let sort = op.sort.as_ref().ok_or_else(|| Error::unsupported("the definition says no way to order records"))?;
            let mut parts = Vec::new();
            for order in &query.order {
                let name = spec.name(&order.field);
                let template = if order.descending { &sort.descending } else { &sort.ascending };
                let part = fill(template, &Names::default().with("field", &name), &BTreeMap::new());
                parts.push(part.map_err(|_| Error::config("the order of the definition is no template with {field}"))?);
            }
            let texts = || parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), ToOwned::to_owned)).collect::<Vec<_>>();
            match sort.target {
                PageTarget::Query => params.push((sort.param.clone(), texts().join(&sort.join))),
                PageTarget::Body if sort.join.is_empty() || parts.iter().any(|part| !part.is_string()) => {
                    members.push((sort.param.clone(), Value::Array(parts)));
                }
                PageTarget::Body => members.push((sort.param.clone(), texts().join(&sort.join).into())),
            }
        }
        if let (Some(select), false) = (&op.select, query.select.is_empty()) {
            let mut names: Vec<&str> = query.select.iter().map(String::as_str).filter(|name| !spec.related.contains_key(*name)).collect();
            if let Some(residual) = &residual {
                residual.visit_fields(&mut |name| names.push(name));
            }
            names.extend(spec.id_members());
            let wired: Vec<String> = names.iter().map(|name| spec.name(name)).collect();
            let said = selected(select, wired.iter().map(String::as_str));
            params.extend(said.params);
            members.extend(said.members);
        }
        let (pages, seen) = position.as_ref().map_or((0, 0), |position| (position.pages, position.seen));
        if pages >= self.shared.definition.max_pages.unwrap_or(MOST_PAGES) {
            return Err(Error::decode(format!("the list has more than {pages} pages; it seems to have no end")));
        }
        let listing = Listing {
            operation: "search",
            entity,
            spec,
            op,
            path: None,
            params,
            members,
            document: lowered.document,
            page_size: query.page_size,
            shrunk: position.as_ref().and_then(|position| position.size),
            place: position.map(|position| position.place),
        };
        let listed = self.list(listing).await?;
        let mut cache = ShapeCache::default();
        let mut records = Vec::with_capacity(listed.items.len());
        for value in listed.items {
            let mut record = self.record(entity, spec, value, None, &mut cache)?;
            if record.deleted || residual.as_ref().is_some_and(|rest| !rest.matches(&record.fields)) {
                continue;
            }
            if !query.select.is_empty() {
                record.fields.retain(|name, _| query.select.iter().any(|wanted| wanted == name));
            }
            records.push(record);
        }
        let left = query.limit.map(|limit| limit.saturating_sub(seen));
        if let Some(left) = left {
            records.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.fill_related(spec, &query.select, &mut records).await?;
        let given = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let full = left.is_some_and(|left| given >= left);
        let next = listed.next.filter(|_| !full).map(|place| Position {
            query: mark,
            pages: pages + 1,
            seen: seen + given,
            size: listed.shrunk,
            place,
        });
        let next = next.map(|next| serde_json::to_string(&next).map(Cursor::new)).transpose();
        let next = next.map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(records, next, listed.total.filter(|_| residual.is_none())))
    }
}

/// The id, if that is all a condition asks for.
fn by_id<'a>(filter: &'a Criteria, spec: &EntitySpec) -> Option<&'a str> {
    let filter = match filter {
        Criteria::All(parts) => match parts.as_slice() {
            [one] => one,
            _ => return None,
        },
        other => other,
    };
    match filter {
        Criteria::Compare { field, op: Operator::Eq, value: Value::String(id) } if field == spec.id_name() => Some(id),
        _ => None,
    }
}

/// True if the way to a record ends at null or at an empty list: the API found none.
fn is_absent(body: &Value, path: &str) -> bool {
    let nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let above = path.rsplit_once(['/', '.']).map_or("", |(above, _)| above);
    at(body, path).is_some_and(nothing) || at(body, above).is_some_and(nothing)
}

/// What goes into the query, and what into the body.
#[derive(Default)]
struct Said {
    params: Vec<(String, String)>,
    members: Vec<(String, Value)>,
}

fn selected<'a>(spec: &SelectSpec, names: impl Iterator<Item = &'a str>) -> Said {
    let mut unique: Vec<&str> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    let mut said = Said::default();
    match (&spec.join, spec.target) {
        _ if unique.is_empty() => {}
        (Some(join), PageTarget::Query) => said.params.push((spec.param.clone(), unique.join(join))),
        (None, PageTarget::Query) => said.params.extend(unique.into_iter().map(|name| (spec.param.clone(), name.to_owned()))),
        (Some(join), PageTarget::Body) => said.members.push((spec.param.clone(), unique.join(join).into())),
        (None, PageTarget::Body) => said.members.push((spec.param.clone(), unique.into_iter().map(Value::from).collect())),
    }
    said
}
