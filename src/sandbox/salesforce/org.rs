//! The org a sandbox starts with: a Developer Edition with the marketing fields of the guide.

use serde_json::{Value, json};

use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef, Schema};

const SOURCES: [&str; 6] = ["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other", "Advertisement"];
const INDUSTRIES: [&str; 8] = ["Agriculture", "Banking", "Consulting", "Education", "Energy", "Manufacturing", "Technology", "Other"];
const RATINGS: [&str; 3] = ["Hot", "Warm", "Cold"];

fn text(name: &str, length: usize) -> FieldDef {
    FieldDef::text(name, length)
}

fn of(name: &str, kind: FieldKind) -> FieldDef {
    let length = match kind {
        FieldKind::Email => 80,
        FieldKind::Phone => 40,
        FieldKind::Url => 255,
        FieldKind::TextArea => 255,
        FieldKind::LongText => 32_000,
        _ => 0,
    };
    FieldDef::new(name, kind, length)
}

fn list(name: &str, values: &[&'static str]) -> FieldDef {
    FieldDef::picklist(name, values.iter().copied())
}

fn owner(targets: &[&'static str]) -> FieldDef {
    FieldDef::lookup("OwnerId", targets.iter().copied(), "Owner").required().defaulted()
}

/// The parts of an address and, last, the compound.
fn address(prefix: &str) -> Vec<FieldDef> {
    let compound = format!("{prefix}Address");
    let mut fields: Vec<FieldDef> = [("Street", 255), ("City", 40), ("State", 80), ("PostalCode", 20), ("Country", 80)]
        .into_iter()
        .map(|(part, length)| {
            let kind = if part == "Street" { FieldKind::TextArea } else { FieldKind::Text };
            FieldDef::new(format!("{prefix}{part}"), kind, length).part_of(&compound)
        })
        .collect();
    fields.push(FieldDef::new(compound, FieldKind::Address, 0).read_only());
    fields
}

/// The fields the guide adds to Lead and Contact.
fn marketing() -> Vec<FieldDef> {
    vec![
        text("UTM_Source__c", 255),
        text("UTM_Medium__c", 255),
        text("UTM_Campaign__c", 255),
        FieldDef::number("Marketing_Score__c", 18, 2),
        of("Last_Engagement_Date__c", FieldKind::DateTime),
        text("Last_Engagement_Type__c", 255),
        of("First_Touch_Date__c", FieldKind::DateTime),
        text("First_Touch_Channel__c", 255),
        FieldDef::new("Conversion_Path__c", FieldKind::LongText, 131_072),
        FieldDef::new("Marketing_Activity_History__c", FieldKind::LongText, 131_072),
        external(),
    ]
}

fn external() -> FieldDef {
    text("External_Id__c", 255).external_id().unique().label("External Id")
}

fn person_name() -> Vec<FieldDef> {
    vec![
        text("LastName", 80).required().part_of("Name"),
        text("FirstName", 40).part_of("Name"),
        list("Salutation", &["Mr.", "Ms.", "Mrs.", "Dr.", "Prof."]).part_of("Name"),
        text("Name", 121).read_only().required().defaulted().name_field().label("Full Name"),
    ]
}

fn lead() -> ObjectDef {
    let mut fields = vec![FieldDef::lookup("MasterRecordId", ["Lead"], "MasterRecord").read_only()];
    fields.extend(person_name());
    fields.extend([FieldDef::lookup("RecordTypeId", ["RecordType"], "RecordType"), text("Title", 128), text("Company", 255).required()]);
    fields.extend(address(""));
    fields.extend([
        of("Phone", FieldKind::Phone),
        of("MobilePhone", FieldKind::Phone),
        of("Fax", FieldKind::Phone),
        of("Email", FieldKind::Email).id_lookup(),
        of("Website", FieldKind::Url),
        of("Description", FieldKind::LongText),
        list("LeadSource", &SOURCES),
        list("Status", &["Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"])
            .required()
            .default_value("Open - Not Contacted"),
        list("Industry", &INDUSTRIES),
        list("Rating", &RATINGS),
        of("AnnualRevenue", FieldKind::Currency),
        of("NumberOfEmployees", FieldKind::Int).label("Employees"),
        owner(&["User", "Group"]).children("Leads"),
        of("HasOptedOutOfEmail", FieldKind::Boolean).label("Email Opt Out"),
        of("HasOptedOutOfFax", FieldKind::Boolean).label("Fax Opt Out"),
        of("DoNotCall", FieldKind::Boolean),
        of("IsConverted", FieldKind::Boolean).label("Converted").read_only(),
        of("ConvertedDate", FieldKind::Date).read_only(),
        FieldDef::lookup("ConvertedAccountId", ["Account"], "ConvertedAccount").read_only(),
        FieldDef::lookup("ConvertedContactId", ["Contact"], "ConvertedContact").read_only(),
        FieldDef::lookup("ConvertedOpportunityId", ["Opportunity"], "ConvertedOpportunity").read_only(),
        of("IsUnreadByOwner", FieldKind::Boolean).default_value(true),
        of("LastActivityDate", FieldKind::Date).read_only(),
        text("EmailBouncedReason", 255).read_only(),
        of("EmailBouncedDate", FieldKind::DateTime).read_only(),
    ]);
    fields.extend(marketing());
    ObjectDef::new("Lead", "00Q", fields)
}

fn contact() -> ObjectDef {
    let mut fields = vec![
        FieldDef::lookup("MasterRecordId", ["Contact"], "MasterRecord").read_only(),
        FieldDef::lookup("AccountId", ["Account"], "Account").children("Contacts"),
    ];
    fields.extend(person_name());
    fields.push(FieldDef::lookup("RecordTypeId", ["RecordType"], "RecordType"));
    fields.extend(address("Other"));
    fields.extend(address("Mailing"));
    fields.extend([
        of("Phone", FieldKind::Phone),
        of("Fax", FieldKind::Phone),
        of("MobilePhone", FieldKind::Phone),
        of("HomePhone", FieldKind::Phone),
        FieldDef::lookup("ReportsToId", ["Contact"], "ReportsTo"),
        of("Email", FieldKind::Email).id_lookup(),
        text("Title", 128),
        text("Department", 80),
        list("LeadSource", &SOURCES),
        of("Birthdate", FieldKind::Date),
        of("Description", FieldKind::LongText),
        owner(&["User"]),
        of("HasOptedOutOfEmail", FieldKind::Boolean).label("Email Opt Out"),
        of("DoNotCall", FieldKind::Boolean),
        of("LastActivityDate", FieldKind::Date).read_only(),
        text("EmailBouncedReason", 255).read_only(),
        of("EmailBouncedDate", FieldKind::DateTime).read_only(),
        of("IsEmailBounced", FieldKind::Boolean).read_only(),
    ]);
    fields.extend(marketing());
    ObjectDef::new("Contact", "003", fields)
}

fn account() -> ObjectDef {
    let mut fields = vec![
        FieldDef::lookup("MasterRecordId", ["Account"], "MasterRecord").read_only(),
        text("Name", 255).required().name_field().label("Account Name"),
        list("Type", &["Prospect", "Customer - Direct", "Customer - Channel", "Partner", "Other"]),
        FieldDef::lookup("RecordTypeId", ["RecordType"], "RecordType"),
        FieldDef::lookup("ParentId", ["Account"], "Parent").children("ChildAccounts"),
    ];
    fields.extend(address("Billing"));
    fields.extend(address("Shipping"));
    fields.extend([
        of("Phone", FieldKind::Phone),
        of("Fax", FieldKind::Phone),
        text("AccountNumber", 40),
        of("Website", FieldKind::Url),
        list("Industry", &INDUSTRIES),
        of("AnnualRevenue", FieldKind::Currency),
        of("NumberOfEmployees", FieldKind::Int).label("Employees"),
        list("Rating", &RATINGS),
        of("Description", FieldKind::LongText),
        owner(&["User"]),
        list("AccountSource", &SOURCES),
        external(),
    ]);
    ObjectDef::new("Account", "001", fields)
}

fn opportunity() -> ObjectDef {
    ObjectDef::new(
        "Opportunity",
        "006",
        vec![
            FieldDef::lookup("AccountId", ["Account"], "Account").children("Opportunities"),
            FieldDef::lookup("RecordTypeId", ["RecordType"], "RecordType"),
            text("Name", 120).required().name_field(),
            of("Description", FieldKind::LongText),
            list("StageName", &["Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review", "Closed Won", "Closed Lost"])
                .required()
                .label("Stage"),
            of("Amount", FieldKind::Currency),
            FieldDef { precision: 3, scale: 0, ..of("Probability", FieldKind::Percent) },
            of("CloseDate", FieldKind::Date).required(),
            list("Type", &["Existing Customer - Upgrade", "Existing Customer - Downgrade", "New Customer"]),
            text("NextStep", 255),
            list("LeadSource", &SOURCES),
            of("IsClosed", FieldKind::Boolean).label("Closed").read_only(),
            of("IsWon", FieldKind::Boolean).label("Won").read_only(),
            list("ForecastCategoryName", &["Omitted", "Pipeline", "Best Case", "Commit", "Closed"]),
            FieldDef::lookup("CampaignId", ["Campaign"], "Campaign").children("Opportunities"),
            FieldDef::lookup("ContactId", ["Contact"], "Contact").create_only(),
            owner(&["User"]),
            of("LastStageChangeDate", FieldKind::DateTime).read_only(),
            external(),
        ],
    )
}

fn campaign() -> ObjectDef {
    ObjectDef::new(
        "Campaign",
        "701",
        vec![
            text("Name", 80).required().name_field(),
            FieldDef::lookup("ParentId", ["Campaign"], "Parent").children("ChildCampaigns"),
            list("Type", &["Conference", "Webinar", "Trade Show", "Public Relations", "Partners", "Email", "Advertisement", "Other"]),
            FieldDef::lookup("RecordTypeId", ["RecordType"], "RecordType"),
            list("Status", &["Planned", "In Progress", "Completed", "Aborted"]).default_value("Planned"),
            of("StartDate", FieldKind::Date),
            of("EndDate", FieldKind::Date),
            of("ExpectedRevenue", FieldKind::Currency),
            of("BudgetedCost", FieldKind::Currency),
            of("ActualCost", FieldKind::Currency),
            FieldDef { precision: 10, ..of("ExpectedResponse", FieldKind::Percent) },
            FieldDef::number("NumberSent", 18, 0),
            of("IsActive", FieldKind::Boolean).label("Active"),
            of("Description", FieldKind::LongText),
            of("NumberOfLeads", FieldKind::Int).read_only().default_value(0),
            of("NumberOfContacts", FieldKind::Int).read_only().default_value(0),
            of("NumberOfResponses", FieldKind::Int).read_only().default_value(0),
            owner(&["User"]),
            text("Marketing_Campaign_ID__c", 255).external_id().unique(),
        ],
    )
}

fn campaign_member() -> ObjectDef {
    ObjectDef::new(
        "CampaignMember",
        "00v",
        vec![
            FieldDef::lookup("CampaignId", ["Campaign"], "Campaign").required().create_only().children("CampaignMembers"),
            FieldDef::lookup("LeadId", ["Lead"], "Lead").create_only().children("CampaignMembers"),
            FieldDef::lookup("ContactId", ["Contact"], "Contact").create_only().children("CampaignMembers"),
            list("Status", &["Planned", "Sent", "Received", "Responded"]).defaulted(),
            of("HasResponded", FieldKind::Boolean).label("Responded").read_only(),
            of("FirstRespondedDate", FieldKind::Date).read_only(),
            text("Name", 121).read_only().name_field(),
            text("FirstName", 40).read_only(),
            text("LastName", 80).read_only(),
            of("Email", FieldKind::Email).read_only(),
            text("CompanyOrAccount", 255).read_only(),
            FieldDef::lookup("LeadOrContactId", ["Lead", "Contact"], "").read_only(),
            list("Type", &["Lead", "Contact"]).read_only(),
            FieldDef::number("Engagement_Score__c", 18, 2),
            FieldDef::number("Email_Opens__c", 18, 0),
            FieldDef::number("Email_Clicks__c", 18, 0),
            FieldDef::number("Content_Downloads__c", 18, 0),
        ],
    )
}

fn activity(name: &str, prefix: &str, children: &str) -> ObjectDef {
    let mut fields = vec![
        FieldDef::lookup("WhoId", ["Contact", "Lead"], "Who").label("Name ID").children(children),
        FieldDef::lookup("WhatId", ["Account", "Opportunity", "Campaign"], "What").label("Related To ID").children(children),
        text("Subject", 255).name_field(),
        of("ActivityDate", FieldKind::Date).label("Due Date Only"),
        owner(&["User", "Group"]),
        of("Description", FieldKind::LongText),
        list("Type", &["Call", "Meeting", "Email", "Other"]),
        FieldDef::lookup("AccountId", ["Account"], "Account").read_only(),
        of("IsArchived", FieldKind::Boolean).read_only(),
    ];
    if name == "Task" {
        fields.extend([
            list("Status", &["Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred"])
                .required()
                .default_value("Not Started"),
            list("Priority", &["High", "Normal", "Low"]).required().default_value("Normal"),
            of("IsClosed", FieldKind::Boolean).label("Closed").read_only(),
        ]);
    } else {
        fields.extend([
            text("Location", 255),
            of("IsAllDayEvent", FieldKind::Boolean),
            of("ActivityDateTime", FieldKind::DateTime),
            of("DurationInMinutes", FieldKind::Int),
            of("StartDateTime", FieldKind::DateTime),
            of("EndDateTime", FieldKind::DateTime),
        ]);
    }
    ObjectDef::new(name, prefix, fields)
}

fn push_topic() -> ObjectDef {
    ObjectDef::new(
        "PushTopic",
        "0IF",
        vec![
            text("Name", 25).required().unique().name_field(),
            FieldDef::new("Query", FieldKind::TextArea, 1300).required(),
            FieldDef { precision: 5, scale: 1, ..FieldDef::number("ApiVersion", 5, 1) }.required(),
            of("IsActive", FieldKind::Boolean).default_value(true),
            list("NotifyForFields", &["All", "Referenced", "Select", "Where"]).restricted().default_value("Referenced"),
            list("NotifyForOperations", &["All", "Create", "Extended", "Update"]).restricted().default_value("All"),
            of("NotifyForOperationCreate", FieldKind::Boolean).default_value(true),
            of("NotifyForOperationUpdate", FieldKind::Boolean).default_value(true),
            of("NotifyForOperationDelete", FieldKind::Boolean).default_value(true),
            of("NotifyForOperationUndelete", FieldKind::Boolean).default_value(true),
            text("Description", 400),
        ],
    )
}

/// Every object of the starting org.
pub(crate) fn schema() -> Schema {
    let mut schema = Schema::default();
    for object in [
        lead(),
        contact(),
        account(),
        opportunity(),
        campaign(),
        campaign_member(),
        ObjectDef::new(
            "CampaignMemberStatus",
            "01Y",
            vec![
                FieldDef::lookup("CampaignId", ["Campaign"], "Campaign").required().create_only().children("CampaignMemberStatuses"),
                text("Label", 765).required(),
                of("SortOrder", FieldKind::Int),
                of("HasResponded", FieldKind::Boolean),
                of("IsDefault", FieldKind::Boolean),
            ],
        ),
        activity("Task", "00T", "Tasks"),
        activity("Event", "00U", "Events"),
        ObjectDef::new(
            "User",
            "005",
            vec![
                text("Username", 80).required().unique().id_lookup(),
                text("LastName", 80).required(),
                text("FirstName", 40),
                text("Name", 121).read_only().name_field(),
                FieldDef::new("Email", FieldKind::Email, 128).required(),
                of("IsActive", FieldKind::Boolean).label("Active").default_value(true),
                text("Alias", 8),
                text("CompanyName", 80),
                text("Title", 80),
                list("UserType", &["Standard"]).read_only(),
                FieldDef::lookup("ManagerId", ["User"], "Manager"),
                text("TimeZoneSidKey", 40).default_value("GMT"),
                text("LocaleSidKey", 40).default_value("en_US"),
                text("LanguageLocaleKey", 40).default_value("en_US"),
            ],
        ),
        ObjectDef::new(
            "Group",
            "00G",
            vec![
                text("Name", 40).required().name_field(),
                text("DeveloperName", 80),
                list("Type", &["Regular", "Queue"]).required().restricted(),
                of("Email", FieldKind::Email),
            ],
        ),
        push_topic(),
        ObjectDef::new(
            "StreamingChannel",
            "0M6",
            vec![
                text("Name", 80).required().unique().name_field(),
                text("Description", 255),
                of("IsDynamic", FieldKind::Boolean).read_only(),
            ],
        ),
        ObjectDef::new(
            "Lead_Signal__e",
            "e00",
            vec![
                text("Lead_Id__c", 18),
                text("Signal__c", 255).required(),
                FieldDef::number("Score__c", 18, 2),
                of("Seen_At__c", FieldKind::DateTime),
                of("Is_Test__c", FieldKind::Boolean),
            ],
        ),
        ObjectDef::new(
            "RecordType",
            "012",
            vec![
                text("Name", 80).required().name_field(),
                text("DeveloperName", 80).required(),
                text("SobjectType", 40).required(),
                of("Description", FieldKind::TextArea),
                of("IsActive", FieldKind::Boolean).default_value(true),
            ],
        ),
        ObjectDef::new(
            "Organization",
            "00D",
            vec![
                text("Name", 80).required().name_field(),
                of("IsSandbox", FieldKind::Boolean).read_only(),
                text("InstanceName", 5).read_only(),
                text("OrganizationType", 40).read_only(),
                text("TimeZoneSidKey", 40),
                text("LanguageLocaleKey", 40),
                text("NamespacePrefix", 15).read_only(),
            ],
        )
        .not_writable(),
        ObjectDef::new(
            "LeadStatus",
            "01J",
            vec![
                text("MasterLabel", 255).name_field(),
                text("ApiName", 255),
                of("SortOrder", FieldKind::Int),
                of("IsDefault", FieldKind::Boolean),
                of("IsConverted", FieldKind::Boolean),
            ],
        )
        .not_writable(),
        ObjectDef::new(
            "OpportunityStage",
            "01K",
            vec![
                text("MasterLabel", 255).name_field(),
                text("ApiName", 255),
                of("SortOrder", FieldKind::Int),
                of("IsActive", FieldKind::Boolean),
                of("IsClosed", FieldKind::Boolean),
                of("IsWon", FieldKind::Boolean),
            ],
        )
        .not_writable(),
        ObjectDef::new(
            "AssignmentRule",
            "01Q",
            vec![text("Name", 120).name_field(), text("SobjectType", 40), of("Active", FieldKind::Boolean)],
        )
        .not_writable(),
    ] {
        schema.add(object);
    }
    schema
}

/// Rows every org has: object and fields. The first is the organization, then the running user and a second one.
pub(crate) fn rows() -> Vec<(&'static str, Value)> {
    let mut rows = vec![
        (
            "Organization",
            json!({"Name": "Pretend Org", "IsSandbox": false, "InstanceName": "DEV1", "OrganizationType": "Developer Edition",
                   "TimeZoneSidKey": "GMT", "LanguageLocaleKey": "en_US"}),
        ),
        (
            "User",
            json!({"Username": "integration@sandbox.example", "FirstName": "Integration", "LastName": "User", "Name": "Integration User",
                   "Email": "integration@sandbox.example", "Alias": "integ", "UserType": "Standard", "IsActive": true}),
        ),
        (
            "User",
            json!({"Username": "sales@sandbox.example", "FirstName": "Sandy", "LastName": "Sales", "Name": "Sandy Sales",
                   "Email": "sales@sandbox.example", "Alias": "ssales", "UserType": "Standard", "IsActive": true}),
        ),
        ("Group", json!({"Name": "Inbound Leads", "DeveloperName": "Inbound_Leads", "Type": "Queue"})),
    ];
    for (at, status) in
        ["Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"].into_iter().enumerate()
    {
        rows.push((
            "LeadStatus",
            json!({"MasterLabel": status, "ApiName": status, "SortOrder": at + 1, "IsDefault": at == 0,
                   "IsConverted": status == "Closed - Converted"}),
        ));
    }
    for (at, stage) in
        ["Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review", "Closed Won", "Closed Lost"].into_iter().enumerate()
    {
        rows.push((
            "OpportunityStage",
            json!({"MasterLabel": stage, "ApiName": stage, "SortOrder": at + 1, "IsActive": true,
                   "IsClosed": stage.starts_with("Closed"), "IsWon": stage == "Closed Won"}),
        ));
    }
    rows
}
