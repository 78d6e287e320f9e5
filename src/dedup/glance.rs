//! What a glance at two values rules out: most pairs are strangers, and their letters tell without comparing the texts.
//!
//! Every test here errs on one side only: what it rules out would not have been found by the full comparison either.

use super::name::is_nickname_listed;
use super::records::{FREE_MAIL, Kind, ROLE_INBOX, Records, Row};
use super::text::{hash, head, tail};

/// The letters of a text: one bit for each, several letters may share one.
#[derive(Clone, Copy, Debug, Default)]
struct Letters {
    mask: u32,
    len: u8,
    /// Not plain ASCII, or too long to say anything.
    unclear: bool,
}

impl Letters {
    fn of(text: &str) -> Self {
        let mask = text.bytes().fold(0, |mask, byte| mask | 1 << (byte & 31));
        Self { mask, len: u8::try_from(text.len()).unwrap_or(u8::MAX), unclear: !text.is_ascii() || text.len() > 250 }
    }

    /// Letters that stand in one of the two only. An edit makes two of them at most.
    fn apart(self, other: Self) -> u32 {
        (self.mask ^ other.mask).count_ones()
    }

    /// False when one edit surely does not lead from one to the other.
    fn may_be_one_edit(self, other: Self) -> bool {
        self.unclear || other.unclear || self.apart(other) <= 2 && self.len.abs_diff(other.len) <= 1
    }

