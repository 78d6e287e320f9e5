//! Lists of both versions behind one question.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::RecordId;
use crate::pipedrive::builtin::{F, builtin};
use crate::pipedrive::capabilities::IDS;
use crate::pipedrive::client::{Pipedrive, row_id, tail};
use crate::pipedrive::envelope::{Rows, record, rows};
use crate::pipedrive::resource::{ApiVersion, Kind, Op, Paging};
use crate::rest::Call;

/// The longest page of a list (100 for a search).
pub(crate) const MOST: u32 = 500;
/// Custom fields that a list can be asked for by key.
pub(crate) const MOST_KEYS: usize = 15;

/// What to list. Paging is hidden: cursors of v2 and offsets of v1 are the same opaque text.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct ListQuery {
    filters: Vec<(String, String)>,
    ids: Vec<String>,
    updated_since: Option<Timestamp>,
    updated_until: Option<Timestamp>,
    sort: Option<(String, bool)>,
    limit: Option<u32>,
    keys: Vec<String>,
    include: Vec<String>,
    labels: bool,
    after: Option<String>,
}

impl ListQuery {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only records whose field has this value: `owner_id`, `org_id`, `person_id`, `deal_id`, `pipeline_id`, `stage_id`, `done`,
    /// `status` (several, separated by commas, `deleted` among them), or a saved filter by `filter_id`, which overrules all others.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are given as they are")]
    pub fn filter(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.filters.push((name.into(), value.to_string()));
        self
    }

    /// Only these records, 100 at most; those that are gone or hidden are left out.
    pub fn ids<'a>(mut self, ids: impl IntoIterator<Item = &'a RecordId>) -> Self {
        self.ids = ids.into_iter().map(|id| id.as_str().to_owned()).collect();
        self
    }

    /// Changed at this time or later. Sent in whole seconds: fractions are refused.
    pub fn updated_since(mut self, at: Timestamp) -> Self {
        self.updated_since = Some(at);
        self
    }

    /// Changed before this time.
    pub fn updated_until(mut self, at: Timestamp) -> Self {
        self.updated_until = Some(at);
        self
    }

    /// In this order: `id`, `update_time` or `add_time` (v2); one field.
    pub fn sort(mut self, field: impl Into<String>, descending: bool) -> Self {
        self.sort = Some((field.into(), descending));
        self
    }

    /// Rows of a page, 500 at most. Default: 100, Pipedrive's own.
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = Some(rows.clamp(1, MOST));
        self
    }

    /// Only these custom fields, by key; 15 at most, else all are answered.
    pub fn custom_fields(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Members that are not answered by themselves, such as `next_activity_id` or `attendees`.
    pub fn include(mut self, members: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.include = members.into_iter().map(Into::into).collect();
        self
    }

    /// Options with their labels (deals, organizations, persons).
    pub fn option_labels(mut self, wanted: bool) -> Self {
        self.labels = wanted;
        self
    }

    /// A server that names the same place again would keep us here for ever.
    pub(crate) fn goes_on(&self, next: Option<&str>) -> Result<()> {
        if next.is_some() && next == self.after.as_deref() {
            return Err(Error::decode("the next page is the page just read"));
        }
        Ok(())
    }

    pub(crate) fn after(mut self, next: String) -> Self {
        self.after = Some(next);
        self
    }

    /// The parameters for `kind`; refuses what its list would answer with a 400.
    pub(crate) fn pairs(&self, kind: Kind) -> Result<Vec<(&str, String)>> {
        let v2 = kind.version() == ApiVersion::V2;
        let wrong = |what: &str| Error::config(format!("the list of {kind} takes no {what}")).on(&kind.entity());
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for (name, value) in &self.filters {
            let saved = name == "filter_id" && (kind.multi_get() || kind == Kind::Lead);
            let pinned = kind == Kind::Note && name.starts_with("pinned_to_");
            let of_deal = kind == Kind::Person && name == "deal_id";
            let known = saved || pinned || of_deal || builtin(kind, name).is_some_and(|field| field.has(F));
            if !known {
                return Err(wrong(&format!("filter {name}")));
            }
            pairs.push((name, value.clone()));
        }
        if !self.ids.is_empty() {
            if !kind.multi_get() || self.ids.len() > IDS {
                return Err(wrong("list of ids, or not so many"));
            }
            pairs.push(("ids", self.ids.join(",")));
        }
        for (name, at) in [("updated_since", self.updated_since), ("updated_until", self.updated_until)] {
            let Some(at) = at else { continue };
            if !kind.has_changes() || (name == "updated_until" && (!v2 || kind == Kind::Product)) {
                return Err(wrong(name));
            }
            pairs.push((name, seconds(at)));
        }
        if let Some((field, descending)) = &self.sort {
            if v2 {
                pairs.push(("sort_by", field.clone()));
                pairs.push(("sort_direction", if *descending { "desc" } else { "asc" }.to_owned()));
            } else if kind == Kind::Lead && !*descending {
                // The list of leads is documented to take the bare name, which sorts upwards.
                pairs.push(("sort", field.clone()));
            } else if kind.paging() == Paging::Offset {
                pairs.push(("sort", format!("{field} {}", if *descending { "DESC" } else { "ASC" })));
            } else {
                return Err(wrong("order"));
            }
        }
        if !self.keys.is_empty() && v2 && kind.has_custom_fields() && self.keys.len() <= MOST_KEYS {
            pairs.push(("custom_fields", self.keys.join(",")));
        }
        if !self.include.is_empty() {
            if !matches!(kind, Kind::Activity | Kind::Deal | Kind::Organization | Kind::Person) {
                return Err(wrong("include_fields"));
            }
            pairs.push(("include_fields", self.include.join(",")));
        }
        if self.labels {
            if !matches!(kind, Kind::Deal | Kind::Organization | Kind::Person) {
                return Err(wrong("include_option_labels"));
            }
            pairs.push(("include_option_labels", "true".to_owned()));
        }
        if kind.paging() != Paging::Whole {
            pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
            let name = if kind.paging() == Paging::Cursor { "cursor" } else { "start" };
            pairs.extend(self.after.clone().map(|after| (name, after)));
        }
        Ok(pairs)
    }
}

