//! Large sets: what a written value became is remembered, and several threads prepare parts of one set.

use super::pool::{Texts, Value, Words};
use super::prepared::{MOST, Prepared};
use super::records::{KINDS, Kind, Records, Row};
use super::role::Role;
use super::text::is_placeholder;

/// Bytes of written values an intake remembers; then it forgets them all and starts anew.
const REMEMBERED: usize = 48 << 20;

/// What a written value became.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    value: u32,
    /// Names: the generation. Addresses: the domain of the employer. Whole names: the last name.
    other: u32,
    generation: u8,
    /// An address that says nothing of the employer.
    free: bool,
}

/// Normalises the records of a large set; a value that was written before is not normalised again. Several intakes, each on a thread
/// of the host's, prepare the parts of one set, which a [`Gather`] puts together.
///
/// Beside the texts of its records it holds at most 48 MiB of written values. Debug shows none.
///
/// ```
/// use crm_sync::dedup::{DedupConfig, Deduper, Gather, InPlace, Intake, Role};
///
/// let mut lanes = [Intake::new(0), Intake::new(1)];
/// let mut all = Gather::new();
/// for (lane, name) in [(0, "Ann Keller"), (1, "Bob Stone"), (1, "Keller, Ann")] {
///     lanes[lane].push(&[(Role::Full, name), (Role::Company, "Acme Ltd")]);
///     all.add(&lanes[lane].take());
/// }
/// let found = Deduper::new(DedupConfig::default())?.find(&all.into_records(), &InPlace);
/// assert_eq!(found.groups, [[0, 2]]);
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Default)]
pub struct Intake {
    lane: usize,
    records: Records,
    written: Words,
    known: Vec<Known>,
    key: String,
    found: Vec<(Kind, u32)>,
    words: usize,
    values: [usize; KINDS],
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("lane", &self.lane).field("written", &self.written.len()).finish_non_exhaustive()
    }
}

/// Records that an [`Intake`] has prepared since the last part, and the texts and values that were new to it.
pub struct Part {
    lane: usize,
    words: Texts,
    values: Vec<Vec<Value>>,
    rows: Vec<Row>,
    more: Vec<Vec<(Kind, u32)>>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("lane", &self.lane).field("len", &self.rows.len()).finish_non_exhaustive()
    }
}

impl Intake {
    /// An intake; those whose parts go to one [`Gather`] are numbered from 0.
    pub fn new(lane: usize) -> Self {
        Self { lane, words: 1, values: [1; KINDS], known: vec![Known::default()], ..Self::default() }
    }

    /// Adds a record, as [`Records::push`] does with a [`Prepared`] of these values.
    pub fn push(&mut self, values: &[(Role, &str)]) {
        self.enter(values, 0);
    }

    /// Adds a record of the second set, as [`Records::push_other`] does.
    pub fn push_other(&mut self, values: &[(Role, &str)]) {
        self.enter(values, 1);
    }

    /// The records since the last part. Parts are added to the [`Gather`] in the order they were taken.
    pub fn take(&mut self) -> Part {
        let words = self.records.texts_since(self.words);
        self.words = self.records.words();
        let mut values = Vec::with_capacity(KINDS);
        for (kind, mark) in Kind::ALL.into_iter().zip(self.values.iter_mut()) {
            let table = self.records.values(kind).filter(|_| kind.table() == kind as usize);
            values.push(table.map(|table| table.iter().skip(*mark).copied().collect()).unwrap_or_default());
            *mark = table.map_or(1, |table| table.len().max(1));
        }
        let (rows, more) = self.records.take_rows();
        Part { lane: self.lane, words, values, rows, more }
    }

