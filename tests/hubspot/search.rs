//! Searches: what is asked of HubSpot and filtered here is together what the condition says, within the limits.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::portal;

use std::collections::BTreeSet;

use crm_sync::adapter::{CrmAdapter, CrmAdapterExt};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::hubspot::HubSpot;
use crm_sync::hubspot::entity::CONTACTS;
use crm_sync::model::Fields;
use crm_sync::query::{Criteria, Operator, Query};
use futures_util::TryStreamExt;
use portal::Portal;
use proptest::prelude::*;
use serde_json::{Value, json};

fn connect() -> (HubSpot, Portal) {
    let host = Host::manual(1);
    let portal = Portal::new(host, 1);
    (portal.client(), portal)
}

async fn ids(client: &HubSpot, query: Query) -> Vec<u64> {
    client.search_all(query).map_ok(|row| row.id.as_str().parse::<u64>().unwrap()).try_collect().await.unwrap()
}

const WORDS: [&str; 6] = ["anna", "Annabel", "Bo anna", "bob", "Hannah Bo", "x"];

fn leaf() -> impl Strategy<Value = Criteria> {
    let word = prop::sample::select(WORDS.to_vec());
    let part = prop::sample::select(vec!["ann", "Bo", "a", "o a", "x"]);
    let op = prop::sample::select(vec![Operator::Eq, Operator::Ne, Operator::Gt, Operator::Gte, Operator::Lt, Operator::Lte]);
    prop_oneof![
        (op, -2_i64..4).prop_map(|(op, n)| Criteria::compare("score", op, n)),
        (prop::bool::ANY, word.clone()).prop_map(|(eq, word)| if eq {
            Criteria::eq("firstname", word)
        } else {
            Criteria::ne("firstname", word)
        }),
        prop::collection::vec(word, 0..4).prop_map(|words| Criteria::one_of("firstname", words)),
        part.clone().prop_map(|text| Criteria::Contains { field: "firstname".into(), text: text.into() }),
        part.prop_map(|text| Criteria::StartsWith { field: "firstname".into(), text: text.into() }),
        prop::sample::select(vec!["firstname", "score"]).prop_map(|field| Criteria::IsNull { field: field.into() }),
        prop::sample::select(vec!["firstname", "score"]).prop_map(|field| Criteria::compare(field, Operator::Ne, "")),
    ]
}

fn criteria() -> impl Strategy<Value = Criteria> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Criteria::All),
            prop::collection::vec(inner.clone(), 0..5).prop_map(Criteria::Any),
            inner.prop_map(|part| Criteria::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_what_matches(
        rows in prop::collection::vec((prop::option::of(prop::sample::select(WORDS.to_vec())), prop::option::of(-2_i64..4)), 0..12),
        filter in criteria(),
        select in prop::bool::ANY,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (client, portal) = connect();
            let mut wanted = BTreeSet::new();
            for (word, score) in rows {
                let score_text = score.map(|score| score.to_string());
                let mut sent = Vec::new();
                let mut fields = Fields::new();
                if let Some(word) = word {
                    sent.push(("firstname", word));
                    fields.insert("firstname", word);
                }
                if let Some(score) = &score_text {
                    sent.push(("score", score.as_str()));
                    fields.insert("score", score.as_str());
                }
                let id = portal.put("contacts", None, &sent);
                if filter.matches(&fields) {
                    wanted.insert(id);
                }
            }
            let mut query = Query::new(CONTACTS).filter(filter.clone()).allow_residual().page_size(3);
            if select {
                query = query.select(["jobtitle"]);
            }
            let found: BTreeSet<u64> = ids(&client, query.clone()).await.into_iter().collect();
            assert_eq!(found, wanted, "{filter}");
            // Without filtering here it is the same, or refused with a reason: never less.
            query.residual = false;
            match client.search_all(query).map_ok(|row| row.id.as_str().parse::<u64>().unwrap()).try_collect::<Vec<_>>().await {
                Ok(found) => assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted, "{filter}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
            }
        });
    }
}

