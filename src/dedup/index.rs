//! Records that come and go one by one, and the question which of them a new one may be.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::blocking::{Sounds, keys};
use super::distinct::Distinct;
use super::find::Duplicates;
use super::prepared::Prepared;
use super::records::Records;
use super::score::Deduper;
use super::verdict::Verdict;
use super::workers::Workers;

/// Keys that wait to be put into a sorted run.
const RECENT: usize = 8192;
/// Records that one key may bring; a key that is more common than this says too little.
const COMMON: usize = 200;
/// Records that are scored for one question, the likeliest by the rarity of the keys they share.
const SCORED: usize = 96;

/// An index of records by the caller's keys (record ids): insert, update, remove, ask. Serialisable.
///
/// A record takes about 70 bytes, its key, some 25 entries of 8 bytes, and each distinct value once; what was removed is given back
/// when half of the places are empty, texts only by building the index anew. Putting in is logarithmic on average; a question
/// scores at most 96 records, however many there are.
///
/// ```
/// use crm_sync::dedup::{Action, DedupConfig, Deduper, Index, Prepared, Role};
///
/// let deduper = Deduper::new(DedupConfig::default())?;
/// let mut index = Index::new();
/// index.insert("003A", &Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann.keller@firm.com")]));
/// let new = Prepared::new(&[(Role::Full, "Keller, Ann"), (Role::Email, "Ann.Keller+crm@firm.com")]);
/// assert_eq!(index.judge(&deduper, &new).action, Action::Update("003A".to_owned()));
/// index.remove("003A");
/// assert_eq!(index.judge(&deduper, &new).action, Action::Create);
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Index {
    records: Records,
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
    /// Sorted entries `key << 32 | number`, each run at least twice as long as the next.
    runs: Vec<Vec<u64>>,
    recent: BTreeSet<u64>,
    #[serde(default)]
    distinct: Distinct,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("len", &self.numbers.len()).field("runs", &self.runs.len()).finish_non_exhaustive()
    }
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records held.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether a record of this key is held.
    pub fn contains(&self, key: &str) -> bool {
        self.numbers.contains_key(key)
    }

    /// The compact records, for [`Deduper::train`] and for explaining; [`Index::key`] names them.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The key of a record number; empty for one that was removed.
    pub fn key(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }

    /// Puts a record in, or another one in its place when the key is known. Returns whether it is new.
    pub fn insert(&mut self, key: &str, record: &Prepared) -> bool {
        let new = !self.remove(key);
        let number = self.records.push(record);
        self.names.push(key.to_owned());
        self.numbers.insert(key.to_owned(), number);
        let mut own = Vec::new();
        keys(&self.records, &self.records.row(number), &mut Sounds::default(), &mut own);
        self.recent.extend(own.iter().map(|(_, key)| u64::from(*key) << 32 | u64::from(number)));
        if self.recent.len() >= RECENT {
            let run = std::mem::take(&mut self.recent).into_iter().collect();
            self.settle(run);
        }
        new
    }

    /// Takes a record out; returns whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(number) = self.numbers.remove(key) else { return false };
        self.records.clear(number);
        if let Some(name) = self.names.get_mut(number as usize) {
            *name = String::new();
        }
        if self.records.len() > 1024 && self.records.len() > 2 * self.numbers.len() {
            self.compact();
        }
        true
    }

    /// The keys of the records that may be this one, the likeliest first, at most 96: those that share the rarest blocking keys.
    pub fn candidates(&self, record: &Prepared) -> Vec<&str> {
        let mut query = Records::new();
        query.push(record);
        self.ranked(&query).into_iter().map(|number| self.key(number)).collect()
    }

    /// Judges a record against everything held: see [`Deduper::judge`].
    ///
    /// To find duplicates within a stream, ask before each insert.
    pub fn judge(&self, deduper: &Deduper, record: &Prepared) -> Verdict<String> {
        self.judge_but(deduper, record, &|_| false)
    }

    /// As [`Index::judge`] for the record of this key, held or not: itself and those it was said not to be ([`Index::keep_apart`]) are
    /// no candidates.
    pub fn judge_as(&self, deduper: &Deduper, key: &str, record: &Prepared) -> Verdict<String> {
        self.judge_but(deduper, record, &|other| other == key || self.distinct.contains(key, other))
    }

    fn judge_but(&self, deduper: &Deduper, record: &Prepared, out: &dyn Fn(&str) -> bool) -> Verdict<String> {
        let mut query = Records::new();
        query.push(record);
        let mut ranked = self.ranked(&query);
        ranked.retain(|number| !out(self.key(*number)));
        let ids: Vec<String> = ranked.iter().map(|number| self.key(*number).to_owned()).collect();
        for number in ranked {
            query.copy(&self.records, number);
        }
        let size = u32::try_from(self.len()).unwrap_or(u32::MAX).max(deduper.config().directory_size);
        deduper.judge_rows(&query, &ids, size)
    }

    /// The groups among all records held, by number ([`Index::key`] names them): the same as of the same records in one batch,
    /// in whatever order and by whatever detours they came.
    pub fn find(&self, deduper: &Deduper, workers: &dyn Workers) -> Duplicates {
        let mut apart = BTreeSet::new();
        for (a, b) in self.distinct.iter() {
            if let (Some(a), Some(b)) = (self.numbers.get(a), self.numbers.get(b)) {
                apart.extend([(*a, *b), (*b, *a)]);
            }
        }
        deduper.find_but(&self.records, &apart, workers)
    }

    /// Remembers that the records of two keys are not one: [`Index::find`] and [`Index::judge_as`] respect it, also when the records
    /// are replaced or come only later.
    pub fn keep_apart(&mut self, a: &str, b: &str) {
        self.distinct.insert(a, b);
    }

    /// The decisions remembered, for the host to keep and to change.
    pub fn distinct(&mut self) -> &mut Distinct {
        &mut self.distinct
    }

    fn ranked(&self, query: &Records) -> Vec<u32> {
        let mut own = Vec::new();
        keys(query, &query.row(0), &mut Sounds::default(), &mut own);
        let mut weights: HashMap<u32, f32> = HashMap::new();
        let mut found: Vec<u32> = Vec::new();
        for (_, key) in own {
            let (from, to) = (u64::from(key) << 32, u64::from(key) << 32 | 0xffff_ffff);
            found.clear();
            for run in &self.runs {
                let start = run.partition_point(|entry| *entry < from);
                let entries = run.iter().skip(start).take_while(|entry| **entry <= to);
                found.extend(entries.take(COMMON + 1).map(|entry| (entry & 0xffff_ffff) as u32));
            }
            found.extend(self.recent.range(from..=to).take(COMMON + 1).map(|entry| (entry & 0xffff_ffff) as u32));
            found.retain(|number| !self.records.is_gone(*number));
            if found.len() > COMMON {
                continue;
            }
            let weight = 1.0 / found.len() as f32;
            for number in &found {
                *weights.entry(*number).or_insert(0.0) += weight;
            }
        }
        let mut ranked: Vec<(u32, f32)> = weights.into_iter().collect();
        ranked.sort_unstable_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)));
        ranked.truncate(SCORED);
        ranked.into_iter().map(|(number, _)| number).collect()
    }

    /// Merges runs of like length; entries of removed records are left behind.
    fn settle(&mut self, mut run: Vec<u64>) {
        while let Some(before) = self.runs.pop_if(|before| before.len() < 2 * run.len()) {
            let mut merged = Vec::with_capacity(before.len() + run.len());
            let (mut left, mut right) = (before.into_iter().peekable(), run.into_iter().peekable());
            loop {
                let next = match (left.peek(), right.peek()) {
                    (Some(x), Some(y)) if x <= y => left.next(),
                    (Some(_), None) => left.next(),
                    _ => right.next(),
                };
                let Some(entry) = next else { break };
                if !self.records.is_gone((entry & 0xffff_ffff) as u32) {
                    merged.push(entry);
                }
            }
            run = merged;
        }
        if !run.is_empty() {
            self.runs.push(run);
        }
    }

    /// Numbers the records anew without the removed ones.
    fn compact(&mut self) {
        let mut records = Records::new();
        let mut places = vec![u32::MAX; self.records.len()];
        let mut names = Vec::with_capacity(self.numbers.len());
        for (number, place) in (0..self.records.len() as u32).zip(places.iter_mut()) {
            if !self.records.is_gone(number) {
                *place = records.copy(&self.records, number);
                names.push(self.names.get(number as usize).cloned().unwrap_or_default());
            }
        }
        let place = |number: u32| places.get(number as usize).copied().unwrap_or(u32::MAX);
        self.numbers.values_mut().for_each(|number| *number = place(*number));
        let recent = std::mem::take(&mut self.recent);
        let entries = std::mem::take(&mut self.runs).into_iter().flatten().chain(recent);
        let moved = entries.map(|entry| entry & !0xffff_ffff | u64::from(place((entry & 0xffff_ffff) as u32)));
        let mut run: Vec<u64> = moved.filter(|entry| entry & 0xffff_ffff != 0xffff_ffff).collect();
        run.sort_unstable();
        self.records = records;
        self.names = names;
        self.runs = if run.is_empty() { Vec::new() } else { vec![run] };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::{Action, DedupConfig, InPlace, Role};

    #[test]
    fn what_is_not_one_stays_apart() {
        let deduper = Deduper::new(DedupConfig::default()).unwrap();
        let mut index = Index::new();
        for key in ["a", "b", "c"] {
            index.insert(key, &person(7));
        }
        assert_eq!(index.find(&deduper, &InPlace).groups, [[0, 1, 2]]);
        index.keep_apart("c", "a");
        index.insert("a", &person(7));
        let index: Index = serde_json::from_str(&serde_json::to_string(&index).unwrap()).unwrap();
        let found = index.find(&deduper, &InPlace);
        let keys: Vec<Vec<&str>> = found.groups.iter().map(|group| group.iter().map(|at| index.key(*at)).collect()).collect();
        assert!(keys.len() == 1 && keys[0].len() == 2 && keys[0].contains(&"b"), "{keys:?}");
        assert_eq!(index.judge_as(&deduper, "c", &person(7)).action, Action::Update("b".to_owned()));
        assert!(matches!(index.judge(&deduper, &person(7)).action, Action::Merge(keys) if keys.len() == 3));
    }

    fn person(at: usize) -> Prepared {
        // Every surname its own: namesakes in one firm would rightly be taken for one person.
        let part =
            |at: usize| ["bra", "kel", "mos", "tiv", "dun", "fer", "gol", "zap", "hux", "wyn", "lor", "cas", "pim", "vek", "juk"][at % 15];
        let last = [part(at), part(at / 15), part(at / 225), "er"].concat();
        let first = ["ann", "bob", "eve", "tom", "kim"][at % 5];
        let email = format!("{first}.{last}@firm{}.com", at % 97);
        Prepared::new(&[(Role::First, first), (Role::Last, &last), (Role::Email, &email)])
    }

    #[test]
    fn what_is_inserted_is_found_until_removed() {
        let deduper = Deduper::new(DedupConfig::default()).unwrap();
        let mut index = Index::new();
        assert!((0..3_000).all(|at| index.insert(&format!("id{at}"), &person(at))));
        assert!(!index.insert("id7", &person(7)));
        assert_eq!((index.len(), index.contains("id7")), (3_000, true));
        assert_eq!(index.candidates(&person(2_222)).first(), Some(&"id2222"));
        assert_eq!(index.judge(&deduper, &person(2_222)).action, Action::Update("id2222".to_owned()));
        let index: Index = serde_json::from_str(&serde_json::to_string(&index).unwrap()).unwrap();
        let mut index = index;
        assert_eq!(index.judge(&deduper, &person(2_222)).action, Action::Update("id2222".to_owned()));
        // More than half goes: the index is packed, and the rest is still found.
        assert!((0..2_000).all(|at| index.remove(&format!("id{at}"))) && !index.remove("id0"));
        assert_eq!(index.judge(&deduper, &person(5)).action, Action::Create);
        assert_eq!(index.judge(&deduper, &person(2_999)).action, Action::Update("id2999".to_owned()));
        assert!(index.records().len() < 2_500 && index.len() == 1_000);
        assert!(!format!("{index:?}").contains("keller"));
    }
}
