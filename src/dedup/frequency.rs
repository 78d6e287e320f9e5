//! How rare a value is: agreement on a rare one says more.

use std::collections::HashMap;

use super::prepared::Prepared;
use super::text::hash;

/// The rarity of one record's values in bits: the base-2 logarithm of one over their share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rarity {
    pub(super) first: f32,
    pub(super) last: f32,
    pub(super) email: f32,
    pub(super) user: f32,
    pub(super) phone: f32,
    pub(super) company: f32,
    pub(super) domain: f32,
    pub(super) title: f32,
    pub(super) street: f32,
    pub(super) postal: f32,
    pub(super) city: f32,
    pub(super) birth: f32,
    pub(super) identifier: f32,
    pub(super) other: f32,
}

/// What to assume of values when there is no table to count in: a directory of about ten thousand.
pub(super) const TYPICAL: Rarity = Rarity {
    first: 7.0,
    last: 9.5,
    email: 16.0,
    user: 11.0,
    phone: 13.0,
    company: 10.0,
    domain: 10.0,
    title: 4.0,
    street: 12.0,
    postal: 10.0,
    city: 7.0,
    birth: 13.0,
    identifier: 14.0,
    other: 4.0,
};

pub(super) fn rarest_shared(a: &Rarity, b: &Rarity, of: fn(&Rarity) -> f32) -> f32 {
    of(a).min(of(b))
}

#[derive(Clone, Copy)]
enum Kind {
    First = 1,
    Last,
    Email,
    User,
    Phone,
    Company,
    Domain,
    Title,
    Street,
    Postal,
    City,
    Birth,
    Identifier,
    Other,
}

/// Rarities for every record of a set. Linear in the number of values; the same for any order of the records.
pub(super) fn rarities(records: &[Prepared]) -> Vec<Rarity> {
    let mut counts: HashMap<u64, u32> = HashMap::with_capacity(records.len() * 8);
    let mut carriers: Vec<(u64, u64)> = Vec::new();
    for record in records {
        each(record, &mut |kind, value| {
            let key = hash(kind as u8, &[value]);
            *counts.entry(key).or_insert(0) += 1;
            if matches!(kind, Kind::Phone | Kind::Email) {
                carriers.push((key, hash(0, &[&record.last_key])));
            }
        });
    }
    carriers.sort_unstable();
    carriers.dedup();
    let mut people: HashMap<u64, u32> = HashMap::new();
    for (key, _) in carriers {
        *people.entry(key).or_insert(0) += 1;
    }
    let total = records.len().max(2) as f32;
    let most = total.log2().max(10.0);
    let by_count: Vec<f32> = (0..64_u32).map(|count| (total.max(1024.0) / count.max(1) as f32).log2().clamp(0.0, most)).collect();
    let rate = |key: u64| {
        let count = counts.get(&key).copied().unwrap_or(1);
        by_count.get(count as usize).copied().unwrap_or_else(|| (total.max(1024.0) / count as f32).log2().clamp(0.0, most))
    };
    records
        .iter()
        .map(|record| {
            let mut out = Rarity {
                first: most,
                last: most,
                email: most,
                user: most,
                phone: most,
                company: most,
                domain: most,
                title: most,
                street: most,
                postal: most,
                city: most,
                birth: most,
                identifier: most,
                other: most,
            };
            each(record, &mut |kind, value| {
                let key = hash(kind as u8, &[value]);
                let mut bits = rate(key);
                if matches!(kind, Kind::Phone | Kind::Email) {
                    // A number that several families carry belongs to none of them.
                    let shared = people.get(&key).copied().unwrap_or(1).saturating_sub(1).min(8);
                    bits = (bits - 1.5 * shared as f32).max(0.0);
                }
                let slot = match kind {
                    Kind::First => &mut out.first,
                    Kind::Last => &mut out.last,
                    Kind::Email => &mut out.email,
                    Kind::User => &mut out.user,
                    Kind::Phone => &mut out.phone,
                    Kind::Company => &mut out.company,
                    Kind::Domain => &mut out.domain,
                    Kind::Title => &mut out.title,
                    Kind::Street => &mut out.street,
                    Kind::Postal => &mut out.postal,
                    Kind::City => &mut out.city,
                    Kind::Birth => &mut out.birth,
                    Kind::Identifier => &mut out.identifier,
                    Kind::Other => &mut out.other,
                };
                *slot = slot.min(bits);
            });
            out
        })
        .collect()
}

fn each(record: &Prepared, visit: &mut dyn FnMut(Kind, &str)) {
    let mut some = |kind: Kind, value: &str| {
        if !value.is_empty() {
            visit(kind, value);
        }
    };
    some(Kind::First, &record.first_key);
    some(Kind::Last, &record.last_key);
    for email in &record.emails {
        some(Kind::Email, &email.canonical);
        some(Kind::User, &email.user);
    }
    for phone in &record.phones {
        some(Kind::Phone, &phone.national);
    }
    if let Some(company) = &record.company {
        some(Kind::Company, &company.stem);
    }
    some(Kind::Domain, &record.domain);
    some(Kind::Title, &record.title);
    for (street, _) in &record.streets {
        some(Kind::Street, street);
    }
    some(Kind::Postal, &record.postal);
    some(Kind::City, &record.city);
    some(Kind::Birth, &record.birth);
    for identifier in &record.identifiers {
        some(Kind::Identifier, identifier);
    }
    for other in &record.others {
        some(Kind::Other, other);
    }
}
