//! Two records side by side: the level of agreement of each field.

use super::email::Email;
use super::frequency::{Rarity, rarest_shared};
use super::level::{Level, Table};
use super::name::are_nicknames;
use super::phone::Phone;
use super::prepared::Prepared;
use super::similarity::{jaro_winkler, osa, within_one_edit};
use super::text::{head, tail};

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
/// What all signs of one employer are worth together, in bits: they say the same thing, and colleagues share them all.
const OFFICE: f32 = 8.0;

impl Findings {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Level, f32)> + '_ {
        self.found.iter().take(self.len).copied()
    }
}

pub(super) struct Comparison<'a> {
    a: &'a Prepared,
    b: &'a Prepared,
    rare_a: &'a Rarity,
    rare_b: &'a Rarity,
    table: &'a Table,
    company: bool,
    home: bool,
    office: f32,
    out: Findings,
}

/// Jaro-Winkler with its arguments in a fixed order, so that scores do not depend on who comes first.
fn alike(a: &str, b: &str) -> f64 {
    if a <= b { jaro_winkler(a, b) } else { jaro_winkler(b, a) }
}

impl<'a> Comparison<'a> {
    pub(super) fn run(a: &'a Prepared, b: &'a Prepared, rare_a: &'a Rarity, rare_b: &'a Rarity, table: &'a Table) -> Findings {
        let company = a.is_company() && b.is_company();
        let out = Findings { found: [(Level::OtherElse, 0.0); 20], len: 0, total: 0.0 };
        // Without an employer an address is where somebody lives, and a title is what they are.
        let home = !company && [a, b].iter().all(|record| record.company.is_none() && record.domain.is_empty());
        let mut this = Self { a, b, rare_a, rare_b, table, company, home, office: OFFICE, out };
        if !company {
            this.name();
        }
        let mail = this.email();
        this.phone();
        this.employer(mail);
        this.title();
        this.address();
        this.birth();
        this.identifier();
        this.rest();
        this.out
    }

    fn weigh(&self, level: Level, rarity: f32) -> f32 {
        let bits = self.table.bits(level, self.company, rarity);
        if self.home && bits > 0.0 && matches!(level.field(), "title" | "street" | "postal_code" | "city") { bits * HOME } else { bits }
    }

    fn add(&mut self, level: Level, bits: f32) {
        let mut bits = bits;
        if !self.company && !self.home && bits > 0.0 && matches!(level.field(), "company" | "domain" | "street" | "postal_code" | "city") {
            bits = bits.min(self.office);
            self.office -= bits;
        }
        if let Some(slot) = self.out.found.get_mut(self.out.len) {
            *slot = (level, bits);
            self.out.len += 1;
            self.out.total += bits;
        }
    }

    fn rare(&self, of: fn(&Rarity) -> f32) -> f32 {
        rarest_shared(self.rare_a, self.rare_b, of)
    }

    fn name(&mut self) {
        let (a, b) = (self.a, self.b);
        if let (Some(x), Some(y)) = (a.generation, b.generation)
            && x != y
        {
            self.add(Level::GenerationElse, self.weigh(Level::GenerationElse, 0.0));
        }
        let Some(level) = name_level(a, b) else { return };
        let (first, last) = (self.rare(|r| r.first), self.rare(|r| r.last));
        let rarity = match level {
            Level::NameExact => first + last,
            Level::NameSwapped => self.rare_a.first.min(self.rare_b.last) + self.rare_a.last.min(self.rare_b.first),
            Level::NameLastClose | Level::NameDoubleSurname | Level::NameLastMissing | Level::NameFirstOnly => first,
            _ => last,
        };
        let mut bits = self.weigh(level, rarity.min(22.0));
        // A date of birth tells relatives and namesakes apart better than a garbled name does.
        if bits < 0.0 && matches!(birth_level(&a.birth, &b.birth), Some(Level::BirthExact | Level::BirthClose)) {
            bits *= DATED;
        }
        self.add(level, bits);
    }

    fn email(&mut self) -> Option<Level> {
        let mut best: Option<(Level, f32)> = None;
        for x in &self.a.emails {
            for y in &self.b.emails {
                let level = self.email_level(x, y);
                let rarity = match level {
                    Level::EmailUser => self.rare(|r| r.user),
                    _ => self.rare(|r| r.email),
                };
                let bits = self.weigh(level, rarity);
                if best.is_none_or(|(_, known)| bits > known) {
                    best = Some((level, bits));
                }
            }
        }
        let (level, bits) = best?;
        self.add(level, bits);
        Some(level)
    }

