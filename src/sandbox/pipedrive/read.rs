//! Reading in v2: records, lists with a cursor, and what can be asked for besides.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::entity::{CONTACT_SYNC, Entity};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::saved::satisfies;
use crate::sandbox::pipedrive::state::{Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::{whole, words};
use crate::sandbox::store::Row;

/// A deleted record is gone for good after so long.
const PURGE: i64 = 30 * 86_400;

pub(crate) type Params = [(String, String)];

/// What an answer shows besides the usual.
#[derive(Debug, Default)]
pub(crate) struct Extras<'a> {
    include: Vec<&'a str>,
    custom: Option<Vec<&'a str>>,
    option_labels: bool,
    labels: bool,
}

/// Refuses parameters that the endpoint does not have.
pub(crate) fn known_params(params: &Params, known: &[&str]) -> Result<(), Reply> {
    let strange = params.iter().filter(|(name, _)| name != "api_token" && !known.contains(&name.as_str()));
    let problems: Vec<String> = strange.map(|(name, _)| errors::not_allowed(name)).collect();
    if problems.is_empty() { Ok(()) } else { Err(errors::invalid(&problems)) }
}

pub(crate) fn flag(params: &Params, name: &str) -> Result<bool, Reply> {
    match param(params, name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(errors::invalid_one(name, "Expected 'boolean'")),
    }
}

pub(crate) fn number(params: &Params, name: &str) -> Result<Option<i64>, Reply> {
    let Some(value) = param(params, name) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| errors::invalid_one(name, "Expected 'integer'"))
}

/// `limit`, from 1 to `most`; 100 if it is not given.
pub(crate) fn limit(params: &Params, most: usize) -> Result<usize, Reply> {
    match param(params, "limit") {
        None => Ok(100),
        Some(value) => {
            let given = value.parse::<usize>().map_err(|_| errors::invalid_one("limit", "Expected 'integer'"))?;
            if given == 0 || given > most {
                return Err(errors::invalid_one("limit", &format!("must be from 1 to {most}")));
            }
            Ok(given)
        }
    }
}

/// A comma-separated list of known words.
pub(crate) fn list<'a>(params: &'a Params, name: &str, known: &[&str]) -> Result<Vec<&'a str>, Reply> {
    let words: Vec<&str> =
        param(params, name).into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty()).collect();
    match words.iter().find(|word| !known.contains(word)) {
        Some(strange) => Err(errors::invalid_one(name, &format!("'{strange}' is not one of {}", known.join(", ")))),
        None => Ok(words),
    }
}

/// A cursor as Pipedrive makes them: where the next page begins, in base64.
fn encode_cursor(field: &str, value: &Value, direction: &str, id: i64) -> String {
    let cursor = json!({"field": field, "fieldValue": value, "sortDirection": direction, "id": id});
    STANDARD_NO_PAD.encode(cursor.to_string())
}

pub(crate) fn decode_cursor(text: &str) -> Result<Value, Reply> {
    let bytes = STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| errors::invalid_one("cursor", "Invalid cursor"))
}

/// What sorts a row: the member as text, numbers in their order.
fn sort_key(fields: &Map<String, Value>, field: &str) -> (i64, String) {
    match fields.get(field) {
        Some(Value::Number(number)) => (number.as_i64().unwrap_or(0), String::new()),
        Some(Value::String(text)) => (0, text.to_lowercase()),
        _ => (0, String::new()),
    }
}

