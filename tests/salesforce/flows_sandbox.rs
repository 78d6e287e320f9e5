//! The flows of Salesforce against an org that keeps what it is told.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::adapter::Since;
use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::model::{Fields, RecordId, Value};
use crm_sync::salesforce::flows::{
    Activities, Activity, Campaigns, LeadConverted, LeadDisqualified, LeadFlow, LeadLifecycle, LeadWrite, LifecycleWatch, Member,
    MemberStatus, MemberWrite, Person,
};
use crm_sync::salesforce::{AutoAssign, Salesforce, SalesforceConfig};
use crm_sync::sandbox::{AssignmentEntry, Conversion, FieldDef, Sandbox};
use serde_json::json;

const KEY: &str = "External_Id__c";
const CONVERTED: &str = "Closed - Converted";

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

struct Org {
    host: Host,
    sandbox: Sandbox,
    client: Salesforce,
}

impl Org {
    fn new(seed: u64) -> Self {
        let host = Host::manual(seed);
        let sandbox = Sandbox::new(host.clone(), seed);
        let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
        let client = Salesforce::new(config, sandbox.transport(), host.clone()).unwrap();
        Self { host, sandbox, client }
    }

    fn row(&self, entity: &str, id: &str) -> Fields {
        self.sandbox.records(entity).into_iter().find(|row| row.text("Id") == Some(id)).unwrap()
    }

    /// A lead of another user.
    fn lead(&self, last: &str) -> RecordId {
        self.sandbox.create("Lead", &fields(json!({"LastName": last, "Company": format!("{last} Inc"), "LeadSource": "Web"}))).unwrap()
    }

    fn convert(&self, lead: &RecordId) -> crm_sync::sandbox::Converted {
        self.sandbox.convert_lead(&Conversion::new(lead.as_str(), CONVERTED)).unwrap()
    }
}

#[tokio::test]
async fn a_lead_gets_its_owner_from_the_rule_once_and_keeps_it() {
    let org = Org::new(1);
    let user = |alias: &str| org.sandbox.records("User").into_iter().find(|user| user.text("Alias") == Some(alias)).unwrap();
    let (owner, admin) = (user("ssales").text("Id").unwrap().to_owned(), user("integ").text("Id").unwrap().to_owned());
    org.sandbox.create("AssignmentRule", &fields(json!({"Name": "Standard", "SobjectType": "Lead", "Active": true}))).unwrap();
    let rule = AssignmentEntry::new("Standard", owner.as_str());
    org.sandbox.set_options(|options| options.assignment = vec![rule]).unwrap();
    let flow =
        LeadFlow::new(&org.client, KEY).on_create(fields(json!({"Status": "Open - Not Contacted"}))).auto_assign(AutoAssign::Default);
    let wanted = fields(json!({"LastName": "Ng", "Company": "Acme", "Email": "ng@example.org"}));
    let made = flow.sync("L-1", &wanted).await.unwrap();
    assert_eq!(made.write, LeadWrite::Created);
    assert_eq!(org.row("Lead", made.id.as_str()).text("OwnerId"), Some(owner.as_str()), "the active rule");
    assert_eq!(flow.sync("L-1", &wanted).await.unwrap().write, LeadWrite::Unchanged);

    // A person gives it to somebody else; a change of the host does not take it back.
    org.sandbox.update("Lead", &made.id, &fields(json!({"OwnerId": admin}))).unwrap();
    let changed = flow.sync("L-1", &fields(json!({"LastName": "Ng", "Company": "Acme & Co", "Email": null}))).await.unwrap();
    assert_eq!(changed.write, LeadWrite::Updated { fields: vec!["Company".to_owned(), "Email".to_owned()] });
    let row = org.row("Lead", made.id.as_str());
    assert_eq!((row.text("OwnerId"), row.text("Company"), row.get("Email")), (Some(admin.as_str()), Some("Acme & Co"), Some(&Value::Null)));

    // Converted: the lead is closed, its contact is named.
    let converted = org.convert(&made.id);
    let seen = flow.sync("L-1", &fields(json!({"LastName": "Other"}))).await.unwrap();
    assert_eq!(seen.write, LeadWrite::Converted { contact: Some(RecordId::new(converted.contact_id)) });
}

#[derive(Debug, Default)]
struct Told {
    converted: Mutex<Vec<LeadConverted>>,
    disqualified: Mutex<Vec<LeadDisqualified>>,
}

#[async_trait]
impl LeadLifecycle for Told {
    async fn converted(&self, event: LeadConverted) -> Result<()> {
        self.converted.lock().unwrap().push(event);
        Ok(())
    }

    async fn disqualified(&self, event: LeadDisqualified) -> Result<()> {
        self.disqualified.lock().unwrap().push(event);
        Ok(())
    }
}