    fn email_level(&self, x: &Email, y: &Email) -> Level {
        let same_domain = x.domain == y.domain;
        if x.is_role || y.is_role {
            return if same_domain && x.user == y.user && self.company { Level::EmailExact } else { Level::EmailRole };
        }
        if x.canonical == y.canonical {
            return Level::EmailExact;
        }
        if within_one_edit(&x.canonical, &y.canonical) {
            return Level::EmailTypo;
        }
        if x.user == y.user {
            return if x.user.len() >= 4 && within_one_edit(&x.domain, &y.domain) { Level::EmailTypo } else { Level::EmailUser };
        }
        if same_domain && x.user.len() >= 5 && y.user.len() >= 5 && within_one_edit(&x.user, &y.user) {
            return Level::EmailUserClose;
        }
        if fits(&x.user, self.b) && fits(&y.user, self.a) {
            return Level::EmailName;
        }
        if same_domain && !x.is_free {
            return Level::EmailSameDomain;
        }
        if x.is_free != y.is_free { Level::EmailFreeWork } else { Level::EmailElse }
    }

    fn phone(&mut self) {
        let mut best: Option<(Level, f32)> = None;
        let rarity = self.rare(|r| r.phone);
        for x in &self.a.phones {
            for y in &self.b.phones {
                let level = phone_level(x, y);
                let bits = self.weigh(level, rarity);
                if best.is_none_or(|(_, known)| bits > known) {
                    best = Some((level, bits));
                }
            }
        }
        if let Some((level, bits)) = best {
            self.add(level, bits);
        }
    }

    /// Company name and domain say the same thing: between persons only the stronger agreement counts.
    fn employer(&mut self, mail: Option<Level>) {
        let name = self.company_level().map(|level| (level, self.weigh(level, self.rare(|r| r.company))));
        let domain = self.domain_level(mail).map(|level| (level, self.weigh(level, self.rare(|r| r.domain))));
        let implied =
            !self.company && matches!(mail, Some(Level::EmailExact | Level::EmailTypo | Level::EmailUserClose | Level::EmailSameDomain));
        let (mut name_bits, mut domain_bits) = (name.map_or(0.0, |(_, bits)| bits), domain.map_or(0.0, |(_, bits)| bits));
        if !self.company && name_bits > 0.0 && domain_bits > 0.0 {
            if name_bits >= domain_bits { domain_bits = 0.0 } else { name_bits = 0.0 }
        }
        if implied {
            name_bits = name_bits.min(2.0);
        }
        if let Some((level, _)) = name {
            self.add(level, name_bits);
        }
        if let Some((level, _)) = domain {
            self.add(level, domain_bits);
        }
    }

    fn company_level(&self) -> Option<Level> {
        let (x, y) = (self.a.company.as_ref()?, self.b.company.as_ref()?);
        if x.name == y.name {
            let other_form = !x.form.is_empty() && !y.form.is_empty() && x.form != y.form;
            return Some(if other_form { Level::CompanyForm } else { Level::CompanyExact });
        }
        if x.stem == y.stem {
            return Some(Level::CompanyStem);
        }
        let squashed = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
        let (p, q) = (squashed(&x.stem), squashed(&y.stem));
        let close = within_one_edit(&p, &q) || abbreviates(&x.stem, &y.stem) || alike(&p, &q) >= 0.95;
        if close {
            return Some(if (x.stem == x.name) == (y.stem == y.name) { Level::CompanyClose } else { Level::CompanyStem });
        }
        let acronym = |short: &str, full: &str| short.len() >= 2 && full.len() >= 2 && short == full;
        if acronym(&p, &y.acronym) || acronym(&q, &x.acronym) {
            return Some(Level::CompanyAcronym);
        }
        Some(if alike(&p, &q) >= 0.88 { Level::CompanyFuzzy } else { Level::CompanyElse })
    }

    fn domain_level(&self, mail: Option<Level>) -> Option<Level> {
        let (x, y) = (&self.a.domain, &self.b.domain);
        if x.is_empty() || y.is_empty() {
            return None;
        }
        // The address has said it already.
        if !self.company && matches!(mail, Some(Level::EmailExact | Level::EmailTypo | Level::EmailUserClose | Level::EmailSameDomain)) {
            return None;
        }
        if x == y {
            return Some(Level::DomainExact);
        }
        let stem = |domain: &str| domain.split('.').next().unwrap_or("").to_owned();
        let close = within_one_edit(x, y) || within_one_edit(&stem(x), &stem(y));
        Some(if close { Level::DomainClose } else { Level::DomainElse })
    }

