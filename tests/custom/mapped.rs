//! The host's own words on any adapter.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::fake;

use std::time::Duration;

use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Dictionary, Since, WriteOptions};
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Entity, ExternalKey, FieldType, Fields};
use crm_sync::query::{Criteria, Query};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;
use fake::{body, fields, run};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

const LEAD: Entity = Entity::from_static("lead");

fn mapping(text: &str, crm: &str, schema: Option<&crm_sync::model::EntitySchema>) -> Mapping {
    let set = MappingSet::from_yaml(text, "mapping.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    Mapping::compile(set.require(crm, "lead").unwrap(), schema).unwrap_or_else(|problems| panic!("{problems}"))
}

const GUIDE: &str = r#"
custom:
  lead:
    email: email_address
    name: {into: [first_name, last_name]}
    stage: {type: picklist, field: status, mapping: {new: Open, lost: Closed}}
    score: points
"#;

#[test]
fn the_guides_adapter_in_host_words() {
    let guide = include_str!("../../examples/custom/guide.yaml");
    let (builder, log) = fake::custom(guide, |request| match (request.method().as_str(), request.uri().path()) {
        ("POST", "/api/leads/search") => {
            assert_eq!(body(request), json!({"email_address": "a@b.co", "status": "Open"}));
            let row = json!({"id": 7, "email_address": "a@b.co", "first_name": "Ada", "last_name": "L", "status": "Open", "points": 3});
            (200, vec![], json!([row]))
        }
        ("POST", "/api/leads") => {
            assert_eq!(body(request), json!({"email_address": "n@b.co", "first_name": "Ada", "last_name": "Lovelace", "status": "Closed"}));
            (201, vec![], json!({"id": 8}))
        }
        ("PUT", "/api/leads/8") => {
            assert_eq!(body(request), json!({"points": 5}));
            (200, vec![], json!({"id": 8}))
        }
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("api_key", "k3y".to_owned()).build().unwrap().mapped(("leads", mapping(GUIDE, "custom", None)));
    let wanted = Criteria::eq("email", "a@b.co").and(Criteria::eq("stage", "new"));
    let found = run(crm.search(&Query::new(LEAD).filter(wanted).select(["name", "stage"]))).unwrap();
    assert_eq!(found.items[0].entity, LEAD);
    assert_eq!(serde_json::to_value(&found.items[0].fields).unwrap(), json!({"name": "Ada L", "stage": "new"}));
    let lead = fields(json!({"email": "n@b.co", "name": "Ada Lovelace", "stage": "lost"}));
    let made = run(crm.create(&LEAD, &lead, &WriteOptions::new())).unwrap();
    run(crm.update(&LEAD, &made.id, &fields(json!({"score": 5})), &WriteOptions::new())).unwrap();
    assert_eq!(log.lock().unwrap().len(), 3);
    // What the words do not say is told, and not sent.
    for (error, said) in [
        (
            run(crm.create(&LEAD, &fields(json!({"emial": "x"})), &WriteOptions::new())).unwrap_err(),
            "knows no field emial (did you mean \"email\"?)",
        ),
        (run(crm.search(&Query::new(LEAD).filter(Criteria::eq("emial", "x")))).unwrap_err(), "knows no field emial"),
        (
            run(crm.search(&Query::new(Entity::from_static("leed")))).unwrap_err(),
            "no mapping was given for the entity leed (did you mean \"lead\"?)",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(said), "{error}");
    }
    assert_eq!(log.lock().unwrap().len(), 3);
    assert_eq!(crm.name(), "custom");
}

const SALESFORCE: &str = r"
salesforce:
  lead:
    lastName: LastName
    company: Company
    email: Email
    title: Title
    employees: NumberOfEmployees
    externalId: External_Id__c
";

#[tokio::test]
async fn salesforce_in_host_words_keeps_the_contract() {
    let host = Host::manual(7);
    let sandbox = Sandbox::new(host.clone(), 7);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(access.instance_url.clone(), access.access_token.clone().into());
    let salesforce = Salesforce::new(config, sandbox.transport(), host.clone()).unwrap();
    let schema = salesforce.describe(&Entity::from_static("Lead")).await.unwrap();
    let words = Dictionary::new().entity("Lead", mapping(SALESFORCE, "salesforce", Some(&schema))).time(host.clone());
    let crm = salesforce.mapped(words);

    let sample = |n: u64| {
        fields(
            json!({"lastName": format!("Conformance{n:04}"), "company": "Conformance Ltd", "email": format!("conformance{n}@example.com"),
            "title": "Tester", "employees": n, "externalId": format!("conformance-{n}")}),
        )
    };
    let subject = Subject::new(LEAD, "lastName", sample)
        .clearable("title")
        .number("employees")
        .key("externalId")
        .search_lag(host.clone(), Duration::from_secs(2));
    let report = check(&crm, &subject).await;
    assert!(report.is_ok(), "{report}");
    let skipped: Vec<&str> = report.skipped.iter().map(|(name, _)| *name).collect();
    assert_eq!(skipped, ["unclaimed_is_unsupported"], "{report}");

    // Changes, a key, bulk writes and the description, in host words.
    let since = Since::At(host.now());
    let key = ExternalKey::new("externalId", "lead-1").unwrap();
    let lead = fields(json!({"lastName": "Curie", "company": "Sorbonne"}));
    let id = crm.upsert(&LEAD, &key, &lead, &WriteOptions::new()).await.unwrap().id;
    let ops = [
        BulkOp::Update { id: id.clone(), fields: fields(json!({"title": "Dr"})) },
        BulkOp::Create { fields: fields(json!({"lastNmae": "x"})) },
        BulkOp::Create { fields: fields(json!({"lastName": "Meitner", "company": "KWI"})) },
    ];
    let outcomes = crm.bulk(&LEAD, &ops, &WriteOptions::new()).await.unwrap();
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    host.sleep(Duration::from_secs(2)).await;
    let mut feed = ChangeFeed::new(LEAD, since);
    feed.select = vec!["lastName".to_owned(), "title".to_owned()];
    let page = crm.changes(&feed).await.unwrap();
    let change = page.items.iter().find(|change| change.id == id).unwrap();
    assert_eq!((change.entity.as_str(), change.fields.text("lastName"), change.fields.text("title")), ("lead", Some("Curie"), Some("Dr")));
    let found: Vec<_> =
        crm.search_all(Query::new(LEAD).filter(Criteria::eq("title", "Dr")).order_by("lastName", false)).try_collect().await.unwrap();
    assert_eq!(found[0].fields.get("email"), Some(&Value::Null));
    let schema = crm.describe(&LEAD).await.unwrap();
    assert_eq!((schema.field("email").unwrap().kind.clone(), schema.field("lastName").unwrap().required), (FieldType::Email, true));
    assert!(schema.field("LastName").is_none_or(|field| field.name == "lastName"));
    // An error of the CRM's names the host's field.
    let long: Fields = fields(json!({"title": "x".repeat(500)}));
    let error = crm.update(&LEAD, &id, &long, &WriteOptions::new()).await.unwrap_err();
    assert_eq!((error.entity().unwrap().as_str(), error.operation()), ("lead", Some("update")));
}
