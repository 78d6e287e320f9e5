//! The searches that bring a record's likely duplicates out of a CRM.

use super::name::person_name;
use super::prepared::Prepared;
use super::role::Role;
use super::text::is_placeholder;
use crate::query::Criteria;

/// Searches a CRM can answer exactly, the most telling first; their answers, taken together, are what [`Deduper::judge`](super::Deduper::judge)
/// is to be asked about. Empty when the record holds nothing to search for.
///
/// `values` are the record's, as written; `fields` are the CRM's fields by role, several of one role are all searched.
///
/// | record has | condition |
/// |---|---|
/// | identifier | equal, as written |
/// | e-mail | one of: as written in lower case, the canonical form (a CRM knows no plus-tags) |
/// | telephone | one of: as written, `+` and all digits, the national number with and without a leading zero |
/// | first and last name | both equal as written; or the full name, where the CRM keeps one |
/// | company without a person | one of: as written, the name without its legal form |
/// | web site without a person | one of: as written, the domain, the domain with the usual beginnings |
///
/// Only equality is asked for: CRMs compare text without regard to case, and differ in everything else. What is spelled differently in
/// all of these at once is not found this way; an [`Index`](super::Index) of the CRM's records finds more.
pub fn search_criteria(values: &[(Role, &str)], fields: &[(Role, &str)]) -> Vec<Criteria> {
    let record = Prepared::new(values);
    let written = |role: Role| {
        let all = values.iter().filter(move |(given, value)| *given == role && !is_placeholder(value));
        all.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let of = |role: Role| fields.iter().filter(move |(given, _)| *given == role).map(|(_, field)| *field);
    let mut out = Vec::new();
    let mut one_of = |role: Role, mut texts: Vec<String>| {
        texts.retain(|text| !text.is_empty());
        texts.sort_unstable();
        texts.dedup();
        let parts: Vec<Criteria> = of(role).filter(|_| !texts.is_empty()).map(|field| Criteria::one_of(field, texts.clone())).collect();
        out.extend(any(parts));
    };
    one_of(Role::Identifier, written(Role::Identifier).collect());
    let personal: Vec<&super::email::Email> = record.emails.iter().filter(|email| !email.is_role || record.is_company()).collect();
    if !personal.is_empty() {
        let raw = written(Role::Email).flat_map(|text| text.split(';').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>());
        let raw = raw.filter(|text| super::email::email(text).is_some_and(|email| !email.is_role || record.is_company()));
        one_of(Role::Email, raw.chain(personal.iter().map(|email| email.canonical.clone())).collect());
    }
    let mut numbers = Vec::new();
    if !record.phones.is_empty() {
        numbers.extend(written(Role::Phone));
    }
    for phone in &record.phones {
        if let Some(country) = &phone.country {
            numbers.push(format!("+{country}{}", phone.national));
        }
        numbers.push(phone.national.clone());
        numbers.push(format!("0{}", phone.national));
    }
    one_of(Role::Phone, numbers);
    if record.is_company() {
        let name = record.company.iter().map(|company| company.name.clone());
        one_of(Role::Company, written(Role::Company).chain(name).collect());
        if !record.domain.is_empty() {
            let domain = &record.domain;
            let forms = ["", "www.", "https://", "https://www.", "http://", "http://www."].map(|start| format!("{start}{domain}"));
            one_of(Role::Website, written(Role::Website).chain(forms).collect());
        }
        return out;
    }
    let given = |role: Role| written(role).next();
    let (first, last) = match (given(Role::First), given(Role::Last)) {
        (Some(first), Some(last)) => (first, last),
        (first, last) => {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            let name = person_name(&text(&first), &text(&last), &given(Role::Full).unwrap_or_default());
            (name.first, name.last)
        }
    };
    if !first.is_empty() && !last.is_empty() {
        if let (Some(of_first), Some(of_last)) = (of(Role::First).next(), of(Role::Last).next()) {
            out.push(Criteria::eq(of_first, first).and(Criteria::eq(of_last, last)));
        } else {
            let whole = given(Role::Full).unwrap_or_else(|| format!("{first} {last}"));
            out.extend(any(of(Role::Full).map(|field| Criteria::eq(field, whole.clone())).collect()));
        }
    }
    out
}

fn any(mut parts: Vec<Criteria>) -> Option<Criteria> {
    match parts.len() {
        0 | 1 => parts.pop(),
        _ => Some(Criteria::Any(parts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fields;

    const FIELDS: [(Role, &str); 6] = [
        (Role::Email, "Email"),
        (Role::Phone, "Phone"),
        (Role::Phone, "MobilePhone"),
        (Role::First, "FirstName"),
        (Role::Last, "LastName"),
        (Role::Company, "Company"),
    ];

    #[test]
    fn each_sign_is_searched_for_and_finds_its_record() {
        let values = [(Role::First, "Ann"), (Role::Last, "Müller"), (Role::Email, "Ann.M+x@firm.com"), (Role::Phone, "+49 921 2336403")];
        let searches = search_criteria(&values, &FIELDS);
        assert_eq!(searches.len(), 3);
        let meets = |pairs: &[(&str, &str)]| {
            let fields: Fields = pairs.iter().copied().collect();
            searches.iter().any(|search| search.matches(&fields))
        };
        assert!(meets(&[("Email", "ann.m@firm.com")]) && meets(&[("Email", "ann.m+x@firm.com")]));
        assert!(meets(&[("MobilePhone", "+499212336403")]) && meets(&[("Phone", "09212336403")]));
        assert!(meets(&[("FirstName", "Ann"), ("LastName", "Müller")]));
        assert!(!meets(&[("FirstName", "Ann"), ("LastName", "Keller"), ("Email", "ann.k@firm.com")]));
    }

    #[test]
    fn nothing_is_searched_for_where_nothing_is_known() {
        assert!(search_criteria(&[(Role::Email, "n/a"), (Role::Last, "-"), (Role::Phone, "000000")], &FIELDS).is_empty());
        // An inbox of a firm says nothing about a person.
        assert!(search_criteria(&[(Role::Last, "Keller"), (Role::Email, "info@firm.com")], &FIELDS).is_empty());
        assert!(search_criteria(&[(Role::Email, "ann@firm.com")], &[]).is_empty());
        let company = search_criteria(&[(Role::Company, "Acme GmbH"), (Role::Email, "info@firm.com")], &FIELDS);
        let acme: Fields = [("Company", "Acme")].into_iter().collect();
        assert!(company.len() == 2 && company.iter().any(|search| search.matches(&acme)));
    }
}
