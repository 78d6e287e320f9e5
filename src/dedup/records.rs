//! A set of records in compact form: every distinct value once, a record is a row of numbers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::company::Company;
use super::email::Email;
use super::pool::{Texts, Value, Values, Words};
use super::prepared::Prepared;
use crate::model::phone::Phone;

/// What a column of a row holds. The order is the order of the columns.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Kind {
    /// Texts: squashed, loose key, first word, standing parts.
    First,
    Last,
    /// Texts: canonical, user, domain, flags as number.
    Email,
    /// Texts: national, calling code, extension.
    Phone,
    /// Texts: name, stem, acronym, form.
    Company,
    /// Texts: domain, its first label.
    Domain,
    Title,
    /// Texts: name, number.
    Street,
    Postal,
    City,
    Region,
    Country,
    Birth,
    Identifier,
    Other,
    Gender,
}

pub(super) const KINDS: usize = 16;

impl Kind {
    pub(super) const ALL: [Self; KINDS] = [
        Self::First,
        Self::Last,
        Self::Email,
        Self::Phone,
        Self::Company,
        Self::Domain,
        Self::Title,
        Self::Street,
        Self::Postal,
        Self::City,
        Self::Region,
        Self::Country,
        Self::Birth,
        Self::Identifier,
        Self::Other,
        Self::Gender,
    ];

    /// Names share one table, so that first and last can be compared crosswise.
    pub(super) fn table(self) -> usize {
        if self == Self::Last { 0 } else { self as usize }
    }
}

pub(super) const ROLE_INBOX: u32 = 1;
pub(super) const FREE_MAIL: u32 = 2;

const COMPANY: u8 = 1;
const BLANK: u8 = 2;
const GONE: u8 = 4;

/// One record: a value per kind, by number; further values of a kind are kept apart.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Row {
    columns: [u32; KINDS],
    more: u32,
    pub(super) generation: u8,
    flags: u8,
    /// The set it came from, when two are linked.
    pub(super) side: u8,
}

impl Row {
    pub(super) fn one(&self, kind: Kind) -> u32 {
        self.columns.get(kind as usize).copied().unwrap_or(0)
    }

    pub(super) fn columns(&self) -> &[u32; KINDS] {
        &self.columns
    }

    pub(super) fn is_company(&self) -> bool {
        self.flags & COMPANY != 0
    }

    pub(super) fn is_blank(&self) -> bool {
        self.flags & (BLANK | GONE) != 0
    }
}

/// Records in compact form, numbered from 0 in the order they came: what a pass over millions works on.
///
/// A record takes about 70 bytes, plus each distinct value once. Debug shows no values.
///
/// ```
/// use crm_sync::dedup::{DedupConfig, Deduper, InPlace, Prepared, Records, Role};
///
/// let mut records = Records::new();
/// for (name, mail) in [("Ann Keller", "ann.keller@firm.com"), ("Bob Stone", "b@other.org"), ("Keller, Ann", "Ann.Keller+x@firm.com")] {
///     records.push(&Prepared::new(&[(Role::Full, name), (Role::Email, mail)]));
/// }
/// assert_eq!(records.len(), 3);
/// let found = Deduper::new(DedupConfig::default())?.find(&records, &InPlace);
/// assert_eq!(found.groups, [[0, 2]]);
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Records {
    words: Words,
    tables: Vec<Values>,
    rows: Vec<Row>,
    more: Vec<Vec<(Kind, u32)>>,
    /// Pairs that are not one, in both directions.
    #[serde(default)]
    apart: BTreeSet<(u32, u32)>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("len", &self.rows.len()).field("texts", &self.words.len()).finish_non_exhaustive()
    }
}

impl Records {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records held; those taken away by [`Index::remove`](super::Index::remove) keep their number.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a record and returns its number. At most 4 billion records and 4 GiB of distinct text.
    pub fn push(&mut self, record: &Prepared) -> u32 {
        let row = self.encode(record, 0);
        let number = self.rows.len() as u32;
        self.rows.push(row);
        number
    }

