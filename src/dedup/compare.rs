//! Two records side by side: the level of agreement of each field.

use super::frequency::Rarities;
use super::glance::Glances;
use super::level::{Level, Population};
use super::memo::{Memo, Relation, alike};
use super::records::{FREE_MAIL, Kind, ROLE_INBOX, Records, Row};
use super::similarity::within_one_edit;
use super::text::{head, tail};
use super::weights::Table;

/// What was found, in a fixed order; a field missing on either side is not in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Findings {
    found: [(Level, f32); 20],
    len: usize,
    pub(super) total: f32,
}

/// Agreement on an address says more when it is not an office.
const HOME: f32 = 1.6;
/// The share of a name's disagreement that is left when the date of birth agrees.
const DATED: f32 = 0.5;
/// The share of a city's agreement that is left when the postal code has said it.
const IMPLIED: f32 = 0.25;
/// What all signs of one employer are worth together, in bits: they say the same thing, and colleagues share them all.
const OFFICE: f32 = 8.0;

impl Findings {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Level, f32)> + '_ {
        self.found.iter().take(self.len).copied()
    }
}

/// What a comparison reads: the records, how rare their values are, and what each level is worth.
#[derive(Clone, Copy)]
pub(super) struct Measure<'a> {
    pub(super) records: &'a Records,
    pub(super) rarities: &'a Rarities,
    pub(super) table: &'a Table,
}

impl Measure<'_> {
    pub(super) fn population(&self, a: &Row, b: &Row) -> Population {
        if a.is_company() && b.is_company() {
            Population::Company
        } else if self.rarities.is_private() {
            Population::Private
        } else {
            Population::Person
        }
    }

    /// Compares two records; `None` as soon as the sum cannot reach `line` any more.
    pub(super) fn run(&self, a: &Row, b: &Row, line: f32, memo: &mut Memo) -> Option<Findings> {
        let company = a.is_company() && b.is_company();
        // Without an employer an address is where somebody lives, and a title is what they are.
        let population = self.population(a, b);
        let home = !company && [a, b].iter().all(|row| row.one(Kind::Company) == 0 && row.one(Kind::Domain) == 0);
        let out = Findings { found: [(Level::OtherElse, 0.0); 20], len: 0, total: 0.0 };
        let mut this = Comparison { a, b, with: *self, company, population, home, office: OFFICE, out };
        if !company {
            this.name(memo);
        }
        this.birth();
        this.identifier();
        let (mail, phone) = (this.email(true), this.phone());
        let known = [mail, phone].into_iter().flatten().map(|(_, bits)| bits).sum::<f32>();
        if this.out.total + known + self.table.rest(population, home, shared(a, b), self.rarities.most()) < line {
            return None;
        }
        // Only now it is worth finding out whether addresses were made of names.
        let mail = if mail.is_some_and(|(level, _)| level.is_mail_guess()) { this.email(false) } else { mail };
        for (level, bits) in [mail, phone].into_iter().flatten() {
            this.add(level, bits);
        }
        let mail = mail.map(|(level, _)| level);
        this.employer(mail, memo);
        this.title(memo);
        this.address(memo);
        this.rest();
        Some(this.out)
    }
}

struct Comparison<'a> {
    a: &'a Row,
    b: &'a Row,
    with: Measure<'a>,
    company: bool,
    population: Population,
    home: bool,
    office: f32,
    out: Findings,
}

impl<'a> Comparison<'a> {
    fn weigh(&self, level: Level, rarity: f32) -> f32 {
        let bits = self.with.table.bits(level, self.population, rarity);
        if self.home && self.population == Population::Person && bits > 0.0 && level.is_place_or_title() { bits * HOME } else { bits }
    }

    fn add(&mut self, level: Level, bits: f32) {
        let mut bits = bits;
        if !self.company && !self.home && bits > 0.0 && level.is_office() {
            bits = bits.min(self.office);
            self.office -= bits;
        }
        if let Some(slot) = self.out.found.get_mut(self.out.len) {
            *slot = (level, bits);
            self.out.len += 1;
            self.out.total += bits;
        }
    }

    /// The rarer a shared value, the more it says; of two that differ the common one counts.
    fn rare(&self, kind: Kind, x: u32, y: u32) -> f32 {
        let of = |value: u32| self.with.rarities.of(kind, value);
        if x == y { of(x) } else { of(x).min(of(y)) }
    }

