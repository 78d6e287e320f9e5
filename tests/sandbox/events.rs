//! What the sandbox's event bus tells of changes.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::bayeux;
use crate::raw_http;

use std::time::Duration;

use bayeux::{Comet, script};
use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;
use raw_http::Org;
use serde_json::{Value, json};

#[test]
fn a_row_tells_its_life() {
    let org = Org::new().with("sforce-call-options", "client=crm-sync/7, defaultNamespace=x");
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", -1);
    let made = org.post(
        "/sobjects/Lead",
        json!({"LastName": "Müller", "Company": "Acme", "City": "Bern", "Last_Engagement_Date__c": "2026-01-02T03:04:05+01:00"}),
    );
    let id = made.id();
    org.clock.advance(Duration::from_secs(5));
    org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": "CTO", "City": null}));
    org.delete(&format!("/sobjects/Lead/{id}"));
    org.post(&format!("/_sandbox/undelete/Lead/{id}"), json!({}));
    let events = comet.events();
    let kinds: Vec<&Value> = events.iter().map(|event| &event["data"]["payload"]["ChangeEventHeader"]["changeType"]).collect();
    assert_eq!(kinds, ["CREATE", "UPDATE", "DELETE", "UNDELETE"]);
    let create = &events[0]["data"]["payload"];
    assert_eq!(create["Name"], json!({"LastName": "Müller"}));
    assert_eq!(create["Address"], json!({"City": "Bern"}));
    assert_eq!(create["Last_Engagement_Date__c"], "2026-01-02T02:04:05.000Z");
    assert_eq!(create["IsConverted"], false);
    assert!(create.get("Title").is_none() && create.get("SystemModstamp").is_none() && create.get("Id").is_none());
    let header = &create["ChangeEventHeader"];
    assert_eq!(header["changeOrigin"], "com/salesforce/api/rest/68.0;client=crm-sync/7");
    assert_eq!((&header["entityName"], &header["recordIds"]), (&json!("Lead"), &json!([id])));
    assert_eq!(header["commitTimestamp"], 1_767_225_600_000_i64);
    assert_eq!(header["sequenceNumber"], 1);
    assert!(header.get("nulledFields").is_none());
    let update = &events[1]["data"]["payload"];
    let mut body = update.as_object().unwrap().clone();
    let header = body.remove("ChangeEventHeader").unwrap();
    assert_eq!(Value::Object(body), json!({"Title": "CTO", "Address": {"City": null}, "LastModifiedDate": "2026-01-01T00:00:05.000Z"}));
    assert_eq!(header["changedFields"], json!(["Title", "Address.City", "LastModifiedDate"]));
    assert_ne!(header["transactionKey"], events[0]["data"]["payload"]["ChangeEventHeader"]["transactionKey"]);
    assert_eq!(events[2]["data"]["payload"].as_object().unwrap().len(), 1);
    assert_eq!(events[3]["data"]["payload"]["Company"], "Acme");
    assert_eq!(events[3]["data"]["payload"]["ChangeEventHeader"]["changeOrigin"], "");
    assert_eq!(events[0]["data"]["event"]["EventUuid"].as_str().unwrap().len(), 36);
    let schema = org.get(&format!("/event/eventSchema/{}", events[0]["data"]["schema"].as_str().unwrap()));
    assert_eq!((schema.body["name"].clone(), schema.body["uuid"].clone()), (json!("LeadChangeEvent"), events[0]["data"]["schema"].clone()));
    assert_eq!(org.get("/sobjects/LeadChangeEvent/eventSchema?payloadFormat=COMPACT").body["uuid"], events[0]["data"]["schema"]);
}

