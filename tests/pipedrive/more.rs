//! Labels, notes' fields, recent changes, conversions, both prefixes, bursts: what one of the two APIs alone has, in the pretend
//! company.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic, and writes what it means")]

use crate::company;

use std::sync::Arc;
use std::time::Duration;

use company::Company;
use crm_sync::adapter::{ChangeFeed, CrmAdapter, Since, WriteOptions};
use crm_sync::error::ErrorKind;
use crm_sync::model::{ChangeKind, FieldType, Fields, RecordId};
use crm_sync::pipedrive::{ConversionState, Kind, ListQuery, Pipedrive, entity};
use crm_sync::query::{Criteria, Query};
use crm_sync::store::{Batch, MemoryStore};
use crm_sync::sync::Reader;
use futures_util::TryStreamExt;
use serde_json::json;

fn fields(value: serde_json::Value) -> Fields {
    Fields::from_value(value).unwrap()
}

// ---- labels --------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn labels_of_persons_are_options_and_those_of_leads_are_records() {
    let company = Company::new(0);
    let client = company.client();
    let labels = client.labels(Kind::Person).await.unwrap();
    assert!(!labels.is_empty(), "the account has labels of persons");
    let (first, id) = (labels[0].label.clone(), labels[0].id.parse::<i64>().unwrap());
    for given in [json!([first]), json!(first.to_uppercase()), json!([id]), json!(id.to_string()), json!([{"id": id}])] {
        let made = client.create(&entity::PERSONS, &fields(json!({"name": "x", "label_ids": given})), &WriteOptions::new()).await.unwrap();
        let stored = client.persons().get(&made.id).await.unwrap().unwrap();
        assert_eq!(stored.label_ids, Some(vec![id]), "{given}");
    }
    let error = client.create(&entity::PERSONS, &fields(json!({"name": "x", "label_ids": ["no such label"]})), &WriteOptions::new()).await;
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "label_ids"));
    assert!(!error.to_string().contains("no such label"), "no value in a message");

    let known = client.labels(Kind::Lead).await.unwrap();
    assert_eq!(known.iter().map(|label| label.label.as_str()).collect::<Vec<_>>(), ["Hot", "Warm", "Cold"]);
    let person = client.persons().create(&json!({"name": "Ann"})).await.unwrap().id;
    let lead = json!({"title": "x", "person_id": person, "label_ids": "hot; Cold"});
    let made = client.leads().create(&lead).await.unwrap();
    assert_eq!(made.label_ids, Some(vec![known[0].id.clone(), known[2].id.clone()]));
    // A new one is found without being told of it, once the list is a minute old; its name may hold a comma.
    let fresh = client.lead_labels().create(&json!({"name": "Big, very", "color": "green"})).await.unwrap();
    company.host.sleep(Duration::from_secs(61)).await;
    let id = RecordId::new(made.id.unwrap());
    let changed = client.leads().update(&id, &json!({"label_ids": "Big, very"})).await.unwrap();
    assert_eq!(changed.label_ids, Some(vec![fresh.id.clone().unwrap()]));
    // They are records like others.
    let fresh = RecordId::new(fresh.id.unwrap());
    client.lead_labels().update(&fresh, &json!({"name": "Huge"})).await.unwrap();
    assert_eq!(client.lead_labels().get(&fresh).await.unwrap().unwrap().name.as_deref(), Some("Huge"));
    assert_eq!(client.lead_labels().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), 4);
    assert!(client.lead_labels().delete(&fresh).await.unwrap());
    assert_eq!(client.labels(Kind::Note).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn fields_of_notes_are_described_by_v1() {
    let company = Company::new(0);
    let client = company.client();
    let schema = client.describe(&entity::NOTES).await.unwrap();
    assert_eq!(company.lines(), ["GET /v1/noteFields"]);
    let pin = schema.field("pinned_to_deal_flag").unwrap();
    assert_eq!((pin.label.as_str(), &pin.kind), ("Note is pinned to deal", &FieldType::Boolean));
    assert!(pin.picklist.is_none(), "true and false, not a choice of Yes and No");
}

// ---- changes -------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn recent_changes_tell_deletions_and_reach_back_a_month() {
    let company = Company::new(0);
    let client = company.client();
    let start = company.host.now();
    let made = |name: &str| {
        let (client, body) = (client.clone(), json!({"name": name}));
        async move { RecordId::new(client.persons().create(&body).await.unwrap().id.unwrap().to_string()) }
    };
    let (ann, bob) = (made("Ann").await, made("Bob").await);
    company.host.sleep(Duration::from_secs(5)).await;
    client.persons().delete(&bob).await.unwrap();
    let kinds = [Kind::Person, Kind::Organization];
    let page = client.recents(&kinds, &Since::At(start)).await.unwrap();
    let told: Vec<_> = page.items.iter().map(|change| (change.entity.clone(), change.id.clone(), change.kind)).collect();
    assert_eq!(told, [(entity::PERSONS, ann, ChangeKind::Created), (entity::PERSONS, bob.clone(), ChangeKind::Deleted)]);
    assert!(page.items.iter().all(|change| change.fields.is_empty() && change.at.is_some() && change.version.is_some()));
    assert!(company.log().last().unwrap().contains("since_timestamp=2026-11-24+09%3A00%3A00&items=person%2Corganization&limit=500"));
    // From the last second on: what was told comes again, and the place stands still.
    let since = Since::Cursor(page.next.unwrap());
    let again = client.recents(&kinds, &since).await.unwrap();
    assert_eq!((again.items.len(), &again.items[0].id), (1, &bob));
    assert_eq!(Since::Cursor(again.next.unwrap()), since);
    assert_eq!(client.usage().spent, 5 + 5 + 3 + 20 + 20);
    for (kinds, since) in [
        (&[Kind::Lead][..], Since::At(start)),
        (&[][..], Since::At(start)),
        (&[Kind::Person][..], Since::Start),
        (&[Kind::Person][..], Since::At("2026-10-01T00:00:00Z".parse().unwrap())),
    ] {
        assert_eq!(client.recents(kinds, &since).await.unwrap_err().kind(), ErrorKind::Unsupported, "{kinds:?} {since:?}");
    }
    // More than a page.
    for n in 0..501 {
        client.organizations().create(&json!({"name": format!("O{n}")})).await.unwrap();
    }
    let page = client.recents(&[Kind::Organization], &Since::At(start)).await.unwrap();
    let rest = client.recents(&[Kind::Organization], &Since::Cursor(page.next.unwrap())).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (500, 1));
}

