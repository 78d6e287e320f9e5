//! One page of an adapter's search, and the exact search of the client.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Fields, Projection, Record, RecordId};
use crate::pipedrive::capabilities::IDS;
use crate::pipedrive::client::{Pipedrive, row_id};
use crate::pipedrive::envelope::rows;
use crate::pipedrive::field_map::FieldMap;
use crate::pipedrive::filter::{Access, holds, lower, newest_first, unsupported};
use crate::pipedrive::list::{ListQuery, MOST, is_deleted};
use crate::pipedrive::page::{Listed, flat_is_deleted, flat_record};
use crate::pipedrive::record::{all_fields, record};
use crate::pipedrive::resource::{ApiVersion, Kind, Op};
use crate::query::{Criteria, Cursor, Page, Query};
use crate::rest::Call;

/// Where a search goes on; the text of a cursor.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// The query it belongs to.
    mark: String,
    /// The term, or the first id of the page.
    #[serde(default, skip_serializing_if = "is_zero")]
    at: usize,
    /// Pipedrive's own cursor or offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Records that may still come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(at: &usize) -> bool {
    *at == 0
}

impl Pipedrive {
    /// The ids of records in which `scope` (`email`, `phone`, `name`, `title`, `code`, `custom_fields`) holds exactly `term`,
    /// without regard to case, as the search index knows it: it lags some seconds behind. Compare the records yourself; the
    /// search finds more. Price: 20 a page.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`crate::error::ErrorKind::Unsupported`] for kinds without a search.
    pub async fn search_exact(&self, kind: Kind, scope: &str, term: &str) -> Result<Vec<RecordId>> {
        let mut ids = Vec::new();
        let mut next = None;
        loop {
            let (page, more) = self.search_page(kind, scope, term, next.take()).await?;
            ids.extend(page);
            match more {
                Some(more) => next = Some(more),
                None => return Ok(ids),
            }
        }
    }

    async fn search_page(&self, kind: Kind, scope: &str, term: &str, after: Option<String>) -> Result<(Vec<RecordId>, Option<String>)> {
        if !matches!(kind, Kind::Deal | Kind::Lead | Kind::Organization | Kind::Person | Kind::Product) {
            return Err(Error::unsupported("this kind of record has no search").during("search").on(&kind.entity()));
        }
        // One character is enough for an exact search; without `exact_match` two are needed.
        if term.trim().is_empty() {
            return Ok((Vec::new(), None));
        }
        let mut pairs = vec![
            ("term", term.trim().to_owned()),
            ("fields", scope.to_owned()),
            ("exact_match", "true".to_owned()),
            ("limit", IDS.to_string()),
        ];
        pairs.extend(after.map(|after| ("cursor", after)));
        let path = self.path(ApiVersion::V2, kind.path(), "/search", &pairs);
        let page = rows(&self.send_search(&Call::get("search", path), Kind::Person.price(Op::Search)).await?)?;
        Ok((page.rows.iter().filter_map(row_id).collect(), page.next))
    }

    /// One page of the records that match: one call by id or list, a search and a call by id for each value looked for. Two
    /// exceptions: kinds without `ids=` cost a call for each id, and a question whether a field is filled anywhere reads pages,
    /// newest records first, until one is.
    pub(crate) async fn find_page(&self, query: &Query) -> Result<Page<Record>> {
        let kind = Kind::of(&query.entity)?;
        let mut names: Vec<&str> = query.select.iter().map(String::as_str).collect();
        query.filter.visit_fields(&mut |field| names.push(field));
        let map = self.names(kind, names).await?;
        let mark = query.fingerprint();
        let place = match &query.cursor {
            None => Place { mark, at: 0, next: None, left: query.limit },
            Some(cursor) => serde_json::from_str::<Place>(cursor.as_str())
                .ok()
                .filter(|place| place.mark == mark)
                .ok_or_else(|| Error::config("the cursor belongs to another query"))?,
        };
        if place.left == Some(0) {
            return Ok(Page::last(Vec::new()));
        }
        let access = lower(kind, &query.filter, &map)?;
        let size = query.page_size.unwrap_or(100).clamp(1, MOST);
        if !query.order.is_empty() && !matches!(access, Access::List { .. }) {
            return Err(Error::unsupported("pipedrive sorts lists only, not searches or records by id"));
        }
        match access {
            Access::Never => Ok(Page::last(Vec::new())),
            Access::Ids(ids) => self.page_by_ids(kind, query, place, &ids, size, &map).await,
            Access::Terms { field, scope, terms } => self.page_by_term(kind, query, place, (&field, scope, &terms), &map).await,
            Access::List { query: list, whole, not_null } => {
                if !whole && !not_null && !query.residual {
                    return Err(unsupported(kind));
                }
                self.page_by_list(kind, query, place, list, (size, not_null && !query.residual), &map).await
            }
        }
    }

    async fn page_by_ids(
        &self,
        kind: Kind,
        query: &Query,
        mut place: Place,
        ids: &[RecordId],
        size: u32,
        map: &FieldMap,
    ) -> Result<Page<Record>> {
        let most = if kind.multi_get() { IDS } else { 10 };
        let chunk = (size as usize).min(most);
        let wanted = ids.get(place.at..).unwrap_or_default();
        let (now, later) = wanted.split_at(chunk.min(wanted.len()));
        let rows = self.rows_by_id(kind, now).await?;
        let items = kept(kind, query, &mut place, rows.iter(), map)?;
        place.at += now.len();
        let more = !later.is_empty();
        page(items, &place, more)
    }