impl Pipedrive {
    pub(crate) fn extras<'a>(entity: &Entity, params: &'a Params) -> Result<Extras<'a>, Reply> {
        let mut extras = Extras { include: list(params, "include_fields", entity.include)?, ..Extras::default() };
        if let Some(value) = param(params, "custom_fields") {
            let keys: Vec<&str> = value.split(',').map(str::trim).filter(|key| !key.is_empty()).collect();
            if keys.len() > 15 {
                return Err(errors::invalid_one("custom_fields", "at most 15 keys are allowed"));
            }
            extras.custom = Some(keys);
        }
        extras.option_labels = flag(params, "include_option_labels")?;
        extras.labels = flag(params, "include_labels")?;
        Ok(extras)
    }

    /// A record as v2 shows it.
    pub(crate) fn show(&self, entity: &Entity, row: &Row, extras: &Extras<'_>) -> Value {
        let mut record = Map::new();
        let value = |name: &str| row.fields.get(name).cloned().unwrap_or(Value::Null);
        for name in entity.shown {
            record.insert((*name).to_owned(), value(name));
        }
        if entity.name == "person" && self.options.contact_sync {
            CONTACT_SYNC.iter().for_each(|name| drop(record.insert((*name).to_owned(), value(name))));
        }
        if entity.name == "product"
            && let Some(Value::Array(prices)) = record.get_mut("prices")
        {
            for price in prices.iter_mut().filter_map(Value::as_object_mut) {
                price.insert("product_id".to_owned(), value("id"));
            }
        }
        if entity.custom {
            let nothing = Map::new();
            let stored = row.fields.get("custom_fields").and_then(Value::as_object).unwrap_or(&nothing);
            record.insert("custom_fields".to_owned(), self.nested(entity.name, stored, extras.custom.as_deref(), extras.option_labels));
        }
        for name in &extras.include {
            record.insert((*name).to_owned(), self.derived(entity.name, row, name));
        }
        if extras.labels {
            let ids = row.fields.get("label_ids").and_then(Value::as_array);
            let field = self.schema.field(entity.name, "label_ids");
            let labels = ids.into_iter().flatten().filter_map(|id| field?.choice(id.as_i64()?));
            record.insert(
                "labels".to_owned(),
                labels.map(|label| json!({"id": label.id, "label": label.label, "color": label.color})).collect(),
            );
        }
        Value::Object(record)
    }

    fn count(&self, entity: &str, link: &str, id: i64, fits: impl Fn(&Row) -> bool) -> usize {
        self.tables.rows(entity).filter(|(_, row)| !row.deleted && whole(&row.fields, link) == Some(id) && fits(row)).count()
    }

    /// A member that is counted or looked up when it is asked for.
    pub(crate) fn derived(&self, entity: &str, row: &Row, name: &str) -> Value {
        let Some(id) = whole(&row.fields, "id") else { return Value::Null };
        let link = match entity {
            "organization" => "org_id",
            "deal" => "deal_id",
            _ => "person_id",
        };
        let status = |row: &Row| row.text("status").unwrap_or_default().to_owned();
        let done = |row: &Row| row.is_true("done");
        let activities = || self.tables.rows("activity").filter(|(_, row)| !row.deleted && whole(&row.fields, link) == Some(id));
        let when = |row: &Row| format!("{}{}", row.text("due_date").unwrap_or_default(), row.text("due_time").unwrap_or_default());
        let id_of = |found: Option<(&str, &Row)>| found.and_then(|(_, row)| row.fields.get("id").cloned()).unwrap_or(Value::Null);
        match name {
            "open_deals_count" | "related_open_deals_count" => json!(self.count("deal", link, id, |row| status(row) == "open")),
            "closed_deals_count" | "related_closed_deals_count" => json!(self.count("deal", link, id, |row| status(row) != "open")),
            "won_deals_count" | "related_won_deals_count" => json!(self.count("deal", link, id, |row| status(row) == "won")),
            "lost_deals_count" | "related_lost_deals_count" => json!(self.count("deal", link, id, |row| status(row) == "lost")),
            "activities_count" => json!(self.count("activity", link, id, |_| true)),
            "done_activities_count" => json!(self.count("activity", link, id, done)),
            "undone_activities_count" => json!(self.count("activity", link, id, |row| !done(row))),
            "notes_count" => json!(self.count("note", link, id, |_| true)),
            "people_count" => json!(self.count("person", "org_id", id, |_| true)),
            "products_count" => json!(self.count("dealProduct", "deal_id", id, |_| true)),
            "participants_count" => json!(usize::from(row.fields.get("person_id").is_some_and(Value::is_number))),
            "followers_count" => json!(self.followers(entity, id).len()),
            // Mails and files live where the sandbox does not go: there are none.
            "email_messages_count" | "files_count" | "participant_open_deals_count" | "participant_closed_deals_count" => json!(0),
            "next_activity_id" => id_of(activities().filter(|(_, row)| !done(row)).min_by_key(|(_, row)| when(row))),
            "last_activity_id" => id_of(activities().filter(|(_, row)| done(row)).max_by_key(|(_, row)| when(row))),
            "smart_bcc_email" => json!(self.bcc(entity, id)),
            _ => row.fields.get(name).cloned().unwrap_or(Value::Null),
        }
    }

    pub(crate) fn bcc(&self, entity: &str, id: i64) -> String {
        if entity == "deal" { format!("{}+deal{id}@pipedrivemail.com", self.domain) } else { format!("{}@pipedrivemail.com", self.domain) }
    }

    /// `GET /{entities}/{id}`.
    pub(crate) fn get_one(&self, entity: &Entity, id: i64, params: &Params, now: i64) -> Answer {
        let mut known = vec!["include_fields", "custom_fields"];
        if entity.labels {
            known.extend(["include_option_labels", "include_labels"]);
        }
        known_params(params, &known)?;
        let extras = Self::extras(entity, params)?;
        let row = self.tables.get(entity.name, &key(id)).filter(|row| {
            let at = row.text("update_time").and_then(text::instant);
            let recent = at.is_some_and(|at| now.saturating_sub(at.as_second()) < PURGE);
            !row.deleted || (self.options.deleted_readable && recent && !row.fields.contains_key("_merged_into"))
        });
        match row {
            Some(row) => Ok(errors::data(self.show(entity, row, &extras))),
            None => Err(errors::missing(format!("{} not found", entity.title()))),
        }
    }

    /// `GET /{entities}`, and `GET /deals/archived`.
    pub(crate) fn get_list(&self, entity: &Entity, archived: bool, params: &Params, now: i64) -> Answer {
        let mut known = vec!["sort_by", "sort_direction", "limit", "cursor"];
        known.extend(entity.filters);
        if entity.ids {
            known.extend(["ids", "filter_id"]);
        }
        if entity.since {
            known.push("updated_since");
        }
        if entity.until {
            known.push("updated_until");
        }
        if entity.custom {
            known.push("custom_fields");
        }
        if !entity.include.is_empty() {
            known.push("include_fields");
        }
        if entity.labels && !archived {
            known.extend(["include_option_labels", "include_labels"]);
        }
        match entity.name {
            "deal" => known.push("status"),
            "activity" => known.extend(["lead_id", "done"]),
            _ => {}
        }
        known_params(params, &known)?;
        let extras = Self::extras(entity, params)?;
        let most = limit(params, 500)?;
        // A filter overrides every other parameter that selects.
        let filter =
            number(params, "filter_id")?.map(|id| self.filter_of(entity.name, id).ok_or_else(|| errors::missing("Filter not found")));
        let filter = filter.transpose()?;
        let selects = |name: &str| {
            entity.filters.contains(&name) || ["ids", "status", "updated_since", "updated_until", "lead_id", "done"].contains(&name)
        };
        let narrowed: Vec<(String, String)>;
        let params = match filter {
            None => params,
            Some(_) => {
                narrowed = params.iter().filter(|(name, _)| !selects(name)).cloned().collect();
                &narrowed
            }
        };
        let instant = |name: &str| match param(params, name) {
            None => Ok(None),
            Some(value) => text::whole_seconds(value).map(Some).ok_or_else(|| errors::invalid_one(name, "not a valid datetime")),
        };
        let (since, until) = (instant("updated_since")?, instant("updated_until")?);
        let mut equal = Vec::new();
        for name in entity.filters {
            if let Some(value) = number(params, name)? {
                equal.push((*name, value));
            }
        }
        let statuses = if entity.name == "deal" { list(params, "status", &["open", "won", "lost", "deleted"])? } else { Vec::new() };
        let done = if param(params, "done").is_some() { Some(flag(params, "done")?) } else { None };
        let lead = param(params, "lead_id");
        let ids: Option<Vec<i64>> = match param(params, "ids") {
            None => None,
            Some(text) => {
                let ids: Result<Vec<i64>, _> = text.split(',').map(|id| id.trim().parse()).collect();
                let ids = ids.map_err(|_| errors::invalid_one("ids", "Expected a comma-separated list of integers"))?;
                if ids.len() > 100 {
                    return Err(errors::invalid_one("ids", "at most 100 ids are allowed"));
                }
                Some(ids)
            }
        };
        let fits = |row: &Row| {
            let deleted = row.deleted;
            let visible = if entity.name == "deal" {
                let recent =
                    || row.text("update_time").and_then(text::instant).is_some_and(|at| now.saturating_sub(at.as_second()) < PURGE);
                let wanted = if statuses.is_empty() { !deleted } else { statuses.contains(&row.text("status").unwrap_or_default()) };
                wanted && (!deleted || recent()) && !row.fields.contains_key("_merged_into") && row.is_true("is_archived") == archived
            } else {
                !deleted
            };
            let at = || row.text("update_time").and_then(text::instant);
            visible
                && filter.is_none_or(|filter| satisfies(filter, row))
                && since.is_none_or(|since| at().is_some_and(|at| at >= since))
                && until.is_none_or(|until| at().is_some_and(|at| at < until))
                && equal.iter().all(|(name, value)| match *name {
                    "deal_id" if entity.name == "person" => {
                        self.name_of("deal", Some(*value), "person_id").as_i64() == whole(&row.fields, "id")
                    }
                    name => whole(&row.fields, name) == Some(*value),
                })
                && done.is_none_or(|done| row.is_true("done") == done)
                && lead.is_none_or(|lead| row.text("lead_id") == Some(lead))
                && ids.as_ref().is_none_or(|ids| whole(&row.fields, "id").is_some_and(|id| ids.contains(&id)))
        };
        let rows: Vec<&Row> = match &ids {
            Some(ids) => ids.iter().filter_map(|id| self.tables.get(entity.name, &key(*id))).filter(|row| fits(row)).collect(),
            None => self.tables.rows(entity.name).map(|(_, row)| row).filter(|row| fits(row)).collect(),
        };
        let sorted = param(params, "sort_by").unwrap_or("id");
        if !entity.sort.contains(&sorted) {
            return Err(errors::invalid_one("sort_by", &format!("must be one of {}", entity.sort.join(", "))));
        }
        let direction = param(params, "sort_direction").unwrap_or("asc");
        if !["asc", "desc"].contains(&direction) {
            return Err(errors::invalid_one("sort_direction", "must be one of asc, desc"));
        }
        page(rows, (sorted, direction), param(params, "cursor"), most, |row| self.show(entity, row, &extras))
    }
}