#[tokio::test]
async fn a_reader_of_deals_is_told_of_deletions_and_one_of_persons_is_refused() {
    let company = Company::new(0);
    let client = company.client();
    let store = Arc::new(MemoryStore::new(company.host.clone()));
    let build = |kind: &crm_sync::model::Entity| {
        let builder = Reader::builder(Arc::new(client.clone()), store.clone(), company.host.clone(), kind.clone());
        builder.deletions(Duration::from_secs(60)).build()
    };
    assert_eq!(build(&entity::PERSONS).unwrap_err().kind(), ErrorKind::Config);
    let reader = build(&entity::DEALS).unwrap();
    let deal = RecordId::new(client.deals().create(&json!({"title": "x"})).await.unwrap().id.unwrap().to_string());
    let mut told = Vec::new();
    for round in 0..2 {
        while let Some(page) = reader.next().await.unwrap() {
            told.extend(page.changes.iter().map(|change| (change.id.clone(), change.kind)));
            reader.commit(page, Batch::new()).await.unwrap();
        }
        if round == 0 {
            company.host.sleep(Duration::from_secs(600)).await;
            client.deals().delete(&deal).await.unwrap();
            company.host.sleep(Duration::from_secs(600)).await;
        }
    }
    assert_eq!((told.first(), told.last()), (Some(&(deal.clone(), ChangeKind::Created)), Some(&(deal, ChangeKind::Deleted))));
    let mut feed = ChangeFeed::new(entity::PERSONS, Since::Start);
    feed.deletes = true;
    assert_eq!(client.changes(&feed).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

// ---- conversions ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_deal_becomes_a_lead_and_is_gone() {
    let company = Company::new(0);
    company.sandbox.set_pipedrive_options(|options| options.conversion_millis = 5_000).unwrap();
    let client = company.client();
    let person = client.persons().create(&json!({"name": "Ann"})).await.unwrap().id;
    let deal = client.deals().create(&json!({"title": "Back", "person_id": person, "value": 5, "currency": "EUR"})).await.unwrap();
    let deal = RecordId::new(deal.id.unwrap().to_string());
    let spent = client.usage().spent;
    let begun = client.convert_deal(&deal).await.unwrap();
    assert_eq!((&begun.source, begun.to_deal, client.usage().spent - spent), (&deal, false, 40));
    // It is plain data, and may be asked for in another life.
    let kept = serde_json::from_str(&serde_json::to_string(&begun).unwrap()).unwrap();
    assert_eq!(client.conversion(&kept).await.unwrap(), ConversionState::Running);
    company.host.sleep(Duration::from_secs(6)).await;
    let ConversionState::Completed(lead) = client.conversion(&kept).await.unwrap() else { panic!("not done") };
    let made = client.leads().get(&lead).await.unwrap().unwrap();
    assert_eq!((made.title.as_deref(), made.person_id), (Some("Back"), person));
    assert_eq!(client.deals().get(&deal).await.unwrap(), None);
    assert_eq!(client.convert_deal(&deal).await.unwrap_err().kind(), ErrorKind::NotFound);
}

// ---- both prefixes -------------------------------------------------------------------------------------------------------

/// Every resource of v1 under `/v1` and under `/api/v1`: the same answers.
#[tokio::test]
async fn both_prefixes_of_v1_answer_the_same() {
    let company = Company::new(0);
    let mut told = Vec::new();
    for prefix in ["/v1", "/api/v1"] {
        let mut config = company.config();
        config.v1_prefix = prefix.to_owned();
        let client = Pipedrive::new(config, company.sandbox.transport(), company.host.clone()).unwrap();
        let before = company.lines().len();
        if told.is_empty() {
            let person = client.persons().create(&json!({"name": "Ann"})).await.unwrap().id;
            client.notes().create(&json!({"content": "x", "person_id": person})).await.unwrap();
            client.leads().create(&json!({"title": "x", "person_id": person})).await.unwrap();
        }
        let all = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            client.me().await.unwrap(),
            client.notes().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap(),
            client.leads().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap(),
            client.lead_labels().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap(),
            client.users().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap(),
            client.activity_types().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap(),
            client.subscriptions().await.unwrap(),
            client.recents(&[Kind::Person, Kind::Note], &Since::At(company.host.now())).await.unwrap().items,
        );
        assert!(company.lines()[before..].iter().any(|line| line.contains(&format!(" {prefix}/"))));
        told.push(all);
    }
    assert_eq!(told[0], told[1]);
    // The generic host lacks some of them under the longer prefix.
    company.sandbox.set_pipedrive_options(|options| options.generic_host = true).unwrap();
    let mut config = company.config();
    config.v1_prefix = "/api/v1".to_owned();
    let client = Pipedrive::new(config, company.sandbox.transport(), company.host.clone()).unwrap();
    assert_eq!(client.lead_labels().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(company.client().lead_labels().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), 3);
}