#[tokio::test]
async fn past_ten_thousand_by_id_and_by_time() {
    let (client, portal) = connect();
    let all: Vec<u64> = (0..10_250)
        .map(|n| {
            // A hundred records share each instant.
            if n % 100 == 0 {
                portal.tick();
            }
            portal.put("contacts", None, &[("score", "1")])
        })
        .collect();
    let query = || Query::new(CONTACTS).filter(Criteria::eq("score", 1)).select(["score"]);
    assert_eq!(ids(&client, query()).await, all);
    for (property, descending) in [("hs_object_id", true), ("lastmodifieddate", false), ("createdate", true)] {
        let found = ids(&client, query().order_by(property, descending)).await;
        assert_eq!(found.len(), all.len(), "each once: {property}");
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), all.len(), "{property}");
        assert_eq!(found.first() > found.last(), descending, "{property}");
    }
    let error = client.search(&query().order_by("firstname", false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "told at once, not after ten thousand");
    let six = Criteria::All((0..6).map(|n| Criteria::compare("score", Operator::Lt, 10 + n)).collect());
    assert_eq!(client.search(&Query::new(CONTACTS).filter(six.clone())).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(ids(&client, Query::new(CONTACTS).filter(six).limit(300)).await.len(), 300, "a limit needs no window");
    // Everything is the list's business, which has no ceiling.
    let before = portal.search_times().len();
    assert_eq!(ids(&client, Query::new(CONTACTS)).await, all);
    assert_eq!(portal.search_times().len(), before);
}

#[tokio::test]
async fn limits_are_told_before_anything_is_sent() {
    let (client, portal) = connect();
    let wide = Criteria::Any((0..6).map(|n| Criteria::compare("score", Operator::Gt, n).and(Criteria::eq("firstname", "x"))).collect());
    let deep = Criteria::All((0..7).map(|n| Criteria::compare("score", Operator::Gt, n)).collect());
    let four = || (0..4).map(|n| Criteria::compare("score", Operator::Gt, n)).collect();
    let many = Criteria::Any(vec![
        Criteria::All(four()),
        Criteria::eq("jobtitle", "a").and(Criteria::All(four())),
        Criteria::eq("jobtitle", "b").and(Criteria::All(four())),
        Criteria::eq("jobtitle", "c").and(Criteria::All(four())),
    ]);
    let long = Criteria::one_of("firstname", (0..400).map(|n| format!("value-{n}")));
    // A long list goes in portions, unless there is an order over all of it.
    for (filter, name) in [(wide, "groups"), (deep, "filters"), (many, "18 in all"), (long, "3,000 characters")] {
        let error = client.search(&Query::new(CONTACTS).filter(filter).order_by("createdate", false)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
    }
    assert!(portal.log().is_empty());
}

#[tokio::test]
async fn searches_keep_to_five_a_second() {
    let (client, portal) = connect();
    for _ in 0..12 {
        client.search(&Query::new(CONTACTS).filter(Criteria::eq("score", 1))).await.unwrap();
    }
    let times = portal.search_times();
    assert!(times.windows(6).all(|window| window[5] - window[0] >= 1_000), "{times:?}");
}

#[tokio::test]
async fn many_properties_go_another_way() {
    let (client, portal) = connect();
    portal.put("contacts", None, &[("score", "1"), ("firstname", "Ann")]);
    let mut names: Vec<String> = (0..900).map(|n| format!("property_number_{n:04}")).collect();
    names.push("firstname".to_owned());
    let found = client.search(&Query::new(CONTACTS).filter(Criteria::eq("score", 1)).select(names.clone())).await.unwrap();
    assert_eq!(found.items[0].fields.get("firstname"), Some(&json!("Ann")));
    assert_eq!(found.items[0].fields.get("property_number_0001"), Some(&Value::Null));
    let listed = client.search(&Query::new(CONTACTS).select(names.clone())).await.unwrap();
    assert_eq!(listed.items[0].fields.get("firstname"), Some(&json!("Ann")));
    let one = client.get(&CONTACTS, &listed.items[0].id, &names).await.unwrap().unwrap();
    assert_eq!(one.fields.get("firstname"), Some(&json!("Ann")));
    assert!(portal.log().iter().all(|line| line.len() < 8_000), "no URL of that length");
}
