//! The built-in fields of each kind: what they mean, and who may write them.
//!
//! v2 refuses a body with one unknown member, so a body is made of these names alone (OpenAPI documents, request bodies). Where
//! the prose of the documentation and the documents differ, the remark says so.

use crate::model::{FieldSchema, FieldType};
use crate::pipedrive::resource::Kind;

/// The meaning of a built-in field, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Address,
    Any,
    Bool,
    Date,
    /// An instant.
    At,
    Ids,
    Int,
    Number,
    Own,
    Points,
    Ref,
    Text,
    Time,
}

/// May be given on create.
pub(crate) const C: u8 = 1;
/// May be given on update.
pub(crate) const U: u8 = 2;
/// The list can be narrowed by it.
pub(crate) const F: u8 = 4;
/// The search looks into it.
pub(crate) const S: u8 = 8;
/// A create needs it.
pub(crate) const Q: u8 = 16;
const CU: u8 = C | U;

/// A built-in field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Builtin {
    pub(crate) name: &'static str,
    pub(crate) means: Means,
    flags: u8,
}

impl Builtin {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn schema(&self) -> FieldSchema {
        let kind = match self.means {
            Address => FieldType::Address,
            Any => FieldType::Any,
            Bool => FieldType::Boolean,
            Date => FieldType::Date,
            At => FieldType::DateTime { whole_seconds: true },
            Ids => FieldType::MultiPicklist,
            Int => FieldType::Integer,
            Number => FieldType::Decimal { scale: None },
            Own => FieldType::Id,
            Points => FieldType::ContactPoints,
            Ref => FieldType::Reference,
            Text => FieldType::Text,
            Time => FieldType::Time,
        };
        let mut field = FieldSchema::new(self.name, kind);
        field.creatable = self.has(C);
        field.updatable = self.has(U);
        field.required = self.has(Q);
        field.nullable = !self.has(Q) && self.means != Own;
        field.filterable = self.has(F) || self.has(S) || self.means == Own;
        field.references = match self.name {
            "owner_id" | "user_id" | "creator_user_id" | "creator_id" => vec![Kind::User.path().to_owned()],
            "org_id" | "organization_id" => vec![Kind::Organization.path().to_owned()],
            "person_id" => vec![Kind::Person.path().to_owned()],
            "deal_id" => vec![Kind::Deal.path().to_owned()],
            "lead_id" | "source_lead_id" => vec![Kind::Lead.path().to_owned()],
            "pipeline_id" => vec![Kind::Pipeline.path().to_owned()],
            "stage_id" => vec![Kind::Stage.path().to_owned()],
            _ => Vec::new(),
        };
        field
    }
}

const fn f(name: &'static str, means: Means, flags: u8) -> Builtin {
    Builtin { name, means, flags }
}

use Means::{Address, Any, At, Bool, Date, Ids, Int, Number, Own, Points, Ref, Text, Time};

const PERSON: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | S | Q),
    // Documented as a way to give the name; sent as `name`, which is all the OpenAPI document knows.
    f("first_name", Text, CU),
    f("last_name", Text, CU),
    f("owner_id", Ref, CU | F),
    f("org_id", Ref, CU | F),
    f("add_time", At, C),
    f("update_time", At, 0),
    f("emails", Points, CU | S),
    f("phones", Points, CU | S),
    f("is_deleted", Bool, 0),
    f("visible_to", Int, CU),
    f("label_ids", Ids, CU),
    f("picture_id", Int, 0),
    // The next five exist only if Contact Sync was ever set up.
    f("postal_address", Address, CU),
    f("notes", Text, CU),
    f("im", Points, CU),
    f("birthday", Date, CU),
    f("job_title", Text, CU),
    f("marketing_status", Text, CU),
];

const ORGANIZATION: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | S | Q),
    f("owner_id", Ref, CU | F),
    f("add_time", At, C),
    f("update_time", At, 0),
    f("is_deleted", Bool, 0),
    f("visible_to", Int, CU),
    f("label_ids", Ids, CU),
    f("address", Address, CU),
    // The rest exists only where the account has the feature.
    f("website", Text, CU),
    f("linkedin", Text, CU),
    f("industry", Int, CU),
    f("annual_revenue", Int, CU),
    f("employee_count", Int, CU),
];

