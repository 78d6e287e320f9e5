//! A lead as it is stored.

use serde_json::{Map, Value, json};

use crate::sandbox::pipedrive::state::Act;
use crate::sandbox::pipedrive::text;

/// A lead that an API client has just made, without its title and links.
pub(crate) fn lead_record(id: &str, act: Act, domain: &str) -> Map<String, Value> {
    let at = text::stamp_millis(act.now);
    let record = json!({
        "id": id, "title": null, "owner_id": act.user, "creator_id": act.user, "label_ids": [], "person_id": null, "organization_id": null,
        "source_name": "API", "origin": "API", "origin_id": null, "channel": null, "channel_id": null, "is_archived": false,
        "was_seen": false, "value": null, "expected_close_date": null, "next_activity_id": null, "add_time": at, "update_time": at,
        "visible_to": "3", "cc_email": format!("{domain}+lead{}@pipedrivemail.com", id.get(..8).unwrap_or(id)), "custom_fields": {},
    });
    match record {
        Value::Object(record) => record,
        _ => Map::new(),
    }
}