    fn text(&self, kind: Kind, value: u32, part: usize) -> &'a str {
        self.with.records.text(kind, value, part)
    }

    fn name(&mut self, memo: &mut Memo) {
        let (a, b) = (self.a, self.b);
        if a.generation != 0 && b.generation != 0 && a.generation != b.generation {
            self.add(Level::GenerationElse, self.weigh(Level::GenerationElse, 0.0));
        }
        let Some(level) = name_level(self.with.records, self.with.rarities.glances(), a, b, memo) else { return };
        let (fa, fb, la, lb) = (a.one(Kind::First), b.one(Kind::First), a.one(Kind::Last), b.one(Kind::Last));
        let first = || self.rare(Kind::First, fa, fb);
        let last = || self.rare(Kind::Last, la, lb);
        let of = |kind: Kind, value: u32| self.with.rarities.of(kind, value);
        let rarity = match level {
            Level::NameExact => first() + last(),
            Level::NameSwapped => of(Kind::First, fa).min(of(Kind::Last, lb)) + of(Kind::Last, la).min(of(Kind::First, fb)),
            Level::NameLastClose | Level::NameDoubleSurname | Level::NameLastMissing | Level::NameFirstOnly => first(),
            _ => last(),
        };
        let mut bits = self.weigh(level, rarity.min(22.0));
        // A date of birth tells relatives and namesakes apart better than a garbled name does.
        if bits < 0.0 && self.population == Population::Person {
            let records = self.with.records;
            if matches!(birth_level(records.of(a, Kind::Birth), records.of(b, Kind::Birth)), Some(Level::BirthExact | Level::BirthClose)) {
                bits *= DATED;
            }
        }
        self.add(level, bits);
    }

    /// The best level among all pairs of values of a kind.
    fn best(&self, kind: Kind, level: &mut dyn FnMut(&Self, u32, u32) -> (Level, f32)) -> Option<(Level, f32)> {
        let records = self.with.records;
        let (a, b) = (self.a, self.b);
        if a.one(kind) == 0 || b.one(kind) == 0 {
            return None;
        }
        let mut best: Option<(Level, f32)> = None;
        for x in records.all(a, kind) {
            for y in records.all(b, kind) {
                let (level, rarity) = level(self, x, y);
                let bits = self.weigh(level, rarity);
                if best.is_none_or(|(_, known)| bits > known) {
                    best = Some((level, bits));
                }
            }
        }
        best
    }

    /// With `hoping`, what takes long to find out is taken to be for the pair.
    fn email(&self, hoping: bool) -> Option<(Level, f32)> {
        self.best(Kind::Email, &mut |this, x, y| {
            let level = this.email_level(x, y, hoping);
            let rarity = match level {
                Level::EmailUser => this.with.rarities.user(x).min(this.with.rarities.user(y)),
                _ => this.rare(Kind::Email, x, y),
            };
            (level, rarity)
        })
    }

    fn email_level(&self, x: u32, y: u32, hoping: bool) -> Level {
        let records = self.with.records;
        let glance = |value: u32| self.with.rarities.glances().and_then(|glances| glances.mail(value));
        // Nearly all pairs end here: another address that is no typing error of this one.
        if hoping
            && let (Some(p), Some(q)) = (glance(x), glance(y))
            && !p.role
            && !q.role
            && p.user != q.user
            && !p.may_be_typo(q)
        {
            return self.made_of_names(apart(p.domain == q.domain, p.free, q.free));
        }
        let ([canonical_x, user_x, domain_x, flags_x], [canonical_y, user_y, domain_y, flags_y]) =
            (records.value(Kind::Email, x), records.value(Kind::Email, y));
        if (flags_x | flags_y) & ROLE_INBOX != 0 {
            return if domain_x == domain_y && user_x == user_y && self.company { Level::EmailExact } else { Level::EmailRole };
        }
        if canonical_x == canonical_y {
            return Level::EmailExact;
        }
        let (user, other) = (records.word(user_x), records.word(user_y));
        let typo = if domain_x == domain_y {
            within_one_edit(user, other)
        } else if user_x == user_y {
            within_one_edit(records.word(domain_x), records.word(domain_y))
        } else {
            within_one_edit(records.word(canonical_x), records.word(canonical_y))
        };
        if typo {
            return Level::EmailTypo;
        }
        if user_x == user_y {
            // Namesakes have the same user wherever it is made of the name: that says no more than the name has said.
            let rarity = self.with.rarities.user(x).min(self.with.rarities.user(y));
            let made = if hoping {
                self.weigh(Level::EmailName, 0.0) > self.weigh(Level::EmailUser, rarity)
            } else {
                let (a, b) = (fits(user, records, self.a), fits(user, records, self.b));
                // A name with a typing error is made of the same name, one that is missing is not known.
                let named = |row: &Row| row.one(Kind::Last) != 0;
                !self.company && (a && b || (a || b) && named(self.a) && named(self.b))
            };
            return if made { Level::EmailName } else { Level::EmailUser };
        }
        let apart = apart(domain_x == domain_y, flags_x & FREE_MAIL != 0, flags_y & FREE_MAIL != 0);
        if hoping {
            self.made_of_names(apart)
        } else if fits(user, records, self.b) && fits(other, records, self.a) {
            Level::EmailName
        } else {
            apart
        }
    }

    fn made_of_names(&self, apart: Level) -> Level {
        if self.weigh(Level::EmailName, 0.0) >= self.weigh(apart, 0.0) { Level::EmailName } else { apart }
    }

    fn phone(&self) -> Option<(Level, f32)> {
        self.best(Kind::Phone, &mut |this, x, y| (this.phone_level(x, y), this.rare(Kind::Phone, x, y)))
    }

    fn phone_level(&self, x: u32, y: u32) -> Level {
        if self.with.rarities.glances().is_some_and(|glances| glances.are_strange_numbers(x, y)) {
            return Level::PhoneElse;
        }
        let records = self.with.records;
        let ([national_x, country_x, extension_x, _], [national_y, country_y, extension_y, _]) =
            (records.value(Kind::Phone, x), records.value(Kind::Phone, y));
        if national_x == national_y {
            let conflict = |p: u32, q: u32| p != 0 && q != 0 && p != q;
            return if conflict(extension_x, extension_y) {
                Level::PhoneExtension
            } else if conflict(country_x, country_y) {
                Level::PhoneSuffix
            } else {
                Level::PhoneExact
            };
        }
        let (p, q) = (records.word(national_x), records.word(national_y));
        if p.len() != q.len() && p.len().min(q.len()) >= 8 && tail(p, 8) == tail(q, 8) {
            return Level::PhoneSuffix;
        }
        if p.len().max(q.len()) >= 8 && within_one_edit(p, q) { Level::PhoneOneDigit } else { Level::PhoneElse }
    }

    /// Company name and domain say the same thing: between persons only the stronger agreement counts.
    fn employer(&mut self, mail: Option<Level>, memo: &mut Memo) {
        let (a, b) = (self.a, self.b);
        let said = matches!(mail, Some(Level::EmailExact | Level::EmailTypo | Level::EmailUserClose | Level::EmailSameDomain));
        let (x, y) = (a.one(Kind::Company), b.one(Kind::Company));
        let name = (x != 0 && y != 0).then(|| {
            let strange = self.with.rarities.glances().is_some_and(|glances| glances.are_strange_firms(x, y));
            let level =
                if strange { Level::CompanyElse } else { memo.level(Kind::Company, x, y, || company_level(self.with.records, x, y)) };
            (level, self.weigh(level, self.rare(Kind::Company, x, y)))
        });
        let (x, y) = (a.one(Kind::Domain), b.one(Kind::Domain));
        // Between persons the address has said it already.
        let domain = (x != 0 && y != 0 && (self.company || !said)).then(|| {
            let strange = self.with.rarities.glances().is_some_and(|glances| glances.are_strange_domains(x, y));
            let level = if strange { Level::DomainElse } else { memo.level(Kind::Domain, x, y, || self.domain_level(x, y)) };
            (level, self.weigh(level, self.rare(Kind::Domain, x, y)))
        });
        let (mut name_bits, mut domain_bits) = (name.map_or(0.0, |(_, bits)| bits), domain.map_or(0.0, |(_, bits)| bits));
        if !self.company && name_bits > 0.0 && domain_bits > 0.0 {
            if name_bits >= domain_bits { domain_bits = 0.0 } else { name_bits = 0.0 }
        }
        if !self.company && said {
            name_bits = name_bits.min(2.0);
        }
        if let Some((level, _)) = name {
            self.add(level, name_bits);
        }
        if let Some((level, _)) = domain {
            self.add(level, domain_bits);
        }
    }

    fn domain_level(&self, x: u32, y: u32) -> Level {
        let text = |value: u32, part: usize| self.text(Kind::Domain, value, part);
        if x == y {
            Level::DomainExact
        } else if within_one_edit(text(x, 0), text(y, 0)) || within_one_edit(text(x, 1), text(y, 1)) {
            Level::DomainClose
        } else {
            Level::DomainElse
        }
    }

    fn title(&mut self, memo: &mut Memo) {
        let (x, y) = (self.a.one(Kind::Title), self.b.one(Kind::Title));
        if x == 0 || y == 0 {
            return;
        }
        let level = memo.level(Kind::Title, x, y, || {
            if x == y {
                Level::TitleExact
            } else if alike(self.text(Kind::Title, x, 0), self.text(Kind::Title, y, 0)) >= 0.9 {
                Level::TitleClose
            } else {
                Level::TitleElse
            }
        });
        self.add(level, self.weigh(level, self.rare(Kind::Title, x, y)));
    }

    fn address(&mut self, memo: &mut Memo) {
        let street = self.best(Kind::Street, &mut |this, x, y| {
            let level = memo.level(Kind::Street, x, y, || street_level(this.with.records, x, y));
            (level, this.rare(Kind::Street, x, y))
        });
        if let Some((level, bits)) = street {
            self.add(level, bits);
        }
        let mut area = false;
        let (x, y) = (self.a.one(Kind::Postal), self.b.one(Kind::Postal));
        if x != 0 && y != 0 {
            let (p, q) = (self.text(Kind::Postal, x, 0), self.text(Kind::Postal, y, 0));
            let level = if x == y {
                Level::PostalExact
            } else if within_one_edit(p, q) {
                Level::PostalClose
            } else if head(p, 3) == head(q, 3) {
                Level::PostalArea
            } else {
                Level::PostalElse
            };
            area = matches!(level, Level::PostalExact | Level::PostalClose);
            self.add(level, self.weigh(level, self.rare(Kind::Postal, x, y)));
        }
        let (x, y) = (self.a.one(Kind::City), self.b.one(Kind::City));
        if x != 0 && y != 0 {
            let level = memo.level(Kind::City, x, y, || {
                let (p, q) = (self.text(Kind::City, x, 0), self.text(Kind::City, y, 0));
                if x == y {
                    Level::CityExact
                } else if within_one_edit(p, q) || alike(p, q) >= 0.9 {
                    Level::CityClose
                } else {
                    Level::CityElse
                }
            });
            let mut bits = self.weigh(level, self.rare(Kind::City, x, y));
            if self.population == Population::Private && bits > 0.0 && area {
                bits *= IMPLIED;
            }
            self.add(level, bits);
        }
        self.same(Kind::Region, Level::RegionExact, Level::RegionElse);
        self.same(Kind::Country, Level::CountryExact, Level::CountryElse);
    }

    fn birth(&mut self) {
        let (x, y) = (self.a.one(Kind::Birth), self.b.one(Kind::Birth));
        if let Some(level) = birth_level(self.text(Kind::Birth, x, 0), self.text(Kind::Birth, y, 0)) {
            self.add(level, self.weigh(level, self.rare(Kind::Birth, x, y)));
        }
    }

    fn identifier(&mut self) {
        let found = self.best(Kind::Identifier, &mut |this, x, y| {
            let (p, q) = (this.text(Kind::Identifier, x, 0), this.text(Kind::Identifier, y, 0));
            let level = if x == y {
                Level::IdentifierExact
            } else if p.len() >= 5 && within_one_edit(p, q) {
                Level::IdentifierClose
            } else {
                Level::IdentifierElse
            };
            (level, this.rare(Kind::Identifier, x, y))
        });
        if let Some((level, bits)) = found {
            self.add(level, bits);
        }
    }

    fn rest(&mut self) {
        self.same(Kind::Gender, Level::GenderExact, Level::GenderElse);
        let found = self.best(Kind::Other, &mut |this, x, y| {
            let close = x == y || within_one_edit(this.text(Kind::Other, x, 0), this.text(Kind::Other, y, 0));
            (if close { Level::OtherExact } else { Level::OtherElse }, this.rare(Kind::Other, x, y))
        });
        if let Some((level, bits)) = found {
            self.add(level, bits);
        }
    }

    fn same(&mut self, kind: Kind, exact: Level, other: Level) {
        let (x, y) = (self.a.one(kind), self.b.one(kind));
        if x != 0 && y != 0 {
            let (p, q) = (self.text(kind, x, 0), self.text(kind, y, 0));
            let level = if x == y || (p.len() > 4 && within_one_edit(p, q)) { exact } else { other };
            self.add(level, self.weigh(level, 0.0));
        }
    }
}

