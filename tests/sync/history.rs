//! Random histories: edits, trouble of every kind, deaths at any step, then healing. The seed of a failure is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::Arc;

use crm_sync::http::HttpTransport;
use crm_sync::sandbox::{Fault, FaultKind};
use crm_sync::store::Store;
use crm_sync::sync::Plan;
use futures_util::StreamExt;

use support::org::{KEYED, Org, PROBED, People, Person, incoming};
use support::{Death, Life, MortalStore, MortalTransport};

const SEEDS: u64 = 250;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Few values, so that the host often comes back to an earlier one.
fn edit(dice: &mut Dice, people: &mut People) {
    for _ in 0..=dice.below(4) {
        let id = format!("lead-{}", dice.below(8));
        let person = people.entry(id).or_insert_with(|| Person { first: None, last: "L0".to_owned(), score: None });
        match dice.below(3) {
            0 => person.first = (!dice.one_in(3)).then(|| format!("F{}", dice.below(2))),
            1 => person.last = format!("L{}", dice.below(3)),
            _ => person.score = (!dice.one_in(3)).then(|| i64::try_from(dice.below(3)).unwrap_or(0)),
        }
    }
}

fn trouble(dice: &mut Dice, org: &Org, writes: &str) {
    org.sandbox.clear_faults();
    for _ in 0..dice.below(4) {
        let kind = match dice.below(7) {
            0 => FaultKind::DropAfter,
            1 => FaultKind::DropBefore,
            2 => FaultKind::TooManyRequests { retry_after: dice.one_in(2).then(|| "7".to_owned()) },
            3 => FaultKind::Unavailable { html: dice.one_in(2), retry_after: None },
            4 => FaultKind::RowLock { rows: vec![usize::try_from(dice.below(3)).unwrap_or(0)] },
            5 => FaultKind::RequestLimit { concurrent: dice.one_in(2) },
            _ => FaultKind::Truncate,
        };
        let mut fault = Fault::new(kind).skip(dice.below(4)).times(1 + dice.below(7));
        if !dice.one_in(3) {
            fault = fault.method(if dice.one_in(2) { writes } else { "PATCH" });
        }
        org.sandbox.fault(fault);
    }
}

async fn history(seed: u64, key: &str) {
    let context = format!("seed {seed}, {key}");
    let mut dice = Dice(seed);
    let org = Org::new(seed).await;
    let mut people = People::new();
    let mut old_plan: Option<Plan> = None;
    for _ in 0..3 + dice.below(5) {
        edit(&mut dice, &mut people);
        trouble(&mut dice, &org, if key == KEYED { "PATCH" } else { "POST" });
        let at = dice.below(14);
        let life = Life::new(match dice.below(4) {
            0 => Some(Death::Before(at)),
            1 => Some(Death::After(at)),
            _ => None,
        });
        let transport: Arc<dyn HttpTransport> = Arc::new(MortalTransport { inner: org.sandbox.transport(), life: Arc::clone(&life) });
        let store: Arc<dyn Store> = Arc::new(MortalStore { inner: Arc::clone(&org.store), life });
        let engine = org.engine_over(key, transport, store);
        if !dice.one_in(5) && engine.resolve().await.is_err() {
            continue;
        }
        // Time passes between runs, and sometimes somebody applies a plan of an earlier run.
        org.host.sleep(std::time::Duration::from_secs(dice.below(100))).await;
        let plan = match old_plan.take().filter(|_| dice.one_in(3)) {
            Some(plan) => plan,
            None => match engine.plan(&incoming(&people)).await {
                Ok(plan) => plan,
                Err(_) => continue,
            },
        };
        let mut stream = engine.apply(&plan);
        let most = if dice.one_in(4) { dice.below(5) } else { u64::MAX };
        let mut items = 0;
        while items < most
            && let Some(item) = stream.next().await
        {
            items += 1;
            if item.is_err() {
                assert!(stream.next().await.is_none(), "{context}: an item after the error");
            }
        }
        drop(stream);
        old_plan = Some(plan);
    }
    org.heal(key, &people, &context).await;
}

#[tokio::test]
async fn keyed_histories_heal() {
    for seed in 0..SEEDS {
        history(seed, KEYED).await;
    }
}

#[tokio::test]
async fn probed_histories_heal() {
    for seed in 0..SEEDS {
        history(seed, PROBED).await;
    }
}
