//! Candidate search: which records are worth comparing.

use super::prepared::Prepared;
use super::role::Role;
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

/// The keys under which a record is filed, hashed. Records that share one are compared.
pub(super) fn keys(record: &Prepared, out: &mut Vec<u64>) {
    out.clear();
    if record.is_blank() {
        return;
    }
    let mut add = |seed: u8, parts: &[&str]| {
        if parts.iter().all(|part| !part.is_empty()) {
            out.push(hash(seed, parts));
        }
    };
    let (first, last) = (record.first_key.as_str(), record.last_key.as_str());
    let company = record.is_company();
    for identifier in &record.identifiers {
        add(20, &[identifier]);
        if identifier.len() >= 6 {
            add(21, &[head(identifier, identifier.len() / 2), head(first, 1)]);
            add(22, &[tail(identifier, identifier.len() / 2), head(first, 1)]);
        }
    }
    for email in &record.emails {
        if !email.is_role || company {
            add(23, &[&email.canonical]);
            if email.user.len() >= 9 {
                add(24, &[head(&email.canonical, 9)]);
            }
            if email.canonical.len() > 16 {
                add(25, &[tail(&email.canonical, 16)]);
            }
        }
        if !email.is_role && email.user.len() >= 5 {
            add(26, &[&email.user]);
        }
    }
    for phone in &record.phones {
        let number = tail(&phone.national, 9);
        if company {
            add(27, &[number])
        } else {
            add(28, &[number, head(first, 1)])
        }
        add(28, &[number, head(last, 1)]);
        if first.is_empty() && last.is_empty() {
            add(27, &[number]);
        }
    }
    if first <= last {
        add(29, &[first, last])
    } else {
        add(29, &[last, first])
    }
    if first.is_empty() && last.len() >= 3 {
        add(30, &[last]);
    }
    add(31, &[head(first, 4), head(last, 4)]);
    add(32, &[last, head(first, 1)]);
    add(33, &[first, head(last, 2)]);
    for part in &record.last_parts {
        add(34, &[part, head(first, 3)]);
    }
    if !record.birth.is_empty() {
        add(35, &[&record.birth, head(first, 1)]);
        add(35, &[&record.birth, head(last, 1)]);
        add(36, &[head(&record.birth, 4), head(last, 3), head(first, 2)]);
        add(37, &[&record.birth, &record.postal]);
    }
    if !record.postal.is_empty() {
        add(38, &[&record.postal, head(last, 2)]);
        add(38, &[&record.postal, head(first, 2)]);
        for (street, _) in &record.streets {
            add(39, &[&record.postal, head(&squash(street), 5)]);
        }
    }
    for (street, number) in &record.streets {
        let name = squash(street);
        if !company {
            add(40, &[head(&name, 8), number, head(first, 1)]);
            add(40, &[head(&name, 8), number, head(last, 1)]);
        } else {
            add(40, &[head(&name, 8), number]);
        }
    }
    add(41, &[&record.city, head(last, 3), head(first, 1)]);
    add(42, &[&record.city, first]);
    add(53, &[&record.city, last]);
    add(54, &[&record.title, last]);
    add(55, &[head(&record.birth, 4), last]);
    add(56, &[&record.birth, &record.city]);
    add(57, &[&record.birth, &record.title]);
    add(58, &[head(&record.birth, 4), &record.postal]);
    if !company {
        add(59, &[&record.postal, &record.title]);
    }
    let mut employers: Vec<String> = Vec::new();
    let domain = record.domain.split('.').next().unwrap_or("").to_owned();
    let name = record.company.as_ref().map(|company| squash(&company.stem.replace(" and ", " "))).unwrap_or_default();
    for employer in [domain, name] {
        if !employer.is_empty() && !employers.contains(&employer) {
            employers.push(employer);
        }
    }
    for employer in &employers {
        if company {
            add(43, &[employer]);
            add(44, &[head(employer, 6)]);
            add(45, &[tail(employer, 6), head(employer, 1)]);
            add(46, &[&record.city, head(employer, 3)]);
            add(47, &[&record.postal, head(employer, 2)]);
        } else {
            add(48, &[employer, head(last, 2)]);
            add(49, &[employer, head(first, 3)]);
            add(50, &[head(employer, 5), last]);
            let (x, y) = (head(first, 1), head(last, 1));
            if x <= y { add(51, &[employer, x, y]) } else { add(51, &[employer, y, x]) }
        }
    }
    if company && let Some(known) = &record.company {
        if known.acronym.len() >= 3 {
            add(43, &[&known.acronym]);
        }
        let mut words: Vec<&str> = known.stem.split(' ').collect();
        words.sort_unstable();
        add(52, &[&words.join(" ")]);
    }
    out.sort_unstable();
    out.dedup();
}

/// Every pair worth comparing as `a << 32 | b` with `a < b`, sorted. At most `max_block` partners per record and key: the
/// members of a larger block are sorted by name and compared with their neighbours.
pub(super) fn candidates(records: &[Prepared], max_block: usize) -> Vec<u64> {
    let mut filed: Vec<(u64, u32)> = Vec::with_capacity(records.len() * 12);
    let mut own = Vec::new();
    for (at, record) in records.iter().enumerate() {
        keys(record, &mut own);
        let at = at as u32;
        filed.extend(own.iter().map(|key| (*key, at)));
    }
    filed.sort_unstable();
    let mut pairs: Vec<u64> = Vec::new();
    for block in filed.chunk_by(|x, y| x.0 == y.0) {
        if block.len() <= max_block {
            for (at, (_, a)) in block.iter().enumerate() {
                for (_, b) in block.iter().skip(at + 1) {
                    pairs.push(pair(*a, *b));
                }
            }
        } else {
            let mut sorted: Vec<u32> = block.iter().map(|(_, at)| *at).collect();
            let window = (max_block / 8).max(1);
            for order in [by_last as fn(&Prepared) -> (&str, &str, &str), by_first, by_place] {
                sorted.sort_by(|x, y| {
                    let of = |at: &u32| records.get(*at as usize).map(order);
                    of(x).cmp(&of(y)).then(x.cmp(y))
                });
                for (at, a) in sorted.iter().enumerate() {
                    for b in sorted.iter().skip(at + 1).take(window) {
                        pairs.push(pair(*a, *b));
                    }
                }
            }
        }
        if pairs.len() > 1 << 24 && pairs.len() == pairs.capacity() {
            pairs.sort_unstable();
            pairs.dedup();
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

fn by_last(record: &Prepared) -> (&str, &str, &str) {
    (&record.last_key, &record.first_key, record.company.as_ref().map_or("", |company| company.name.as_str()))
}

fn by_first(record: &Prepared) -> (&str, &str, &str) {
    (&record.first_key, &record.birth, record.emails.first().map_or("", |email| email.canonical.as_str()))
}

fn by_place(record: &Prepared) -> (&str, &str, &str) {
    (&record.birth, &record.postal, record.company.as_ref().map_or("", |company| company.name.as_str()))
}

fn pair(a: u32, b: u32) -> u64 {
    u64::from(a.min(b)) << 32 | u64::from(a.max(b))
}