    fn title(&mut self) {
        let (x, y) = (&self.a.title, &self.b.title);
        if x.is_empty() || y.is_empty() {
            return;
        }
        let level = if x == y {
            Level::TitleExact
        } else if alike(x, y) >= 0.9 {
            Level::TitleClose
        } else {
            Level::TitleElse
        };
        self.add(level, self.weigh(level, self.rare(|r| r.title)));
    }

    fn address(&mut self) {
        let mut street: Option<(Level, f32)> = None;
        let rarity = self.rare(|r| r.street);
        for x in &self.a.streets {
            for y in &self.b.streets {
                let level = street_level(x, y);
                let bits = self.weigh(level, rarity);
                if street.is_none_or(|(_, known)| bits > known) {
                    street = Some((level, bits));
                }
            }
        }
        if let Some((level, bits)) = street {
            self.add(level, bits);
        }
        let (x, y) = (&self.a.postal, &self.b.postal);
        if !x.is_empty() && !y.is_empty() {
            let level = if x == y {
                Level::PostalExact
            } else if within_one_edit(x, y) {
                Level::PostalClose
            } else if head(x, 3) == head(y, 3) {
                Level::PostalArea
            } else {
                Level::PostalElse
            };
            self.add(level, self.weigh(level, self.rare(|r| r.postal)));
        }
        let (x, y) = (&self.a.city, &self.b.city);
        if !x.is_empty() && !y.is_empty() {
            let level = if x == y {
                Level::CityExact
            } else if within_one_edit(x, y) || alike(x, y) >= 0.9 {
                Level::CityClose
            } else {
                Level::CityElse
            };
            self.add(level, self.weigh(level, self.rare(|r| r.city)));
        }
        self.same(&self.a.region, &self.b.region, Level::RegionExact, Level::RegionElse);
        self.same(&self.a.country, &self.b.country, Level::CountryExact, Level::CountryElse);
    }

    fn birth(&mut self) {
        if let Some(level) = birth_level(&self.a.birth, &self.b.birth) {
            self.add(level, self.weigh(level, self.rare(|r| r.birth)));
        }
    }

    fn identifier(&mut self) {
        let (a, b) = (&self.a.identifiers, &self.b.identifiers);
        if a.is_empty() || b.is_empty() {
            return;
        }
        let level = if a.iter().any(|x| b.contains(x)) {
            Level::IdentifierExact
        } else if a.iter().any(|x| x.len() >= 5 && b.iter().any(|y| within_one_edit(x, y))) {
            Level::IdentifierClose
        } else {
            Level::IdentifierElse
        };
        self.add(level, self.weigh(level, self.rare(|r| r.identifier)));
    }

    fn rest(&mut self) {
        self.same(&self.a.gender, &self.b.gender, Level::GenderExact, Level::GenderElse);
        let (a, b) = (&self.a.others, &self.b.others);
        if a.is_empty() || b.is_empty() {
            return;
        }
        let close = a.iter().any(|x| b.iter().any(|y| x == y || within_one_edit(x, y)));
        let level = if close { Level::OtherExact } else { Level::OtherElse };
        self.add(level, self.weigh(level, self.rare(|r| r.other)));
    }

    fn same(&mut self, x: &str, y: &str, exact: Level, other: Level) {
        if !x.is_empty() && !y.is_empty() {
            let level = if x == y || (x.len() > 4 && within_one_edit(x, y)) { exact } else { other };
            self.add(level, self.weigh(level, 0.0));
        }
    }
}