#[test]
fn the_same_change_to_many_rows_is_one_event_and_refused_rows_make_none() {
    let org = Org::new();
    let ids: Vec<String> = ["A", "B", "C"].iter().map(|name| org.lead(name)).collect();
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", -1);
    let rows: Vec<Value> = ids.iter().map(|id| json!({"attributes": {"type": "Lead"}, "id": id, "Title": "CTO"})).collect();
    org.patch("/composite/sobjects", json!({"allOrNone": false, "records": rows}));
    let headers = comet.headers();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0]["recordIds"], json!(ids));
    let rows = json!([{"attributes": {"type": "Lead"}, "id": ids[0], "Title": "X"}, {"attributes": {"type": "Lead"}, "id": ids[1], "Email": "bad"},
                      {"attributes": {"type": "Lead"}, "id": ids[2], "Title": "Y"}]);
    org.patch("/composite/sobjects", json!({"allOrNone": true, "records": rows}));
    assert!(comet.events().is_empty());
    org.patch("/composite/sobjects", json!({"allOrNone": false, "records": rows}));
    let headers = comet.headers();
    assert_eq!(headers.iter().map(|header| header["sequenceNumber"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(headers[0]["transactionKey"], headers[1]["transactionKey"]);
}

#[test]
fn gaps_overflows_and_strange_ids_are_told() {
    let org = Org::new();
    let comet = Comet::open(&org);
    comet.listen("/data/ChangeEvents", -1);
    script(&org, json!({"do": "gap", "entity": "Lead", "ids": ["00Q000000000001AAA", "00Q000000000002AAA"]}));
    script(&org, json!({"do": "overflow", "entity": "Contact"}));
    script(
        &org,
        json!({"do": "change", "entity": "Account", "ids": ["001*"], "kind": "UPDATE", "fields": {"Site": "x"}, "changed": ["Site"],
                        "origin": "com/salesforce/api/soap/60.0;client=other"}),
    );
    let headers = comet.headers();
    assert_eq!((&headers[0]["changeType"], headers[0]["recordIds"].as_array().unwrap().len()), (&json!("GAP_UPDATE"), 2));
    assert_eq!((&headers[1]["changeType"], &headers[1]["recordIds"]), (&json!("GAP_OVERFLOW"), &json!(["000000000000000AAA"])));
    assert_eq!(
        (&headers[2]["recordIds"], &headers[2]["changeOrigin"]),
        (&json!(["001*"]), &json!("com/salesforce/api/soap/60.0;client=other"))
    );
    assert_eq!(org.post("/_sandbox/events", json!({"do": "gap", "entity": "Lead", "ids": [], "operation": "SHRUG"})).status, 400);
}

#[test]
fn objects_are_selected_and_channels_made_through_the_tooling_api() {
    let org = Org::new();
    let comet = Comet::open(&org);
    let tool = |name: &str, body: Value| org.post(&format!("/tooling/sobjects/{name}"), body);
    let member = |channel: &str, event: &str| {
        tool("PlatformEventChannelMember", json!({"FullName": "x", "Metadata": {"eventChannel": channel, "selectedEntity": event}}))
    };
    assert_eq!(member("ChangeEvents", "TaskChangeEvent").code(), "LIMIT_EXCEEDED");
    script(&org, json!({"do": "enable", "entity": "Opportunity", "on": false}));
    let made = tool("PlatformEventChannel", json!({"FullName": "Sales__chn", "Metadata": {"channelType": "data", "label": "Sales"}}));
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(tool("PlatformEventChannel", json!({"FullName": "Sales", "Metadata": {"channelType": "data", "label": "S"}})).status, 400);
    assert_eq!(member("Sales__chn", "TaskChangeEvent").status, 201);
    assert_eq!(member("Sales__chn", "LeadChangeEvent").status, 201);
    assert_eq!(member("Sales__chn", "Lead_Signal__e").status, 400);
    comet.listen("/data/Sales__chn", -1);
    comet.listen("/data/ChangeEvents", -1);
    org.lead("A");
    assert_eq!(org.post("/sobjects/Task", json!({"Subject": "Call"})).status, 201);
    assert_eq!(org.post("/sobjects/Opportunity", json!({"Name": "O", "StageName": "Prospecting", "CloseDate": "2026-02-01"})).status, 201);
    let events = comet.events();
    let seen: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (event["channel"].as_str().unwrap(), event["data"]["payload"]["ChangeEventHeader"]["entityName"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("/data/Sales__chn", "Lead"), ("/data/ChangeEvents", "Lead"), ("/data/Sales__chn", "Task")]);
    assert_eq!(events[0]["data"]["event"]["EventApiName"], "LeadChangeEvent");
    assert!(events[1]["data"]["event"].get("EventApiName").is_none());
    let id = made.id();
    assert_eq!(org.get(&format!("/tooling/sobjects/PlatformEventChannel/{id}")).body["FullName"], "Sales__chn");
    assert_eq!(org.delete(&format!("/tooling/sobjects/PlatformEventChannel/{id}")).status, 204);
    assert_eq!(comet.subscribe("/data/Sales__chn", None)["successful"], false);
}

#[allow(clippy::needless_pass_by_value, reason = "the callers write the value in place")]
fn topic(org: &Org, name: &str, query: &str, more: Value) -> raw_http::Answer {
    let mut body = json!({"Name": name, "Query": query, "ApiVersion": 68.0});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    org.post("/sobjects/PushTopic", body)
}

#[test]
fn push_topics_are_checked() {
    let org = Org::new();
    assert_eq!(topic(&org, "MarketingEngineLeadUpdates", "SELECT Id FROM Lead", json!({})).code(), "STRING_TOO_LONG");
    for query in [
        "SELECT Email FROM Lead",
        "SELECT Id, Owner.Name FROM Lead",
        "SELECT COUNT(Id) FROM Lead",
        "SELECT Id FROM Lead ORDER BY Email",
        "SELECT Id FROM Lead LIMIT 1",
        "SELECT Id FROM Lead WHERE NOT Email = 'x'",
        "SELECT Id FROM Lead WHERE Street = 'x'",
        "SELECT Id FROM Lead WHERE Id IN (SELECT LeadId FROM CampaignMember)",
        "SELECT Id FROM CampaignMember",
        "SELECT Id, TYPEOF Owner WHEN User THEN Id END FROM Lead",
        "SELECT Id, toLabel(Status) FROM Lead",
        "SELECT Id, Nothing FROM Lead",
    ] {
        assert_eq!(topic(&org, "T", query, json!({})).code(), "INVALID_FIELD", "{query}");
    }
    assert_eq!(topic(&org, "T", "SELECT Id FROM Lead WHERE Email NOT IN ('x')", json!({})).status, 201);
}

#[test]
fn push_topics_tell_what_they_select() {
    let org = Org::new();
    assert_eq!(topic(&org, "Leads", "SELECT Id, LastName, Status FROM Lead WHERE Rating = 'Hot'", json!({})).status, 201);
    assert_eq!(
        topic(&org, "Quiet", "SELECT Id, Status FROM Lead", json!({"NotifyForFields": "Select", "NotifyForOperationCreate": false})).status,
        201
    );
    let comet = Comet::open(&org);
    comet.listen("/topic/Leads?LastName=A", -1);
    comet.listen("/topic/Leads", -1);
    comet.listen("/topic/Quiet", -1);
    let hot = org.post("/sobjects/Lead", json!({"LastName": "A", "Company": "Acme", "Rating": "Hot"})).id();
    org.post("/sobjects/Lead", json!({"LastName": "B", "Company": "Acme", "Rating": "Hot"}));
    org.post("/sobjects/Lead", json!({"LastName": "C", "Company": "Acme", "Rating": "Cold"}));
    let events = comet.events();
    let names: Vec<(&str, &str)> =
        events.iter().map(|event| (event["channel"].as_str().unwrap(), event["data"]["sobject"]["LastName"].as_str().unwrap())).collect();
    assert_eq!(names, [("/topic/Leads?LastName=A", "A"), ("/topic/Leads", "A"), ("/topic/Leads", "B")]);
    assert_eq!(events[0]["data"]["event"]["type"], "created");
    assert_eq!(events[0]["data"]["event"]["createdDate"], "2026-01-01T00:00:00.000Z");
    assert_eq!(events[0]["data"]["sobject"], json!({"Id": hot, "LastName": "A", "Status": "Open - Not Contacted"}));
    org.patch(&format!("/sobjects/Lead/{hot}"), json!({"Title": "not looked at"}));
    assert!(comet.events().is_empty());
    org.patch(&format!("/sobjects/Lead/{hot}"), json!({"Status": "Working - Contacted"}));
    let channels: Vec<Value> = comet.events().iter().map(|event| event["channel"].clone()).collect();
    assert_eq!(channels, ["/topic/Leads?LastName=A", "/topic/Leads", "/topic/Quiet"]);
    org.delete(&format!("/sobjects/Lead/{hot}"));
    let events = comet.events();
    assert_eq!(events[0]["channel"], "/topic/Leads");
    assert_eq!(events[0]["data"]["sobject"], json!({"Id": hot}));
    let replay = events[0]["data"]["event"]["replayId"].as_i64().unwrap();
    // A day later the topic's events are gone; change events are not.
    org.clock.advance(Duration::from_secs(24 * 3600));
    let comet = Comet::open(&org);
    assert_eq!(comet.subscribe("/topic/Leads", Some(replay))["successful"], false);
    comet.listen("/topic/Leads", -2);
    assert!(comet.events().is_empty());
    comet.listen("/data/LeadChangeEvent", -2);
    assert_eq!(comet.events().len(), 6);
}

#[test]
fn platform_events_are_published_and_not_stored() {
    let org = Org::new();
    let comet = Comet::open(&org);
    comet.listen("/event/Lead_Signal__e", -1);
    let answer = org.post("/sobjects/Lead_Signal__e", json!({"Signal__c": "visit", "Score__c": 2.5, "Seen_At__c": "2026-01-02T00:00:00Z"}));
    assert_eq!((answer.status, answer.body["errors"][0]["statusCode"].as_str()), (201, Some("OPERATION_ENQUEUED")));
    assert!(answer.id().starts_with("e00"));
    assert_eq!(org.post("/sobjects/Lead_Signal__e", json!({})).code(), "REQUIRED_FIELD_MISSING");
    let events = comet.events();
    assert_eq!(events.len(), 1);
    let payload = &events[0]["data"]["payload"];
    assert_eq!((payload["Signal__c"].as_str(), payload["Score__c"].as_f64()), (Some("visit"), Some(2.5)));
    assert_eq!((payload["Seen_At__c"].as_str(), &payload["Lead_Id__c"]), (Some("2026-01-02T00:00:00.000Z"), &Value::Null));
    assert_eq!(payload["CreatedDate"], "2026-01-01T00:00:00.000Z");
    assert_eq!(org.query("SELECT Id FROM Lead_Signal__e").body["totalSize"], 0);
    script(&org, json!({"do": "platform_event", "name": "Ping__e", "fields": {"Text__c": "text"}}));
    comet.listen("/event/Ping__e", -1);
    assert_eq!(org.post("/sobjects/Ping__e", json!({"Text__c": "x"})).status, 201);
    assert_eq!(comet.events()[0]["data"]["payload"]["Text__c"], "x");
}

#[test]
fn generic_channels_carry_what_is_pushed() {
    let org = Org::new();
    assert_eq!(org.post("/sobjects/StreamingChannel", json!({"Name": "Broadcast"})).code(), "INVALID_FIELD");
    let id = org.post("/sobjects/StreamingChannel", json!({"Name": "/u/Broadcast"})).id();
    let comet = Comet::open(&org);
    comet.listen("/u/Broadcast", -1);
    let push = |events: Value| org.post(&format!("/sobjects/StreamingChannel/{id}/push"), json!({"pushEvents": events}));
    let answer = push(json!([{"payload": "hello", "userIds": []}, {"payload": "not for us", "userIds": ["005000000000001"]}]));
    assert_eq!(answer.body[0]["fanoutCount"], -1);
    let events = comet.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"]["payload"], "hello");
    assert_eq!(push(json!([{"payload": "x".repeat(3001)}])).status, 400);
}

#[test]
fn the_bus_survives_with_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (host, clock) = Host::manual_with_clock(1);
        Org::over(Sandbox::open(host, 1, dir.path()).unwrap(), clock)
    };
    let (first, ids) = {
        let org = open();
        org.lead("A");
        script(&org, json!({"do": "enable", "entity": "Campaign", "on": false}));
        let comet = Comet::open(&org);
        comet.listen("/data/ChangeEvents", -2);
        let ids = comet.replays();
        org.lead("B");
        (ids[0], comet.replays())
    };
    for _ in 0..2 {
        let org = open();
        let comet = Comet::open(&org);
        comet.listen("/data/ChangeEvents", first);
        assert_eq!(comet.replays(), ids);
        assert_eq!(org.get("/_sandbox/events").body["enabled"], json!(["Account", "Contact", "Lead", "Opportunity"]));
    }
    let org = open();
    let comet = Comet::open(&org);
    comet.listen("/data/ChangeEvents", -1);
    org.lead("C");
    assert!(comet.replays()[0] > ids[0]);
}

