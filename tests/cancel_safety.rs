//! Whatever is dropped at any await: a fresh engine heals it. Nothing is lost, nothing doubled, the third run writes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use crm_sync::sandbox::{Fault, FaultKind};
use crm_sync::sync::Engine;

use support::org::{KEYED, Org, PROBED, apply, incoming, people, run};
use support::pausing::{Pausing, polled};

fn pausing(org: &Org, key: &str) -> Engine {
    org.engine_over(key, Arc::new(Pausing(org.sandbox.transport())), Arc::new(Pausing(Arc::clone(&org.store))))
}

/// More awaits than any of these operations has.
const ENOUGH: usize = 5_000;

#[tokio::test]
async fn a_dropped_apply_of_creates() {
    for key in [KEYED, PROBED] {
        for polls in 0..ENOUGH {
            let context = format!("{key}, dropped after {polls} polls");
            let org = Org::new(1).await;
            let people = people(7);
            let plan = org.engine(key).plan(&incoming(&people)).await.unwrap();
            let engine = pausing(&org, key);
            let finished = polled(apply(&engine, &plan), polls).is_some();
            org.heal(key, &people, &context).await;
            if finished {
                assert!(polls > 30, "{context}: finished too soon to mean anything");
                break;
            }
            assert!(polls + 1 < ENOUGH, "{context}: it never ends");
        }
    }
}

#[tokio::test]
async fn a_dropped_apply_of_updates_and_a_host_that_goes_back() {
    for key in [KEYED, PROBED] {
        for polls in 0..ENOUGH {
            let context = format!("{key}, dropped after {polls} polls");
            let org = Org::new(2).await;
            let old = people(4);
            run(&org.engine(key), &old).await.unwrap();
            let mut new = old.clone();
            for person in new.values_mut() {
                person.last.push_str(" new");
                person.first = None;
            }
            let plan = org.engine(key).plan(&incoming(&new)).await.unwrap();
            let finished = polled(apply(&pausing(&org, key), &plan), polls).is_some();
            // The host changed its mind: what it has now is what was last known to be in the CRM.
            org.heal(key, &old, &context).await;
            if finished {
                break;
            }
            assert!(polls + 1 < ENOUGH, "{context}: it never ends");
        }
    }
}

#[tokio::test]
async fn a_dropped_resolve() {
    for key in [KEYED, PROBED] {
        for polls in 0..ENOUGH {
            let context = format!("{key}, dropped after {polls} polls");
            let org = Org::new(3).await;
            let mut people = people(5);
            run(&org.engine(key), &people).await.unwrap();
            people.extend(support::org::people(9));
            for person in people.values_mut().take(3) {
                person.score = None;
            }
            // Intents of all kinds stay open: creates and updates are sent, their answers are lost with the process.
            let plan = org.engine(key).plan(&incoming(&people)).await.unwrap();
            let dying = pausing(&org, key);
            let calls = |org: &Org| org.writes();
            let before = calls(&org);
            let mut dead_after = 0;
            while calls(&org) < before + 1 {
                dead_after += 1;
                assert!(polled(apply(&dying, &plan), dead_after).is_none(), "{context}: nothing was left open");
                if calls(&org) == before {
                    org.engine(key).resolve().await.unwrap();
                }
            }
            let finished = polled(pausing(&org, key).resolve(), polls).is_some();
            org.heal(key, &people, &context).await;
            if finished {
                assert!(polls > 5, "{context}: there was nothing to resolve");
                break;
            }
            assert!(polls + 1 < ENOUGH, "{context}: it never ends");
        }
    }
}

#[tokio::test]
async fn a_dropped_resolve_of_unanswered_creates() {
    for polls in 0..ENOUGH {
        let context = format!("dropped after {polls} polls");
        let org = Org::new(4).await;
        let people = people(5);
        org.sandbox.fault(Fault::new(FaultKind::DropAfter).method("POST"));
        run(&org.engine(PROBED), &people).await.unwrap();
        let finished = polled(pausing(&org, PROBED).resolve(), polls).is_some();
        org.heal(PROBED, &people, &context).await;
        if finished {
            break;
        }
        assert!(polls + 1 < ENOUGH, "{context}: it never ends");
    }
}

#[tokio::test]
async fn a_dropped_plan_leaves_nothing() {
    for key in [KEYED, PROBED] {
        for polls in 0..ENOUGH {
            let context = format!("{key}, dropped after {polls} polls");
            let org = Org::new(5).await;
            let mut people = people(3);
            run(&org.engine(key), &people).await.unwrap();
            people.extend(support::org::people(5));
            org.sandbox.clear_requests();
            let input = incoming(&people);
            let finished = polled(pausing(&org, key).plan(&input), polls).is_some();
            assert_eq!(org.writes(), 0, "{context}");
            org.heal(key, &people, &context).await;
            if finished {
                break;
            }
            assert!(polls + 1 < ENOUGH, "{context}: it never ends");
        }
    }
}