const DEAL: &[Builtin] = &[
    f("id", Own, 0),
    f("title", Text, CU | S | Q),
    f("owner_id", Ref, CU | F),
    f("person_id", Ref, CU | F),
    f("org_id", Ref, CU | F),
    f("pipeline_id", Ref, CU | F),
    f("stage_id", Ref, CU | F),
    f("value", Number, CU),
    f("currency", Text, CU),
    f("add_time", At, 0),
    f("update_time", At, 0),
    f("stage_change_time", At, 0),
    // In the document's body; PATCH cannot delete, and there is DELETE.
    f("is_deleted", Bool, 0),
    f("is_archived", Bool, CU),
    f("archive_time", At, CU),
    f("status", Text, CU | F),
    f("probability", Number, CU),
    f("lost_reason", Text, CU),
    f("visible_to", Int, CU),
    f("close_time", At, CU),
    f("won_time", At, CU),
    f("lost_time", At, CU),
    f("expected_close_date", Date, CU),
    f("label_ids", Ids, CU),
    f("origin", Text, 0),
    f("origin_id", Text, 0),
    f("channel", Int, 0),
    // Missing in the document; confirmed by Pipedrive to work.
    f("channel_id", Text, CU),
    f("source_lead_id", Text, 0),
    f("arr", Number, 0),
    f("mrr", Number, 0),
    f("acv", Number, 0),
];

const ACTIVITY: &[Builtin] = &[
    f("id", Own, 0),
    f("subject", Text, CU),
    f("type", Text, CU),
    f("owner_id", Ref, CU | F),
    f("creator_user_id", Ref, 0),
    f("is_deleted", Bool, 0),
    f("add_time", At, 0),
    f("update_time", At, 0),
    f("deal_id", Ref, CU | F),
    f("lead_id", Text, CU | F),
    // Read-only although the document lists it: `participants` link a person. The list's filter sees the primary one.
    f("person_id", Ref, F),
    f("org_id", Ref, CU | F),
    f("project_id", Int, CU),
    f("due_date", Date, CU),
    f("due_time", Time, CU),
    f("duration", Time, CU),
    f("busy", Bool, CU),
    f("done", Bool, CU | F),
    f("marked_as_done_time", At, 0),
    f("location", Address, CU),
    f("participants", Any, CU),
    f("attendees", Any, CU),
    f("conference_meeting_client", Text, 0),
    f("conference_meeting_url", Text, 0),
    f("conference_meeting_id", Text, 0),
    f("public_description", Text, CU),
    f("priority", Int, CU),
    f("note", Text, CU),
];

const PRODUCT: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | S | Q),
    f("code", Text, CU | S),
    f("description", Text, CU),
    f("unit", Text, CU),
    f("tax", Number, CU),
    // Written as a number, answered as a number or a label.
    f("category", Any, CU),
    f("owner_id", Ref, CU | F),
    f("is_linkable", Bool, CU),
    f("is_deleted", Bool, 0),
    f("visible_to", Int, CU),
    f("prices", Any, CU),
    f("add_time", At, 0),
    f("update_time", At, 0),
    f("billing_frequency", Text, CU),
    f("billing_frequency_cycles", Int, CU),
];

const PIPELINE: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | Q),
    f("order_nr", Int, 0),
    f("is_deleted", Bool, 0),
    f("is_deal_probability_enabled", Bool, CU),
    f("add_time", At, 0),
    f("update_time", At, 0),
];

const STAGE: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | Q),
    f("pipeline_id", Ref, CU | Q | F),
    f("order_nr", Int, 0),
    f("deal_probability", Int, CU),
    f("is_deal_rot_enabled", Bool, CU),
    f("days_to_rotten", Int, CU),
    f("is_deleted", Bool, 0),
    f("add_time", At, 0),
    f("update_time", At, 0),
];

const NOTE: &[Builtin] = &[
    f("id", Own, 0),
    f("content", Text, CU | Q),
    f("lead_id", Text, CU | F),
    f("deal_id", Ref, CU | F),
    f("person_id", Ref, CU | F),
    f("org_id", Ref, CU | F),
    f("project_id", Int, CU),
    f("task_id", Int, CU),
    f("user_id", Ref, CU | F),
    f("add_time", At, CU),
    f("update_time", At, 0),
    f("active_flag", Bool, 0),
    f("last_update_user_id", Ref, 0),
    // Written as 0 or 1, answered as booleans; each needs its link.
    f("pinned_to_lead_flag", Bool, CU),
    f("pinned_to_deal_flag", Bool, CU),
    f("pinned_to_organization_flag", Bool, CU),
    f("pinned_to_person_flag", Bool, CU),
    f("pinned_to_project_flag", Bool, CU),
    f("pinned_to_task_flag", Bool, CU),
];