#[test]
fn outbound_messages_are_sent_until_they_are_acknowledged() {
    let org = Org::new();
    script(&org, json!({"do": "outbound", "entity": "Lead", "fields": ["LastName", "Email"], "url": "http://receiver/hook"}));
    let id = org.lead("A & <B>");
    org.patch(&format!("/sobjects/Lead/{id}"), json!({"LastName": "Now & then"}));
    let due = org.sandbox.deliveries("http://localhost/").unwrap();
    assert_eq!(due.len(), 1);
    let envelope = &due[0].envelope;
    assert_eq!(envelope.matches("<Notification>").count(), 2);
    assert_eq!(envelope.matches("<sf:LastName>Now &amp; then</sf:LastName>").count(), 2);
    assert!(envelope.contains("<SessionId xsi:nil=\"true\"/>") && envelope.contains("xsi:type=\"sf:Lead\"") && !envelope.contains("Email"));
    let organization = org.sandbox.salesforce("http://localhost").organization_id;
    assert!(envelope.contains(&format!("<OrganizationId>{organization}</OrganizationId><ActionId>04k")));
    assert!(envelope.contains("<EnterpriseUrl>http://localhost/services/Soap/c/68.0/00D"));
    let ack = |answer: &str| {
        format!(
            "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body><notificationsResponse \
             xmlns=\"http://soap.sforce.com/2005/09/outbound\"><Ack>{answer}</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>"
        )
    };
    assert!(!org.sandbox.delivered(&due[0], 200, &ack("false")).unwrap());
    assert!(org.sandbox.deliveries("http://localhost").unwrap().is_empty());
    org.clock.advance(Duration::from_secs(15));
    let again = org.sandbox.deliveries("http://localhost").unwrap();
    assert_eq!(again[0].envelope, due[0].envelope);
    assert!(org.sandbox.delivered(&again[0], 200, &ack("true")).unwrap());
    org.clock.advance(Duration::from_secs(3600));
    assert!(org.sandbox.deliveries("http://localhost").unwrap().is_empty());
    for number in 0..101 {
        org.lead(&format!("L{number}"));
    }
    let sizes: Vec<usize> =
        org.sandbox.deliveries("http://localhost").unwrap().iter().map(|due| due.envelope.matches("<Notification>").count()).collect();
    assert_eq!(sizes, [100, 1]);
    org.clock.advance(Duration::from_secs(24 * 3600));
    assert!(org.sandbox.deliveries("http://localhost").unwrap().is_empty());
    assert_eq!(org.get("/_sandbox/events").body["outbound"]["failed"].as_array().unwrap().len(), 101);
}

