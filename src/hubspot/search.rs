//! Searches: within the limits, past 10,000 results by windows of ids, and lists of any length in portions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::entity::{created_property, defaults, modified_property};
use crate::hubspot::filter::{Filter, Group, lower, within_limits};
use crate::hubspot::portions::{MAX_BODY, Portions};
use crate::hubspot::record::{HubSpotRecord, Listing, Paging, projection};
use crate::model::{Entity, Record};
use crate::query::{Criteria, Cursor, Page, Query};
use crate::rest::Call;

/// Records of one page.
const PAGE: u64 = 200;
/// Results of one search.
const CEILING: u64 = 10_000;
pub(super) const ID: &str = "hs_object_id";

/// Where a search stands; the text of its cursor.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    query: String,
    /// Which portion of a long list is asked for.
    part: usize,
    /// The list's token, or the offset within the window.
    after: Option<String>,
    left: Option<u64>,
    /// Records of this window seen so far, to compare with its total.
    seen: u64,
    /// Of windows by id: the last id of the window before.
    above: Option<String>,
    /// Of windows by time: where this one begins, and who of that very time was in the window before.
    from: Option<String>,
    skip: Vec<String>,
    /// The last time read, and who has it.
    at: Option<String>,
    tied: Vec<String>,
}

impl Place {
    /// Leaves out what the window before had, and remembers who has the last time.
    fn note(&mut self, rows: &mut Vec<HubSpotRecord>, property: &str) {
        let time = |row: &HubSpotRecord| row.properties.text(property).map(ToOwned::to_owned);
        rows.retain(|row| self.from.is_none() || time(row) != self.from || !self.skip.contains(&row.id));
        let Some(last) = rows.last().and_then(time) else { return };
        if self.at.as_ref() != Some(&last) {
            self.tied.clear();
        }
        self.tied.extend(rows.iter().filter(|row| time(row).as_ref() == Some(&last)).map(|row| row.id.clone()));
        self.at = Some(last);
    }

