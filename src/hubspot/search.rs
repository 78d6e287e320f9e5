//! Searches: within the limits, and past 10,000 results by windows of ids.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::filter::{Filter, Group, lower, within_limits};
use crate::hubspot::record::{HubSpotRecord, Listing, Paging};
use crate::model::{Entity, Record};
use crate::query::{Criteria, Cursor, Page, Query};
use crate::rest::Call;

/// Records of one page.
const PAGE: u64 = 200;
/// Results of one search.
const CEILING: u64 = 10_000;
/// Characters of one request.
const MAX_BODY: usize = 3_000;
pub(super) const ID: &str = "hs_object_id";

/// Where a search stands; the text of its cursor.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Place {
    query: String,
    /// The list's token, or the offset within the window.
    after: Option<String>,
    /// The last id of the window before.
    #[serde(default)]
    above: Option<String>,
    left: Option<u64>,
    /// Records of this window seen so far, to compare with its total.
    #[serde(default)]
    seen: u64,
}

impl Place {
    fn cursor(&self) -> Result<Cursor> {
        serde_json::to_string(self).map(Cursor::new).map_err(|_| Error::internal("a cursor could not be written"))
    }
}

impl HubSpot {
    /// One request to the search; more only to read properties that do not fit into it.
    pub(super) async fn search_raw(
        &self,
        entity: &Entity,
        groups: &[Group],
        sort: Option<(&str, bool)>,
        select: &[String],
        limit: u64,
        after: Option<&str>,
    ) -> Result<Listing> {
        let body = |properties: &[String]| -> Value {
            let mut body = json!({ "filterGroups": groups, "properties": properties, "limit": limit });
            if let Some(object) = body.as_object_mut() {
                if let Some((name, descending)) = sort {
                    let direction = if descending { "DESCENDING" } else { "ASCENDING" };
                    object.insert("sorts".to_owned(), json!([{ "propertyName": name, "direction": direction }]));
                }
                if let Some(after) = after {
                    object.insert("after".to_owned(), json!(after));
                }
            }
            body
        };
        let mut request = body(select);
        let long = request.to_string().chars().count() > MAX_BODY;
        if long {
            request = body(&[]);
            if request.to_string().chars().count() > MAX_BODY {
                return Err(Error::unsupported("the condition is longer than the 3,000 characters of a hubspot search; split its lists"));
            }
        }
        let call = Call::post("search", format!("{}/search", self.objects(entity))).read_only().json(&request)?;
        let mut listing: Listing = self.rest.send(&call).await?.json()?;
        if long {
            listing.results = self.filled(entity, std::mem::take(&mut listing.results), select).await?;
        }
        Ok(listing)
    }

    pub(super) async fn search_page(&self, query: &Query) -> Result<Page<Record>> {
        let mark = query.fingerprint();
        let mut place = match &query.cursor {
            None => Place { query: mark, left: query.limit, ..Place::default() },
            Some(cursor) => serde_json::from_str::<Place>(cursor.as_str())
                .ok()
                .filter(|place| place.query == mark)
                .ok_or_else(|| Error::config("the cursor belongs to another query"))?,
        };
        if place.left == Some(0) {
            return Ok(Page::last(Vec::new()));
        }
        let wish = u64::from(query.page_size.unwrap_or(200).max(1)).min(place.left.unwrap_or(PAGE)).min(PAGE);
        if query.filter == Criteria::always() && query.order.is_empty() {
            let limit = u32::try_from(wish.min(100)).unwrap_or(100);
            let page = self.list(&query.entity, &query.select, place.after.as_deref(), limit, false).await?;
            place.after = page.next.map(|next| next.as_str().to_owned());
            let more = place.after.is_some();
            return self.finish(query, place, page.items, &[], more, None);
        }
        let lowered = lower(&query.filter, query.residual)?;
        if lowered.groups.is_empty() {
            return Ok(Page::new(Vec::new(), None, Some(0)));
        }
        let sort = match query.order.as_slice() {
            [] => (ID, false),
            [one] => (one.field.as_str(), one.descending),
            _ => return Err(Error::unsupported("hubspot sorts a search by one property only")),
        };
        let mut groups = lowered.groups;
        if let Some(above) = &place.above {
            for group in &mut groups {
                group.filters.push(Filter::new(ID, "GT", above.clone()));
            }
            let filters: Vec<Vec<Filter>> = groups.iter().map(|group| group.filters.clone()).collect();
            within_limits(&filters)?;
        }
        let mut select = query.select.clone();
        for part in &lowered.local {
            part.visit_fields(&mut |field| {
                if !select.is_empty() && !select.iter().any(|name| name == field) {
                    select.push(field.to_owned());
                }
            });
        }
        let offset: u64 = place.after.as_deref().and_then(|after| after.parse().ok()).unwrap_or_default();
        let limit = wish.min(CEILING.saturating_sub(offset)).max(1);
        let listing = self.search_raw(&query.entity, &groups, Some(sort), &select, limit, place.after.as_deref()).await?;
        let (total, after) = (listing.total, Paging::after(listing.paging.as_ref()));
        place.seen += listing.results.len() as u64;
        let mut more = after.is_some();
        let next: u64 = after.as_deref().and_then(|after| after.parse().ok()).unwrap_or_default();
        let full = next >= CEILING || (after.is_none() && total.is_some_and(|total| total > place.seen) && place.seen >= CEILING);
        if full {
            // The window is used up: the next one starts above the last id.
            if !query.order.is_empty() {
                return Err(Error::unsupported(
                    "more than 10,000 records match: hubspot cannot page a sorted search further; leave the order out",
                ));
            }
            place.above = listing.results.last().map(|row| row.id.clone());
            (place.after, place.seen, more) = (None, 0, place.above.is_some());
        } else {
            if after.is_none() && total.is_some_and(|total| total > place.seen) && listing.results.len() as u64 == limit {
                return Err(Error::decode("hubspot ended the search before all the records it counted; start again"));
            }
            place.after = after;
        }
        // In a later window, HubSpot counts only what is left.
        let total = if place.above.is_none() && lowered.local.is_empty() { total } else { None };
        self.finish(query, place, listing.results, &lowered.local, more, total)
    }

    fn finish(
        &self,
        query: &Query,
        mut place: Place,
        rows: Vec<HubSpotRecord>,
        local: &[Criteria],
        more: bool,
        total: Option<u64>,
    ) -> Result<Page<Record>> {
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            if local.iter().all(|part| part.matches(&row.properties)) {
                items.push(row.into_record(&query.entity, &query.select)?);
            }
        }
        if let Some(left) = place.left {
            items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            place.left = Some(left - items.len() as u64);
        }
        let next = if more && place.left != Some(0) { Some(place.cursor()?) } else { None };
        Ok(Page::new(items, next, total))
    }
}