/// A time as request parameters take it: whole seconds, UTC. Fractions and blanks are answered with a 400.
pub(crate) fn seconds(at: Timestamp) -> String {
    Offset::UTC.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Pipedrive {
    /// One page of a list, as it came.
    pub(crate) async fn list_rows(&self, kind: Kind, query: &ListQuery) -> Result<Rows> {
        self.list_at(kind, "", kind.price(Op::List), query).await
    }

    /// As [`Pipedrive::list_rows`], for a list of the kind with a path of its own.
    pub(crate) async fn list_at(&self, kind: Kind, tail: &str, price: u32, query: &ListQuery) -> Result<Rows> {
        let path = self.path(kind.version(), kind.path(), tail, &query.pairs(kind)?);
        let answer = self.send(&Call::get("search", path), price).await?;
        let page = rows(&answer).map_err(|error| error.on(&kind.entity()))?;
        query.goes_on(page.next.as_deref()).map_err(|error| error.during("search").on(&kind.entity()))?;
        Ok(page)
    }

    /// One record as it came; `None` if there is none this user sees, or it was deleted.
    pub(crate) async fn row(&self, kind: Kind, id: &RecordId) -> Result<Option<Map<String, Value>>> {
        let Ok(tail) = tail(kind, id) else { return Ok(None) };
        if !kind.single_get() {
            let all = self.list_rows(kind, &ListQuery::new()).await?;
            return Ok(all.rows.into_iter().find(|row| row_id(row).as_ref() == Some(id)));
        }
        let path = self.path(kind.version(), kind.path(), &tail, &[]);
        match self.send(&Call::get("get", path), kind.price(Op::Get)).await {
            Ok(answer) => Ok(record(&answer)?.filter(|row| !is_deleted(kind, row))),
            Err(error) if error.kind() == crate::error::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.on(&kind.entity()).record_id(id)),
        }
    }

    /// Records by id, 100 a call where `ids=` exists, else one by one; in the order Pipedrive answers.
    pub(crate) async fn rows_by_id(&self, kind: Kind, ids: &[RecordId]) -> Result<Vec<Map<String, Value>>> {
        let mut found = Vec::with_capacity(ids.len());
        if !kind.multi_get() {
            for id in ids {
                found.extend(self.row(kind, id).await?);
            }
            return Ok(found);
        }
        let fit: Vec<&RecordId> = ids.iter().filter(|id| tail(kind, id).is_ok()).collect();
        for chunk in fit.chunks(IDS) {
            let query = ListQuery::new().ids(chunk.iter().copied()).limit(IDS as u32);
            found.extend(self.list_rows(kind, &query).await?.rows);
        }
        found.retain(|row| !is_deleted(kind, row));
        Ok(found)
    }
}

/// True for the tombstone of a record. Users and activity types that are switched off are still there.
pub(crate) fn is_deleted(kind: Kind, row: &Map<String, Value>) -> bool {
    row.get("is_deleted").and_then(Value::as_bool) == Some(true)
        || (kind == Kind::Note && row.get("active_flag").and_then(Value::as_bool) == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_both_versions() {
        let at: Timestamp = "2026-01-31T10:00:00.987Z".parse().unwrap();
        let query = ListQuery::new().updated_since(at).sort("update_time", false).limit(9_999).after("c".to_owned());
        let text =
            |kind| query.pairs(kind).map(|pairs| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"));
        assert_eq!(
            text(Kind::Person).unwrap(),
            "updated_since=2026-01-31T10:00:00Z&sort_by=update_time&sort_direction=asc&limit=500&cursor=c"
        );
        assert_eq!(text(Kind::Note).unwrap(), "updated_since=2026-01-31T10:00:00Z&sort=update_time ASC&limit=500&start=c");
        assert_eq!(text(Kind::Lead).unwrap(), "updated_since=2026-01-31T10:00:00Z&sort=update_time&limit=500&start=c");
        // Answered with a 400.
        assert!(text(Kind::Pipeline).is_err() && text(Kind::User).is_err());
        assert!(ListQuery::new().updated_until(at).pairs(Kind::Product).is_err());
        assert!(ListQuery::new().filter("email", "x").pairs(Kind::Person).is_err());
        assert!(ListQuery::new().filter("org_id", 7).pairs(Kind::Lead).is_err());
        assert!(ListQuery::new().filter("organization_id", 7).pairs(Kind::Lead).is_ok());
    }
}