const LEAD: &[Builtin] = &[
    f("id", Own, 0),
    f("title", Text, CU | S | Q),
    f("owner_id", Ref, CU | F),
    f("creator_id", Ref, 0),
    // UUIDs here, numbers everywhere else.
    f("label_ids", Ids, CU),
    f("person_id", Ref, CU | F),
    // The long name, unlike everywhere else.
    f("organization_id", Ref, CU | F),
    f("value", Any, CU),
    f("expected_close_date", Date, CU),
    f("visible_to", Text, CU),
    f("was_seen", Bool, CU),
    f("origin", Text, 0),
    f("origin_id", Text, C),
    f("source_name", Text, 0),
    f("channel", Int, CU),
    f("channel_id", Text, CU),
    f("is_archived", Bool, U),
    f("next_activity_id", Int, 0),
    f("cc_email", Text, 0),
    f("add_time", At, 0),
    f("update_time", At, 0),
];

const LEAD_LABEL: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | Q),
    // green, blue, red, yellow, purple or gray.
    f("color", Text, CU | Q),
    f("add_time", At, 0),
    f("update_time", At, 0),
];

const ACTIVITY_TYPE: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, CU | Q),
    f("key_string", Text, 0),
    f("icon_key", Text, CU | Q),
    f("color", Text, CU),
    f("order_nr", Int, U),
    f("active_flag", Bool, 0),
    f("is_custom_flag", Bool, 0),
    f("add_time", At, 0),
    f("update_time", At, 0),
];

const USER: &[Builtin] = &[
    f("id", Own, 0),
    f("name", Text, 0),
    f("email", Text, 0),
    f("active_flag", Bool, 0),
    f("is_deleted", Bool, 0),
    f("is_you", Bool, 0),
    f("locale", Text, 0),
    f("default_currency", Text, 0),
    f("timezone_name", Text, 0),
    f("role_id", Int, 0),
    f("created", At, 0),
    f("modified", At, 0),
];

const WEBHOOK: &[Builtin] = &[
    f("id", Own, 0),
    f("subscription_url", Text, C | Q),
    f("event_action", Text, C | Q),
    f("event_object", Text, C | Q),
    f("name", Text, C | Q),
    f("user_id", Ref, C),
    f("version", Text, C),
    f("http_auth_user", Text, C),
    f("http_auth_password", Text, C),
    f("is_active", Any, 0),
];

/// The built-in fields of a kind.
pub(crate) fn builtins(kind: Kind) -> &'static [Builtin] {
    match kind {
        Kind::Activity => ACTIVITY,
        Kind::ActivityType => ACTIVITY_TYPE,
        Kind::Deal => DEAL,
        Kind::Lead => LEAD,
        Kind::LeadLabel => LEAD_LABEL,
        Kind::Note => NOTE,
        Kind::Organization => ORGANIZATION,
        Kind::Person => PERSON,
        Kind::Pipeline => PIPELINE,
        Kind::Product => PRODUCT,
        Kind::Stage => STAGE,
        Kind::User => USER,
        Kind::Webhook => WEBHOOK,
    }
}

/// The built-in field of this name.
pub(crate) fn builtin(kind: Kind, name: &str) -> Option<&'static Builtin> {
    builtins(kind).iter().find(|field| field.name == name)
}

/// Members that API v1 had and v2 refuses, with what took their place ("API v2 migration guide").
pub(crate) fn renamed(kind: Kind, name: &str) -> Option<&'static str> {
    Some(match (kind, name) {
        (Kind::Person, "email") => "emails, a list of {value, primary, label}",
        (Kind::Person, "phone") => "phones, a list of {value, primary, label}",
        (Kind::Lead, "org_id") => "organization_id",
        (Kind::Activity, "person_id") => "participants, a list of {person_id, primary}: person_id is read-only",
        (Kind::Activity, "busy_flag") => "busy",
        (Kind::Product, "selectable") => "is_linkable",
        (Kind::Stage, "rotten_flag") => "is_deal_rot_enabled",
        (Kind::Stage, "rotten_days") => "days_to_rotten",
        (Kind::Pipeline, "deal_probability") => "is_deal_probability_enabled",
        (Kind::Lead | Kind::Note, _) => return None,
        (_, "user_id") => "owner_id",
        (_, "label") => "label_ids, a list of numbers",
        (_, "active_flag" | "deleted" | "active") => "is_deleted, which is read-only: use a delete",
        _ => return None,
    })
}
