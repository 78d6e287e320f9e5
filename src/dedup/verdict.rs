//! What to do with one record: create, update, merge, or ask.

use serde::{Deserialize, Serialize};

use super::config::Scoring;
use super::frequency::Rarities;
use super::memo::Memo;
use super::prepared::Prepared;
use super::records::Records;
use super::score::{Deduper, Match, logit, prior};
use crate::model::RecordId;

/// The recommended action.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action<I = RecordId> {
    /// Nobody like it is known.
    Create,
    /// Several known records are the same as this one and as each other: merge them, the first is the best match.
    Merge(Vec<I>),
    /// A person should decide; the best match first.
    Review(Vec<I>),
    /// It is this one.
    Update(I),
}

/// An action and the evidence for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict<I = RecordId> {
    /// What to do.
    pub action: Action<I>,
    /// Every candidate at or above the review line, once, the best first.
    pub matches: Vec<(I, Match)>,
}

impl Deduper {
    /// Judges a record against the candidates a search brought. A candidate that comes twice counts once.
    ///
    /// | at or above the match line | action |
    /// |---|---|
    /// | none, and none above the review line | `Create` |
    /// | one | `Update` |
    /// | several that are one among themselves | `Merge` |
    /// | none but some above the review line; several different ones; a hard contradiction (identifier, Jr and Sr) | `Review` |
    pub fn judge<I: Clone + Ord>(&self, record: &Prepared, candidates: &[(I, &Prepared)]) -> Verdict<I> {
        let mut records = Records::new();
        records.push(record);
        for (_, candidate) in candidates {
            records.push(candidate);
        }
        let ids: Vec<I> = candidates.iter().map(|(id, _)| id.clone()).collect();
        self.judge_rows(&records, &ids, self.config.directory_size)
    }

    /// The record is the first row, the candidates follow in the order of `ids`.
    pub(super) fn judge_rows<I: Clone + Ord>(&self, records: &Records, ids: &[I], directory: u32) -> Verdict<I> {
        let mut memo = Memo::default();
        let mut compare = |x: u32, y: u32| self.explain(records, &Rarities::Typical, (x, y), prior(directory), &mut memo);
        let mut scored: Vec<(I, Match, u32)> = Vec::new();
        // Most candidates are nobody: reasons are made for those that come near.
        let near = |row: u32, memo: &mut Memo| {
            let floor = logit(self.config.review) - prior(directory) - 0.01;
            let rows = (&records.row(0), &records.row(row));
            self.config.scoring == Scoring::Strategies || self.bits(records, &Rarities::Typical, rows, floor, memo).is_some()
        };
        let mut nothing = Memo::default();
        for (id, row) in ids.iter().zip(1_u32..) {
            if !near(row, &mut nothing) {
                continue;
            }
            let found = compare(0, row);
            if found.score >= self.config.review {
                match scored.iter_mut().find(|(known, ..)| known == id) {
                    Some(known) if known.1.score < found.score => *known = (id.clone(), found, row),
                    Some(_) => {}
                    None => scored.push((id.clone(), found, row)),
                }
            }
        }
        scored.sort_by(|x, y| y.1.score.total_cmp(&x.1.score).then_with(|| x.0.cmp(&y.0)));
        let sure: Vec<&(I, Match, u32)> = scored.iter().filter(|(_, found, _)| found.score >= self.config.threshold).collect();
        let doubtful = sure.iter().any(|(_, found, _)| contradicts(found));
        let ids = |list: &[&(I, Match, u32)]| list.iter().map(|(id, ..)| id.clone()).collect::<Vec<I>>();
        let action = match sure.as_slice() {
            [] if scored.is_empty() => Action::Create,
            [] => Action::Review(scored.iter().map(|(id, ..)| id.clone()).collect()),
            several if doubtful => Action::Review(ids(several)),
            [(id, ..)] => Action::Update(id.clone()),
            several => {
                let one = several.iter().enumerate().all(|(at, (_, _, x))| {
                    several.iter().skip(at + 1).all(|(_, _, y)| {
                        let found = compare(*x, *y);
                        found.score >= self.config.review && !contradicts(&found)
                    })
                });
                if one { Action::Merge(ids(several)) } else { Action::Review(ids(several)) }
            }
        };
        Verdict { action, matches: scored.into_iter().map(|(id, found, _)| (id, found)).collect() }
    }
}

fn contradicts(found: &Match) -> bool {
    found.reasons.iter().any(|reason| matches!(reason.level.as_str(), "identifier.else" | "generation.else"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::{DedupConfig, Role};

    fn deduper() -> Deduper {
        Deduper::new(DedupConfig::default()).unwrap()
    }

    fn person(first: &str, last: &str, email: &str, company: &str) -> Prepared {
        Prepared::new(&[(Role::First, first), (Role::Last, last), (Role::Email, email), (Role::Company, company)])
    }

    #[test]
    fn each_action_has_its_case() {
        let deduper = deduper();
        let new = person("Ann", "Keller", "ann.keller@firm.com", "Firm Ltd");
        let same = person("Anna", "Keller", "Ann.Keller+x@firm.com", "Firm");
        let also = person("Ann", "Keller", "ann.keller@firm.com", "");
        let other = person("Bob", "Stone", "bob@other.org", "Other");
        assert_eq!(deduper.judge(&new, &[("1", &other)]).action, Action::Create);
        assert_eq!(deduper.judge(&new, &[("1", &other), ("2", &same), ("2", &same)]).action, Action::Update("2"));
        let merge = deduper.judge(&new, &[("3", &also), ("2", &same)]);
        assert!(matches!(&merge.action, Action::Merge(ids) if ids.len() == 2), "{:?}", merge.action);
        assert_eq!(deduper.judge::<&str>(&Prepared::default(), &[("1", &Prepared::default())]).action, Action::Create);
    }

    #[test]
    fn the_same_address_alone_is_a_match() {
        let deduper = deduper();
        let mail = |address: &str| Prepared::new(&[(Role::Email, address)]);
        assert!(deduper.compare(&mail("ann@firm.com"), &mail("ANN+x@firm.com")).score >= 0.85);
        assert!(deduper.compare(&mail("info@firm.com"), &mail("info@firm.com")).score < 0.5);
    }

    #[test]
    fn junior_is_not_senior() {
        let deduper = deduper();
        let father = Prepared::new(&[(Role::Full, "John Harlow Sr."), (Role::Street, "Elm Road 5"), (Role::Phone, "+1 212 555 0147")]);
        let son = Prepared::new(&[(Role::Full, "John Harlow Jr."), (Role::Street, "Elm Road 5"), (Role::Phone, "+1 212 555 0147")]);
        assert!(!matches!(deduper.judge(&son, &[("f", &father)]).action, Action::Update(_) | Action::Merge(_)));
    }
}
