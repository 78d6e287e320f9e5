//! What the sandbox's Salesforce does to objects by itself, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use crm_sync::model::{Fields, RecordId};
use crm_sync::sandbox::{Automation, AutomationKind, Conversion};
use raw_http::Org;
use serde_json::{Value, json};

fn number(org: &Org, campaign: &str, field: &str) -> i64 {
    org.get(&format!("/sobjects/Campaign/{campaign}")).body[field].as_i64().unwrap()
}

#[test]
fn campaigns_count_their_members() {
    let org = Org::new();
    let campaign = org.post("/sobjects/Campaign", json!({"Name": "Spring"})).id();
    let lead = org.lead("L");
    let contact = org.post("/sobjects/Contact", json!({"LastName": "C"})).id();
    let first = org.post("/sobjects/CampaignMember", json!({"CampaignId": campaign, "LeadId": lead})).id();
    let second = org.post("/sobjects/CampaignMember", json!({"CampaignId": campaign, "ContactId": contact, "Status": "Responded"})).id();
    let counts = || ["NumberOfLeads", "NumberOfContacts", "NumberOfResponses"].map(|field| number(&org, &campaign, field));
    assert_eq!(counts(), [1, 1, 1]);
    let row = org.get(&format!("/sobjects/CampaignMember/{second}")).body;
    assert_eq!((&row["HasResponded"], &row["FirstRespondedDate"]), (&json!(true), &json!("2026-01-01")));
    let refused = org.patch(&format!("/sobjects/CampaignMember/{first}"), json!({"HasResponded": true}));
    assert_eq!(refused.code(), "INVALID_FIELD_FOR_INSERT_UPDATE");
    assert_eq!(org.patch(&format!("/sobjects/CampaignMember/{first}"), json!({"Status": "Responded"})).status, 204);
    assert_eq!(counts(), [1, 1, 2]);
    let twice = org.post("/sobjects/CampaignMember", json!({"CampaignId": campaign, "LeadId": lead}));
    assert_eq!(twice.code(), "DUPLICATE_VALUE");
    assert_eq!(org.delete(&format!("/sobjects/CampaignMember/{first}")).status, 204);
    assert_eq!(counts(), [0, 1, 1]);
    org.sandbox.undelete("CampaignMember", &RecordId::new(first)).unwrap();
    assert_eq!(counts(), [1, 1, 2]);
    assert_eq!(org.delete(&format!("/sobjects/Lead/{lead}")).status, 204);
    assert_eq!(counts(), [0, 1, 1]);
    org.sandbox.set_options(|options| options.marketing_user = false).unwrap();
    assert_eq!(org.post("/sobjects/Campaign", json!({"Name": "X"})).code(), "INSUFFICIENT_ACCESS_OR_READONLY");
}

