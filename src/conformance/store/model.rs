//! Random batches against a plain map.

use std::collections::BTreeMap;

use crate::conformance::report::{Check, ensure};
use crate::conformance::store::api::{StoreBench, key};
use crate::error::ErrorKind;
use crate::host::{Entropy, SeededEntropy};
use crate::store::{Batch, Conflict, Family, Key, Mutation, StoreExt};

const SEED: u64 = 20_260_101;
const ROUNDS: usize = 250;
const KEYS: u64 = 6;

/// After each of some hundred random batches the store holds what a map holds, and refuses what the map refuses.
///
/// # Errors
/// What is wrong, with the round.
pub async fn random_batches_match_a_model(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let random = SeededEntropy::new(SEED);
    let below = |limit: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % limit
    };
    let name = |number: u64| key(&format!("k{number}"));
    let mut model: BTreeMap<Key, (Vec<u8>, u64)> = BTreeMap::new();
    let mut newest = BTreeMap::new();
    let mut done = 0;
    for round in 0..ROUNDS {
        let mut batch = Batch::new();
        for _ in 0..below(3) {
            let key = name(below(KEYS));
            match (model.get(&key), below(8)) {
                // Mostly what holds, so that batches are done; now and then what does not.
                (Some((_, version)), 0) => batch.require_version(key, version + 1),
                (Some(_), 1) => batch.require_absent(key),
                (Some((_, version)), _) => batch.require_version(key, *version),
                (None, 0) => batch.require_version(key, 1),
                (None, _) => batch.require_absent(key),
            };
        }
        for _ in 0..=below(4) {
            let key = name(below(KEYS));
            if below(3) == 0 {
                batch.delete(key)
            } else {
                batch.put(key, format!("{round}:{}", below(1000)))
            };
        }
        let culprit = batch
            .preconditions()
            .iter()
            .find(|condition| !condition.holds(model.get(condition.key()).map(|(_, version)| *version)))
            .map(|condition| condition.key().clone());
        let outcome = store.commit(batch.clone()).await;
        match (culprit, outcome) {
            (Some(culprit), Err(error)) if error.kind() == ErrorKind::Conflict => {
                let named = Conflict::of(&error).map(|conflict| conflict.key.clone());
                ensure!(named.as_ref() == Some(&culprit), "round {round}: the conflict names {named:?} instead of {culprit}");
            }
            (Some(culprit), outcome) => {
                ensure!(false, "round {round}: the precondition on {culprit} fails, but the store says {outcome:?}");
            }
            (None, outcome) => {
                done += 1;
                let mut versions = outcome?.into_iter();
                for mutation in batch.into_mutations() {
                    match mutation {
                        Mutation::Put { key, value, .. } => {
                            let version = versions.next().unwrap_or(0);
                            let before = newest.insert(key.clone(), version).unwrap_or(0);
                            ensure!(version > before, "round {round}: version {version} of {key} after {before}");
                            model.insert(key, (value.to_vec(), version));
                        }
                        Mutation::Delete(key) => {
                            model.remove(&key);
                        }
                    }
                }
            }
        }
        let found: BTreeMap<Key, (Vec<u8>, u64)> = store
            .scan_all(&Key::new(Family::Base, &["test"]))
            .await?
            .into_iter()
            .map(|(key, row)| (key, (row.value.to_vec(), row.version)))
            .collect();
        ensure!(found == model, "round {round}: the store and the model differ");
    }
    ensure!(done > ROUNDS / 3 && done < ROUNDS, "the test itself is lopsided: {done} of {ROUNDS} batches were done");
    Ok(())
}
