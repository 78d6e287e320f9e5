//! The journeys of leads, campaigns and activities, request by request.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::Since;
use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crm_sync::model::{Fields, RecordId};
use crm_sync::salesforce::flows::{
    Activities, Activity, Campaigns, LeadConverted, LeadDisqualified, LeadFlow, LeadLifecycle, LeadWrite, LifecycleWatch, Member,
    MemberStatus, MemberWrite, Person,
};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use secrecy::SecretString;
use serde_json::{Value, json};

const LEAD: &str = "00QAb00000Xy12ZMAR";
const LEAD_2: &str = "00Q000000000001EAA";
const LEAD_3: &str = "00Q000000000002EAA";
const CONTACT: &str = "003D000000QV9n2IAD";
const CAMPAIGN: &str = "701000000000001AAA";
const DEAL: &str = "006000000000001AAA";

/// Answers in order; each names the request it is for.
#[derive(Debug, Default)]
struct Script {
    steps: Mutex<VecDeque<(&'static str, String, u16, Value)>>,
    sent: Mutex<Vec<(String, Value, http::HeaderMap)>>,
}

impl Script {
    fn step(self: &Arc<Self>, verb: &'static str, path: &str, status: u16, body: Value) -> &Arc<Self> {
        self.steps.lock().unwrap().push_back((verb, path.to_owned(), status, body));
        self
    }

    fn describe(self: &Arc<Self>, entity: &str, fields: &[(&str, &str, bool)]) -> &Arc<Self> {
        let fields: Vec<Value> = fields
            .iter()
            .map(|(name, kind, external)| json!({"name": name, "label": name, "type": kind, "externalId": external, "filterable": true}))
            .collect();
        self.step("GET", &format!("/sobjects/{entity}/describe"), 200, json!({"name": entity, "label": entity, "fields": fields}))
    }

    /// The body of the request so many from the end.
    fn body(&self, back: usize) -> Value {
        let sent = self.sent.lock().unwrap();
        sent[sent.len() - 1 - back].1.clone()
    }

    fn path(&self, back: usize) -> String {
        let sent = self.sent.lock().unwrap();
        url::form_urlencoded::parse(format!("p={}", sent[sent.len() - 1 - back].0.replace('+', "%2B")).as_bytes())
            .next()
            .unwrap()
            .1
            .into_owned()
    }