    fn enter(&mut self, values: &[(Role, &str)], side: u8) {
        if values.iter().any(|(role, value)| *role == Role::Email && value.contains(';')) {
            let record = Prepared::new(values);
            if side == 0 {
                self.records.push(&record)
            } else {
                self.records.push_other(&record)
            };
            return;
        }
        if self.written.bytes() > REMEMBERED {
            self.written = Words::default();
            self.known.truncate(1);
        }
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let first =
            |role: Role| values.iter().find(|(given, value)| *given == role && !is_placeholder(value)).map_or("", |(_, value)| *value);
        let generation = self.name(first, &mut found);
        let (country, region) = (first(Role::Country), self.one(first, Role::Country, Kind::Country));
        let mut work = 0;
        self.each(values, Role::Email, &mut |this, text| {
            let known = this.know(
                '@',
                "",
                text,
                |record, records| {
                    let Some(email) = record.emails.first() else { return Known::default() };
                    let domain = if email.is_free { 0 } else { records.add_domain(&record.domain) };
                    Known { value: records.add_email(email), other: domain, free: email.is_free, ..Known::default() }
                },
                &[(Role::Email, text)],
            );
            if known.value != 0 && !found.contains(&(Kind::Email, known.value)) {
                if work == 0 && !known.free {
                    work = known.other.max(u32::from(known.other == 0) * u32::MAX);
                }
                found.push((Kind::Email, known.value));
            }
        });
        self.each(values, Role::Phone, &mut |this, text| {
            let known = this.know(
                '#',
                country,
                text,
                |record, records| Known { value: record.phones.first().map_or(0, |phone| records.add_phone(phone)), ..Known::default() },
                &[(Role::Country, country), (Role::Phone, text)],
            );
            if !found.contains(&(Kind::Phone, known.value)) {
                found.push((Kind::Phone, known.value));
            }
        });
        let company = self.one(first, Role::Company, Kind::Company);
        found.push((Kind::Company, company));
        let mut domain = 0;
        self.each(values, Role::Website, &mut |this, text| {
            if domain == 0 {
                domain = this.plain(Role::Website, Kind::Domain, text).value;
            }
        });
        // An address at work without a domain to register says nothing; a later one is not asked either.
        found.push((Kind::Domain, if domain == 0 && work != u32::MAX { work } else { domain }));
        let house = first(Role::HouseNumber);
        self.each(values, Role::Street, &mut |this, text| {
            let known = this.know(
                '/',
                house,
                text,
                |record, records| Known {
                    value: record.streets.first().map_or(0, |(name, number)| records.add_street(name, number)),
                    ..Known::default()
                },
                &[(Role::HouseNumber, house), (Role::Street, text)],
            );
            found.push((Kind::Street, known.value));
        });
        for (role, kind) in [
            (Role::Title, Kind::Title),
            (Role::PostalCode, Kind::Postal),
            (Role::City, Kind::City),
            (Role::Region, Kind::Region),
            (Role::BirthDate, Kind::Birth),
            (Role::Gender, Kind::Gender),
        ] {
            found.push((kind, self.one(first, role, kind)));
        }
        found.push((Kind::Country, region));
        for (role, kind) in [(Role::Identifier, Kind::Identifier), (Role::Other, Kind::Other)] {
            self.each(values, role, &mut |this, text| {
                let value = this.plain(role, kind, text).value;
                found.push((kind, value));
            });
        }
        self.records.push_found(&found, generation, side);
        self.found = found;
    }

    /// Values of a role that count, at most as many as a [`Prepared`] keeps.
    fn each(&mut self, values: &[(Role, &str)], role: Role, visit: &mut dyn FnMut(&mut Self, &str)) {
        let given = values.iter().filter(|(given, value)| *given == role && !value.is_empty() && !is_placeholder(value));
        given.take(MOST).for_each(|(_, text)| visit(self, text));
    }

