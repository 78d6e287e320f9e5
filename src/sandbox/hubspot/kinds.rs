//! The object types and properties every account has.

use serde_json::{Map, Value, json};

/// An object type of every account.
pub(crate) struct Standard {
    pub(crate) id: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) labels: [&'static str; 2],
    /// What reads and writes return when nothing is asked for.
    pub(crate) defaults: &'static [&'static str],
    /// What `query` of a search looks at.
    pub(crate) searched: &'static [&'static str],
    /// One of each group must be set at creation.
    pub(crate) required: &'static [&'static [&'static str]],
    /// `name|label|type|fieldType|flags|options`: r read-only, c calculated, u unique, o an owner.
    properties: &'static str,
}

/// The names of creation and modification dates (Properties guide): contacts, activities and custom objects have their own.
pub(crate) fn dates(id: &str) -> (&'static str, &'static str) {
    match id {
        "0-1" => ("createdate", "lastmodifieddate"),
        "0-2" | "0-3" | "0-5" | "0-7" | "0-8" => ("createdate", "hs_lastmodifieddate"),
        _ => ("hs_createdate", "hs_lastmodifieddate"),
    }
}

/// Notes, calls and the like.
pub(crate) fn is_activity(id: &str) -> bool {
    matches!(id, "0-18" | "0-27" | "0-46" | "0-47" | "0-48" | "0-49")
}

