//! Candidate search: which records are worth comparing.

use std::collections::HashMap;

use super::prepared::Prepared;
use super::records::{FREE_MAIL, Kind, ROLE_INBOX, Records, Row};
use super::role::Role;
use super::sound::sound;
use super::text::{hash, head, squash, tail};

/// What to search a CRM for, to find the records that may be the same. Debug shows no values.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlockingKey {
    /// Conditions that must hold together; the values are normalised.
    pub all: Vec<(Role, String)>,
}

impl std::fmt::Debug for BlockingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roles: Vec<Role> = self.all.iter().map(|(role, _)| *role).collect();
        f.debug_struct("BlockingKey").field("roles", &roles).finish_non_exhaustive()
    }
}

/// The searches that find a record's likely duplicates in a CRM, the most telling first.
///
/// | record has | searched for |
/// |---|---|
/// | e-mail | the canonical address (search the raw one as well: a CRM does not know plus-tags) |
/// | telephone | the last nine digits |
/// | identifier | the identifier |
/// | first and last name | both |
/// | company without a person | the name; the web domain |
pub fn blocking_keys(record: &Prepared) -> Vec<BlockingKey> {
    let mut out = Vec::new();
    let mut add = |all: &[(Role, &str)]| {
        if all.iter().all(|(_, value)| !value.is_empty()) {
            out.push(BlockingKey { all: all.iter().map(|(role, value)| (*role, (*value).to_owned())).collect() });
        }
    };
    for identifier in &record.identifiers {
        add(&[(Role::Identifier, identifier)]);
    }
    for email in record.emails.iter().filter(|email| !email.is_role || record.is_company()) {
        add(&[(Role::Email, &email.canonical)]);
    }
    for phone in &record.phones {
        add(&[(Role::Phone, tail(&phone.national, 9))]);
    }
    add(&[(Role::First, &record.first), (Role::Last, &record.last)]);
    if record.is_company() {
        add(&[(Role::Company, record.company.as_ref().map_or("", |company| company.stem.as_str()))]);
        add(&[(Role::Website, &record.domain)]);
    }
    out
}

/// Passes of keys, numbered from 0.
pub(super) const PASSES: usize = 46;

/// Sounds of names by the number of their text, so that a name that many bear is listened to once.
#[derive(Debug, Default)]
pub(super) struct Sounds(HashMap<u32, String>);

impl Sounds {
    fn learn(&mut self, word: u32, text: &str) {
        self.0.entry(word).or_insert_with(|| sound(text));
    }

    fn of(&self, word: u32) -> &str {
        self.0.get(&word).map_or("", String::as_str)
    }
}