    fn one<'a>(&mut self, first: impl Fn(Role) -> &'a str, role: Role, kind: Kind) -> u32 {
        match first(role) {
            "" => 0,
            text => self.plain(role, kind, text).value,
        }
    }

    /// A value that is read by itself.
    fn plain(&mut self, role: Role, kind: Kind, text: &str) -> Known {
        let mark = char::from(b'a' + kind as u8);
        self.know(
            mark,
            "",
            text,
            |record, records| Known { value: records.add_first_of(record, kind), ..Known::default() },
            &[(role, text)],
        )
    }

    /// The generation; names that stand alone or in one text are read together.
    fn name<'a>(&mut self, first: impl Fn(Role) -> &'a str, found: &mut Vec<(Kind, u32)>) -> u8 {
        let (given, family, whole) = (first(Role::First), first(Role::Last), first(Role::Full));
        if given.is_empty() && family.is_empty() && whole.is_empty() {
            return 0;
        }
        if !given.is_empty() && !family.is_empty() {
            // With a plain name at its side each is read as if alone.
            let p = self.know(
                '1',
                "",
                given,
                |record, records| Known {
                    value: records.add_first_of(record, Kind::First),
                    generation: record.generation.unwrap_or(0),
                    ..Known::default()
                },
                &[(Role::First, given), (Role::Last, "x")],
            );
            let q = self.know(
                '2',
                "",
                family,
                |record, records| Known {
                    value: records.add_first_of(record, Kind::Last),
                    generation: record.generation.unwrap_or(0),
                    ..Known::default()
                },
                &[(Role::First, "x"), (Role::Last, family)],
            );
            if p.value != 0 && q.value != 0 {
                found.extend([(Kind::First, p.value), (Kind::Last, q.value)]);
                return if q.generation == 0 { p.generation } else { q.generation };
            }
        }
        let (mark, text) = if given.is_empty() && family.is_empty() { ('3', whole) } else { ('0', family) };
        let known = self.know(
            mark,
            given,
            text,
            |record, records| Known {
                value: records.add_first_of(record, Kind::First),
                other: records.add_first_of(record, Kind::Last),
                generation: record.generation.unwrap_or(0),
                ..Known::default()
            },
            &[(Role::First, given), (Role::Last, family), (Role::Full, whole)],
        );
        found.extend([(Kind::First, known.value), (Kind::Last, known.other)]);
        known.generation
    }

    fn know(
        &mut self,
        mark: char,
        beside: &str,
        text: &str,
        read: impl FnOnce(&Prepared, &mut Records) -> Known,
        values: &[(Role, &str)],
    ) -> Known {
        self.key.clear();
        self.key.push(mark);
        // The length tells where the one ends and the other begins.
        self.key.push(char::from_u32(beside.len().min(0xd000) as u32).unwrap_or(' '));
        self.key.push_str(beside);
        self.key.push_str(text);
        let number = self.written.add(&self.key) as usize;
        if let Some(known) = self.known.get(number) {
            return *known;
        }
        let known = read(&Prepared::new(values), &mut self.records);
        if number == self.known.len() {
            self.known.push(known);
        }
        known
    }
}

/// What the texts and values of one intake are called in the whole.
#[derive(Clone, Debug)]
struct Moves {
    words: Vec<u32>,
    values: Vec<Vec<u32>>,
}

/// Puts the parts of several intakes together. The outcome depends on the order of the parts, not on how many intakes there were.
#[derive(Debug, Default)]
pub struct Gather {
    records: Records,
    lanes: Vec<Moves>,
}