    /// False when Jaro's measure is surely not above `line`.
    fn may_be_alike(self, other: Self, line: f32) -> bool {
        let of = |len: u8, lonely: u32| u32::from(len).saturating_sub(lonely.count_ones());
        let most = of(self.len, self.mask & !other.mask).min(of(other.len, other.mask & !self.mask)) as f32;
        let (p, q) = (f32::from(self.len.max(1)), f32::from(other.len.max(1)));
        self.unclear || other.unclear || most > 0.0 && (most / p + most / q + 1.0) / 3.0 > line - 1e-4
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Name {
    text: Letters,
    key: Letters,
    head: u32,
    listed: bool,
    parts: bool,
}

/// An e-mail address as far as most comparisons need it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mail {
    letters: Letters,
    pub(super) user: u32,
    pub(super) domain: u32,
    pub(super) role: bool,
    pub(super) free: bool,
}

impl Mail {
    pub(super) fn may_be_typo(self, other: Self) -> bool {
        self.letters.may_be_one_edit(other.letters)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Number {
    national: u32,
    start: u32,
    end: u32,
    short: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Firm {
    letters: Letters,
    name: u32,
    stem: u32,
    first: Letters,
    start: u32,
    /// Of the letters of the stem, and of the acronym; 0 where there is none.
    written: u32,
    acronym: u32,
    words: u8,
}

/// Glances at all values of a set, by kind and number.
#[derive(Clone, Debug, Default)]
pub(super) struct Glances {
    names: Vec<Name>,
    mails: Vec<Mail>,
    numbers: Vec<Number>,
    firms: Vec<Firm>,
    labels: Vec<Letters>,
}

impl Glances {
    pub(super) fn take(records: &Records) -> Self {
        fn each<T>(records: &Records, kind: Kind, of: impl Fn([&str; 4], [u32; 4]) -> T) -> Vec<T> {
            let values = records.values(kind).into_iter().flat_map(|values| values.iter());
            values.map(|value| of(value.map(|word| records.word(word)), *value)).collect()
        }
        Self {
            names: each(records, Kind::First, |[text, key, first, parts], [_, _, head, _]| Name {
                text: Letters::of(text),
                key: Letters::of(key),
                head,
                listed: is_nickname_listed(if first.is_empty() { text } else { first }),
                parts: parts.contains(' '),
            }),
            mails: each(records, Kind::Email, |[canonical, ..], [_, user, domain, flags]| Mail {
                letters: Letters::of(canonical),
                user,
                domain,
                role: flags & ROLE_INBOX != 0,
                free: flags & FREE_MAIL != 0,
            }),
            numbers: each(records, Kind::Phone, |[text, ..], [national, ..]| Number {
                national,
                start: short_hash(head(text, 3)),
                end: short_hash(tail(text, 3)),
                short: text.len() < 7 || !text.is_ascii(),
            }),
            firms: each(records, Kind::Company, |[_, stem, acronym, _], [name, stem_word, ..]| {
                let squashed: String = stem.chars().filter(|c| *c != ' ').collect();
                let written: String = stem.split(' ').filter(|word| *word != "and").collect();
                let first = stem.split(' ').next().unwrap_or("");
                Firm {
                    letters: Letters::of(&squashed),
                    name,
                    stem: stem_word,
                    first: Letters::of(first),
                    start: short_hash(head(first, 3)),
                    written: if written.len() < 2 { 0 } else { short_hash(&written) },
                    acronym: if acronym.len() < 2 { 0 } else { short_hash(acronym) },
                    words: u8::try_from(stem.split(' ').count()).unwrap_or(u8::MAX),
                }
            }),
            labels: each(records, Kind::Domain, |[_, label, ..], _| Letters::of(label)),
        }
    }

    /// Whether two different names have nothing in common that matters.
    pub(super) fn are_strange_names(&self, x: u32, y: u32) -> bool {
        let (Some(p), Some(q)) = (self.names.get(x as usize), self.names.get(y as usize)) else { return false };
        !(p.text.unclear
            || q.text.unclear
            || p.key.unclear
            || q.key.unclear
            || p.text.apart(q.text) <= 4
            || p.key.apart(q.key) <= 2
            || p.text.may_be_alike(q.text, 0.7)
            || p.head != 0 && p.head == q.head
            || p.text.len < 2
            || q.text.len < 2
            || p.parts
            || q.parts
            || p.listed && q.listed)
    }

    /// Whether both names are in the list of nicknames.
    pub(super) fn may_be_nicknames(&self, x: u32, y: u32) -> bool {
        let listed = |name: u32| self.names.get(name as usize).is_none_or(|name| name.listed);
        listed(x) && listed(y)
    }

    /// Reads a little of all that a comparison of this record will want, so that the waits for memory overlap. The number means nothing.
    pub(super) fn touch(&self, row: &Row) -> u32 {
        let name = |kind: Kind| self.names.get(row.one(kind) as usize).map_or(0, |name| name.head);
        name(Kind::First)
            ^ name(Kind::Last)
            ^ self.mails.get(row.one(Kind::Email) as usize).map_or(0, |mail| mail.user)
            ^ self.numbers.get(row.one(Kind::Phone) as usize).map_or(0, |number| number.national)
            ^ self.firms.get(row.one(Kind::Company) as usize).map_or(0, |firm| firm.stem)
            ^ self.labels.get(row.one(Kind::Domain) as usize).map_or(0, |label| label.mask)
    }

    pub(super) fn mail(&self, number: u32) -> Option<Mail> {
        self.mails.get(number as usize).copied()
    }

    /// Whether two telephone numbers have neither their beginning nor their end in common.
    pub(super) fn are_strange_numbers(&self, x: u32, y: u32) -> bool {
        let (Some(p), Some(q)) = (self.numbers.get(x as usize), self.numbers.get(y as usize)) else { return false };
        p.national != q.national && !p.short && !q.short && p.start != q.start && p.end != q.end
    }

    pub(super) fn are_strange_firms(&self, x: u32, y: u32) -> bool {
        let (Some(p), Some(q)) = (self.firms.get(x as usize), self.firms.get(y as usize)) else { return false };
        let acronym = |short: u32, full: u32| short != 0 && short == full;
        let abbreviates = p.words == q.words && (p.start == q.start || p.first.unclear || q.first.unclear || p.first.apart(q.first) <= 2);
        !(p.name == q.name
            || p.stem == q.stem
            || abbreviates
            || acronym(p.written, q.acronym)
            || acronym(q.written, p.acronym)
            || p.letters.may_be_one_edit(q.letters)
            // Four equal letters at the start lift Jaro's 0.8 to 0.88.
            || p.letters.may_be_alike(q.letters, 0.8))
    }

    pub(super) fn are_strange_domains(&self, x: u32, y: u32) -> bool {
        let (Some(p), Some(q)) = (self.labels.get(x as usize), self.labels.get(y as usize)) else { return false };
        x != y && !p.may_be_one_edit(*q)
    }
}

fn short_hash(text: &str) -> u32 {
    (hash(0, &[text]) >> 20) as u32 | 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dedup::{DedupConfig, Deduper, InPlace, Prepared, Role, jaro_winkler, within_one_edit};

    proptest! {
        #[test]
        fn a_glance_never_hides_a_likeness(a in "[a-fß1]{0,12}", b in "[a-fß1]{0,12}") {
            let (x, y) = (Letters::of(&a), Letters::of(&b));
            prop_assert!(x.may_be_one_edit(y) || !within_one_edit(&a, &b));
            prop_assert!(a == b || x.may_be_alike(y, 0.7) || jaro_winkler(&a, &b) < 0.8);
            prop_assert!(a == b || x.may_be_alike(y, 0.8) || jaro_winkler(&a, &b) < 0.88);
        }

        /// One pair alone is compared without glances, a set with them: what they say of the fields is the same.
        #[test]
        fn scores_with_and_without_glances_agree(
            one in ("[a-c]{1,6}", "[a-c]{2,7}( [a-c]{3,4})?", "[a-c]{2,6}@[ab]{3}\\.com", "[1-3]{7,9}", "[a-c]{2,5}( [a-c]{2,5}){0,2}"),
            other in ("[a-c]{1,6}", "[a-c]{2,7}( [a-c]{3,4})?", "[a-c]{2,6}@[ab]{3}\\.com", "[1-3]{7,9}", "[a-c]{2,5}( [a-c]{2,5}){0,2}"),
        ) {
            let deduper = Deduper::new(DedupConfig::default()).unwrap();
            let of = |(first, last, mail, phone, company): &(String, String, String, String, String)| Prepared::new(&[
                (Role::First, first), (Role::Last, last), (Role::Email, mail), (Role::Phone, phone), (Role::Company, company),
            ]);
            let (x, y) = (of(&one), of(&other));
            let mut records = Records::new();
            records.push(&x);
            records.push(&y);
            let levels = |found: crate::dedup::Match| {
                let mut levels: Vec<String> = found.reasons.into_iter().map(|reason| reason.level).collect();
                levels.sort();
                levels
            };
            let in_set = deduper.find(&records, &InPlace).explain(&deduper, &records, 0, 1);
            prop_assert_eq!(levels(in_set), levels(deduper.compare(&x, &y)));
        }
    }
}