/// The keys under which a record is filed: the pass and a hash. Records that share a key of one pass are compared.
pub(super) fn keys(records: &Records, row: &Row, sounds: &mut Sounds, out: &mut Vec<(u8, u32)>) {
    out.clear();
    if row.is_blank() {
        return;
    }
    let mut add = |pass: u8, parts: &[&str]| {
        if parts.iter().all(|part| !part.is_empty()) {
            // The hash 0 stands for "no key".
            out.push((pass, ((hash(pass, parts) >> 16) as u32).max(1)));
        }
    };
    let text = |kind: Kind, value: u32, part: usize| records.text(kind, value, part);
    let first = text(Kind::First, row.one(Kind::First), 1);
    let last = text(Kind::Last, row.one(Kind::Last), 1);
    let [birth, postal, city, title] = [Kind::Birth, Kind::Postal, Kind::City, Kind::Title].map(|kind| records.of(row, kind));
    let company = row.is_company();
    for value in records.all(row, Kind::Identifier) {
        let identifier = text(Kind::Identifier, value, 0);
        add(0, &[identifier]);
        let length = identifier.chars().count();
        if length >= 6 {
            add(1, &[head(identifier, length / 2), head(first, 1)]);
            add(2, &[tail(identifier, length / 2), head(first, 1)]);
        }
    }
    for value in records.all(row, Kind::Email) {
        let [canonical, user, _, flags] = records.value(Kind::Email, value);
        let (canonical, user) = (records.word(canonical), records.word(user));
        let inbox = flags & ROLE_INBOX != 0;
        if !inbox || company {
            add(3, &[canonical]);
            if user.len() >= 9 {
                add(4, &[head(canonical, 9)]);
            }
            if canonical.len() > 16 && flags & FREE_MAIL == 0 {
                add(5, &[tail(canonical, 16), head(first, 1)]);
            }
        }
        if !inbox && user.len() >= 5 {
            add(6, &[user]);
        }
    }
    for value in records.all(row, Kind::Phone) {
        let number = tail(text(Kind::Phone, value, 0), 9);
        if company || first.is_empty() && last.is_empty() {
            add(7, &[number]);
        } else {
            add(8, &[number, head(first, 1)]);
            add(9, &[number, head(last, 1)]);
            // Swapped names and a lone one meet here.
            add(8, &[number, head(last, 1)]);
        }
    }
    if first <= last {
        add(10, &[first, last])
    } else {
        add(10, &[last, first])
    }
    if first.is_empty() && last.len() >= 3 {
        add(11, &[last]);
    }
    add(12, &[head(first, 4), head(last, 4)]);
    add(13, &[last, head(first, 1)]);
    add(14, &[first, head(last, 2)]);
    for part in text(Kind::Last, row.one(Kind::Last), 3).split(' ') {
        add(15, &[part, head(first, 3)]);
    }
    let [first_word, last_word] = [Kind::First, Kind::Last].map(|kind| {
        let [_, word, ..] = records.value(kind, row.one(kind));
        word
    });
    sounds.learn(first_word, first);
    sounds.learn(last_word, last);
    let (sound_first, sound_last) = (sounds.of(first_word), sounds.of(last_word));
    if sound_last.len() > 1 {
        add(16, &[sound_last, head(first, 1)]);
        add(17, &[sound_last, sound_first]);
    }
    if !birth.is_empty() {
        add(18, &[birth, head(first, 1)]);
        add(19, &[birth, head(last, 1)]);
        add(20, &[head(birth, 4), head(last, 3), head(first, 2)]);
        add(21, &[birth, postal]);
        add(22, &[head(birth, 4), last]);
        add(23, &[birth, city]);
        add(24, &[birth, title]);
        add(25, &[head(birth, 4), postal]);
        add(26, &[birth, records.of(row, Kind::Region)]);
    }
    if !postal.is_empty() {
        add(27, &[postal, head(last, 2)]);
        add(28, &[postal, head(first, 2)]);
        if !company {
            add(29, &[postal, title]);
        }
    }
    for value in records.all(row, Kind::Street) {
        let name = squash(text(Kind::Street, value, 0));
        let number = text(Kind::Street, value, 1);
        add(30, &[postal, head(&name, 5)]);
        if company {
            add(31, &[head(&name, 8), number]);
        } else {
            add(32, &[head(&name, 8), number, head(first, 1)]);
            add(33, &[head(&name, 8), number, head(last, 1)]);
        }
    }
    add(34, &[city, head(last, 3), head(first, 1)]);
    add(35, &[city, first]);
    add(36, &[city, last]);
    add(37, &[title, last]);
    let name = row.one(Kind::Company);
    let stem = squash(&text(Kind::Company, name, 1).replace(" and ", " "));
    let label = text(Kind::Domain, row.one(Kind::Domain), 1);
    for employer in [label, if stem == label { "" } else { &stem }] {
        if company {
            add(38, &[employer]);
            add(39, &[head(employer, 6)]);
            add(40, &[tail(employer, 6), head(employer, 1)]);
            add(41, &[city, head(employer, 3)]);
            add(42, &[postal, head(employer, 2)]);
        } else {
            add(38, &[employer, head(last, 2)]);
            add(39, &[employer, head(first, 3)]);
            add(40, &[head(employer, 5), last]);
            let (x, y) = (head(first, 1), head(last, 1));
            if x <= y { add(41, &[employer, x, y]) } else { add(41, &[employer, y, x]) }
        }
    }
    if company {
        let acronym = text(Kind::Company, name, 2);
        if acronym.len() >= 2 {
            add(38, &[acronym]);
        }
        let mut words: Vec<&str> = text(Kind::Company, name, 1).split(' ').collect();
        words.sort_unstable();
        add(43, &[&words.join(" ")]);
    }
    out.sort_unstable();
    out.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_stable_and_a_blank_record_has_none() {
        let mut records = Records::new();
        records.push(&Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann.keller@firm.com"), (Role::City, "Ulm")]));
        records.push(&Prepared::new(&[(Role::Full, "n/a"), (Role::Country, "DE")]));
        let (mut one, mut again) = (Vec::new(), Vec::new());
        let mut sounds = Sounds::default();
        keys(&records, &records.row(0), &mut sounds, &mut one);
        keys(&records, &records.row(0), &mut sounds, &mut again);
        assert!(one.len() > 8 && one == again && one.iter().all(|(pass, key)| usize::from(*pass) < PASSES && *key != 0));
        keys(&records, &records.row(1), &mut sounds, &mut again);
        assert!(again.is_empty());
    }

    #[test]
    fn a_crm_is_searched_for_the_telling_values() {
        let record = Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "Ann@firm.com"), (Role::Phone, "+49 921 2336403")]);
        let roles: Vec<Vec<Role>> = blocking_keys(&record).iter().map(|key| key.all.iter().map(|(role, _)| *role).collect()).collect();
        assert_eq!(roles, [vec![Role::Email], vec![Role::Phone], vec![Role::First, Role::Last]]);
    }
}