#[tokio::test]
async fn conversions_and_disqualifications_of_the_org_are_told_with_their_value() {
    let org = Org::new(2);
    let (won, lost, open) = (org.lead("Won"), org.lead("Lost"), org.lead("Open"));
    let watch = LifecycleWatch::new(&org.client).disqualified_by(["Closed - Not Converted"]).attribution(["LeadSource"]);
    let told = Told::default();
    let first = watch.poll(Since::Start, &told).await.unwrap();
    assert_eq!((first.leads, first.converted, first.disqualified), (3, 0, 0));

    org.host.sleep(Duration::from_secs(3_600)).await;
    let converted = org.convert(&won);
    let deal = RecordId::new(converted.opportunity_id.clone().unwrap());
    org.sandbox.update("Opportunity", &deal, &fields(json!({"Amount": 1234.56}))).unwrap();
    org.sandbox.update("Lead", &lost, &fields(json!({"Status": "Closed - Not Converted"}))).unwrap();
    org.sandbox.update("Lead", &open, &fields(json!({"Status": "Working - Contacted"}))).unwrap();
    watch.poll(Since::Cursor(first.next), &told).await.unwrap();

    let events = told.converted.lock().unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event.lead, won);
    assert_eq!(event.contact.as_ref().map(RecordId::as_str), Some(converted.contact_id.as_str()));
    assert_eq!(event.account.as_ref().map(RecordId::as_str), Some(converted.account_id.as_str()));
    let opportunity = event.opportunity.as_ref().unwrap();
    assert_eq!((&opportunity.id, opportunity.amount.unwrap().to_string()), (&deal, "1234.56".to_owned()));
    assert_eq!(event.attribution.to_value(), json!({"LeadSource": "Web"}));
    let given_up = told.disqualified.lock().unwrap();
    assert_eq!(
        given_up.iter().map(|event| (event.lead.clone(), event.status.clone())).collect::<Vec<_>>(),
        [(lost, "Closed - Not Converted".to_owned())]
    );
}

#[tokio::test]
async fn campaign_members_are_in_step_whoever_they_are_by_now() {
    let org = Org::new(3);
    let campaigns = Campaigns::new(&org.client, "Marketing_Campaign_ID__c").map_status("clicked", "Clicked");
    let campaign = campaigns.ensure("spring", &fields(json!({"Name": "Spring"}))).await.unwrap();
    assert!(campaign.created);
    let again = campaigns.ensure("spring", &fields(json!({"Name": "Spring"}))).await.unwrap();
    assert_eq!((again.created, &again.id), (false, &campaign.id));
    let made = campaigns.ensure_statuses(&campaign.id, &[MemberStatus::new("Clicked", true)]).await.unwrap();
    assert_eq!(made.len(), 1);
    assert!(campaigns.ensure_statuses(&campaign.id, &[MemberStatus::new("Clicked", true)]).await.unwrap().is_empty());

    let leads: Vec<RecordId> = (0..250).map(|n| org.lead(&format!("Lead{n}"))).collect();
    let contact = org.sandbox.create("Contact", &fields(json!({"LastName": "Known"}))).unwrap();
    let mut members: Vec<Member> = leads.iter().map(|lead| Member::new(Person::Lead(lead.clone()), Some("Sent"))).collect();
    members.push(Member::new(Person::Contact(contact), Some("Sent")));
    let outcomes = campaigns.sync_members(&campaign.id, &members).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().write == MemberWrite::Created));
    let outcomes = campaigns.sync_members(&campaign.id, &members).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().write == MemberWrite::Unchanged));

    // One of them is a contact by now; another one clicks.
    let converted = org.convert(&leads[0]);
    let changed = [
        Member::new(Person::Lead(leads[0].clone()), Some("clicked")).fields(fields(json!({"Email_Clicks__c": 2}))),
        Member::new(Person::Lead(leads[1].clone()), Some("clicked")),
    ];
    let outcomes = campaigns.sync_members(&campaign.id, &changed).await.unwrap();
    let first = outcomes[0].as_ref().unwrap();
    assert_eq!(first.person, Person::Contact(RecordId::new(converted.contact_id.clone())));
    assert_eq!((first.write, outcomes[1].as_ref().unwrap().write), (MemberWrite::Updated, MemberWrite::Updated));
    let rows = org.sandbox.records("CampaignMember");
    assert_eq!(rows.len(), 251, "nobody is a member twice");
    let row = rows.iter().find(|row| row.text("ContactId") == Some(converted.contact_id.as_str())).unwrap();
    assert_eq!((row.text("Status"), row.get("HasResponded")), (Some("Clicked"), Some(&Value::Bool(true))));
    assert!(row.get("FirstRespondedDate").is_some_and(|day| !day.is_null()));
}

#[tokio::test]
async fn activities_are_tasks_of_the_person_and_made_once() {
    let org = Org::new(4);
    org.sandbox.add_field("Task", FieldDef::text("Mark__c", 80).external_id().unique()).unwrap();
    let (lead, gone) = (org.lead("A"), org.lead("B"));
    let converted = org.convert(&gone);
    let activities = Activities::new(&org.client, "Mark__c");
    let log = [
        Activity::new("m1", Person::Lead(lead.clone()), "Opened a mail"),
        Activity::new("m2", Person::Lead(gone), "Filled a form").fields(fields(json!({"Description": "Interested"}))),
    ];
    for round in 0..2 {
        let outcomes = activities.log(&log).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().created == (round == 0)), "{outcomes:?}");
    }
    let tasks = org.sandbox.records("Task");
    assert_eq!(tasks.len(), 2);
    let who = |mark: &str| tasks.iter().find(|task| task.text("Mark__c") == Some(mark)).unwrap().text("WhoId").unwrap().to_owned();
    assert_eq!((who("m1"), who("m2")), (lead.into_string(), converted.contact_id));
    assert!(tasks.iter().all(|task| task.text("Status") == Some("Completed")));
}