    fn header(&self, back: usize, name: &str) -> Option<String> {
        let sent = self.sent.lock().unwrap();
        sent[sent.len() - 1 - back].2.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    fn over(&self) {
        assert!(self.steps.lock().unwrap().is_empty(), "not asked for: {:?}", self.steps.lock().unwrap());
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: http::Request<Bytes>) -> std::result::Result<http::Response<Body>, HttpError> {
        let path = request.uri().path_and_query().unwrap().as_str().strip_prefix("/services/data/v68.0").unwrap().to_owned();
        let body = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        self.sent.lock().unwrap().push((path.clone(), body, request.headers().clone()));
        let (verb, wanted, status, body) = self.steps.lock().unwrap().pop_front().unwrap_or_else(|| panic!("{} {path}", request.method()));
        assert!(request.method().as_str() == verb && path.starts_with(&wanted), "{} {path} instead of {verb} {wanted}", request.method());
        if status == 0 {
            return Err(HttpError::new(HttpErrorKind::Sent, "broke"));
        }
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Ok(http::Response::builder().status(status).body(Body::from_bytes(bytes)).unwrap())
    }
}

fn org() -> (Arc<Script>, Salesforce) {
    let script = Arc::new(Script::default());
    let config = SalesforceConfig::with_access_token("http://org.example", SecretString::from("T"));
    let client = Salesforce::new(config, Arc::clone(&script) as Arc<dyn HttpTransport>, Host::manual(1)).unwrap();
    (script, client)
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn not_found() -> Value {
    json!([{"errorCode": "NOT_FOUND", "message": "none"}])
}

fn saved(id: &str, created: bool) -> Value {
    json!({"id": id, "success": true, "errors": [], "created": created})
}

fn refused(code: &str) -> Value {
    json!({"success": false, "errors": [{"statusCode": code, "message": "as told", "fields": []}]})
}

fn lead_fields() -> [(&'static str, &'static str, bool); 6] {
    [
        ("LastName", "string", false),
        ("Ext__c", "string", true),
        ("Score__c", "double", false),
        ("At__c", "datetime", false),
        ("LeadSource", "picklist", false),
        ("Status", "picklist", false),
    ]
}

/// Trap 8: the assignment rule is a header; a change must not run it.
#[tokio::test]
async fn a_lead_is_made_with_a_rule_and_changed_where_it_differs() {
    let (script, client) = org();
    let rule = crm_sync::salesforce::AutoAssign::Rule("01Q000000000AbC".to_owned());
    let flow = LeadFlow::new(&client, "Ext__c").on_create(fields(json!({"Status": "New", "LastName": "?"}))).auto_assign(rule);
    script.step("GET", "/sobjects/Lead/Ext__c/A%2F1?fields=Id,IsConverted,ConvertedContactId,At__c,LastName,Score__c", 404, not_found());
    script.step("PATCH", "/sobjects/Lead/Ext__c/A%2F1", 201, saved(LEAD, true));
    let wanted = fields(json!({"LastName": "Ng", "Score__c": 7, "At__c": "2026-01-02T03:04:05Z"}));
    let made = flow.sync("A/1", &wanted).await.unwrap();
    assert_eq!((made.id.as_str(), made.write), (LEAD, LeadWrite::Created));
    assert_eq!(script.body(0), json!({"LastName": "Ng", "Score__c": 7, "At__c": "2026-01-02T03:04:05Z", "Status": "New"}));
    assert_eq!(script.header(0, "sforce-auto-assign").as_deref(), Some("01Q000000000AbCEAU"));

    let stored = json!({"Id": LEAD, "IsConverted": false, "LastName": "Ng", "Score__c": 7.0, "At__c": "2026-01-02T03:04:05.000+0000"});
    script.step("GET", "/sobjects/Lead/Ext__c/A%2F1", 200, stored.clone()).describe("Lead", &lead_fields());
    assert_eq!(flow.sync("A/1", &wanted).await.unwrap().write, LeadWrite::Unchanged, "7.0 is 7, and the instant is the same");

    script.step("GET", "/sobjects/Lead/Ext__c/A%2F1", 200, stored).step("PATCH", &format!("/sobjects/Lead/{LEAD}"), 204, Value::Null);
    let changed = flow.sync("A/1", &fields(json!({"LastName": "Ng", "Score__c": 8}))).await.unwrap();
    assert_eq!(changed.write, LeadWrite::Updated { fields: vec!["Score__c".to_owned()] });
    assert_eq!((script.body(0), script.header(0, "sforce-auto-assign").as_deref()), (json!({"Score__c": 8}), Some("FALSE")));

    let converted = json!({"Id": LEAD, "IsConverted": true, "ConvertedContactId": CONTACT, "LastName": "Ng"});
    script.step("GET", "/sobjects/Lead/Ext__c/A%2F1", 200, converted);
    let converted = flow.sync("A/1", &fields(json!({"LastName": "Other"}))).await.unwrap();
    assert_eq!(converted.write, LeadWrite::Converted { contact: Some(RecordId::from(CONTACT)) });
    script.over();
}

#[tokio::test]
async fn a_lead_made_by_somebody_else_meanwhile_is_changed() {
    let (script, client) = org();
    let flow = LeadFlow::new(&client, "Ext__c");
    let taken = json!([{"errorCode": "DUPLICATE_VALUE", "message": "duplicate value found"}]);
    script.step("GET", "/sobjects/Lead/Ext__c/1", 404, not_found()).step("PATCH", "/sobjects/Lead/Ext__c/1", 400, taken);
    script.step("GET", "/sobjects/Lead/Ext__c/1", 200, json!({"Id": LEAD, "IsConverted": false, "LastName": "X"}));
    script.describe("Lead", &lead_fields()).step("PATCH", &format!("/sobjects/Lead/{LEAD}"), 204, Value::Null);
    let synced = flow.sync("1", &fields(json!({"LastName": "Ng"}))).await.unwrap();
    assert_eq!(synced.write, LeadWrite::Updated { fields: vec!["LastName".to_owned()] });
    script.over();
}

#[derive(Default)]
struct Told {
    converted: Mutex<Vec<LeadConverted>>,
    disqualified: Mutex<Vec<LeadDisqualified>>,
    refuse: Mutex<bool>,
}

#[async_trait]
impl LeadLifecycle for Told {
    async fn converted(&self, event: LeadConverted) -> Result<()> {
        if std::mem::take(&mut *self.refuse.lock().unwrap()) {
            return Err(Error::store("full"));
        }
        self.converted.lock().unwrap().push(event);
        Ok(())
    }

    async fn disqualified(&self, event: LeadDisqualified) -> Result<()> {
        self.disqualified.lock().unwrap().push(event);
        Ok(())
    }
}

#[tokio::test]
async fn conversions_and_disqualifications_are_told_with_value_and_attribution() {
    let (script, client) = org();
    let mut described = lead_fields().to_vec();
    described.push(("UTM_Source__c", "string", false));
    let watch = LifecycleWatch::new(&client).disqualified_by(["Disqualified", "Junk"]).attribution(["LeadSource", "utm_source__c"]);
    let stamp = "2026-01-02T03:04:05.000+0000";
    let row = |id: &str, status: &str, converted: bool| {
        json!({
            "attributes": {"type": "Lead"}, "Id": id, "SystemModstamp": stamp, "CreatedDate": stamp, "Email": "secret@example.com", "Status": status,
            "IsConverted": converted, "ConvertedDate": if converted { json!("2026-01-02") } else { Value::Null },
            "ConvertedContactId": if converted { json!(CONTACT) } else { Value::Null }, "ConvertedAccountId": Value::Null,
            "ConvertedOpportunityId": if converted { json!(DEAL) } else { Value::Null }, "LeadSource": "Web", "UTM_Source__c": "linkedin",
        })
    };
    let rows = json!([row(LEAD, "Qualified", true), row(LEAD_2, "Junk", false), row(LEAD_3, "New", false)]);
    let page = json!({"totalSize": 3, "done": true, "records": rows});
    let told = Told { refuse: Mutex::new(true), ..Told::default() };
    let deal = |script: &Arc<Script>| {
        script.step(
            "POST",
            "/composite/sobjects/Opportunity",
            200,
            json!([{"Id": DEAL, "Amount": 1.25e5, "StageName": "Prospecting", "CloseDate": "2026-03-31", "IsWon": false}]),
        );
    };
    script.describe("Lead", &described).step("GET", "/query?q=", 200, page.clone());
    script.describe(
        "Opportunity",
        &[("Amount", "currency", false), ("StageName", "picklist", false), ("CloseDate", "date", false), ("IsWon", "boolean", false)],
    );
    deal(&script);
    let since = || Since::At("2026-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(watch.poll(since(), &told).await.unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(script.body(0)["fields"], json!(["Id", "Amount", "StageName", "CloseDate", "IsWon"]), "no currency in this org");

    script.step("GET", "/query?q=", 200, page);
    deal(&script);
    let seen = watch.poll(since(), &told).await.unwrap();
    assert_eq!((seen.leads, seen.converted, seen.disqualified), (3, 1, 1));
    let converted = told.converted.lock().unwrap()[0].clone();
    assert_eq!((converted.lead.as_str(), converted.contact.as_ref().unwrap().as_str(), &converted.account), (LEAD, CONTACT, &None));
    assert_eq!(converted.converted_on.unwrap().to_string(), "2026-01-02", "a day, no instant");
    assert_eq!(converted.attribution.to_value(), json!({"LeadSource": "Web", "UTM_Source__c": "linkedin"}));
    let deal = converted.opportunity.as_ref().unwrap();
    assert_eq!((deal.id.as_str(), deal.amount.unwrap().to_string()), (DEAL, "125000".to_owned()));
    assert!(!format!("{converted:?}").contains("secret"));
    let given_up = told.disqualified.lock().unwrap()[0].clone();
    assert_eq!((given_up.lead.as_str(), given_up.status.as_str()), (LEAD_2, "Junk"));

    script.step("POST", "/composite/sobjects/Lead", 200, json!([row(LEAD_2, "Junk", false), null]));
    let counts = watch.look_at(&[RecordId::from(LEAD_2), RecordId::from(LEAD_3)], &told).await.unwrap();
    assert_eq!(counts, (0, 1));
    assert_eq!(told.disqualified.lock().unwrap()[1].event, given_up.event, "the same event, to be dropped");
    let unknown = LifecycleWatch::new(&client).attribution(["Nope__c"]).poll(since(), &told).await.unwrap_err();
    assert!(unknown.kind() == ErrorKind::Config && unknown.message().contains("Nope__c"));
    script.over();
}

#[tokio::test]
async fn a_campaign_is_found_or_made_once() {
    let (script, client) = org();
    let campaigns = Campaigns::new(&client, "Mark__c");
    script.describe("Campaign", &[("Mark__c", "string", true)]);
    script.step("GET", "/sobjects/Campaign/Mark__c/7?fields=Id", 404, not_found()).step(
        "PATCH",
        "/sobjects/Campaign/Mark__c/7",
        201,
        saved(CAMPAIGN, true),
    );
    let made = campaigns.ensure("7", &fields(json!({"Name": "Spring"}))).await.unwrap();
    assert!(made.created);
    assert_eq!(script.body(0), json!({"Name": "Spring", "IsActive": true}));
    script.step("GET", "/sobjects/Campaign/Mark__c/7", 200, json!({"Id": CAMPAIGN}));
    let found = campaigns.ensure("7", &fields(json!({"Name": "Other"}))).await.unwrap();
    assert!(!found.created && found.id == made.id);
    script.over();

    // A plain field: a create without an answer is looked up before anybody makes another one.
    let (script, client) = org();
    let campaigns = Campaigns::new(&client, "Mark__c");
    let none = json!({"totalSize": 0, "done": true, "records": []});
    script.describe("Campaign", &[("Mark__c", "string", false)]).step("GET", "/query?q=", 200, none);
    script.step("POST", "/sobjects/Campaign", 0, Value::Null);
    script.step("GET", "/query?q=", 200, json!({"totalSize": 1, "done": true, "records": [{"Id": CAMPAIGN}]}));
    assert!(campaigns.ensure("O'7", &fields(json!({"Name": "Spring", "IsActive": false}))).await.unwrap().created);
    assert_eq!(script.body(1), json!({"Name": "Spring", "IsActive": false, "Mark__c": "O'7"}));
    assert!(script.path(0).contains(r"WHERE Mark__c = 'O\'7'"), "{}", script.path(0));
    script.step(
        "GET",
        "/query?q=",
        200,
        json!({"totalSize": 2, "done": true, "records": [{"Id": CAMPAIGN}, {"Id": "701000000000002AAA"}]}),
    );
    assert_eq!(campaigns.ensure("O'7", &Fields::new()).await.unwrap_err().duplicates().len(), 2);
    script.over();
}

fn statuses() -> Value {
    json!({"totalSize": 2, "done": true, "records": [
        {"Label": "Sent", "HasResponded": false, "SortOrder": 1}, {"Label": "Responded", "HasResponded": true, "SortOrder": 2},
    ]})
}

#[tokio::test]
async fn missing_member_statuses_are_made_behind_the_others() {
    let (script, client) = org();
    let campaigns = Campaigns::new(&client, "Mark__c");
    script.step("GET", "/query?q=", 200, statuses()).step("POST", "/composite/sobjects", 200, json!([saved("01Y000000000001AAA", true)]));
    let wanted = [MemberStatus::new("sent", false), MemberStatus::new("Clicked", true), MemberStatus::new("Clicked", true)];
    let made = campaigns.ensure_statuses(&RecordId::from(CAMPAIGN), &wanted).await.unwrap();
    assert_eq!(made, [MemberStatus::new("Clicked", true)]);
    let row = &script.body(0)["records"][0];
    assert_eq!((&row["Label"], &row["SortOrder"], &row["HasResponded"]), (&json!("Clicked"), &json!(3), &json!(true)));
    script.step("GET", "/query?q=", 200, statuses());
    assert!(campaigns.ensure_statuses(&RecordId::from(CAMPAIGN), &wanted[..1]).await.unwrap().is_empty());
    script.over();
}

/// Trap 9: `HasResponded` and `FirstRespondedDate` are read-only.
#[tokio::test]
async fn members_are_made_changed_or_left_and_converted_leads_are_contacts() {
    let (script, client) = org();
    let campaigns = Campaigns::new(&client, "Mark__c").map_status("clicked", "Responded");
    let extra = || fields(json!({"HasResponded": true, "FirstRespondedDate": "2026-01-01", "LeadId": "x", "Opens__c": 3}));
    let lead = |id: &str| Person::Lead(RecordId::from(id));
    let members = [
        Member::new(lead(LEAD), Some("clicked")).fields(extra()),
        Member::new(lead(LEAD_2), Some("Sent")),
        Member::new(lead("00Q000000000009EAA"), Some("Sent")),
        Member::new(Person::Contact(RecordId::from(CONTACT)), Some("clicked")),
        Member::new(lead(LEAD_3), Some("No such status")),
        Member::new(lead(LEAD_3), None).fields(fields(json!({"Opens__c": 5}))),
    ];
    script.step("GET", "/query?q=", 200, statuses());
    // In the order of their ids: LEAD_2 is converted, 00Q...009 is gone.
    let leads = json!([{"Id": LEAD_2, "IsConverted": true, "ConvertedContactId": CONTACT}, {"Id": LEAD_3, "IsConverted": false}, null, {"Id": LEAD, "IsConverted": false}]);
    script.step("POST", "/composite/sobjects/Lead", 200, leads);
    script.describe("CampaignMember", &[("Status", "picklist", false), ("Opens__c", "double", false)]);
    let known = json!({"totalSize": 2, "done": true, "records": [
        {"Id": "00v000000000001AAA", "LeadId": LEAD_2, "ContactId": CONTACT, "Status": "Sent", "Opens__c": null},
        {"Id": "00v000000000002AAA", "LeadId": LEAD_3, "ContactId": null, "Status": "Sent", "Opens__c": 5.0},
    ]});
    script.step("GET", "/query?q=", 200, known);
    script.step("POST", "/composite/sobjects", 200, json!([saved("00v000000000003AAA", true)]));
    script.step("PATCH", "/composite/sobjects", 200, json!([saved("00v000000000001AAA", false)]));
    let outcomes = campaigns.sync_members(&RecordId::from(CAMPAIGN), &members).await.unwrap();
    script.over();
    assert_eq!(outcomes.len(), 6);
    let write = |at: usize| outcomes[at].as_ref().unwrap().write;
    assert_eq!(
        (write(0), write(1), write(3), write(5)),
        (MemberWrite::Created, MemberWrite::Updated, MemberWrite::Updated, MemberWrite::Unchanged)
    );
    assert_eq!(outcomes[1].as_ref().unwrap().person, Person::Contact(RecordId::from(CONTACT)), "redirected");
    assert_eq!(outcomes[1].as_ref().unwrap().id, outcomes[3].as_ref().unwrap().id, "one person, one membership");
    assert_eq!(outcomes[2].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(outcomes[4].as_ref().unwrap_err().kind(), ErrorKind::Validation);
    let created =
        json!({"attributes": {"type": "CampaignMember"}, "CampaignId": CAMPAIGN, "LeadId": LEAD, "Opens__c": 3, "Status": "Responded"});
    assert_eq!(script.body(1)["records"], json!([created]), "one of LeadId and ContactId, nothing read-only");
    let updated = json!({"attributes": {"type": "CampaignMember"}, "id": "00v000000000001AAA", "Status": "Responded"});
    assert_eq!(script.body(0)["records"], json!([updated]));
}

#[tokio::test]
async fn a_member_put_in_by_somebody_else_meanwhile_is_changed() {
    let (script, client) = org();
    let campaigns = Campaigns::new(&client, "Mark__c");
    let member = Member::new(Person::Contact(RecordId::from(CONTACT)), Some("Responded"));
    let none = json!({"totalSize": 0, "done": true, "records": []});
    script.step("GET", "/query?q=", 200, statuses()).describe("CampaignMember", &[("Status", "picklist", false)]).step(
        "GET",
        "/query?q=",
        200,
        none,
    );
    script.step("POST", "/composite/sobjects", 200, json!([refused("DUPLICATE_VALUE")]));
    let there = json!({"totalSize": 1, "done": true, "records": [{"Id": "00v000000000001AAA", "ContactId": CONTACT, "Status": "Sent"}]});
    script.step("GET", "/query?q=", 200, there).step("PATCH", "/composite/sobjects", 200, json!([saved("00v000000000001AAA", false)]));
    let outcomes = campaigns.sync_members(&RecordId::from(CAMPAIGN), &[member]).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().write, MemberWrite::Updated);
    script.over();
}

#[tokio::test]
async fn members_go_by_two_hundred() {
    let (script, client) = org();
    let campaigns = Campaigns::new(&client, "Mark__c");
    let members: Vec<Member> =
        (0..450).map(|n| Member::new(Person::Contact(RecordId::from(format!("003{n:012}").as_str())), None)).collect();
    script.describe("CampaignMember", &[("Status", "picklist", false)]);
    for count in [200, 200, 50] {
        script.step("GET", "/query?q=", 200, json!({"totalSize": 0, "done": true, "records": []}));
        let rows: Vec<Value> = (0..count).map(|n| saved(&format!("00v{n:012}"), true)).collect();
        script.step("POST", "/composite/sobjects", 200, rows.into());
    }
    // The description comes before the first look.
    let outcomes = campaigns.sync_members(&RecordId::from(CAMPAIGN), &members).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().write == MemberWrite::Created) && outcomes.len() == 450);
    assert_eq!(script.body(0)["records"].as_array().unwrap().len(), 50);
    script.over();
}

#[tokio::test]
async fn activities_are_tasks_and_logged_once() {
    let (script, client) = org();
    let activities = Activities::new(&client, "Mark__c");
    let lead = Person::Lead(RecordId::from(LEAD));
    let log = [
        Activity::new("m1", lead.clone(), "Opened a mail").on("2026-01-02".parse().unwrap()),
        Activity::new("m2", Person::Contact(RecordId::from(CONTACT)), "Filled a form").fields(fields(json!({"Status": "Open"}))),
        Activity::new("m1", lead, "Opened a mail again"),
    ];
    let lead_row = || json!([{"Id": LEAD, "IsConverted": true, "ConvertedContactId": CONTACT}]);
    script.describe("Task", &[("Mark__c", "string", true)]).step("POST", "/composite/sobjects/Lead", 200, lead_row());
    script.step("PATCH", "/composite/sobjects/Task/Mark__c", 200, json!([saved("00T000000000001AAA", true), refused("DUPLICATE_VALUE")]));
    script.step("PATCH", "/composite/sobjects/Task/Mark__c", 200, json!([saved("00T000000000002AAA", false)]));
    let outcomes = activities.log(&log).await.unwrap();
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[0].as_ref().unwrap(), outcomes[2].as_ref().unwrap(), "one task for one mark");
    assert!(outcomes[0].as_ref().unwrap().created && !outcomes[1].as_ref().unwrap().created);
    let first =
        json!({"attributes": {"type": "Task"}, "Mark__c": "m1", "Status": "Completed", "WhoId": CONTACT, "Subject": "Opened a mail again"});
    assert_eq!(script.body(1)["records"][0], first, "the converted lead's contact");
    assert_eq!(script.body(1)["records"][1]["Status"], json!("Open"));
    script.over();

    let (script, client) = org();
    let activities = Activities::new(&client, "Mark__c");
    script.describe("Task", &[("Mark__c", "string", false)]).step("POST", "/composite/sobjects/Lead", 200, lead_row());
    script.step("GET", "/query?q=", 200, json!({"totalSize": 1, "done": true, "records": [{"Id": "00T000000000001AAA", "Mark__c": "m1"}]}));
    script.step("POST", "/composite/sobjects", 200, json!([saved("00T000000000002AAA", true)]));
    let outcomes = activities.log(&log).await.unwrap();
    assert_eq!(script.body(0)["records"].as_array().unwrap().len(), 1, "m1 is there already");
    assert!(!outcomes[0].as_ref().unwrap().created && outcomes[1].as_ref().unwrap().created);
    script.over();
}
