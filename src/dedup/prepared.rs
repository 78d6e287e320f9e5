//! A record normalised once, ready to be compared many times.

use std::fmt;

use super::company::{Company, company};
use super::email::{Email, domain, email, registrable};
use super::name::{person_name, surname_parts};
use super::place::{country, date, postal_code, street};
use super::role::Role;
use super::text::{fold, is_placeholder, loose, squash};
use crate::model::phone::{Phone, digits};

/// A record after normalising: what [`Deduper::prepare`](super::Deduper::prepare) makes. Debug shows no values.
#[derive(Clone, Default, PartialEq)]
pub struct Prepared {
    pub(super) first: String,
    pub(super) first_head: String,
    pub(super) first_key: String,
    pub(super) last: String,
    pub(super) last_key: String,
    pub(super) last_parts: Vec<String>,
    pub(super) generation: Option<u8>,
    pub(super) emails: Vec<Email>,
    pub(super) phones: Vec<Phone>,
    pub(super) company: Option<Company>,
    pub(super) domain: String,
    pub(super) title: String,
    pub(super) streets: Vec<(String, String)>,
    pub(super) postal: String,
    pub(super) city: String,
    pub(super) region: String,
    pub(super) country: String,
    pub(super) birth: String,
    pub(super) identifiers: Vec<String>,
    pub(super) gender: String,
    pub(super) others: Vec<String>,
}

/// Values of one role that are kept, at most. A record with more is a collection, not a contact.
pub(super) const MOST: usize = 8;

impl Prepared {
    /// Normalises the values of one record. A role may come several times (two e-mail addresses); blanks and placeholders count as missing.
    pub fn new(values: &[(Role, &str)]) -> Self {
        let all =
            |role: Role| values.iter().filter(move |(given, value)| *given == role && !is_placeholder(value)).map(|(_, value)| *value);
        let one = |role: Role| all(role).next().unwrap_or("");
        let mut out = Self::default();
        let name = person_name(one(Role::First), one(Role::Last), one(Role::Full));
        out.first = squash(&name.first);
        out.first_head = name.first.split(' ').next().unwrap_or("").to_owned();
        out.first_key = loose(&name.first);
        out.last = squash(&name.last);
        out.last_key = loose(&name.last);
        out.last_parts = surname_parts(&name.last);
        out.generation = name.generation;
        out.country = country(one(Role::Country)).unwrap_or_default();
        for value in all(Role::Email).flat_map(|value| value.split(';')).take(MOST) {
            if let Some(found) = email(value)
                && !out.emails.contains(&found)
            {
                out.emails.push(found);
            }
        }
        let region = Some(out.country.as_str()).filter(|code| code.len() == 2);
        for value in all(Role::Phone).take(MOST) {
            if let Some(found) = digits(value, region)
                && !out.phones.contains(&found)
            {
                out.phones.push(found);
            }
        }
        out.company = company(one(Role::Company));
        out.domain = all(Role::Website).find_map(domain).unwrap_or_default();
        if out.domain.is_empty() {
            let work = out.emails.iter().find(|email| !email.is_free);
            out.domain = work.and_then(|email| registrable(&email.domain)).unwrap_or_default();
        }
        out.title = fold(one(Role::Title));
        let house = fold(one(Role::HouseNumber));
        for value in all(Role::Street).take(MOST) {
            let (name, number) = street(value);
            if !name.is_empty() || !number.is_empty() {
                out.streets.push((name, if house.is_empty() { number } else { house.clone() }));
            }
        }
        out.postal = postal_code(one(Role::PostalCode)).unwrap_or_default();
        out.city = squash(&fold(one(Role::City)));
        out.region = squash(&fold(one(Role::Region)));
        out.birth = date(one(Role::BirthDate)).unwrap_or_default();
        out.identifiers = all(Role::Identifier).map(|value| squash(&fold(value))).filter(|value| !value.is_empty()).take(MOST).collect();
        out.gender = fold(one(Role::Gender)).chars().take(1).collect();
        out.others = all(Role::Other).map(fold).take(MOST).collect();
        out
    }

    /// Whether it speaks of a company: it names one and no person.
    pub fn is_company(&self) -> bool {
        self.first.is_empty() && self.last.is_empty() && self.company.is_some()
    }

    /// Whether nothing was left to compare: such a record never matches.
    pub fn is_blank(&self) -> bool {
        *self == Self { country: self.country.clone(), gender: self.gender.clone(), ..Self::default() }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("is_company", &self.is_company()).field("is_blank", &self.is_blank()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_missing_and_debug_is_silent() {
        let record = Prepared::new(&[
            (Role::First, "N/A"),
            (Role::Last, "-"),
            (Role::Email, "test@example.com"),
            (Role::Phone, "0000000000"),
            (Role::Country, "DE"),
        ]);
        assert!(record.is_blank());
        let record = Prepared::new(&[(Role::Company, "Acme"), (Role::Website, "acme.com")]);
        assert!(record.is_company() && !record.is_blank());
        assert!(!format!("{record:?}").contains("acme"));
    }
}