impl Gather {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the records of a part after those that are there.
    pub fn add(&mut self, part: &Part) {
        while self.lanes.len() <= part.lane {
            self.lanes.push(Moves { words: vec![0], values: vec![vec![0]; KINDS] });
        }
        let Some(lane) = self.lanes.get_mut(part.lane) else { return };
        self.records.add_words(&part.words, &mut lane.words);
        for ((kind, values), moved) in Kind::ALL.into_iter().zip(&part.values).zip(lane.values.iter_mut()) {
            self.records.add_values(kind, values, &lane.words, moved);
        }
        self.records.add_rows(&part.rows, &part.more, &lane.values);
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The whole set.
    pub fn into_records(self) -> Records {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dedup::{DedupConfig, Deduper, InPlace};

    fn role() -> impl Strategy<Value = Role> {
        prop::sample::select(vec![
            Role::First,
            Role::Last,
            Role::Full,
            Role::Email,
            Role::Phone,
            Role::Company,
            Role::Title,
            Role::Website,
            Role::Street,
            Role::HouseNumber,
            Role::City,
            Role::PostalCode,
            Role::Region,
            Role::Country,
            Role::BirthDate,
            Role::Identifier,
            Role::Gender,
            Role::Other,
        ])
    }

    fn text() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "Ann",
            "Dr. Ann",
            "Ann Keller",
            "Keller, Ann Jr.",
            "Keller",
            "van der Keller",
            "x",
            "n/a",
            "",
            "-",
            "Jr.",
            "ann@keller.com",
            "ann@gmail.com; bob@acme.co.uk",
            "bob@acme.co.uk",
            "info@acme.co.uk",
            "a@x.com",
            "+49 921 2336403 ext. 12",
            "0921 2336403",
            "1-590-066-8346",
            "Acme Ltd",
            "AG",
            "Acme & Co. KG",
            "www.acme.co.uk",
            "facebook.com/acme",
            "Main St. 12",
            "Hauptstr.",
            "5a",
            "DE",
            "Germany",
            "US",
            "1970-12-31",
            "f",
            "Ulm",
            "89073",
            "\u{7f}",
            "株式会社トヨタ",
        ])
        .prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn intakes_make_the_same_rows_as_records(
            rows in prop::collection::vec(prop::collection::vec((role(), text()), 0..9), 1..12),
            lanes in 1_usize..4,
        ) {
            let mut whole = Records::new();
            let mut intakes: Vec<Intake> = (0..lanes).map(Intake::new).collect();
            let (mut all, mut other) = (Gather::new(), Gather::new());
            let mut alone = Intake::new(0);
            for (at, row) in rows.iter().enumerate() {
                let values: Vec<(Role, &str)> = row.iter().map(|(role, text)| (*role, text.as_str())).collect();
                whole.push(&Prepared::new(&values));
                intakes[at % lanes].push(&values);
                all.add(&intakes[at % lanes].take());
                alone.push(&values);
            }
            other.add(&alone.take());
            let (all, other) = (all.into_records(), other.into_records());
            prop_assert_eq!(all.len(), whole.len());
            let spelled = |records: &Records, number: u32| -> Vec<Vec<String>> {
                let row = records.row(number);
                let mut out = vec![vec![format!("{} {} {}", row.generation, row.is_company(), row.is_blank())]];
                for kind in Kind::ALL {
                    out.push(records.all(&row, kind).flat_map(|value| (0..3).map(move |part| records.text(kind, value, part).to_owned())).collect());
                }
                out
            };
            for number in 0..whole.len() as u32 {
                prop_assert_eq!(spelled(&all, number), spelled(&whole, number));
                prop_assert_eq!(spelled(&other, number), spelled(&whole, number));
            }
            let deduper = Deduper::new(DedupConfig::default()).unwrap();
            prop_assert_eq!(deduper.find(&all, &InPlace).groups, deduper.find(&whole, &InPlace).groups);
        }

        #[test]
        fn the_number_of_intakes_does_not_matter(rows in prop::collection::vec(prop::collection::vec((role(), text()), 0..9), 1..12)) {
            let of = |lanes: usize| {
                let mut intakes: Vec<Intake> = (0..lanes).map(Intake::new).collect();
                let mut all = Gather::new();
                for (at, part) in rows.chunks(2).enumerate() {
                    let intake = &mut intakes[at % lanes];
                    for row in part {
                        let values: Vec<(Role, &str)> = row.iter().map(|(role, text)| (*role, text.as_str())).collect();
                        intake.push(&values);
                    }
                    all.add(&intake.take());
                }
                serde_json::to_string(&all.into_records()).unwrap()
            };
            prop_assert_eq!(of(1), of(3));
        }
    }
}