/// How two addresses differ that are not made of one name.
fn apart(same_domain: bool, free_x: bool, free_y: bool) -> Level {
    if same_domain && !free_x {
        Level::EmailSameDomain
    } else if free_x != free_y {
        Level::EmailFreeWork
    } else {
        Level::EmailElse
    }
}

/// The kinds that both records have, as bits.
fn shared(a: &Row, b: &Row) -> u32 {
    a.columns().iter().zip(b.columns()).rev().fold(0, |bits, (x, y)| bits << 1 | u32::from((*x != 0) & (*y != 0)))
}

fn name_level(records: &Records, glances: Option<&Glances>, a: &Row, b: &Row, memo: &mut Memo) -> Option<Level> {
    let (fa, fb, la, lb) = (a.one(Kind::First), b.one(Kind::First), a.one(Kind::Last), b.one(Kind::Last));
    if la == 0 && fa == 0 || lb == 0 && fb == 0 {
        return None;
    }
    let mut relate = |x: u32, y: u32| {
        let strange = x == 0 || y == 0 || x != y && glances.is_some_and(|glances| glances.are_strange_names(x, y));
        let listed = glances.is_none_or(|glances| glances.may_be_nicknames(x, y));
        if strange { Relation::default() } else { memo.relate(records, x, y, listed) }
    };
    if la == 0 || lb == 0 {
        // A name that stands alone may be either of the two.
        let (lone, first, last) = if la == 0 { (fa, fb, lb) } else { (fb, fa, la) };
        let (to_first, to_last) = (relate(lone, first), relate(lone, last));
        let long = records.text(Kind::First, lone, 0).len() > 3;
        if to_first.is_same() {
            return Some(Level::NameLastMissing);
        }
        if to_last.is_equal() || long && to_last.is_one_edit() {
            return Some(Level::NameFirstMissing);
        }
        let near = long && to_first.is_one_edit() || to_first.is_alike_80() || to_last.is_alike_80();
        return (!near).then_some(Level::NameFirstOnly);
    }
    let last = relate(la, lb);
    if fa == 0 || fb == 0 {
        let (lone, other) = if fa == 0 { (la, fb) } else { (lb, fa) };
        let crossed = relate(lone, other);
        return Some(if last.is_same() || last.is_one_edit() || crossed.is_equal() { Level::NameFirstMissing } else { Level::NameElse });
    }
    let first = relate(fa, fb);
    if last.is_same() && first.is_same() {
        return Some(Level::NameExact);
    }
    let over = relate(fa, lb);
    // What does not go together crosswise on one side need not be looked at on the other.
    let crosswise = over.is_same() || over.is_equal() || over.is_one_edit() || over.is_alike_90() || over.is_nickname();
    let under = if crosswise { relate(la, fb) } else { Relation::default() };
    if over.is_same() && under.is_same() {
        return Some(Level::NameSwapped);
    }
    if last.is_same() {
        return Some(if first.has_same_head() || first.is_one_edit() && records.text(Kind::First, fa, 0).len() > 2 {
            Level::NameFirstClose
        } else if first.is_nickname() {
            Level::NameNickname
        } else if first.is_initial() {
            Level::NameInitial
        } else if first.is_alike_88() {
            Level::NameFirstClose
        } else {
            Level::NameLastOnly
        });
    }
    let close_last = last.is_key_edit() || last.is_alike_90();
    let close_first = first.has_same_head() || first.is_one_edit() || first.is_nickname() || first.is_alike_88();
    if first.is_same() && (close_last || last.is_two_edits()) {
        return Some(Level::NameLastClose);
    }
    if (first.is_same() || close_first) && last.shares_part() {
        return Some(Level::NameDoubleSurname);
    }
    if close_last && (close_first || first.is_initial()) {
        return Some(Level::NameBothClose);
    }
    let crossed = |relation: Relation| relation.is_equal() || relation.is_one_edit() || relation.is_alike_90();
    if (crossed(over) || over.is_nickname()) && crossed(under) || crossed(over) && (crossed(under) || under.is_nickname()) {
        return Some(Level::NameSwappedClose);
    }
    Some(if first.is_same() {
        Level::NameFirstOnly
    } else if close_last && records.text(Kind::Last, la, 0).len() > 3 {
        Level::NameLastOnly
    } else {
        Level::NameElse
    })
}

