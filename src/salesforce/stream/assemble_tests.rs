use serde_json::json;

use super::*;

fn item(header: &Value, body: &Value, every_field: bool) -> StreamEvent {
    let header: ChangeHeader = serde_json::from_value(header.clone()).unwrap();
    let own = Own { client: Some("crm-sync".to_owned()), user: None };
    let envelope = Envelope { channel: "/data/LeadChangeEvent", position: None, event: None, own: &own, every_field };
    assemble(&header, body.as_object().unwrap().clone(), envelope)
}

fn header(kind: &str, ids: &[&str]) -> Value {
    json!({"entityName": "Lead", "recordIds": ids, "changeType": kind, "commitTimestamp": 1_764_000_000_000_i64, "commitNumber": 7,
           "transactionKey": "t1", "sequenceNumber": 1, "commitUser": "005000000000001AAA",
           "changeOrigin": "com/salesforce/api/rest/68.0;client=crm-sync"})
}

fn with(mut header: Value, name: &str, value: Value) -> Value {
    header[name] = value;
    header
}

fn changed(event: StreamEvent) -> StreamChange {
    match event {
        StreamEvent::Change(change) => change,
        other => panic!("no change: {other:?}"),
    }
}

fn reread(event: StreamEvent) -> Reread {
    match event {
        StreamEvent::Reread(reread) => reread,
        other => panic!("no order to read again: {other:?}"),
    }
}

const ID: &str = "00QAb00000Xy12Z";

#[test]
fn an_update_holds_what_changed_by_the_records_names() {
    let body = json!({"Status": "Working", "Title": null, "Name": {"FirstName": "Ann"}, "Address": {"City": "Bern", "Street": null}});
    let change = changed(item(&header("UPDATE", &[ID]), &body, false));
    assert_eq!(change.change.id.as_str(), "00QAb00000Xy12ZMAR");
    let expected = json!({"Status": "Working", "Title": null, "FirstName": "Ann", "City": "Bern", "Street": null});
    assert_eq!(change.change.fields.to_value(), expected);
    assert!(change.own);
    assert_eq!(change.commit.number, Some(7));
    assert_eq!(change.change.at.unwrap().as_millisecond(), 1_764_000_000_000);
    assert_eq!(change.changed, None);
}

#[test]
fn untouched_nulls_are_no_clears() {
    let body = json!({"Status": null, "Title": null, "City__c": "enriched", "Company": null,
                      "Address": {"City": null, "Street": null, "State": "BE"}});
    let lists = with(header("UPDATE", &[ID]), "changedFields", json!(["Title", "Address.City", "Address.State"]));
    let change = changed(item(&with(lists, "nulledFields", json!(["Title", "Address.City"])), &body, true));
    assert_eq!(change.change.fields.to_value(), json!({"Title": null, "City__c": "enriched", "City": null, "State": "BE"}));
    assert_eq!(change.changed.unwrap(), ["Title", "City", "State"]);
    let nothing = with(header("UPDATE", &[ID]), "changedFields", json!([]));
    assert!(changed(item(&nothing, &body, true)).change.fields.get("Title").is_none());
    // Enrichment by CometD: the list says which null is a change.
    let listed = with(header("UPDATE", &[ID]), "changedFields", json!(["Title"]));
    assert_eq!(changed(item(&listed, &json!({"Title": null, "External_Id__c": null}), false)).change.fields.len(), 1);
}

#[test]
fn a_new_record_is_the_same_from_both_transports() {
    let comet = changed(item(&header("CREATE", &[ID]), &json!({"LastName": "A", "Name": {"LastName": "A"}}), false));
    let pubsub = changed(item(&header("CREATE", &[ID]), &json!({"LastName": "A", "Title": null, "Address": null}), true));
    assert_eq!(comet.change.fields.to_value(), pubsub.change.fields.to_value());
    assert_eq!(comet.change.kind, ChangeKind::Created);
    let gone = changed(item(&header("DELETE", &[ID]), &json!({}), true));
    assert!(gone.change.fields.is_empty() && gone.change.kind == ChangeKind::Deleted);
    assert_eq!(changed(item(&header("UNDELETE", &[ID]), &json!({"LastName": "A"}), false)).change.kind, ChangeKind::Restored);
}

#[test]
fn what_says_too_little_is_read_again() {
    let many = reread(item(&header("UPDATE", &[ID, "00Q000000000001"]), &json!({"Status": "x"}), false));
    assert_eq!((many.reason, many.kind), (RereadReason::ManyRecords, Some(ChangeKind::Updated)));
    let RereadScope::Records(ids) = &many.scope else { panic!("{many:?}") };
    assert_eq!(ids.len(), 2);
    assert!(many.own && many.commit.transaction.is_some());
    let gap = reread(item(&header("GAP_DELETE", &[ID]), &json!({}), false));
    assert_eq!((gap.reason, gap.kind), (RereadReason::Gap, Some(ChangeKind::Deleted)));
    let overflow = reread(item(&header("GAP_OVERFLOW", &["000000000000000AAA"]), &json!({}), false));
    assert_eq!((overflow.reason, overflow.scope, overflow.entity.unwrap().as_str()), (RereadReason::Overflow, RereadScope::All, "Lead"));
    for kind in ["UPDATE", "GAP_UPDATE"] {
        let wild = reread(item(&header(kind, &["00Q*"]), &json!({"X__c": 1}), false));
        assert_eq!((wild.reason, wild.scope), (RereadReason::Wildcard, RereadScope::All));
    }
    let strange = reread(item(&header("SNAPSHOT", &[ID]), &json!({}), false));
    assert_eq!(strange.reason, RereadReason::Undecodable);
    let nobody = reread(item(&header("UPDATE", &["000000000000000AAA"]), &json!({}), false));
    assert_eq!(nobody.scope, RereadScope::Since(Timestamp::from_millisecond(1_764_000_000_000).unwrap()));
    let diff = reread(item(&header("UPDATE", &[ID]), &json!({"Description": "--- \n+++ abc\n@@ -1 +1 @@"}), false));
    assert_eq!(diff.reason, RereadReason::Incomplete);
    let diff = with(header("UPDATE", &[ID]), "diffFields", json!(["Description"]));
    assert_eq!(reread(item(&diff, &json!({"Description": null}), true)).reason, RereadReason::Incomplete);
    let address = reread(item(&header("UPDATE", &[ID]), &json!({"BillingAddress": null}), false));
    assert_eq!(address.reason, RereadReason::Incomplete);
}

#[test]
fn a_stranger_who_names_us_needs_the_user_too() {
    let own = |user: Option<&str>| Own { client: Some("crm-sync".to_owned()), user: user.map(ToOwned::to_owned) };
    let header: ChangeHeader = serde_json::from_value(header("UPDATE", &[ID])).unwrap();
    assert!(own(None).is_own(&header.origin()));
    assert!(own(Some("005000000000001")).is_own(&header.origin()), "ids of 15 and of 18 characters are the same");
    assert!(!own(Some("005000000000002AAA")).is_own(&header.origin()));
    assert!(!Own { client: None, user: None }.is_own(&header.origin()));
}