    /// Begins the next window where this one ended.
    fn next_window(&mut self, rows: &[HubSpotRecord], by_id: bool) -> Result<()> {
        if by_id {
            self.above = rows.last().map(|row| row.id.clone()).or(self.above.take());
        } else if self.at.is_none() || self.at == self.from {
            return Err(Error::unsupported("more records than a hubspot search pages have one time: search without an order"));
        } else {
            self.from.clone_from(&self.at);
            self.skip.clone_from(&self.tied);
        }
        (self.after, self.seen) = (None, 0);
        Ok(())
    }

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
        let groups = if groups.iter().any(|group| group.filters.is_empty()) { &[] } else { groups };
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
        let mut listing: Listing = self.send(&call).await?.json()?;
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
        let portions = Portions::of(query);
        let filter = portions.as_ref().map_or_else(|| query.filter.clone(), |portions| portions.filter(place.part));
        let wish = u64::from(query.page_size.unwrap_or(200).max(1)).min(place.left.unwrap_or(PAGE)).min(PAGE);
        let lowered = lower(&filter, query.residual)?;
        if lowered.groups.is_empty() {
            return Ok(Page::new(Vec::new(), None, Some(0)));
        }
        let everything = lowered.groups.iter().any(|group| group.filters.is_empty());
        if everything && query.order.is_empty() {
            // The list has neither lag nor ceiling.
            let limit = u32::try_from(wish.min(100)).unwrap_or(100);
            let select = selection(query, &lowered.local, None, None);
            let page = self.list(&query.entity, &select, place.after.as_deref(), limit, false).await?;
            place.after = page.next.map(|next| next.as_str().to_owned());
            let more = place.after.is_some();
            return self.finish(query, place, page.items, &lowered.local, more, None);
        }
        let sort = match query.order.as_slice() {
            [] => (ID, false),
            [one] => (one.field.as_str(), one.descending),
            _ => return Err(Error::unsupported("hubspot sorts a search by one property only")),
        };
        let window = match (&place.above, &place.from) {
            (Some(above), _) => Some(Filter::new(ID, if sort.1 { "LT" } else { "GT" }, above.clone())),
            (None, Some(from)) => Some(Filter::new(sort.0, if sort.1 { "LTE" } else { "GTE" }, from.clone())),
            (None, None) => None,
        };
        // One group that asks nothing makes the others needless.
        let mut groups = if everything { vec![Group { filters: Vec::new() }] } else { lowered.groups };
        if let Some(window) = &window {
            groups.iter_mut().for_each(|group| group.filters.push(window.clone()));
        }
        // Every record has a value of these, and it reads as it was written: they can begin a window.
        let windowed = sort.0 == ID || [created_property(&query.entity), modified_property(&query.entity)].contains(&sort.0);
        let select =
            selection(query, &lowered.local, windowed.then_some(sort.0), portions.as_ref().map(|portions| portions.field.as_str()));
        let offset: u64 = place.after.as_deref().and_then(|after| after.parse().ok()).unwrap_or_default();
        let limit = wish.min(CEILING.saturating_sub(offset)).max(1);
        let mut listing = self.search_raw(&query.entity, &groups, Some(sort), &select, limit, place.after.as_deref()).await?;
        let (total, after) = (listing.total, Paging::after(listing.paging.as_ref()));
        let first = window.is_none() && offset == 0;
        if first && total.is_some_and(|total| total > CEILING) && place.left.is_none_or(|left| left > CEILING) {
            // Better now than after ten thousand records.
            beyond_the_ceiling(&groups, windowed)?;
        }
        let got = listing.results.len() as u64;
        place.seen += got;
        if windowed && sort.0 != ID {
            place.note(&mut listing.results, sort.0);
        }
        let next: u64 = after.as_deref().and_then(|after| after.parse().ok()).unwrap_or_default();
        let unseen = total.is_some_and(|total| total > place.seen);
        let mut more = after.is_some();
        if next >= CEILING || (after.is_none() && unseen && place.seen >= CEILING) {
            if !windowed {
                return Err(no_windows());
            }
            place.next_window(&listing.results, sort.0 == ID)?;
            more = true;
        } else if after.is_none() && unseen && got == limit {
            return Err(Error::decode("hubspot ended the search before all the records it counted; start again"));
        } else {
            place.after = after;
        }
        if let Some(portions) = &portions {
            let found_before = portions.found_before(place.part);
            listing.results.retain(|row| !found_before(&row.properties));
            if !more && place.part + 1 < portions.count() {
                place = Place { query: place.query, part: place.part + 1, left: place.left, ..Place::default() };
                more = true;
            }
        }
        // In a later window or portion, HubSpot counts only what is left.
        let total = if window.is_none() && portions.is_none() && lowered.local.is_empty() { total } else { None };
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
        let mut select = projection(&query.select);
        for row in rows {
            if local.iter().all(|part| part.matches(&row.properties)) {
                items.push(row.into_record_of(&query.entity, &mut select)?);
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

fn no_windows() -> Error {
    Error::unsupported(
        "more than 10,000 records match: hubspot pages a search further only by id or by time; leave the order out or split the search",
    )
}

/// Whether there is a way on past 10,000 results, found out before they are read.
fn beyond_the_ceiling(groups: &[Group], windowed: bool) -> Result<()> {
    if !windowed {
        return Err(no_windows());
    }
    let one_more = Filter::new(ID, "GT", None);
    let widened: Vec<Vec<Filter>> = groups.iter().map(|group| group.filters.iter().chain([&one_more]).cloned().collect()).collect();
    within_limits(&widened).map_err(|_| {
        Error::unsupported(
            "more than 10,000 records match, and the condition leaves no room for the filter that pages on: split the search",
        )
    })
}

/// What is asked for: what the caller wants, what is filtered here, what begins a window, and what portions are told apart by.
fn selection(query: &Query, local: &[Criteria], window: Option<&str>, portioned: Option<&str>) -> Vec<String> {
    let mut select = query.select.clone();
    if select.is_empty() && (!local.is_empty() || portioned.is_some()) {
        // Named properties replace those that come by themselves.
        select = defaults(&query.entity).into_iter().map(ToOwned::to_owned).collect();
    }
    if select.is_empty() {
        return select;
    }
    let mut add = |name: &str| {
        if !select.iter().any(|known| known == name) {
            select.push(name.to_owned());
        }
    };
    local.iter().for_each(|part| part.visit_fields(&mut add));
    window.into_iter().chain(portioned).for_each(&mut add);
    select
}