fn name_level(a: &Prepared, b: &Prepared) -> Option<Level> {
    if a.last.is_empty() && a.first.is_empty() || b.last.is_empty() && b.first.is_empty() {
        return None;
    }
    let same_last = a.last == b.last || a.last_key == b.last_key;
    let same_first = a.first == b.first || a.first_key == b.first_key;
    if a.last.is_empty() || b.last.is_empty() {
        // A name that stands alone may be either of the two.
        let (lone, other) = if a.last.is_empty() { (a, b) } else { (b, a) };
        let same = |x: &str, y: &str| !y.is_empty() && (x == y || x.len() > 3 && within_one_edit(x, y));
        if same_first {
            return Some(Level::NameLastMissing);
        }
        if same(&lone.first, &other.last) {
            return Some(Level::NameFirstMissing);
        }
        let near = same(&lone.first, &other.first) || alike(&lone.first, &other.first) >= 0.8 || alike(&lone.first, &other.last) >= 0.8;
        return (!near).then_some(Level::NameFirstOnly);
    }
    if a.first.is_empty() || b.first.is_empty() {
        let lone = if a.first.is_empty() { (&a.last, b) } else { (&b.last, a) };
        return Some(if same_last || within_one_edit(&a.last, &b.last) || *lone.0 == lone.1.first {
            Level::NameFirstMissing
        } else {
            Level::NameElse
        });
    }
    if same_last && same_first {
        return Some(Level::NameExact);
    }
    let crossed = a.first_key == b.last_key && a.last_key == b.first_key;
    if crossed {
        return Some(Level::NameSwapped);
    }
    let heads = a.first_head.len() >= 3 && a.first_head == b.first_head;
    let nickname = |x: &str, y: &str| are_nicknames(x, y);
    let initial = |x: &str, y: &str| x.len() == 1 && y.starts_with(x);
    if same_last {
        if heads || within_one_edit(&a.first, &b.first) && a.first.len() > 2 {
            return Some(Level::NameFirstClose);
        }
        if nickname(&a.first_head, &b.first_head) {
            return Some(Level::NameNickname);
        }
        if initial(&a.first, &b.first) || initial(&b.first, &a.first) {
            return Some(Level::NameInitial);
        }
        return Some(if alike(&a.first, &b.first) >= 0.88 { Level::NameFirstClose } else { Level::NameLastOnly });
    }
    let close_last = within_one_edit(&a.last_key, &b.last_key) || alike(&a.last, &b.last) >= 0.9;
    let close_first =
        heads || within_one_edit(&a.first, &b.first) || nickname(&a.first_head, &b.first_head) || alike(&a.first, &b.first) >= 0.88;
    let long = a.last.len() >= 7 && b.last.len() >= 7;
    if same_first && (close_last || long && osa(&a.last, &b.last) <= 2) {
        return Some(Level::NameLastClose);
    }
    let half = (a.last_parts.len() > 1 || b.last_parts.len() > 1) && a.last_parts.iter().any(|part| b.last_parts.contains(part));
    if half && (same_first || close_first) {
        return Some(Level::NameDoubleSurname);
    }
    if close_last && (close_first || initial(&a.first, &b.first) || initial(&b.first, &a.first)) {
        return Some(Level::NameBothClose);
    }
    let crossed_alike = |x: &str, y: &str| x == y || within_one_edit(x, y) || alike(x, y) >= 0.9;
    let crossed_first = |x: &str, y: &str| crossed_alike(x, y) || nickname(x, y);
    if crossed_first(&a.first, &b.last) && crossed_alike(&a.last, &b.first)
        || crossed_alike(&a.first, &b.last) && crossed_first(&a.last, &b.first)
    {
        return Some(Level::NameSwappedClose);
    }
    Some(if same_first {
        Level::NameFirstOnly
    } else if close_last && a.last.len() > 3 {
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

fn phone_level(x: &Phone, y: &Phone) -> Level {
    let conflict = |p: &Option<String>, q: &Option<String>| matches!((p, q), (Some(p), Some(q)) if p != q);
    if x.national == y.national {
        return if conflict(&x.extension, &y.extension) {
            Level::PhoneExtension
        } else if conflict(&x.country, &y.country) {
            Level::PhoneSuffix
        } else {
            Level::PhoneExact
        };
    }
    if x.national.len() != y.national.len() && tail(&x.national, 8) == tail(&y.national, 8) && x.national.len().min(y.national.len()) >= 8 {
        return Level::PhoneSuffix;
    }
    if within_one_edit(&x.national, &y.national) && x.national.len().max(y.national.len()) >= 8 {
        Level::PhoneOneDigit
    } else {
        Level::PhoneElse
    }
}

fn street_level(x: &(String, String), y: &(String, String)) -> Level {
    let other_number = !x.1.is_empty() && !y.1.is_empty() && x.1 != y.1;
    if x.0 == y.0 {
        return if other_number && !within_one_edit(&x.1, &y.1) { Level::StreetNumber } else { Level::StreetExact };
    }
    let close = within_one_edit(&x.0, &y.0) || alike(&x.0, &y.0) >= 0.9;
    if close && !other_number { Level::StreetClose } else { Level::StreetElse }
}

/// Whether an e-mail user could have been made from the name.
fn fits(user: &str, record: &Prepared) -> bool {
    let letters: String = user.chars().filter(char::is_ascii_alphabetic).collect();
    let within = |name: &str| name.len() >= 3 && letters.contains(name);
    within(&record.last) || within(&record.last_key) || (within(&record.first_head) && letters.len() <= record.first_head.len() + 2)
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