pub(crate) const STANDARD: &[Standard] = &[
    Standard {
        id: "0-1",
        plural: "contacts",
        singular: "contact",
        labels: ["Contact", "Contacts"],
        defaults: &["email", "firstname", "lastname"],
        searched: &["firstname", "lastname", "email", "phone", "hs_additional_emails", "fax", "mobilephone", "company"],
        required: &[],
        properties: "email|Email|string|text|u
firstname|First Name|string|text
lastname|Last Name|string|text
phone|Phone Number|string|phonenumber
mobilephone|Mobile Phone Number|string|phonenumber
fax|Fax Number|string|text
company|Company Name|string|text
website|Website URL|string|text
jobtitle|Job Title|string|text
salutation|Salutation|string|text
address|Street Address|string|text
city|City|string|text
state|State/Region|string|text
zip|Postal Code|string|text
country|Country/Region|string|text
industry|Industry|string|text
annualrevenue|Annual Revenue|string|text
numemployees|Number of Employees|enumeration|select||1-5,5-25,25-50,50-100,100-500,500-1000,1000+
message|Message|string|textarea
date_of_birth|Date of birth|string|text
hs_language|Preferred language|enumeration|select||en,de,fr,es,it,nl,pt,ja
lifecyclestage|Lifecycle Stage|enumeration|radio||subscriber,lead,marketingqualifiedlead,salesqualifiedlead,opportunity,customer,evangelist,other
hs_lead_status|Lead Status|enumeration|radio||NEW,OPEN,IN_PROGRESS,OPEN_DEAL,UNQUALIFIED,ATTEMPTED_TO_CONTACT,CONNECTED,BAD_TIMING
hs_buying_role|Buying Role|enumeration|checkbox||BLOCKER,BUDGET_HOLDER,CHAMPION,DECISION_MAKER,END_USER,EXECUTIVE_SPONSOR,INFLUENCER,LEGAL_AND_COMPLIANCE,OTHER
hs_marketable_status|Marketing contact status|enumeration|select|r|true,false
hs_email_optout|Unsubscribed from all email|bool|booleancheckbox|r|true,false
hs_email_domain|Email Domain|string|text|rc
hs_additional_emails|Additional email addresses|enumeration|checkbox|r
hs_searchable_calculated_phone_number|Calculated Phone Number|string|text|rc
hs_searchable_calculated_mobile_number|Calculated Mobile Number|string|text|rc
hs_analytics_source|Original Source|enumeration|select|r|ORGANIC_SEARCH,PAID_SEARCH,EMAIL_MARKETING,SOCIAL_MEDIA,REFERRALS,OTHER_CAMPAIGNS,DIRECT_TRAFFIC,OFFLINE,PAID_SOCIAL
num_unique_conversion_events|Number of Unique Forms Submitted|number|number|r
num_conversion_events|Number of Form Submissions|number|number|r
notes_last_updated|Last Activity Date|datetime|date|r
associatedcompanyid|Primary Associated Company ID|number|number",
    },
    Standard {
        id: "0-2",
        plural: "companies",
        singular: "company",
        labels: ["Company", "Companies"],
        defaults: &["name", "domain"],
        searched: &["website", "phone", "name", "domain"],
        required: &[&["name", "domain"]],
        properties: "name|Company name|string|text
domain|Company Domain Name|string|text
website|Website URL|string|text
phone|Phone Number|string|phonenumber
address|Street Address|string|text
address2|Street Address 2|string|text
city|City|string|text
state|State/Region|string|text
zip|Postal Code|string|text
country|Country/Region|string|text
description|Description|string|textarea
about_us|About Us|string|textarea
industry|Industry|enumeration|select||ACCOUNTING,AUTOMOTIVE,BANKING,COMPUTER_SOFTWARE,CONSTRUCTION,CONSUMER_GOODS,FINANCIAL_SERVICES,FOOD_BEVERAGES,HOSPITAL_HEALTH_CARE,INFORMATION_TECHNOLOGY_AND_SERVICES,INTERNET,MANAGEMENT_CONSULTING,MARKETING_AND_ADVERTISING,REAL_ESTATE,RETAIL,TELECOMMUNICATIONS
type|Type|enumeration|radio||PROSPECT,PARTNER,RESELLER,VENDOR,OTHER
annualrevenue|Annual Revenue|number|number
numberofemployees|Number of Employees|number|number
founded_year|Year Founded|string|text
lifecyclestage|Lifecycle Stage|enumeration|radio||subscriber,lead,marketingqualifiedlead,salesqualifiedlead,opportunity,customer,evangelist,other
hs_lead_status|Lead Status|enumeration|radio||NEW,OPEN,IN_PROGRESS,OPEN_DEAL,UNQUALIFIED,ATTEMPTED_TO_CONTACT,CONNECTED,BAD_TIMING
linkedin_company_page|LinkedIn Company Page|string|text
hs_searchable_calculated_phone_number|Calculated Phone Number|string|text|rc
num_associated_contacts|Number of Associated Contacts|number|number|rc
hs_parent_company_id|Parent Company|number|number|r",
    },
    Standard {
        id: "0-3",
        plural: "deals",
        singular: "deal",
        labels: ["Deal", "Deals"],
        defaults: &["dealname", "amount", "closedate", "pipeline", "dealstage"],
        searched: &["dealname", "pipeline", "dealstage", "description", "dealtype"],
        required: &[&["dealname"], &["dealstage"]],
        properties: "dealname|Deal Name|string|text
amount|Amount|number|number
closedate|Close Date|datetime|date
pipeline|Pipeline|enumeration|select|p
dealstage|Deal Stage|enumeration|radio|p
dealtype|Deal Type|enumeration|radio||newbusiness,existingbusiness
description|Deal Description|string|textarea
hs_priority|Priority|enumeration|select||low,medium,high
hs_next_step|Next step|string|text
deal_currency_code|Currency|enumeration|select||USD,EUR,GBP,CHF,JPY
closed_lost_reason|Closed Lost Reason|string|textarea
closed_won_reason|Closed Won Reason|string|textarea
hs_is_closed|Is Deal Closed?|bool|booleancheckbox|rc|true,false
hs_is_closed_won|Is Closed Won|bool|booleancheckbox|rc|true,false
hs_deal_stage_probability|Deal probability|number|number|rc
num_associated_contacts|Number of Associated Contacts|number|number|rc",
    },
    Standard {
        id: "0-5",
        plural: "tickets",
        singular: "ticket",
        labels: ["Ticket", "Tickets"],
        defaults: &["subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_priority"],
        searched: &["subject", "content", "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_id"],
        required: &[&["subject"], &["hs_pipeline_stage"]],
        properties: "subject|Ticket name|string|text
content|Ticket description|string|textarea
hs_pipeline|Pipeline|enumeration|select|p
hs_pipeline_stage|Ticket status|enumeration|select|p
hs_ticket_priority|Priority|enumeration|select||LOW,MEDIUM,HIGH,URGENT
hs_ticket_category|Category|enumeration|checkbox||PRODUCT_ISSUE,BILLING_ISSUE,FEATURE_REQUEST,GENERAL_INQUIRY
source_type|Source|enumeration|select||CHAT,EMAIL,FORM,PHONE
hs_resolution|Resolution|enumeration|checkbox||ISSUE_FIXED,NO_RESPONSE,WONT_FIX
closed_date|Close date|datetime|date
hs_ticket_id|Ticket ID|number|number|r",
    },
    Standard {
        id: "0-7",
        plural: "products",
        singular: "product",
        labels: ["Product", "Products"],
        defaults: &["name", "price", "description"],
        searched: &["name", "description", "price", "hs_sku"],
        required: &[&["name"]],
        properties: "name|Name|string|text
description|Product description|string|textarea
price|Unit price|number|number
hs_sku|SKU|string|text
hs_cost_of_goods_sold|Unit cost|number|number",
    },
    Standard {
        id: "0-8",
        plural: "line_items",
        singular: "line_item",
        labels: ["Line item", "Line items"],
        defaults: &["name", "price", "quantity", "amount"],
        searched: &["name"],
        required: &[],
        properties: "name|Name|string|text
price|Unit price|number|number
quantity|Quantity|number|number
amount|Net price|number|number
hs_product_id|Product ID|number|number",
    },
    Standard {
        id: "0-136",
        plural: "leads",
        singular: "lead",
        labels: ["Lead", "Leads"],
        defaults: &["hs_lead_name"],
        searched: &["hs_lead_name"],
        required: &[&["hs_lead_name"]],
        properties: "hs_lead_name|Lead Name|string|text
hs_lead_type|Lead Type|enumeration|select||NEW_BUSINESS,UPSELL,RE_ATTEMPTING
hs_lead_label|Lead Label|enumeration|select||HOT,WARM,COLD",
    },
    Standard {
        id: "0-46",
        plural: "notes",
        singular: "note",
        labels: ["Note", "Notes"],
        defaults: &[],
        searched: &["hs_note_body"],
        required: &[&["hs_timestamp"]],
        properties: "hs_note_body|Note body|string|html",
    },
    Standard {
        id: "0-27",
        plural: "tasks",
        singular: "task",
        labels: ["Task", "Tasks"],
        defaults: &[],
        searched: &["hs_task_subject", "hs_task_body"],
        required: &[&["hs_timestamp"]],
        properties: "hs_task_subject|Task title|string|text
hs_task_body|Task notes|string|html
hs_task_status|Task status|enumeration|select||NOT_STARTED,IN_PROGRESS,WAITING,DEFERRED,COMPLETED
hs_task_priority|Task priority|enumeration|select||NONE,LOW,MEDIUM,HIGH
hs_task_type|Task type|enumeration|select||EMAIL,CALL,TODO
hs_task_reminders|Task reminders|enumeration|text",
    },
    Standard {
        id: "0-48",
        plural: "calls",
        singular: "call",
        labels: ["Call", "Calls"],
        defaults: &[],
        searched: &["hs_call_title", "hs_call_body"],
        required: &[&["hs_timestamp"]],
        properties: "hs_call_title|Call title|string|text
hs_call_body|Call notes|string|html
hs_call_direction|Call direction|enumeration|select||INBOUND,OUTBOUND
hs_call_disposition|Call outcome|enumeration|select||9d9162e7-6cf3-4944-bf63-4dff82258764,f240bbac-87c9-4f6e-bf70-924b57d47db7,a4c4c377-d246-4b32-a13b-75a56a4cd0ff,b2cf5968-551e-4856-9783-52b3da59a7d0,73a0d17f-1163-4015-bdd5-ec830791da20,17b47fee-58de-441e-a44c-c6300d46f273
hs_call_duration|Call duration|number|number
hs_call_from_number|From number|string|text
hs_call_to_number|To number|string|text
hs_call_recording_url|Recording URL|string|text
hs_call_status|Call status|enumeration|select||BUSY,CALLING_CRM_USER,CANCELED,COMPLETED,CONNECTING,FAILED,IN_PROGRESS,NO_ANSWER,QUEUED,RINGING
hs_activity_type|Call and meeting type|string|text",
    },
    Standard {
        id: "0-49",
        plural: "emails",
        singular: "email",
        labels: ["Email", "Emails"],
        defaults: &[],
        searched: &["hs_email_subject"],
        required: &[&["hs_timestamp"], &["hs_email_direction"]],
        properties: "hs_email_direction|Email Direction|enumeration|select||EMAIL,INCOMING_EMAIL,FORWARDED_EMAIL
hs_email_status|Email send status|enumeration|select||BOUNCED,FAILED,SCHEDULED,SENDING,SENT
hs_email_subject|Email subject|string|text
hs_email_text|Text body|string|textarea
hs_email_html|Email body|string|html
hs_email_headers|Email headers|string|textarea
hs_email_from_email|Email from address|string|text|r
hs_email_from_firstname|Email from first name|string|text|r
hs_email_from_lastname|Email from last name|string|text|r
hs_email_to_email|Email to address|string|text|r
hs_email_cc_email|Email CC address|string|text|r
hs_email_bcc_email|Email BCC address|string|text|r",
    },
    Standard {
        id: "0-47",
        plural: "meetings",
        singular: "meeting",
        labels: ["Meeting", "Meetings"],
        defaults: &[],
        searched: &["hs_meeting_title", "hs_meeting_body"],
        required: &[&["hs_timestamp"]],
        properties: "hs_meeting_title|Meeting name|string|text
hs_meeting_body|Meeting description|string|html
hs_internal_meeting_notes|Internal meeting notes|string|html
hs_meeting_location|Location|string|text
hs_meeting_external_url|External URL|string|text
hs_meeting_start_time|Start time|datetime|date
hs_meeting_end_time|End time|datetime|date
hs_meeting_outcome|Meeting outcome|enumeration|select||SCHEDULED,COMPLETED,RESCHEDULED,NO_SHOW,CANCELED
hs_activity_type|Call and meeting type|string|text",
    },
    Standard {
        id: "0-18",
        plural: "communications",
        singular: "communication",
        labels: ["Communication", "Communications"],
        defaults: &[],
        searched: &["hs_communication_body"],
        required: &[&["hs_timestamp"], &["hs_communication_channel_type"], &["hs_communication_logged_from"]],
        properties: "hs_communication_channel_type|Channel Type|enumeration|select||SMS,WHATS_APP,LINKEDIN_MESSAGE
hs_communication_logged_from|Logged From|enumeration|select||CRM
hs_communication_body|Communication Body|string|html",
    },
];

