//! Rows, composites, replication, search and descriptions of the Salesforce client, against documented bodies.

#![allow(clippy::indexing_slicing, reason = "a test that fails should stop")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, like the tests")]

use crate::replay;

use crm_sync::adapter::{CrmAdapter, CrmAdapterExt};
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::model::{ExternalKey, Fields, RecordId};
use crm_sync::query::{Criteria, Query};
use crm_sync::salesforce::composite::{Batch, Composite, Graphs, Tree, TreeNode};
use crm_sync::salesforce::entity::{ACCOUNT, CONTACT, LEAD};
use crm_sync::salesforce::sosl::{SearchGroup, Sosl};
use crm_sync::salesforce::{AutoAssign, Conditional, Precondition, QueryCursor, Related, Soql};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use replay::{client, fixture, reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const ACC: &str = "001D000000Kv3g5IAB";
const CON: &str = "003D000000QV9n2IAD";
const ID: &str = "00QAb00000Xy12ZMAR";

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn saved(id: &str) -> String {
    json!({"id": id, "success": true, "errors": []}).to_string()
}

#[tokio::test]
async fn conditions_are_sent_and_their_answers_told_apart() {
    let row = json!({"attributes": {"type": "Account", "url": "/x"}, "Id": ACC, "Name": "Acme"}).to_string();
    let (client, replay) = client(vec![
        reply(200, row).header("ETag", "\"e1\"").header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT"),
        reply(304, ""),
        reply(304, ""),
        reply(404, r#"[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]"#),
        reply(412, ""),
        reply(412, r#"[{"errorCode":"PRECONDITION_FAILED","message":"x"}]"#),
        reply(404, r#"[{"errorCode":"ENTITY_IS_DELETED","message":"entity is deleted"}]"#),
        reply(204, ""),
    ]);
    let id = RecordId::from(ACC);
    let Conditional::Found { fields: row, etag, modified_at, .. } =
        client.retrieve_when(&ACCOUNT, &id, &["Id", "Name"], &Precondition::new()).await.unwrap()
    else {
        panic!("the account is there")
    };
    assert_eq!((row.text("Name"), etag.as_deref()), (Some("Acme"), Some("\"e1\"")));
    let modified_at = modified_at.unwrap();
    assert_eq!(modified_at, at("2026-01-02T03:04:05Z"));
    let unchanged = [Precondition::new().differs(etag.clone().unwrap()), Precondition::new().modified_since(modified_at)];
    for condition in &unchanged {
        assert_eq!(client.retrieve_when(&ACCOUNT, &id, &["Id"], condition).await.unwrap(), Conditional::NotModified);
    }
    assert_eq!(client.retrieve_when(&ACCOUNT, &id, &["Id"], &unchanged[1]).await.unwrap(), Conditional::Missing);
    let changed = Precondition::new().matches(etag.unwrap());
    let name = fields(json!({"Name": "B"}));
    let conflict = client.update_when(&ACCOUNT, &id, &name, &changed).await.unwrap_err();
    assert_eq!((conflict.kind(), conflict.retry(), conflict.may_have_applied()), (ErrorKind::Conflict, Retry::Never, false));
    let since = Precondition::new().unmodified_since(modified_at);
    assert_eq!(client.delete_when(&ACCOUNT, &id, &since).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!client.delete_when(&ACCOUNT, &id, &since).await.unwrap(), "gone already");
    client.update_when(&ACCOUNT, &id, &name, &since).await.unwrap();
    let seen = replay.seen();
    assert_eq!(seen[1].header("if-none-match"), Some("\"e1\""));
    assert_eq!(seen[2].header("if-modified-since"), Some("Fri, 02 Jan 2026 03:04:05 GMT"));
    assert_eq!(seen[4].header("if-match"), Some("\"e1\""));
    assert_eq!(seen[7].header("if-unmodified-since"), Some("Fri, 02 Jan 2026 03:04:05 GMT"));
}

#[derive(Serialize, Deserialize)]
struct NewContact {
    #[serde(rename = "LastName")]
    last_name: String,
    #[serde(rename = "Account")]
    account: Related,
}

#[tokio::test]
async fn lookups_by_external_id_from_both_sides() {
    let rows = json!([{"id": CON, "success": true, "errors": []}]).to_string();
    let (client, replay) = client(vec![reply(201, saved(CON)), reply(201, saved(CON)), reply(200, rows)]);
    let typed = NewContact { last_name: "Ng".into(), account: Related::by("Ext__c", "A-1").unwrap() };
    client.create(&CONTACT, &Fields::from_typed(&typed).unwrap()).await.unwrap();
    let plain = fields(json!({"LastName": "Ng", "Account.Ext__c": "A-1"}));
    CrmAdapter::create(&client, &CONTACT, &plain, &crm_sync::adapter::WriteOptions::new()).await.unwrap();
    let wrong = fields(json!({"LastName": "Ng", "Account.Ext__c": null}));
    let outcomes = client.create_collection(&[(&CONTACT, &wrong), (&CONTACT, &plain)]).await.unwrap();
    let error = outcomes[0].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "Account.Ext__c"));
    assert_eq!(outcomes[1].as_ref().unwrap().id, RecordId::from(CON), "one bad row does not hold up the other");
    let seen = replay.seen();
    for request in &seen[..2] {
        assert_eq!(request.json(), json!({"LastName": "Ng", "Account": {"Ext__c": "A-1"}}));
    }
    let record = json!({"attributes": {"type": "Contact"}, "LastName": "Ng", "Account": {"Ext__c": "A-1"}});
    assert_eq!(seen[2].json(), json!({"allOrNone": false, "records": [record]}));
}

#[tokio::test]
async fn a_composite_has_an_outcome_per_part() {
    let (client, replay) = client(vec![reply(200, fixture("composite.json")), reply(200, fixture("composite_rolled_back.json"))]);
    let client = client.with_auto_assign(AutoAssign::Off).unwrap();
    let build = |whole: bool| {
        let mut composite = Composite::new().all_or_none(whole).collate(false);
        let account = composite.create("acc", &ACCOUNT, &fields(json!({"Name": "A"})), &[]).unwrap();
        composite.create("con", &CONTACT, &fields(json!({"Title": "x"})), &[("AccountId", account.clone())]).unwrap();
        composite.update("fix", &ACCOUNT, &account, &fields(json!({"Name": "B"})), &[]).unwrap();
        composite
    };
    let parts = client.composite(&build(false)).await.unwrap();
    assert_eq!(parts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["acc", "con", "fix"]);
    let made = parts[0].1.as_ref().unwrap();
    assert_eq!((made.id(), made.created()), (Some(RecordId::from(ACC)), Some(true)));
    assert!(made.headers["Location"].ends_with(ACC));
    let missing = parts[1].1.as_ref().unwrap_err();
    assert_eq!((missing.kind(), missing.code()), (ErrorKind::Validation, Some("REQUIRED_FIELD_MISSING")));
    assert_eq!(parts[2].1.as_ref().unwrap().status, 204);

    let parts = client.composite(&build(true)).await.unwrap();
    let kinds: Vec<_> = parts.iter().map(|(_, outcome)| outcome.as_ref().unwrap_err().kind()).collect();
    assert_eq!(kinds, [ErrorKind::Cancelled, ErrorKind::Unavailable, ErrorKind::Cancelled], "what is called a success was undone");

    let sent = &replay.seen()[0];
    assert_eq!(sent.line, "POST /services/data/v68.0/composite");
    let headers = json!({"sforce-auto-assign": "FALSE"});
    assert_eq!(
        sent.json(),
        json!({"allOrNone": false, "collateSubrequests": false, "compositeRequest": [
            {"method": "POST", "url": "/services/data/v68.0/sobjects/Account", "referenceId": "acc", "body": {"Name": "A"}, "httpHeaders": headers},
            {"method": "POST", "url": "/services/data/v68.0/sobjects/Contact", "referenceId": "con",
                "body": {"Title": "x", "AccountId": "@{acc.id}"}, "httpHeaders": headers},
            {"method": "PATCH", "url": "/services/data/v68.0/sobjects/Account/@{acc.id}", "referenceId": "fix", "body": {"Name": "B"},
                "httpHeaders": headers},
        ]})
    );
}

#[tokio::test]
async fn graphs_batches_and_trees() {
    let (client, replay) = client(vec![
        reply(200, fixture("graphs.json")),
        reply(200, fixture("batch.json")),
        reply(201, fixture("tree_saved.json")),
        reply(400, fixture("tree_refused.json")),
        reply(400, r#"[{"errorCode":"JSON_PARSER_ERROR","message":"x"}]"#),
    ]);
    let mut graphs = Graphs::new();
    let mut one = Composite::new();
    let account = one.create("acc", &ACCOUNT, &fields(json!({"Name": "A"})), &[]).unwrap();
    graphs.add("1", one.clone()).unwrap();
    one.create("con", &CONTACT, &fields(json!({"Email": "x"})), &[("AccountId", account)]).unwrap();
    graphs.add("2", one).unwrap();
    let outcomes = client.composite_graph(&graphs).await.unwrap();
    assert_eq!(outcomes.iter().map(|graph| (graph.name.as_str(), graph.saved)).collect::<Vec<_>>(), [("1", true), ("2", false)]);
    assert_eq!(outcomes[1].parts[0].1.as_ref().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(outcomes[1].parts[1].1.as_ref().unwrap_err().code(), Some("INVALID_EMAIL_ADDRESS"));

    let mut parts = Composite::new();
    let id = RecordId::from(ID);
    parts.get("a", &LEAD, &id, &["Id"]).unwrap();
    parts.update("b", &LEAD, &id, &fields(json!({"Title": "x"})), &[]).unwrap();
    parts.delete("c", &LEAD, &id).unwrap();
    parts.query("d", "SELECT Id FROM Lead").unwrap();
    let outcomes = client.composite_batch(&Batch::new(parts).unwrap().halt_on_error(true)).await.unwrap();
    assert_eq!(outcomes[0].1.as_ref().unwrap().id(), Some(id.clone()));
    assert!(outcomes[1].1.is_ok());
    assert_eq!(outcomes[2].1.as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(outcomes[3].1.as_ref().unwrap_err().kind(), ErrorKind::Cancelled);
    let sent = replay.seen()[1].json();
    assert_eq!(sent["haltOnError"], true);
    assert_eq!(
        sent["batchRequests"][1],
        json!({"method": "PATCH", "url": format!("v68.0/sobjects/Lead/{ID}"), "richInput": {"Title": "x"}})
    );

    let child = TreeNode::new(&CONTACT, "r2", fields(json!({"LastName": "B"})));
    let tree = Tree::new(&[TreeNode::new(&ACCOUNT, "r1", fields(json!({"Name": "A"}))).child("Contacts", child)]).unwrap();
    let made = client.create_tree(&tree).await.unwrap();
    assert_eq!(made[1].1.as_ref().unwrap(), &RecordId::from(CON));
    let refused = client.create_tree(&tree).await.unwrap();
    assert_eq!(refused[0].1.as_ref().unwrap_err().kind(), ErrorKind::Cancelled);
    let wrong = refused[1].1.as_ref().unwrap_err();
    assert_eq!((wrong.code(), wrong.fields()[0].field.as_str()), (Some("INVALID_EMAIL_ADDRESS"), "Email"));
    let broken = client.create_tree(&tree).await.unwrap_err();
    assert_eq!((broken.kind(), broken.may_have_applied()), (ErrorKind::Validation, false));
}

#[tokio::test]
async fn an_interrupted_composite_may_have_been_applied() {
    let (client, _) = client(vec![reply(503, "<html>"), reply(503, "<html>")]);
    let mut composite = Composite::new();
    composite.query("q", "SELECT Id FROM Lead").unwrap();
    assert!(!client.composite(&composite).await.unwrap_err().may_have_applied(), "it reads only");
    composite.create("a", &ACCOUNT, &Fields::new(), &[]).unwrap();
    assert!(client.composite(&composite).await.unwrap_err().may_have_applied());
}

#[tokio::test]
async fn replication_cuts_to_minutes_and_halves_what_is_too_much() {
    let too_many = || reply(400, r#"[{"errorCode":"EXCEEDED_ID_LIMIT","message":"too many"}]"#);
    let covered = |ids: &[&str], to: &str| reply(200, json!({"ids": ids, "latestDateCovered": to}).to_string());
    let (client, replay) = client(vec![
        reply(200, fixture("updated.json")),
        reply(200, fixture("deleted.json")),
        too_many(),
        covered(&[ID], "2026-11-24T08:30:00.000+0000"),
        covered(&[ID, ACC], "2026-11-24T08:58:00.000+0000"),
        too_many(),
        covered(&[ID], "2026-11-24T08:20:00.000+0000"),
        too_many(),
    ]);
    let (start, end) = (at("2026-11-24T08:00:59Z"), at("2026-11-24T09:00:59Z"));
    let updated = client.updated(&LEAD, start, end).await.unwrap();
    assert_eq!(updated.ids, [RecordId::from(ID)], "15 and 18 characters are one record");
    assert_eq!(updated.covered, at("2026-11-24T08:17:00Z"));
    let deleted = client.deleted(&LEAD, start, end).await.unwrap();
    assert_eq!(deleted.records, [(RecordId::from(ID), Some(at("2026-11-24T08:15:32Z")))]);
    assert_eq!(deleted.earliest, Some(at("2026-11-09T00:00:00Z")));
    let halves = client.updated(&LEAD, start, end).await.unwrap();
    assert_eq!(halves.ids, [RecordId::from(ID), RecordId::from(ACC)]);
    assert_eq!(halves.covered, at("2026-11-24T08:58:00Z"));
    let lagging = client.updated(&LEAD, start, end).await.unwrap();
    assert_eq!(lagging.covered, at("2026-11-24T08:20:00Z"), "nothing behind a part that is not complete");
    let short = client.updated(&LEAD, start, at("2026-11-24T08:02:00Z")).await.unwrap_err();
    assert_eq!(short.kind(), ErrorKind::Unsupported);
    assert_eq!(
        replay.lines()[..4],
        [
            "GET /sobjects/Lead/updated/?start=2026-11-24T08%3A00%3A00%2B00%3A00&end=2026-11-24T09%3A00%3A00%2B00%3A00",
            "GET /sobjects/Lead/deleted/?start=2026-11-24T08%3A00%3A00%2B00%3A00&end=2026-11-24T09%3A00%3A00%2B00%3A00",
            "GET /sobjects/Lead/updated/?start=2026-11-24T08%3A00%3A00%2B00%3A00&end=2026-11-24T09%3A00%3A00%2B00%3A00",
            "GET /sobjects/Lead/updated/?start=2026-11-24T08%3A00%3A00%2B00%3A00&end=2026-11-24T08%3A30%3A00%2B00%3A00",
        ]
    );
    for (from, to) in [("2026-11-24T08:00:00Z", "2026-11-24T08:01:59Z"), ("2026-10-01T00:00:00Z", "2026-11-24T08:00:00Z")] {
        assert_eq!(client.updated(&LEAD, at(from), at(to)).await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(replay.left(), 0);
}

#[tokio::test]
async fn text_search_both_ways() {
    let (client, replay) = client(vec![reply(200, fixture("search.json")), reply(200, fixture("search.json"))]);
    let sosl = Sosl::phrase("a-b'c").group(SearchGroup::Email);
    let sosl = sosl.returning(&LEAD, &["Id", "Email"], &Criteria::ne("Status", "O'Brien"), Some(20)).limit(100);
    let hits = client.search_text(&sosl).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.entity.as_str()).collect::<Vec<_>>(), ["Lead", "Contact"]);
    assert_eq!(hits[0].fields.to_value(), json!({"Id": ID, "Email": "a@b.example"}));
    assert_eq!(client.parameterized_search(&sosl).await.unwrap(), hits);
    assert_eq!(
        replay.seen()[1].json(),
        json!({"q": r#""a\-b\'c""#, "in": "EMAIL", "overallLimit": 100, "spellCorrection": false,
            "sobjects": [{"name": "Lead", "fields": ["Id", "Email"], "where": r"Status != 'O\'Brien'", "limit": 20}]})
    );
}

#[tokio::test]
async fn descriptions_are_asked_for_again_only_if_they_changed() {
    let date = "Fri, 02 Jan 2026 03:04:05 GMT";
    let global = json!({"maxBatchSize": 200, "sobjects": [{"name": "Lead", "keyPrefix": "00Q", "createable": true}]}).to_string();
    let (client, replay) = client(vec![
        reply(200, fixture("describe_lead.json")).header("Last-Modified", date),
        reply(304, ""),
        reply(200, global).header("Last-Modified", date),
        reply(304, ""),
        reply(200, fixture("picklists_of_record_type.json")),
        reply(200, fixture("layouts.json")),
    ]);
    let schema = client.describe_object(&LEAD).await.unwrap();
    assert_eq!(CrmAdapter::describe(&client, &LEAD).await.unwrap(), schema);
    let first = client.describe_global().await.unwrap();
    assert_eq!(client.describe_global().await.unwrap().sobjects.len(), first.sobjects.len());
    let seen = replay.seen();
    let conditions: Vec<_> = seen.iter().map(|seen| seen.header("if-modified-since")).collect();
    assert_eq!(conditions, [None, Some(date), None, Some(date)]);
    let picklists = client.picklists_of(&LEAD, &RecordId::from("012000000000000")).await.unwrap();
    assert_eq!(picklists[0].field, "Status");
    let values: Vec<_> = picklists[0].picklist.values.iter().map(|value| (value.value.as_str(), value.default)).collect();
    assert_eq!(values, [("Open - Not Contacted", true), ("Disqualified", false)]);
    assert_eq!(replay.lines()[4], "GET /ui-api/object-info/Lead/picklist-values/012000000000000AAA");
    let layouts = client.layouts(&LEAD).await.unwrap();
    assert_eq!((layouts[0].name.as_str(), layouts[0].available), ("B2B", true));
}

#[derive(Debug, PartialEq, Deserialize)]
struct AccountRow {
    #[serde(rename = "Contacts")]
    contacts: Option<Contacts>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Contacts {
    records: Vec<Value>,
    done: bool,
}

#[tokio::test]
async fn children_are_read_to_their_end() {
    let pages = || vec![reply(200, fixture("children_1.json")), reply(200, fixture("children_2.json"))];
    let soql = Soql::select(["Id"]).from("Account").child(Soql::select(["LastName"]).from("Contacts")).build().unwrap();
    let (typed, replay) = client(pages());
    let rows: Vec<AccountRow> = typed.query_all(soql.as_str()).try_collect().await.unwrap();
    let contacts = rows[0].contacts.as_ref().unwrap();
    assert!(contacts.done);
    let names: Vec<_> = contacts.records.iter().map(|row| row["LastName"].as_str().unwrap()).collect();
    assert_eq!(names, ["A", "B", "C"]);
    assert_eq!(replay.lines()[1], "GET /query/01gAb00000LocAtIAJ-2");
    let (plain, _) = client(pages());
    let page = plain.query_fields(&soql).await.unwrap();
    let expected = json!({"totalSize": 3, "done": true, "records": [{"LastName": "A"}, {"LastName": "B"}, {"LastName": "C"}]});
    assert_eq!(page.records[0].get("Contacts"), Some(&expected));
    let evil = fixture("children_1.json").replace("/services/data/v68.0/query/", "https://evil.example/services/data/v68.0/query/");
    let (client, replay) = client(vec![reply(200, evil)]);
    assert_eq!(client.query::<AccountRow>(&soql).await.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(replay.seen().len(), 1);
}

fn page(ids: &[u32], next: Option<&str>) -> replay::Reply {
    let rows: Vec<Value> = ids.iter().map(|id| json!({"attributes": {"type": "Lead", "url": "/x"}, "N": id})).collect();
    let mut page = json!({"totalSize": 5, "done": next.is_none(), "records": rows});
    if let Some(next) = next {
        page["nextRecordsUrl"] = json!(format!("/services/data/v68.0/query/{next}"));
    }
    reply(200, page.to_string())
}

#[derive(Debug, Deserialize)]
struct Numbered {
    #[serde(rename = "N")]
    n: u32,
}

#[tokio::test]
async fn a_stored_cursor_goes_on_where_the_reader_stood() {
    for stop in 0..=5 {
        let (client, _) = client(vec![page(&[1, 2], Some("01gAb-2")), page(&[3, 4], Some("01gAb-4")), page(&[5], None)]);
        let mut rows = client.rows::<Numbered>("SELECT N FROM Lead");
        let mut got = Vec::new();
        for _ in 0..stop {
            got.push(rows.next().await.unwrap().unwrap().n);
        }
        let stored = serde_json::to_string(&rows.cursor()).unwrap();
        let cursor: QueryCursor = serde_json::from_str(&stored).unwrap();
        assert_eq!(cursor.is_done(), stop == 5);
        let replies = match stop {
            0 | 1 => vec![page(&[1, 2], Some("01gAb-2")), page(&[3, 4], Some("01gAb-4")), page(&[5], None)],
            2 | 3 => vec![page(&[3, 4], Some("01gAb-4")), page(&[5], None)],
            4 => vec![page(&[5], None)],
            _ => vec![],
        };
        let (later, replay) = replay::client(replies);
        let rest: Vec<Numbered> = later.resume_rows(cursor).into_stream().try_collect().await.unwrap();
        if stop == 1 {
            got.clear();
        }
        got.extend(rest.iter().map(|row| row.n));
        assert_eq!(got, [1, 2, 3, 4, 5], "stopped after {stop}");
        assert_eq!(replay.left(), 0);
    }
    let (client, replay) = client(vec![page(&[1], Some("01gAb-1")), page(&[2], Some("01gAb-1"))]);
    let looping: Result<Vec<Numbered>, _> = client.query_all_with_deleted("SELECT N FROM Lead").try_collect().await;
    assert_eq!(looping.unwrap_err().kind(), ErrorKind::Decode, "a page that names itself");
    assert!(replay.lines()[0].starts_with("GET /queryAll?q="));
    let (client, _) = replay::client(vec![]);
    let long = format!("SELECT Id FROM Lead WHERE Name = '{}'", "x".repeat(100_000));
    let error = client.query::<Numbered>(&long).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("100,000"));
    let error = client.query::<Numbered>(&"x".repeat(20_000)).await.unwrap_err();
    assert!(error.to_string().contains("no query by POST"), "{error}");
}

#[tokio::test]
async fn long_lists_are_searched_in_parts_without_doubling() {
    let row = |n: usize| json!({"attributes": {"type": "Lead", "url": "/x"}, "Id": format!("00QAb00000X{n:04}"), "Email": "e"});
    let answer = |from: usize, count: usize, next: bool| {
        let rows: Vec<Value> = (from..from + count).map(row).collect();
        let mut page = json!({"totalSize": count, "done": !next, "records": rows});
        if next {
            page["nextRecordsUrl"] = json!("/services/data/v68.0/query/01gAb-1");
        }
        reply(200, page.to_string())
    };
    let wanted: Vec<String> = (0..600).map(|n| format!("person.{n:04}@long-domain.example")).collect();
    let filter = Criteria::one_of("Email", wanted.iter().flat_map(|email| [email.clone(), email.to_uppercase()]));
    let query = Query::new(LEAD).filter(filter.clone()).select(["Email"]);
    let parts = Soql::select(["Email", "Id", "SystemModstamp"]).from("Lead").filter(&filter).split(10_000).unwrap().len();
    assert!(parts > 4, "{parts}");
    let mut replies = vec![answer(0, 3, true), answer(3, 2, false), answer(0, 0, false)];
    replies.extend((3..=parts).map(|part| answer(part * 10, 1, false)));
    let (all, replay) = client(replies);
    let rows: Vec<_> = all.search_all(query.clone()).try_collect().await.unwrap();
    assert_eq!((rows.len(), replay.left()), (5 + parts - 2, 0));
    let mut asked: Vec<String> = Vec::new();
    for line in replay.lines().iter().filter(|line| line.starts_with("GET /query?q=")) {
        assert!(line.len() < 12_000, "{}", line.len());
        let statement = url::Url::parse(&format!("http://x{}", line.strip_prefix("GET ").unwrap())).unwrap();
        let soql = statement.query_pairs().next().unwrap().1.into_owned();
        asked.extend(soql.split('\'').skip(1).step_by(2).map(ToOwned::to_owned));
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 1200, "every value is asked for");

    let (limited, replay) = client(vec![answer(0, 3, false), answer(10, 2, false)]);
    let rows: Vec<_> = limited.search_all(query.clone().limit(5)).try_collect().await.unwrap();
    assert_eq!(rows.len(), 5);
    let limits: Vec<_> = replay.lines().iter().map(|line| line.rsplit("%20").next().unwrap().to_owned()).collect();
    assert_eq!(limits, ["5", "2"], "what is left of the limit");
    let (sorted, _) = client(vec![]);
    let error = sorted.search(&query.order_by("Email", false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn external_ids_that_several_records_have() {
    let urls =
        json!([format!("/services/data/v68.0/sobjects/Lead/{ID}"), "/services/data/v68.0/sobjects/Lead/00QAb00000Xy12a"]).to_string();
    let (client, replay) = client(vec![reply(300, urls.clone()), reply(300, urls), reply(204, ""), reply(404, "")]);
    let key = ExternalKey::new("Ext__c", "A/B #1").unwrap();
    for error in
        [client.update_by(&LEAD, &key, &fields(json!({"Title": "x"}))).await.unwrap_err(), client.delete_by(&LEAD, &key).await.unwrap_err()]
    {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Duplicate, Retry::Never));
        assert_eq!(error.duplicates().len(), 2);
        assert_eq!(error.duplicates()[0], RecordId::from(ID));
    }
    assert!(client.delete_by(&LEAD, &key).await.unwrap());
    assert!(!client.delete_by(&LEAD, &key).await.unwrap());
    assert_eq!(replay.lines()[0], "PATCH /sobjects/Lead/Ext__c/A%2FB%20%231?updateOnly=true");
}