fn birth_level(x: &str, y: &str) -> Option<Level> {
    if x.is_empty() || y.is_empty() {
        return None;
    }
    if x == y {
        return Some(Level::BirthExact);
    }
    let (year_x, year_y) = (head(x, 4), head(y, 4));
    let swapped = year_x == year_y && x.get(4..6) == y.get(6..8) && x.get(6..8) == y.get(4..6);
    let apart = year_x.parse::<i32>().unwrap_or(0) - year_y.parse::<i32>().unwrap_or(0);
    Some(if within_one_edit(x, y) || swapped {
        Level::BirthClose
    } else if apart == 0 {
        Level::BirthYear
    } else if apart.abs() <= 10 {
        Level::BirthNear
    } else {
        Level::BirthElse
    })
}

fn company_level(records: &Records, x: u32, y: u32) -> Level {
    let ([name_x, stem_x, acronym_x, form_x], [name_y, stem_y, acronym_y, form_y]) =
        (records.value(Kind::Company, x), records.value(Kind::Company, y));
    if name_x == name_y {
        return if form_x != 0 && form_y != 0 && form_x != form_y { Level::CompanyForm } else { Level::CompanyExact };
    }
    if stem_x == stem_y {
        return Level::CompanyStem;
    }
    let squashed = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
    let (p, q) = (squashed(records.word(stem_x)), squashed(records.word(stem_y)));
    let likeness = alike(&p, &q);
    if likeness >= 0.95 || within_one_edit(&p, &q) || abbreviates(records.word(stem_x), records.word(stem_y)) {
        return if (stem_x == name_x) == (stem_y == name_y) { Level::CompanyClose } else { Level::CompanyStem };
    }
    let acronym = |short: &str, full: &str| short.len() >= 2 && short == full;
    // "J&B" is an acronym too.
    let letters = |stem: u32| records.word(stem).split(' ').filter(|word| *word != "and").collect::<String>();
    if acronym(&letters(stem_x), records.word(acronym_y)) || acronym(&letters(stem_y), records.word(acronym_x)) {
        return Level::CompanyAcronym;
    }
    if likeness >= 0.88 { Level::CompanyFuzzy } else { Level::CompanyElse }
}