/// An owner's record of every object, and what HubSpot itself fills in.
const COMMON: &str = "hs_object_id|Record ID|number|number|r
hs_object_source|Record creation source|string|text|r
hs_object_source_id|Record creation source ID|string|text|r
hs_object_source_label|Record source|enumeration|select|r
hs_object_source_detail_1|Record source detail 1|string|text|r
hs_merged_object_ids|Merged record IDs|enumeration|checkbox|r
hs_created_by_user_id|Created by user ID|number|number|r
hs_pinned_engagement_id|Pinned Engagement ID|number|number
hubspot_owner_id|Owner|enumeration|select|o
hubspot_owner_assigneddate|Owner assigned date|datetime|date|r";

const ACTIVITY: &str = "hs_timestamp|Activity date|datetime|date
hs_attachment_ids|Attached file IDs|enumeration|checkbox|f
hs_body_preview|Body preview|string|text|r
hs_body_preview_html|HTML body preview|string|html|r";

/// A property as the API shows it.
fn property(line: &str, group: &str, order: usize) -> Option<(String, Map<String, Value>)> {
    let mut parts = line.split('|');
    let (name, label, kind, field) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = parts.next().unwrap_or_default();
    let options: Vec<Value> = parts
        .next()
        .unwrap_or_default()
        .split(',')
        .filter(|value| !value.is_empty())
        .enumerate()
        .map(|(at, value)| json!({"label": value, "value": value, "displayOrder": at, "hidden": false}))
        .collect();
    let read_only = flags.contains('r');
    let external = flags.contains(['o', 'p', 'f']);
    let value = json!({"name": name, "label": label, "type": kind, "fieldType": field, "description": "", "groupName": group,
        "options": options, "displayOrder": order, "calculated": flags.contains('c'), "externalOptions": external,
        "hasUniqueValue": flags.contains('u'), "hidden": false, "hubspotDefined": true, "archived": false, "formField": !read_only,
        "modificationMetadata": {"archivable": false, "readOnlyDefinition": true, "readOnlyOptions": true, "readOnlyValue": read_only}});
    let Value::Object(mut map) = value else { return None };
    if flags.contains('o') {
        map.insert("referencedObjectType".to_owned(), json!("OWNER"));
    }
    Some((name.to_owned(), map))
}