    async fn page_by_term(
        &self,
        kind: Kind,
        query: &Query,
        mut place: Place,
        (field, scope, terms): (&str, &'static str, &[String]),
        map: &FieldMap,
    ) -> Result<Page<Record>> {
        let Some(term) = terms.get(place.at) else { return Ok(Page::last(Vec::new())) };
        let (ids, next) = self.search_page(kind, scope, term, place.next.take()).await?;
        let rows = if ids.is_empty() { Vec::new() } else { self.rows_by_id(kind, &ids).await? };
        let earlier = Criteria::one_of(field, terms.get(..place.at).unwrap_or_default().iter().map(String::as_str));
        let this = Criteria::eq(field, term.as_str());
        let fresh = rows.iter().filter(|row| {
            let fields = all_fields(kind, row, map);
            // A record with two addresses is found by both.
            holds(kind, &this, &fields, map) && !holds(kind, &earlier, &fields, map)
        });
        let items = kept(kind, query, &mut place, fresh, map)?;
        match next {
            Some(next) => place.next = Some(next),
            None => place.at += 1,
        }
        let more = place.next.is_some() || place.at < terms.len();
        page(items, &place, more)
    }

    async fn page_by_list(
        &self,
        kind: Kind,
        query: &Query,
        mut place: Place,
        mut list: ListQuery,
        (size, until_found): (u32, bool),
        map: &FieldMap,
    ) -> Result<Page<Record>> {
        if let [order] = query.order.as_slice() {
            if !matches!(order.field.as_str(), "id" | "update_time" | "add_time") {
                return Err(Error::unsupported("pipedrive sorts by id, update_time or add_time"));
            }
            list = list.sort(&order.field, order.descending);
        } else if !query.order.is_empty() {
            return Err(Error::unsupported("pipedrive sorts by one field"));
        } else if until_found {
            list = newest_first(kind, list);
        }
        let wanted = if until_found { MOST } else { size.min(place.left.and_then(|left| u32::try_from(left).ok()).unwrap_or(MOST)).max(1) };
        loop {
            let mut asked = list.clone().limit(wanted);
            if let Some(next) = place.next.take() {
                asked = asked.after(next);
            }
            let found = match kind.version() {
                ApiVersion::V2 if map.fields().is_empty() => self.flat_page(kind, &asked).await?,
                _ => Listed::Long(self.list_rows(kind, &asked).await?),
            };
            let (items, next) = match found {
                Listed::Flat(found) => (kept_flat(kind, query, &mut place, found.rows, map)?, found.next),
                Listed::Long(found) => (kept(kind, query, &mut place, found.rows.iter(), map)?, found.next),
            };
            let done = next.is_none();
            place.next = next;
            if !until_found || !items.is_empty() || done {
                return page(items, &place, !done);
            }
        }
    }
}

/// The rows that satisfy the condition, as records, as many as may still come.
fn kept<'r>(
    kind: Kind,
    query: &Query,
    place: &mut Place,
    rows: impl Iterator<Item = &'r serde_json::Map<String, serde_json::Value>>,
    map: &FieldMap,
) -> Result<Vec<Record>> {
    let mut items = Vec::new();
    for row in rows {
        if place.left == Some(0) {
            break;
        }
        // The list of deals answers deleted ones only if it was asked for them.
        let tombstone = is_deleted(kind, row) && !asks_for_deleted(&query.filter);
        if tombstone || !holds(kind, &query.filter, &all_fields(kind, row, map), map) {
            continue;
        }
        items.push(record(kind, row, &query.select, map)?);
        place.left = place.left.map(|left| left - 1);
    }
    Ok(items)
}

/// As [`kept`], of rows that came flat.
fn kept_flat(kind: Kind, query: &Query, place: &mut Place, rows: Vec<Fields>, map: &FieldMap) -> Result<Vec<Record>> {
    let mut items = Vec::with_capacity(rows.len());
    let mut select = (!query.select.is_empty()).then(|| Projection::new(&query.select));
    let deleted_too = asks_for_deleted(&query.filter);
    for row in rows {
        if place.left == Some(0) {
            break;
        }
        if (flat_is_deleted(&row) && !deleted_too) || !holds(kind, &query.filter, &row, map) {
            continue;
        }
        items.push(flat_record(kind, row, &mut select)?);
        place.left = place.left.map(|left| left - 1);
    }
    Ok(items)
}

fn asks_for_deleted(filter: &Criteria) -> bool {
    let mut asked = false;
    filter.visit_fields(&mut |field| asked |= matches!(field, "is_deleted" | "status"));
    asked
}

fn page(items: Vec<Record>, place: &Place, more: bool) -> Result<Page<Record>> {
    if !more || place.left == Some(0) {
        return Ok(Page::last(items));
    }
    let text = serde_json::to_string(place).map_err(|_| Error::internal("a place could not be written"))?;
    Ok(Page::new(items, Some(Cursor::new(text)), None))
}
