//! Two processes at once, and ids the CRM cannot tell apart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::Arc;

use crm_sync::error::ErrorKind;
use crm_sync::model::Fields;
use crm_sync::store::MemoryStore;
use crm_sync::sync::{Action, Engine, Incoming, Outcome};
use futures_util::future::join;
use serde_json::json;

use support::org::{KEYED, Org, PROBED, apply, incoming, people, run};
use support::pausing::Pausing;

/// Pauses at every call, so that the two take turns.
fn pausing(org: &Org, key: &str) -> Engine {
    org.engine_over(key, Arc::new(Pausing(org.sandbox.transport())), Arc::new(Pausing(Arc::clone(&org.store))))
}

#[tokio::test]
async fn two_that_apply_one_plan_at_once_write_each_record_once() {
    for key in [KEYED, PROBED] {
        // The second one starts so many polls later.
        for delay in 0..40 {
            let context = format!("{key}, {delay} polls later");
            let org = Org::new(delay + 1).await;
            let people = people(8);
            let plan = org.engine(key).plan(&incoming(&people)).await.unwrap();
            let (one, two) = (pausing(&org, key), pausing(&org, key));
            let late = async {
                for _ in 0..delay {
                    tokio::task::yield_now().await;
                }
                apply(&two, &plan).await
            };
            let ((first, first_error), (second, second_error)) = join(apply(&one, &plan), late).await;
            assert!(first_error.is_none() && second_error.is_none(), "{context}: {first_error:?} {second_error:?}");
            let created = first.iter().chain(&second).filter(|applied| matches!(applied.outcome, Outcome::Created(_))).count();
            let moved = first.iter().chain(&second).filter(|applied| matches!(applied.outcome, Outcome::Moved)).count();
            assert_eq!((created, moved), (8, 8), "{context}: {first:?} {second:?}");
            org.assert_whole(key, &people, &context);
            org.heal(key, &people, &context).await;
        }
    }
}

#[tokio::test]
async fn two_that_find_lost_state_again_at_once_agree() {
    for key in [KEYED, PROBED] {
        for delay in 0..20 {
            let context = format!("{key}, {delay} polls later");
            let mut org = Org::new(delay + 1).await;
            let people = people(8);
            run(&org.engine(key), &people).await.unwrap();
            org.store = Arc::new(MemoryStore::new(org.host.clone()));
            let plan = org.engine(key).plan(&incoming(&people)).await.unwrap();
            assert_eq!(plan.writes(), 0, "{context}");
            let (one, two) = (pausing(&org, key), pausing(&org, key));
            let late = async {
                for _ in 0..delay {
                    tokio::task::yield_now().await;
                }
                apply(&two, &plan).await
            };
            let ((_, first_error), (_, second_error)) = join(apply(&one, &plan), late).await;
            assert!(first_error.is_none() && second_error.is_none(), "{context}: {first_error:?} {second_error:?}");
            org.sandbox.clear_requests();
            assert_eq!(org.engine(key).plan(&incoming(&people)).await.unwrap().writes(), 0, "{context}");
            assert_eq!(org.sandbox.requests().len(), 0, "{context}: the links were not remembered");
        }
    }
}

#[tokio::test]
async fn two_whole_runs_at_once_make_no_duplicate() {
    for key in [KEYED, PROBED] {
        for seed in 1..10 {
            let context = format!("{key}, seed {seed}");
            let org = Org::new(seed).await;
            let people = people(8);
            let input = incoming(&people);
            let (one, two) = (pausing(&org, key), pausing(&org, key));
            let whole = async |engine: &Engine, late: u64| {
                let plan = engine.plan(&input).await.unwrap();
                for _ in 0..late {
                    tokio::task::yield_now().await;
                }
                apply(engine, &plan).await
            };
            let ((_, first), (_, second)) = join(whole(&one, 0), whole(&two, seed * 3)).await;
            for error in [first, second].into_iter().flatten() {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{context}: {error:?}");
            }
            org.heal(key, &people, &context).await;
        }
    }
}

fn lead(id: &str) -> Incoming {
    Incoming::new(id, Fields::from_value(json!({"lastName": format!("L {id}")})).unwrap())
}

#[tokio::test]
async fn ids_that_differ_only_in_case_are_invalid_and_never_merged() {
    for key in [KEYED, PROBED] {
        let org = Org::new(1).await;
        let engine = org.engine(key);
        let plan = engine.plan(&[lead("A1"), lead("b"), lead("a1")]).await.unwrap();
        let actions: Vec<Action> = plan.rows.iter().map(|row| row.action).collect();
        assert_eq!(actions, [Action::Invalid, Action::Create, Action::Invalid], "{key}");
        assert!(plan.rows[0].reason.contains("only in case") && plan.rows[0].reason.contains(key), "{}", plan.rows[0].reason);

        // One after the other: the first one is linked and goes on, the second one says why it cannot.
        apply(&engine, &engine.plan(&[lead("A1")]).await.unwrap()).await;
        for input in [vec![lead("a1")], vec![lead("a1"), lead("A1")]] {
            let plan = engine.plan(&input).await.unwrap();
            assert_eq!(plan.rows[0].action, Action::Invalid, "{key}: {plan:?}");
            assert!(plan.rows[0].reason.contains("only in case"), "{}", plan.rows[0].reason);
            assert!(plan.rows.get(1).is_none_or(|row| row.action == Action::Skip), "{key}: {plan:?}");
            let (done, failure) = apply(&engine, &plan).await;
            assert!(done.is_empty() && failure.is_none());
        }
        // Without the store's memory as well.
        let fresh = org.engine_over(key, org.sandbox.transport(), Arc::new(MemoryStore::new(org.host.clone())));
        assert_eq!(fresh.plan(&[lead("a1")]).await.unwrap().rows[0].action, Action::Invalid, "{key}");
        assert_eq!(fresh.plan(&[lead("A1")]).await.unwrap().rows[0].action, Action::Skip, "{key}");
        let names: Vec<_> = org.sandbox.records("Lead").iter().map(|lead| lead.text("LastName").unwrap().to_owned()).collect();
        assert_eq!(names, ["L A1"], "{key}");
    }
}

#[tokio::test]
async fn two_records_that_name_one_alias_do_not_stop_the_run() {
    let org = Org::new(1).await;
    let engine = org.engine(KEYED);
    apply(&engine, &engine.plan(&[lead("old")]).await.unwrap()).await;
    let both = |id: &str| lead(id).aliases(vec!["old".to_owned()]);
    let plan = engine.plan(&[both("new-1"), both("new-2"), lead("other")]).await.unwrap();
    let actions: Vec<Action> = plan.rows.iter().map(|row| row.action).collect();
    assert_eq!(actions, [Action::Update, Action::Review, Action::Create]);
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none() && done.len() == 2, "{failure:?}");
}