#[test]
fn a_converted_lead_is_closed_for_good() {
    let org = Org::new();
    let lead = org
        .post(
            "/sobjects/Lead",
            json!({"LastName": "Doe", "FirstName": "Jo", "Company": "Acme", "Email": "jo@acme.example",
        "City": "Berlin", "LeadSource": "Web", "UTM_Source__c": "ad", "External_Id__c": "L-1"}),
        )
        .id();
    let campaign = org.post("/sobjects/Campaign", json!({"Name": "Spring"})).id();
    let member = org.post("/sobjects/CampaignMember", json!({"CampaignId": campaign, "LeadId": lead})).id();
    let task = org.post("/sobjects/Task", json!({"Subject": "Call", "WhoId": lead})).id();
    let convert = |body: Value| org.send("POST", "/_sandbox/convert", Some(body));
    assert_eq!(convert(json!({"leadId": lead, "convertedStatus": "Working - Contacted"})).status, 400);
    assert_eq!(org.get(&format!("/sobjects/Lead/{lead}")).body["IsConverted"], false);
    let done = convert(json!({"leadId": lead, "convertedStatus": "Closed - Converted", "opportunityName": "Big"}));
    assert_eq!(done.status, 201, "{}", done.body);
    let row = org.get(&format!("/sobjects/Lead/{lead}")).body;
    assert_eq!(
        (&row["IsConverted"], &row["ConvertedDate"], &row["Status"]),
        (&json!(true), &json!("2026-01-01"), &json!("Closed - Converted"))
    );
    for (field, member) in
        [("ConvertedAccountId", "accountId"), ("ConvertedContactId", "contactId"), ("ConvertedOpportunityId", "opportunityId")]
    {
        assert_eq!(row[field], done.body[member]);
    }
    let contact = org.get(&format!("/sobjects/Contact/{}", done.body["contactId"].as_str().unwrap())).body;
    assert_eq!(
        (&contact["Email"], &contact["MailingCity"], &contact["UTM_Source__c"]),
        (&json!("jo@acme.example"), &json!("Berlin"), &json!("ad"))
    );
    assert_eq!((&contact["AccountId"], &contact["External_Id__c"]), (&done.body["accountId"], &Value::Null));
    let opportunity = org.get(&format!("/sobjects/Opportunity/{}", done.body["opportunityId"].as_str().unwrap())).body;
    assert_eq!((&opportunity["Name"], &opportunity["StageName"]), (&json!("Big"), &json!("Prospecting")));
    assert_eq!(org.get(&format!("/sobjects/Task/{task}")).body["WhoId"], done.body["contactId"]);
    let kept = org.get(&format!("/sobjects/CampaignMember/{member}")).body;
    assert_eq!((&kept["LeadId"], &kept["ContactId"]), (&json!(lead), &done.body["contactId"]));
    assert_eq!((number(&org, &campaign, "NumberOfLeads"), number(&org, &campaign, "NumberOfContacts")), (0, 1));
    assert_eq!(org.patch(&format!("/sobjects/Lead/{lead}"), json!({"Title": "X"})).code(), "CANNOT_UPDATE_CONVERTED_LEAD");
    let other = org.post("/sobjects/Campaign", json!({"Name": "Summer"})).id();
    let joined = org.post("/sobjects/CampaignMember", json!({"CampaignId": other, "LeadId": lead}));
    assert_eq!(joined.code(), "CANNOT_UPDATE_CONVERTED_LEAD");
    assert_eq!(convert(json!({"leadId": lead, "convertedStatus": "Closed - Converted"})).status, 400);
}

#[test]
fn a_merge_fills_empty_fields_only() {
    let org = Org::new();
    let account = org.post("/sobjects/Account", json!({"Name": "Old"})).id();
    let contact =
        org.post("/sobjects/Contact", json!({"LastName": "Doe", "Title": "CEO", "LeadSource": "Other", "AccountId": account})).id();
    let body = json!({"LastName": "Doe", "Company": "New", "Title": "CTO", "Phone": "1", "LeadSource": "Web"});
    let lead = org.post("/sobjects/Lead", body).id();
    let conversion = Conversion {
        account_id: Some(account.clone()),
        contact_id: Some(contact.clone()),
        do_not_create_opportunity: true,
        overwrite_lead_source: true,
        ..Conversion::new(lead, "Closed - Converted")
    };
    let done = org.sandbox.convert_lead(&conversion).unwrap();
    assert_eq!((done.account_id, done.contact_id, done.opportunity_id), (account.clone(), contact.clone(), None));
    assert_eq!(org.get(&format!("/sobjects/Account/{account}")).body["Name"], "Old");
    let row = org.get(&format!("/sobjects/Contact/{contact}")).body;
    assert_eq!((&row["Title"], &row["Phone"], &row["LeadSource"]), (&json!("CEO"), &json!("1"), &json!("Web")));
    let alone = org.lead("Alone");
    assert!(org.sandbox.convert_lead(&Conversion { contact_id: Some(contact), ..Conversion::new(alone, "Closed - Converted") }).is_err());
}