/// A page of sorted rows, by a cursor that says where it begins.
pub(crate) fn page(
    mut rows: Vec<&Row>,
    (field, direction): (&str, &str),
    cursor: Option<&str>,
    most: usize,
    show: impl Fn(&Row) -> Value,
) -> Answer {
    let place = |row: &Row| (sort_key(&row.fields, field), whole(&row.fields, "id").unwrap_or(0));
    rows.sort_by_cached_key(|row| place(row));
    rows.dedup_by_key(|row| whole(&row.fields, "id"));
    if direction == "desc" {
        rows.reverse();
    }
    if let Some(cursor) = cursor {
        let cursor = decode_cursor(cursor)?;
        let Value::Object(begin) = cursor else { return Err(errors::invalid_one("cursor", "Invalid cursor")) };
        if words(&begin, "field") != Some(field) || words(&begin, "sortDirection") != Some(direction) {
            return Err(errors::invalid_one("cursor", "the cursor belongs to another sort order"));
        }
        let start = (sort_key(&begin, "fieldValue"), whole(&begin, "id").unwrap_or(0));
        rows.retain(|row| if direction == "desc" { place(row) <= start } else { place(row) >= start });
    }
    let next = rows.get(most).map(|row| {
        let value = row.fields.get(field).cloned().unwrap_or(Value::Null);
        encode_cursor(field, &value, direction, whole(&row.fields, "id").unwrap_or(0))
    });
    let data: Vec<Value> = rows.into_iter().take(most).map(show).collect();
    Ok(Reply::ok(json!({"success": true, "data": data, "additional_data": {"next_cursor": next}})))
}