fn street_level(records: &Records, x: u32, y: u32) -> Level {
    let ([name_x, number_x, ..], [name_y, number_y, ..]) = (records.value(Kind::Street, x), records.value(Kind::Street, y));
    let other_number = number_x != 0 && number_y != 0 && number_x != number_y;
    if name_x == name_y {
        let typo = || within_one_edit(records.word(number_x), records.word(number_y));
        return if other_number && !typo() { Level::StreetNumber } else { Level::StreetExact };
    }
    let (p, q) = (records.word(name_x), records.word(name_y));
    if !other_number && (within_one_edit(p, q) || alike(p, q) >= 0.9) { Level::StreetClose } else { Level::StreetElse }
}

/// Whether an e-mail user could have been made from the name.
fn fits(user: &str, records: &Records, row: &Row) -> bool {
    let (first, last) = (row.one(Kind::First), row.one(Kind::Last));
    let letters = user.bytes().filter(u8::is_ascii_alphabetic).count();
    let within = |name: &str| name.len() >= 3 && contains_letters(user, name);
    let given = records.text(Kind::First, first, 2);
    let part = || records.text(Kind::Last, last, 3).split(' ').any(|part| part.len() >= 4 && within(part));
    within(records.text(Kind::Last, last, 0))
        || within(records.text(Kind::Last, last, 1))
        || part()
        || (letters <= given.len() + 2 && within(given))
}

/// Whether `name` stands in the letters of `user`, dots and digits between them left out.
fn contains_letters(user: &str, name: &str) -> bool {
    let mut letters = [0_u8; 64];
    let mut count = 0;
    for (slot, letter) in letters.iter_mut().zip(user.bytes().filter(u8::is_ascii_alphabetic)) {
        *slot = letter;
        count += 1;
    }
    letters.get(..count).is_some_and(|letters| letters.windows(name.len().max(1)).any(|part| part == name.as_bytes()))
}

/// Word by word the same, or one the beginning of the other, or off by a typing error; nothing left over.
fn abbreviates(x: &str, y: &str) -> bool {
    let (mut p, mut q) = (x.split(' '), y.split(' '));
    loop {
        match (p.next(), q.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) => {
                let prefix = a.len().min(b.len()) >= 3 && (a.starts_with(b) || b.starts_with(a));
                let typo = a.len().min(b.len()) >= 4 && within_one_edit(a, b);
                if a != b && !prefix && !typo {
                    return false;
                }
            }
            _ => return false,
        }
    }
}