#[test]
fn long_texts_change_by_a_diff() {
    let org = Org::new();
    let text: String = (0..100).map(|line| format!("line number {line}\n")).collect();
    let id = org.post("/sobjects/Lead", json!({"LastName": "A", "Company": "B", "Description": text})).id();
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", -1);
    org.patch(&format!("/sobjects/Lead/{id}"), json!({"Description": text.replace("number 50", "number fifty")}));
    let events = comet.events();
    let shown = events[0]["data"]["payload"]["Description"].as_str().unwrap();
    assert!(shown.starts_with("--- \n+++ ") && shown.contains("\n-line number 50\n+line number fifty\n"), "{shown}");
    assert_eq!(events[0]["data"]["payload"]["ChangeEventHeader"]["changedFields"], json!(["LastModifiedDate"]));
}

#[test]
fn bulk_jobs_have_their_own_origin() {
    let org = Org::new().with("sforce-call-options", "client=loader");
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", -1);
    let job = org.post("/jobs/ingest", json!({"object": "Lead", "operation": "insert", "lineEnding": "LF"}));
    let path = format!("/services/data/v68.0/jobs/ingest/{}", job.id());
    let request = http::Request::put(format!("http://localhost{path}/batches"))
        .header("authorization", format!("Bearer {}", org.token))
        .header("content-type", "text/csv")
        .body(bytes::Bytes::from_static(b"LastName,Company\nA,X\nB,Y\n"))
        .unwrap();
    let sent = futures_util::FutureExt::now_or_never(org.transport.send(request)).unwrap().unwrap();
    assert_eq!(sent.status(), 201);
    assert_eq!(org.patch(&path, json!({"state": "UploadComplete"})).status, 200);
    org.clock.advance(Duration::from_secs(30));
    let headers = comet.headers();
    assert_eq!(headers.len(), 2, "{headers:?}");
    assert_eq!(headers[0]["changeOrigin"], "com/salesforce/api/bulkapi/68.0;client=loader");
    assert_eq!(headers[0]["commitUser"], headers[1]["commitUser"]);
}
