//! Names of HubSpot's objects, and what differs between them.
//!
//! Paths take the plural name, the type id (`0-1`) or, for custom objects, `2-NNN` or `p{portal}_{name}`.

use crate::model::Entity;

/// Contacts, `0-1`.
pub const CONTACTS: Entity = Entity::from_static("contacts");
/// Companies, `0-2`.
pub const COMPANIES: Entity = Entity::from_static("companies");
/// Deals, `0-3`.
pub const DEALS: Entity = Entity::from_static("deals");
/// Tickets, `0-5`.
pub const TICKETS: Entity = Entity::from_static("tickets");
/// Products, `0-7`.
pub const PRODUCTS: Entity = Entity::from_static("products");
/// Line items, `0-8`.
pub const LINE_ITEMS: Entity = Entity::from_static("line_items");
/// Tasks, `0-27`.
pub const TASKS: Entity = Entity::from_static("tasks");
/// Notes, `0-46`.
pub const NOTES: Entity = Entity::from_static("notes");
/// Meetings, `0-47`.
pub const MEETINGS: Entity = Entity::from_static("meetings");
/// Calls, `0-48`.
pub const CALLS: Entity = Entity::from_static("calls");
/// Emails, `0-49`.
pub const EMAILS: Entity = Entity::from_static("emails");
/// Messages of other channels (SMS, WhatsApp, LinkedIn), `0-18`.
pub const COMMUNICATIONS: Entity = Entity::from_static("communications");

/// Type id, plural name and singular name ("Object type IDs" of the developer guide).
const TYPES: &[(&str, &str, &str)] = &[
    ("0-1", "contacts", "contact"),
    ("0-2", "companies", "company"),
    ("0-3", "deals", "deal"),
    ("0-5", "tickets", "ticket"),
    ("0-7", "products", "product"),
    ("0-8", "line_items", "line_item"),
    ("0-14", "quotes", "quote"),
    ("0-18", "communications", "communication"),
    ("0-27", "tasks", "task"),
    ("0-46", "notes", "note"),
    ("0-47", "meetings", "meeting"),
    ("0-48", "calls", "call"),
    ("0-49", "emails", "email"),
    ("0-69", "subscriptions", "subscription"),
    ("0-115", "users", "user"),
    ("0-116", "postal_mail", "postal_mail"),
    ("0-123", "orders", "order"),
    ("0-136", "leads", "lead"),
    ("0-142", "carts", "cart"),
    ("0-162", "services", "service"),
];

fn row(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    TYPES.iter().find(|(id, plural, singular)| [id, plural, singular].iter().any(|known| known.eq_ignore_ascii_case(name)))
}

/// The plural name of a standard object, whichever of its names is given (`0-1`, `contact`, `CONTACT`); others as they are.
pub fn canonical(name: &str) -> Entity {
    row(name).map_or_else(|| Entity::new(name), |(_, plural, _)| Entity::from_static(plural))
}

/// The type id of a standard object by any of its names.
pub fn type_id(name: &str) -> Option<&'static str> {
    row(name).map(|(id, _, _)| *id)
}

pub(super) fn is(entity: &Entity, wanted: &Entity) -> bool {
    canonical(entity.as_str()) == *wanted
}

/// The property that holds the time of the last change.
pub(super) fn modified_property(entity: &Entity) -> &'static str {
    if is(entity, &CONTACTS) { "lastmodifieddate" } else { "hs_lastmodifieddate" }
}

pub(super) fn is_activity(entity: &Entity) -> bool {
    [NOTES, TASKS, CALLS, EMAILS, MEETINGS, COMMUNICATIONS].iter().any(|kind| is(entity, kind))
}

/// The property that holds the time of creation.
pub(super) fn created_property(entity: &Entity) -> &'static str {
    if is_activity(entity) || entity.as_str().starts_with("2-") || entity.as_str().starts_with("p_") {
        "hs_createdate"
    } else {
        "createdate"
    }
}

/// What a read answers that names no property; named ones replace these.
pub(super) fn defaults(entity: &Entity) -> Vec<&'static str> {
    let mut names: Vec<&str> = match canonical(entity.as_str()).as_str() {
        "contacts" => vec!["email", "firstname", "lastname"],
        "companies" => vec!["name", "domain"],
        "deals" => vec!["dealname", "amount", "closedate", "pipeline", "dealstage"],
        "tickets" => vec!["subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_priority"],
        _ => Vec::new(),
    };
    names.extend([created_property(entity), modified_property(entity), "hs_object_id"]);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_has_three_names() {
        for name in ["0-1", "contact", "Contacts"] {
            assert_eq!(canonical(name), CONTACTS);
        }
        assert_eq!(canonical("2-77").as_str(), "2-77");
        assert_eq!((type_id("deals"), type_id("p_x")), (Some("0-3"), None));
    }

    #[test]
    fn times_are_kept_under_other_names() {
        let times = |name: &str| (modified_property(&Entity::new(name)), created_property(&Entity::new(name)));
        assert_eq!(times("0-1"), ("lastmodifieddate", "createdate"));
        assert_eq!(times("companies"), ("hs_lastmodifieddate", "createdate"));
        assert_eq!(times("notes"), ("hs_lastmodifieddate", "hs_createdate"));
    }
}