#[test]
fn automations_change_and_refuse() {
    let org = Org::new();
    let add = |body: Value| assert_eq!(org.send("POST", "/_sandbox/automations", Some(body)).status, 201);
    add(json!({"entity": "Lead", "kind": "lower", "field": "Email"}));
    add(json!({"entity": "Lead", "kind": "digits", "field": "Phone"}));
    add(json!({"entity": "Lead", "kind": "set", "field": "Rating", "value": "Hot", "when": "NumberOfEmployees > 100"}));
    add(json!({"entity": "Lead", "kind": "flap", "field": "Title", "values": ["a", "b"], "updates_only": true}));
    add(json!({"entity": "Lead", "kind": "refuse", "message": "no spam", "fields": ["Company"], "when": "Company LIKE 'spam%'"}));
    let body = json!({"LastName": "X", "Company": "Y", "Email": "A@B.co", "Phone": "+49 (0) 1-2", "NumberOfEmployees": 500});
    let id = org.post("/sobjects/Lead", body).id();
    let read = || org.get(&format!("/sobjects/Lead/{id}")).body;
    let row = read();
    assert_eq!(
        (&row["Email"], &row["Phone"], &row["Rating"], &row["Title"]),
        (&json!("a@b.co"), &json!("+49012"), &json!("Hot"), &Value::Null)
    );
    for title in ["a", "b", "a"] {
        assert_eq!(org.patch(&format!("/sobjects/Lead/{id}"), json!({"City": "Z"})).status, 204);
        assert_eq!(read()["Title"], title);
    }
    let refused = org.patch(&format!("/sobjects/Lead/{id}"), json!({"Company": "Spam Ltd"}));
    assert_eq!((refused.code(), &refused.body[0]["fields"]), ("FIELD_CUSTOM_VALIDATION_EXCEPTION", &json!(["Company"])));
    assert_eq!(org.send("DELETE", "/_sandbox/automations", None).status, 204);
    let broken = Automation::new("Lead", AutomationKind::Break { message: "LeadTrigger: boom".to_owned() }).when("City = 'Z'");
    org.sandbox.set_options(|options| options.automations.push(broken)).unwrap();
    assert_eq!(org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": "q"})).code(), "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY");
    assert_eq!(org.send("POST", "/_sandbox/automations", Some(json!({"entity": "Lead", "kind": "dance"}))).status, 400);
}

#[test]
fn a_held_record_refuses_writes() {
    let org = Org::new();
    let (held, waiting) = (org.lead("A"), org.lead("B"));
    org.sandbox
        .set_options(|options| {
            options.locked_records = vec![held.clone()];
            options.approval_locks = vec![waiting.clone()];
        })
        .unwrap();
    assert_eq!(org.patch(&format!("/sobjects/Lead/{held}"), json!({"Title": "x"})).code(), "UNABLE_TO_LOCK_ROW");
    assert_eq!(org.delete(&format!("/sobjects/Lead/{waiting}")).code(), "ENTITY_IS_LOCKED");
}

#[test]
fn the_bin_is_emptied_and_emptied_out_of() {
    let org = Org::new();
    let (a, b) = (org.lead("A"), org.lead("B"));
    for id in [&a, &b] {
        assert_eq!(org.delete(&format!("/sobjects/Lead/{id}")).status, 204);
    }
    assert_eq!(org.send("POST", &format!("/_sandbox/undelete/Lead/{a}"), None).status, 204);
    assert_eq!(org.send("POST", &format!("/_sandbox/undelete/Lead/{a}"), None).status, 400);
    assert_eq!(org.column("SELECT Id FROM Lead", "Id"), [a]);
    assert_eq!(org.send("DELETE", "/_sandbox/recycle_bin", None).status, 204);
    assert_eq!(org.delete(&format!("/sobjects/Lead/{b}")).code(), "NOT_FOUND");
    let made = org.sandbox.create("Lead", &[("LastName", "X"), ("Company", "Y")].into_iter().collect::<Fields>());
    assert!(made.is_ok());
}

#[test]
fn a_graph_has_nodes_and_levels() {
    let org = Org::new();
    let url = "/services/data/v68.0/sobjects";
    let graph = |requests: Vec<Value>| org.post("/composite/graph", json!({"graphs": [{"graphId": "1", "compositeRequest": requests}]}));
    let chain = |count: usize| {
        (0..count)
            .map(|n| {
                let mut body = json!({"Name": format!("A{n}")});
                if n > 0 {
                    body["ParentId"] = json!(format!("@{{r{}.id}}", n - 1));
                }
                json!({"method": "POST", "url": format!("{url}/Account"), "referenceId": format!("r{n}"), "body": body})
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(graph(chain(15)).body["graphs"][0]["isSuccessful"], true);
    assert_eq!(graph(chain(16)).code(), "LIMIT_EXCEEDED");
    let node = |method: &str, path: &str| json!([{"method": method, "url": format!("{url}{path}"), "referenceId": "a", "body": {}}]);
    for (method, path) in [("GET", "/Account"), ("PUT", "/Account/x"), ("GET", "/Account/describe"), ("POST", "")] {
        let refused = graph(node(method, path).as_array().unwrap().clone());
        assert_eq!((refused.status, refused.code()), (400, "INVALID_INPUT"), "{method} {path}");
    }
    let flat: Vec<Value> = (0..501)
        .map(|n| json!({"method": "POST", "url": format!("{url}/Account"), "referenceId": format!("r{n}"), "body": {"Name": "A"}}))
        .collect();
    assert_eq!(graph(flat[..500].to_vec()).body["graphs"][0]["isSuccessful"], true);
    assert_eq!(graph(flat).code(), "LIMIT_EXCEEDED");
}
