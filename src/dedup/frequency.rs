//! How rare a value is: agreement on a rare one says more. In a set also what a glance at it tells.

use super::glance::Glances;
use super::pool::Values;
use super::records::{KINDS, Kind, Records};
use super::workers::{Workers, collect};

/// The user part of e-mail addresses is counted on its own, after the kinds.
const USER: usize = KINDS;

/// The rarity of values in bits: the base-2 logarithm of one over their share.
#[derive(Clone, Debug)]
pub(super) enum Rarities {
    /// No table to count in: a directory of about ten thousand is assumed.
    Typical,
    /// Counted, by kind and number of the value; what is not in the table has not been seen before.
    Counted { tables: Vec<Vec<f32>>, most: f32, private: bool, glances: Glances },
}

const fn typical(kind: usize) -> f32 {
    const TYPICAL: [f32; KINDS + 1] = [7.0, 9.5, 16.0, 13.0, 10.0, 10.0, 4.0, 12.0, 10.0, 7.0, 2.0, 1.0, 13.0, 14.0, 4.0, 1.0, 11.0];
    if kind < TYPICAL.len() {
        #[allow(clippy::indexing_slicing, reason = "the length is checked; a const function knows no `get`")]
        TYPICAL[kind]
    } else {
        0.0
    }
}

impl Rarities {
    pub(super) fn of(&self, kind: Kind, number: u32) -> f32 {
        self.at(kind as usize, number)
    }

    pub(super) fn user(&self, email: u32) -> f32 {
        self.at(USER, email)
    }

    fn at(&self, table: usize, number: u32) -> f32 {
        match self {
            Self::Typical => typical(table),
            Self::Counted { tables, most, .. } => tables.get(table).and_then(|table| table.get(number as usize)).copied().unwrap_or(*most),
        }
    }

    pub(super) fn glances(&self) -> Option<&Glances> {
        match self {
            Self::Typical => None,
            Self::Counted { glances, .. } => Some(glances),
        }
    }

    /// Whether the set knows nothing of employers.
    pub(super) fn is_private(&self) -> bool {
        matches!(self, Self::Counted { private: true, .. })
    }

    /// The highest rarity there is.
    pub(super) fn most(&self) -> f32 {
        match self {
            Self::Typical => 16.0,
            Self::Counted { most, .. } => *most,
        }
    }

    /// Counts in a set: linear in the number of values, the same for any order of the records.
    pub(super) fn count(records: &Records, workers: &dyn Workers) -> Self {
        let total = records.len().max(1024) as f32;
        let most = total.log2();
        let bits = |count: u32| (total / count.max(1) as f32).log2().clamp(0.0, most);
        let tables = collect(workers, KINDS + 1, &|table| {
            let mut by_text = vec![0_u32; records.words()];
            let Some(kind) = Kind::ALL.get(table).copied() else {
                tally(records, Kind::Email, 1, &mut by_text);
                return spread(records.values(Kind::Email), 1, &by_text, &bits);
            };
            let part = match kind {
                Kind::First | Kind::Last | Kind::Company => 1,
                _ => 0,
            };
            tally(records, kind, part, &mut by_text);
            let mut table = spread(records.values(kind), part, &by_text, &bits);
            if matches!(kind, Kind::Phone | Kind::Email) {
                // A number that several families carry belongs to none of them.
                let families = families(records, kind);
                if let Some(values) = records.values(kind) {
                    for (slot, value) in table.iter_mut().zip(values.iter()) {
                        let [text, ..] = *value;
                        let at = families.partition_point(|(known, _)| *known < text);
                        if let Some((_, count)) = families.get(at).filter(|(known, _)| *known == text) {
                            *slot = (*slot - 1.5 * (*count - 1).min(8) as f32).max(0.0);
                        }
                    }
                }
            }
            table
        });
        let employers = [Kind::Company, Kind::Domain, Kind::Email];
        let private = employers.iter().all(|kind| records.values(*kind).is_none_or(|values| values.len() < 2));
        Self::Counted { tables, most, private, glances: Glances::take(records) }
    }
}

fn tally(records: &Records, kind: Kind, part: usize, by_text: &mut [u32]) {
    by_text.fill(0);
    for row in records.rows() {
        for value in records.all(row, kind) {
            let text = records.value(kind, value).get(part).copied().unwrap_or(0);
            if let Some(count) = by_text.get_mut(text as usize) {
                *count += 1;
            }
        }
    }
}

fn spread(values: Option<&Values>, part: usize, by_text: &[u32], bits: &dyn Fn(u32) -> f32) -> Vec<f32> {
    let Some(values) = values else { return Vec::new() };
    let count = |text: Option<&u32>| text.and_then(|text| by_text.get(*text as usize)).copied().unwrap_or(0);
    values.iter().map(|value| bits(count(value.get(part)))).collect()
}

/// How many surnames go with a number or address, for those that go with several; sorted.
fn families(records: &Records, kind: Kind) -> Vec<(u32, u32)> {
    let mut carriers: Vec<(u32, u32)> = Vec::new();
    for row in records.rows() {
        let [_, family, ..] = records.value(Kind::Last, row.one(Kind::Last));
        for value in records.all(row, kind) {
            let [text, ..] = records.value(kind, value);
            carriers.push((text, family));
        }
    }
    carriers.sort_unstable();
    carriers.dedup();
    carriers
        .chunk_by(|x, y| x.0 == y.0)
        .filter(|same| same.len() > 1)
        .filter_map(|same| same.first().map(|(text, _)| (*text, same.len() as u32)))
        .collect()
}
