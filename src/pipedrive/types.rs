//! Records as Pipedrive answers them, each version's in its own shape.
//!
//! Every member is optional: documents call few of them nullable, and most are null when unset. What a type does not name is
//! kept in `other`, so that nothing is lost when a record is written down again. Null and absent are the same here.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::pipedrive::resource::Kind;

/// A record with a type of its own.
pub trait Resource: Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident $(: $kind:ident)? { $($field:ident $(as $wire:literal)? : $type:ty = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct $name {
            $(
                #[doc = $text]
                #[serde(skip_serializing_if = "Option::is_none" $(, rename = $wire)?)]
                pub $field: Option<$type>,
            )*
            /// Members that this type does not name.
            #[serde(flatten)]
            pub other: Map<String, Value>,
        }
        $(impl Resource for $name { const KIND: Kind = Kind::$kind; })?
    };
}

wire! {
    /// An e-mail address, a phone number or the name in a messenger.
    ContactPoint {
        value: String = "The address or number, as typed.",
        primary: bool = "At most one of a list is.",
        label: String = "A free word: work, home, mobile, other.",
    }
}

wire! {
    /// An address. Only `value` is needed to write one; parts that are left out become null, on updates too.
    Address {
        value: String = "All of it in one text.",
        country: String = "Country.",
        admin_area_level_1: String = "State.",
        admin_area_level_2: String = "County.",
        locality: String = "City.",
        sublocality: String = "District.",
        route: String = "Street.",
        street_number: String = "House number.",
        subpremise: String = "Apartment.",
        postal_code: String = "Postal code.",
        formatted_address: String = "As Pipedrive would print it; read only.",
    }
}

wire! {
    /// A person (v2).
    Person: Person {
        id: i64 = "Id.",
        name: String = "Whole name; first and last name are made of it.",
        first_name: String = "First name.",
        last_name: String = "Last name.",
        owner_id: i64 = "User.",
        org_id: i64 = "Organization.",
        add_time: String = "RFC 3339; may be given on create.",
        update_time: String = "RFC 3339.",
        emails: Vec<ContactPoint> = "E-mail addresses.",
        phones: Vec<ContactPoint> = "Phone numbers.",
        is_deleted: bool = "Deleted, and kept for 30 days.",
        visible_to: i64 = "1, 3, 5 or 7.",
        label_ids: Vec<i64> = "Labels.",
        picture_id: i64 = "Picture.",
        postal_address: Address = "With Contact Sync only.",
        notes: String = "With Contact Sync only.",
        im: Vec<ContactPoint> = "With Contact Sync only.",
        birthday: String = "With Contact Sync only.",
        job_title: String = "With Contact Sync only.",
        marketing_status: String = "no_consent, unsubscribed, subscribed or archived (Campaigns).",
        custom_fields: Map<String, Value> = "By key.",
    }
}

wire! {
    /// A company (v2).
    Organization: Organization {
        id: i64 = "Id.",
        name: String = "Name; not unique.",
        owner_id: i64 = "User.",
        add_time: String = "RFC 3339; may be given on create.",
        update_time: String = "RFC 3339.",
        is_deleted: bool = "Deleted, and kept for 30 days.",
        visible_to: i64 = "1, 3, 5 or 7.",
        label_ids: Vec<i64> = "Labels.",
        address: Address = "Address.",
        website: String = "Where the feature is on.",
        linkedin: String = "Where the feature is on.",
        industry: i64 = "Id of an option; where the feature is on.",
        annual_revenue: Number = "Where the feature is on.",
        employee_count: Number = "Where the feature is on.",
        custom_fields: Map<String, Value> = "By key.",
    }
}

