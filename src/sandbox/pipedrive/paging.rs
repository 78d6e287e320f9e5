//! Paging by offset.

use serde_json::{Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::read::Params;

/// `start` and `limit` of a request.
pub(crate) fn window(params: &Params) -> Result<(usize, usize), Reply> {
    let whole = |name: &str, default: usize| match param(params, name) {
        None | Some("") => Ok(default),
        Some(value) => value.parse::<usize>().map_err(|_| errors::bad(format!("{name} must be an integer"))),
    };
    Ok((whole("start", 0)?, whole("limit", 100)?.clamp(1, 500)))
}

/// One page of `all`; `next_start` only if there is more. An empty list is null, as v1 has it.
pub(crate) fn pages(all: Vec<Value>, params: &Params) -> Answer {
    let (start, limit) = window(params)?;
    let end = start.saturating_add(limit);
    let more = all.len() > end;
    let mut pagination = json!({"start": start, "limit": limit, "more_items_in_collection": more});
    if more && let Value::Object(map) = &mut pagination {
        map.insert("next_start".to_owned(), json!(end));
    }
    let page: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let data = if page.is_empty() { Value::Null } else { Value::Array(page) };
    Ok(Reply::ok(json!({"success": true, "data": data, "additional_data": {"pagination": pagination}})))
}

/// Sorts as `sort=field ASC, other DESC` says, by members of the shown records.
pub(crate) fn sort(all: &mut [Value], params: &Params, known: &[&str]) -> Result<(), Reply> {
    let Some(order) = param(params, "sort").filter(|order| !order.trim().is_empty()) else { return Ok(()) };
    for part in order.split(',').rev() {
        let mut words = part.split_whitespace();
        let field = words.next().unwrap_or_default();
        let down = match words.next().unwrap_or("ASC").to_ascii_uppercase().as_str() {
            "ASC" => false,
            "DESC" => true,
            _ => return Err(errors::bad("sort takes ASC or DESC")),
        };
        if !known.contains(&field) {
            return Err(errors::bad(format!("sort by '{field}' is not possible")));
        }
        let place = |one: &Value| match one.get(field) {
            Some(Value::Number(number)) => (number.as_i64().unwrap_or(0), String::new()),
            Some(Value::String(text)) => (0, text.clone()),
            _ => (0, String::new()),
        };
        all.sort_by(|one, other| {
            let order = place(one).cmp(&place(other));
            if down { order.reverse() } else { order }
        });
    }
    Ok(())
}