    /// Adds a record of the second set: [`Deduper::link`](super::Deduper::link) pairs it with those that [`Records::push`] added.
    pub fn push_other(&mut self, record: &Prepared) -> u32 {
        let row = self.encode(record, 1);
        let number = self.rows.len() as u32;
        self.rows.push(row);
        number
    }

    /// Remembers that two records are not one, whatever they have in common: no search puts them into one group or names them as
    /// a pair. Numbers that are not held are ignored.
    ///
    /// ```
    /// use crm_sync::dedup::{DedupConfig, Deduper, InPlace, Prepared, Records, Role};
    ///
    /// let mut records = Records::new();
    /// let ann = Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann.keller@firm.com")]);
    /// let (a, b) = (records.push(&ann), records.push(&ann));
    /// let deduper = Deduper::new(DedupConfig::default())?;
    /// assert_eq!(deduper.find(&records, &InPlace).groups, [[0, 1]]);
    /// records.keep_apart(a, b);
    /// assert!(deduper.find(&records, &InPlace).groups.is_empty());
    /// # Ok::<(), crm_sync::error::Error>(())
    /// ```
    pub fn keep_apart(&mut self, a: u32, b: u32) {
        if a != b && (a.max(b) as usize) < self.rows.len() {
            self.apart.extend([(a, b), (b, a)]);
        }
    }

    pub(super) fn apart(&self) -> &BTreeSet<(u32, u32)> {
        &self.apart
    }

    pub(super) fn clear(&mut self, number: u32) {
        if let Some(slot) = self.rows.get_mut(number as usize) {
            *slot = Row { flags: GONE, ..Row::default() };
        }
    }

    /// Adds all records of another set, in their order, as if each had been pushed here; so several threads can prepare the parts
    /// of one large set. The records that were said not to be one, and the set each was pushed to, come along.
    ///
    /// ```
    /// use crm_sync::dedup::{DedupConfig, Deduper, InPlace, Prepared, Records, Role};
    ///
    /// let ann = Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann.keller@firm.com")]);
    /// let (mut all, mut part) = (Records::new(), Records::new());
    /// all.push(&ann);
    /// part.push(&ann);
    /// all.append(&part);
    /// assert_eq!(Deduper::new(DedupConfig::default())?.find(&all, &InPlace).groups, [[0, 1]]);
    /// # Ok::<(), crm_sync::error::Error>(())
    /// ```
    pub fn append(&mut self, other: &Self) {
        let base = self.rows.len() as u32;
        let mut words = vec![0];
        self.add_words(&other.words.since(1), &mut words);
        let mut moved: Vec<Vec<u32>> = vec![vec![0]; KINDS];
        for (kind, slot) in Kind::ALL.into_iter().zip(moved.iter_mut()).filter(|(kind, _)| kind.table() == *kind as usize) {
            let values: Vec<Value> = other.values(kind).map(|values| values.iter().skip(1).copied().collect()).unwrap_or_default();
            self.add_values(kind, &values, &words, slot);
        }
        self.add_rows(&other.rows, &other.more, &moved);
        self.apart.extend(other.apart.iter().map(|(a, b)| (a + base, b + base)));
    }

    pub(super) fn texts_since(&self, mark: usize) -> Texts {
        self.words.since(mark)
    }

    /// The rows, which are then gone; what they name stays.
    pub(super) fn take_rows(&mut self) -> (Vec<Row>, Vec<Vec<(Kind, u32)>>) {
        (std::mem::take(&mut self.rows), std::mem::take(&mut self.more))
    }

    /// Adds texts; their numbers come after those in `moved`.
    pub(super) fn add_words(&mut self, texts: &Texts, moved: &mut Vec<u32>) {
        self.words.add_texts(texts, moved);
    }