wire! {
    /// A deal (v2). Won and lost are its status; a deal that is won keeps its stage.
    Deal: Deal {
        id: i64 = "Id.",
        title: String = "Title.",
        owner_id: i64 = "User.",
        person_id: i64 = "Person.",
        org_id: i64 = "Organization.",
        pipeline_id: i64 = "Pipeline; follows the stage.",
        stage_id: i64 = "Stage.",
        value: Number = "Amount in `currency`.",
        currency: String = "Three capitals.",
        add_time: String = "RFC 3339.",
        update_time: String = "RFC 3339.",
        stage_change_time: String = "RFC 3339.",
        is_deleted: bool = "Deleted, and kept for 30 days.",
        is_archived: bool = "Archived; not editable then.",
        archive_time: String = "When it was archived.",
        status: String = "open, won, lost or deleted.",
        probability: Number = "Percent.",
        lost_reason: String = "With status lost only.",
        visible_to: i64 = "1, 3, 5 or 7.",
        close_time: String = "With status won or lost.",
        won_time: String = "With status won.",
        lost_time: String = "With status lost.",
        expected_close_date: String = "A day.",
        label_ids: Vec<i64> = "Labels.",
        origin: String = "How it was made; read only.",
        origin_id: String = "Read only.",
        channel: i64 = "Read only.",
        channel_id: String = "Free text.",
        source_lead_id: String = "The lead it was made of.",
        custom_fields: Map<String, Value> = "By key.",
    }
}

wire! {
    /// Somebody who takes part in an activity.
    Participant {
        person_id: i64 = "Person.",
        primary: bool = "The one `person_id` shows.",
    }
}

wire! {
    /// A call, meeting or task (v2).
    Activity: Activity {
        id: i64 = "Id.",
        subject: String = "Subject.",
        kind as "type": String = "Key of an activity type.",
        owner_id: i64 = "User.",
        creator_user_id: i64 = "User who made it.",
        is_deleted: bool = "Deleted, and kept for 30 days.",
        add_time: String = "RFC 3339.",
        update_time: String = "RFC 3339.",
        deal_id: i64 = "Deal.",
        lead_id: String = "Lead.",
        person_id: i64 = "The primary participant; read only.",
        org_id: i64 = "Organization.",
        project_id: i64 = "Project.",
        due_date: String = "A day.",
        due_time: String = "UTC: HH:MM, read as HH:MM or HH:MM:SS.",
        duration: String = "HH:MM, read as HH:MM or HH:MM:SS.",
        busy: bool = "Blocks the calendar.",
        done: bool = "Done.",
        marked_as_done_time: String = "RFC 3339.",
        location: Address = "Where.",
        participants: Vec<Participant> = "Who; the way to link a person.",
        attendees: Vec<Value> = "With `include_fields=attendees`.",
        public_description: String = "Goes to external calendars.",
        priority: i64 = "Id of an option.",
        note: String = "HTML.",
    }
}

wire! {
    /// A thing that is sold (v2).
    Product: Product {
        id: i64 = "Id.",
        name: String = "Name.",
        code: String = "Code.",
        description: String = "Description.",
        unit: String = "Unit.",
        tax: Number = "Percent.",
        category: Value = "Written as a number, read as a number or a label.",
        owner_id: i64 = "User.",
        is_linkable: bool = "May be put into deals.",
        is_deleted: bool = "Deleted, and kept for 30 days.",
        visible_to: Value = "1, 3, 5 or 7.",
        prices: Vec<Value> = "One for each currency; an update replaces all.",
        add_time: String = "RFC 3339.",
        update_time: String = "RFC 3339.",
        custom_fields: Map<String, Value> = "By key.",
    }
}

wire! {
    /// A way deals go (v2).
    Pipeline: Pipeline {
        id: i64 = "Id.",
        name: String = "Name.",
        order_nr: i64 = "Place; read only.",
        is_deleted: bool = "Deleted.",
        is_deal_probability_enabled: bool = "Deals have a probability.",
        add_time: String = "RFC 3339.",
        update_time: String = "RFC 3339.",
    }
}