// ---- bursts --------------------------------------------------------------------------------------------------------------

/// On the smallest plan and with no layer at all: the client keeps both limits by itself, and learns a larger one.
#[tokio::test]
async fn nobody_meets_a_burst_limit() {
    let company = Company::new(0);
    company
        .sandbox
        .set_pipedrive_options(|options| (options.burst, options.search_burst, options.block_after) = (Some(20), 10, 0))
        .unwrap();
    let client = company.client();
    let start = company.host.monotonic();
    for n in 0..60 {
        client.persons().create(&json!({"name": format!("P{n}"), "emails": [{"value": format!("p{n}@x.example")}]})).await.unwrap();
    }
    let took = company.host.monotonic() - start;
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
    for n in 0..25 {
        let query = Query::new(entity::PERSONS).filter(Criteria::eq("emails", format!("p{n}@x.example")));
        assert_eq!(client.search(&query).await.unwrap().items.len(), 1);
    }
    assert!(company.sandbox.requests().iter().all(|request| request.status == 200));
    assert_eq!(client.usage().burst_max, Some(20));
    company.sandbox.set_pipedrive_options(|options| options.burst = Some(200)).unwrap();
    client.me().await.unwrap();
    company.host.sleep(Duration::from_secs(3)).await;
    let start = company.host.monotonic();
    for _ in 0..150 {
        client.me().await.unwrap();
    }
    assert_eq!(company.host.monotonic(), start, "the answers named 200");
}