    /// Adds values whose texts have the numbers in `words` here; their numbers come after those in `moved`.
    pub(super) fn add_values(&mut self, kind: Kind, values: &[Value], words: &[u32], moved: &mut Vec<u32>) {
        while self.tables.len() < KINDS {
            self.tables.push(Values::default());
        }
        let word = |number: u32| words.get(number as usize).copied().unwrap_or(0);
        let texts = |[a, b, c, d]: Value| [word(a), word(b), word(c), if kind == Kind::Email { d } else { word(d) }];
        let values: Vec<Value> = values.iter().copied().map(texts).collect();
        if let Some(table) = self.tables.get_mut(kind.table()) {
            table.add_all(&values, moved);
        }
    }

    /// Adds rows whose values have the numbers in `moved` here, by table.
    pub(super) fn add_rows(&mut self, rows: &[Row], others: &[Vec<(Kind, u32)>], moved: &[Vec<u32>]) {
        let value = |kind: Kind, number: u32| moved.get(kind.table()).and_then(|known| known.get(number as usize)).copied().unwrap_or(0);
        for from in rows {
            let mut row = *from;
            for (kind, slot) in Kind::ALL.into_iter().zip(row.columns.iter_mut()).filter(|(_, slot)| **slot != 0) {
                *slot = value(kind, *slot);
            }
            if let Some(more) = (from.more as usize).checked_sub(1).and_then(|at| others.get(at)) {
                self.more.push(more.iter().map(|(kind, number)| (*kind, value(*kind, *number))).collect());
                row.more = self.more.len() as u32;
            }
            self.rows.push(row);
        }
    }

    /// Adds a record of another set.
    pub(super) fn copy(&mut self, other: &Self, number: u32) -> u32 {
        let from = other.row(number);
        let mut row = Row { columns: [0; KINDS], more: 0, ..from };
        let mut more = Vec::new();
        for kind in Kind::ALL {
            for value in other.all(&from, kind) {
                let [a, b, c, d] = other.value(kind, value);
                let flags = kind == Kind::Email;
                let texts = [a, b, c].map(|word| self.words.add(other.word(word)));
                let last = if flags { d } else { self.words.add(other.word(d)) };
                let [a, b, c] = texts;
                let value = self.intern(kind, [a, b, c, last]);
                match row.columns.get_mut(kind as usize) {
                    Some(slot) if *slot == 0 => *slot = value,
                    _ => more.push((kind, value)),
                }
            }
        }
        if !more.is_empty() {
            self.more.push(more);
            row.more = self.more.len() as u32;
        }
        self.rows.push(row);
        self.rows.len() as u32 - 1
    }

    pub(super) fn is_gone(&self, number: u32) -> bool {
        self.row(number).flags & GONE != 0
    }