wire! {
    /// A step of a pipeline (v2).
    Stage: Stage {
        id: i64 = "Id; another one in every account.",
        name: String = "Name.",
        pipeline_id: i64 = "The one pipeline it belongs to.",
        order_nr: i64 = "Place; read only.",
        deal_probability: Number = "Percent.",
        is_deal_rot_enabled: bool = "Deals grow stale.",
        days_to_rotten: i64 = "After so many days.",
        is_deleted: bool = "Deleted.",
        add_time: String = "RFC 3339.",
        update_time: String = "RFC 3339.",
    }
}

wire! {
    /// A note on one record (v1). Pins are written as 0 or 1 and read as booleans.
    Note: Note {
        id: i64 = "Id.",
        content: String = "HTML; the server cleans it.",
        lead_id: String = "Lead.",
        deal_id: i64 = "Deal.",
        person_id: i64 = "Person.",
        org_id: i64 = "Organization.",
        user_id: i64 = "Author.",
        add_time: String = "YYYY-MM-DD HH:MM:SS, UTC.",
        update_time: String = "YYYY-MM-DD HH:MM:SS, UTC.",
        active_flag: bool = "False once deleted.",
        pinned_to_deal_flag: bool = "On top of its deal.",
        pinned_to_lead_flag: bool = "On top of its lead.",
        pinned_to_organization_flag: bool = "On top of its organization.",
        pinned_to_person_flag: bool = "On top of its person.",
    }
}

wire! {
    /// An amount of a lead; both or none.
    LeadValue {
        amount: Number = "How much.",
        currency: String = "Three capitals.",
    }
}

wire! {
    /// A lead (v1). Its custom fields are those of deals and stand in `other`, by key.
    Lead: Lead {
        id: String = "A UUID.",
        title: String = "Title.",
        owner_id: i64 = "User.",
        creator_id: i64 = "User who made it.",
        label_ids: Vec<String> = "UUIDs.",
        person_id: i64 = "Person; it or the organization is needed.",
        organization_id: i64 = "Organization, by the long name.",
        source_name: String = "Source.",
        origin: String = "How it was made.",
        origin_id: String = "Its id there.",
        channel: i64 = "Channel.",
        channel_id: String = "Free text.",
        is_archived: bool = "The only way to say unqualified.",
        was_seen: bool = "Somebody has looked at it.",
        value: LeadValue = "Amount.",
        expected_close_date: String = "A day.",
        next_activity_id: i64 = "Activity.",
        add_time: String = "RFC 3339 with milliseconds.",
        update_time: String = "RFC 3339 with milliseconds.",
        visible_to: String = "1, 3, 5 or 7, as a text.",
    }
}

wire! {
    /// A label of leads (v1). Labels of persons, organizations and deals are options of a field of theirs.
    LeadLabel: LeadLabel {
        id: String = "A UUID.",
        name: String = "What people see.",
        color: String = "green, blue, red, yellow, purple or gray.",
        add_time: String = "RFC 3339 with milliseconds.",
        update_time: String = "RFC 3339 with milliseconds.",
    }
}

wire! {
    /// A user of the account (v1).
    User: User {
        id: i64 = "Id.",
        name: String = "Name.",
        email: String = "E-mail address.",
        default_currency: String = "Three capitals.",
        locale: String = "Language and country.",
        timezone_name: String = "Zone.",
        active_flag: bool = "False once switched off.",
        is_you: bool = "The token's user.",
        company_id: i64 = "The account's number; for the token's own user.",
        company_name: String = "The account's name; for the token's own user.",
        company_domain: String = "The account's host; for the token's own user.",
    }
}

wire! {
    /// A kind of activity (v1).
    ActivityType: ActivityType {
        id: i64 = "Id.",
        name: String = "What people see.",
        key_string: String = "What activities hold.",
        icon_key: String = "Icon.",
        color: String = "Colour.",
        order_nr: i64 = "Place.",
        active_flag: bool = "False once switched off.",
        is_custom_flag: bool = "Made by the account.",
    }
}