/// The group that properties without one belong to.
pub(crate) fn group(singular: &str) -> String {
    format!("{singular}information")
}

/// What an object type of this id has from the beginning; a custom one has only the common properties.
pub(crate) fn properties(id: &str, singular: &str) -> Vec<(String, Map<String, Value>)> {
    let own = STANDARD.iter().find(|one| one.id == id).map_or("", |one| one.properties);
    let activity = if is_activity(id) { ACTIVITY } else { "" };
    let (created, modified) = dates(id);
    // Deals, companies and tickets may be dated back.
    let flag = if matches!(id, "0-2" | "0-3" | "0-5") { "" } else { "r" };
    let dates = format!("{created}|Create Date|datetime|date|{flag}\n{modified}|Last Modified Date|datetime|date|r");
    let group = group(singular);
    let lines = own.lines().chain(activity.lines()).chain(COMMON.lines()).chain(dates.lines());
    lines.filter(|line| !line.is_empty()).enumerate().filter_map(|(at, line)| property(line, &group, at)).collect()
}

/// From, to, type id, type id of the other direction, name, label.
type Association = (&'static str, &'static str, u64, u64, &'static str, Option<&'static str>);

/// The types HubSpot defines (Associations guide, association type ids).
pub(crate) const ASSOCIATIONS: &[Association] = &[
    ("0-1", "0-2", 279, 280, "contact_to_company_unlabeled", None),
    ("0-1", "0-2", 1, 2, "contact_to_company", Some("Primary")),
    ("0-3", "0-2", 341, 342, "deal_to_company_unlabeled", None),
    ("0-3", "0-2", 5, 6, "deal_to_company", Some("Primary")),
    ("0-3", "0-1", 3, 4, "deal_to_contact", None),
    ("0-1", "0-5", 15, 16, "contact_to_ticket", None),
    ("0-5", "0-2", 339, 340, "ticket_to_company_unlabeled", None),
    ("0-5", "0-2", 26, 25, "ticket_to_company", Some("Primary")),
    ("0-3", "0-5", 27, 28, "deal_to_ticket", None),
    ("0-3", "0-8", 19, 20, "deal_to_line_item", None),
    ("0-2", "0-2", 450, 450, "company_to_company", None),
    ("0-2", "0-2", 13, 14, "parent_to_child_company", Some("Child Company")),
    ("0-1", "0-1", 449, 449, "contact_to_contact", None),
    ("0-3", "0-3", 451, 451, "deal_to_deal", None),
    ("0-5", "0-5", 452, 452, "ticket_to_ticket", None),
    ("0-2", "0-1", 930, 931, "company_to_billing_contact", Some("Billing contact")),
    ("0-136", "0-1", 578, 579, "lead_to_contact", None),
    ("0-46", "0-1", 202, 201, "note_to_contact", None),
    ("0-46", "0-2", 190, 189, "note_to_company", None),
    ("0-46", "0-3", 214, 213, "note_to_deal", None),
    ("0-46", "0-5", 228, 227, "note_to_ticket", None),
    ("0-27", "0-1", 204, 203, "task_to_contact", None),
    ("0-27", "0-2", 192, 191, "task_to_company", None),
    ("0-27", "0-3", 216, 215, "task_to_deal", None),
    ("0-27", "0-5", 230, 229, "task_to_ticket", None),
    ("0-48", "0-1", 194, 193, "call_to_contact", None),
    ("0-48", "0-2", 182, 181, "call_to_company", None),
    ("0-48", "0-3", 206, 205, "call_to_deal", None),
    ("0-48", "0-5", 220, 219, "call_to_ticket", None),
    ("0-49", "0-1", 198, 197, "email_to_contact", None),
    ("0-49", "0-2", 186, 185, "email_to_company", None),
    ("0-49", "0-3", 210, 209, "email_to_deal", None),
    ("0-49", "0-5", 224, 223, "email_to_ticket", None),
    ("0-47", "0-1", 200, 199, "meeting_to_contact", None),
    ("0-47", "0-2", 188, 187, "meeting_to_company", None),
    ("0-47", "0-3", 212, 211, "meeting_to_deal", None),
    ("0-47", "0-5", 226, 225, "meeting_to_ticket", None),
    ("0-18", "0-1", 81, 82, "communication_to_contact", None),
    ("0-18", "0-2", 87, 88, "communication_to_company", None),
    ("0-18", "0-3", 85, 86, "communication_to_deal", None),
    ("0-18", "0-5", 83, 84, "communication_to_ticket", None),
];

/// The types of custom objects' associations with activities are made with the object.
pub(crate) const ACTIVITIES: [&str; 5] = ["0-46", "0-27", "0-48", "0-49", "0-47"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_properties() {
        for one in STANDARD {
            let list = properties(one.id, one.singular);
            let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
            let (created, modified) = dates(one.id);
            for name in one.defaults.iter().chain(one.searched).chain(one.required.iter().copied().flatten()) {
                assert!(names.contains(name), "{} lacks {name}", one.plural);
            }
            assert!(names.contains(&created) && names.contains(&modified) && names.contains(&"hs_object_id"));
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), names.len(), "{} names a property twice", one.plural);
        }
    }

    #[test]
    fn association_ids_are_used_once_a_direction() {
        let mut seen = std::collections::BTreeSet::new();
        for (from, to, id, inverse, ..) in ASSOCIATIONS {
            assert!(seen.insert(*id), "{from} {to} {id}");
            assert!(id == inverse || seen.insert(*inverse), "{from} {to} {inverse}");
        }
    }
}