    pub(super) fn row(&self, number: u32) -> Row {
        self.rows.get(number as usize).copied().unwrap_or(Row { flags: GONE, ..Row::default() })
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn value(&self, kind: Kind, number: u32) -> Value {
        self.tables.get(kind.table()).map_or([0; 4], |table| table.get(number))
    }

    pub(super) fn values(&self, kind: Kind) -> Option<&Values> {
        self.tables.get(kind.table())
    }

    pub(super) fn word(&self, number: u32) -> &str {
        self.words.get(number)
    }

    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// The text of a value's part.
    pub(super) fn text(&self, kind: Kind, number: u32, part: usize) -> &str {
        self.word(self.value(kind, number).get(part).copied().unwrap_or(0))
    }

    pub(super) fn of(&self, row: &Row, kind: Kind) -> &str {
        self.text(kind, row.one(kind), 0)
    }

    /// All values of a kind, the first one first.
    pub(super) fn all<'a>(&'a self, row: &'a Row, kind: Kind) -> impl Iterator<Item = u32> + 'a {
        let first = row.one(kind);
        let rest = if row.more == 0 { &[][..] } else { self.more.get(row.more as usize - 1).map_or(&[][..], Vec::as_slice) };
        (first != 0).then_some(first).into_iter().chain(rest.iter().filter(move |(of, _)| *of == kind).map(|(_, value)| *value))
    }

    fn add(&mut self, kind: Kind, texts: [&str; 4]) -> u32 {
        let mut before = ("", 0);
        let value = texts.map(|text| {
            if text != before.0 {
                before = (text, self.words.add(text));
            }
            if text.is_empty() { 0 } else { before.1 }
        });
        self.intern(kind, value)
    }

    fn intern(&mut self, kind: Kind, value: Value) -> u32 {
        while self.tables.len() < KINDS {
            self.tables.push(Values::default());
        }
        self.tables.get_mut(kind.table()).map_or(0, |table| table.add(value))
    }

    pub(super) fn add_email(&mut self, email: &Email) -> u32 {
        let [canonical, user, domain] = [&email.canonical, &email.user, &email.domain].map(|text| self.words.add(text));
        let flags = if email.is_role { ROLE_INBOX } else { 0 } | if email.is_free { FREE_MAIL } else { 0 };
        self.intern(Kind::Email, [canonical, user, domain, flags])
    }

    pub(super) fn add_phone(&mut self, phone: &Phone) -> u32 {
        let texts = [phone.national.as_str(), phone.country.as_deref().unwrap_or(""), phone.extension.as_deref().unwrap_or(""), ""];
        self.add(Kind::Phone, texts)
    }

    pub(super) fn add_street(&mut self, name: &str, number: &str) -> u32 {
        self.add(Kind::Street, [name, number, "", ""])
    }

    pub(super) fn add_domain(&mut self, domain: &str) -> u32 {
        self.add(Kind::Domain, [domain, domain.split('.').next().unwrap_or(""), "", ""])
    }

    /// The first value of a kind that a record has.
    pub(super) fn add_first_of(&mut self, record: &Prepared, kind: Kind) -> u32 {
        let text = match kind {
            Kind::First => return self.add(kind, [&record.first, &record.first_key, &record.first_head, ""]),
            Kind::Last => return self.add(kind, [&record.last, &record.last_key, "", &record.last_parts.join(" ")]),
            Kind::Email => return record.emails.first().map_or(0, |email| self.add_email(email)),
            Kind::Phone => return record.phones.first().map_or(0, |phone| self.add_phone(phone)),
            Kind::Company => {
                let add = |company: &Company| self.add(kind, [&company.name, &company.stem, &company.acronym, &company.form]);
                return record.company.as_ref().map_or(0, add);
            }
            Kind::Domain => return self.add_domain(&record.domain),
            Kind::Street => return record.streets.first().map_or(0, |(name, number)| self.add_street(name, number)),
            Kind::Title => &record.title,
            Kind::Postal => &record.postal,
            Kind::City => &record.city,
            Kind::Region => &record.region,
            Kind::Country => &record.country,
            Kind::Birth => &record.birth,
            Kind::Gender => &record.gender,
            Kind::Identifier => record.identifiers.first().map_or("", String::as_str),
            Kind::Other => record.others.first().map_or("", String::as_str),
        };
        self.add(kind, [text, "", "", ""])
    }

    fn encode(&mut self, record: &Prepared, side: u8) -> Row {
        let mut found: Vec<(Kind, u32)> = Vec::with_capacity(24);
        for kind in [Kind::First, Kind::Last] {
            found.push((kind, self.add_first_of(record, kind)));
        }
        for email in &record.emails {
            found.push((Kind::Email, self.add_email(email)));
        }
        for phone in &record.phones {
            found.push((Kind::Phone, self.add_phone(phone)));
        }
        for kind in [Kind::Company, Kind::Domain] {
            found.push((kind, self.add_first_of(record, kind)));
        }
        for (name, number) in &record.streets {
            found.push((Kind::Street, self.add_street(name, number)));
        }
        for kind in [Kind::Title, Kind::Postal, Kind::City, Kind::Region, Kind::Country, Kind::Birth, Kind::Gender] {
            found.push((kind, self.add_first_of(record, kind)));
        }
        for text in &record.identifiers {
            found.push((Kind::Identifier, self.add(Kind::Identifier, [text, "", "", ""])));
        }
        for text in &record.others {
            found.push((Kind::Other, self.add(Kind::Other, [text, "", "", ""])));
        }
        self.row_of(&found, record.generation.unwrap_or(0), side)
    }

    /// Adds a record by the numbers of its values.
    pub(super) fn push_found(&mut self, found: &[(Kind, u32)], generation: u8, side: u8) {
        let row = self.row_of(found, generation, side);
        self.rows.push(row);
    }

    fn row_of(&mut self, found: &[(Kind, u32)], generation: u8, side: u8) -> Row {
        let mut row = Row { side, generation, ..Row::default() };
        let mut more = Vec::new();
        for (kind, value) in found {
            match row.columns.get_mut(*kind as usize) {
                Some(slot) if *slot == 0 => *slot = *value,
                Some(_) if *value != 0 => more.push((*kind, *value)),
                _ => {}
            }
        }
        if row.one(Kind::First) == 0 && row.one(Kind::Last) == 0 && row.one(Kind::Company) != 0 {
            row.flags |= COMPANY;
        }
        // A country and a gender alone are nothing to compare.
        let says = |(kind, value): (Kind, &u32)| *value != 0 && !matches!(kind, Kind::Country | Kind::Gender);
        if generation == 0 && !Kind::ALL.into_iter().zip(&row.columns).any(says) {
            row.flags |= BLANK;
        }
        if !more.is_empty() {
            self.more.push(more);
            row.more = self.more.len() as u32;
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::Role;

    #[test]
    fn parts_put_together_are_the_set_pushed_one_by_one() {
        let person = |at: usize| {
            let (name, mail) = (format!("Ann{} Keller", at % 3), format!("ann{}@firm{}.com", at, at % 2));
            let more = format!("ann{}@gmail.com", at % 4);
            Prepared::new(&[(Role::Full, &name), (Role::Email, &mail), (Role::Email, &more), (Role::City, "Ulm")])
        };
        let (mut whole, mut parts) = (Records::new(), Records::new());
        for start in (0..150).step_by(50) {
            let mut part = Records::new();
            for at in start..start + 50 {
                if at % 5 == 0 {
                    whole.push_other(&person(at));
                    part.push_other(&person(at));
                } else {
                    whole.push(&person(at));
                    part.push(&person(at));
                }
            }
            part.keep_apart(1, 2);
            whole.keep_apart(start as u32 + 1, start as u32 + 2);
            parts.append(&part);
        }
        assert_eq!(serde_json::to_string(&parts).unwrap(), serde_json::to_string(&whole).unwrap());
    }

    #[test]
    fn a_record_is_read_back_from_its_row() {
        let mut records = Records::new();
        records.push(&Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann@firm.com"), (Role::Email, "ann@gmail.com")]));
        records.push(&Prepared::new(&[(Role::Company, "Acme Ltd"), (Role::Phone, "+49 921 2336403 ext. 12")]));
        let records: Records = serde_json::from_str(&serde_json::to_string(&records).unwrap()).unwrap();
        let ann = records.row(0);
        let mails: Vec<&str> = records.all(&ann, Kind::Email).map(|value| records.text(Kind::Email, value, 0)).collect();
        assert_eq!(mails, ["ann@firm.com", "ann@gmail.com"]);
        assert_eq!((records.of(&ann, Kind::First), records.of(&ann, Kind::Last)), ("ann", "keller"));
        let acme = records.row(1);
        assert!(acme.is_company() && !ann.is_company() && records.row(9).is_blank());
        assert_eq!(records.text(Kind::Phone, acme.one(Kind::Phone), 2), "12");
        assert!(!format!("{records:?}").contains("keller"));
    }
}
