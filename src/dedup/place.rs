//! Addresses, countries and dates, as far as comparing needs them.

use super::text::{fold, squash};

const COUNTRIES: &[(&str, &str)] = &[
    ("united states", "US"),
    ("united states of america", "US"),
    ("usa", "US"),
    ("america", "US"),
    ("united kingdom", "GB"),
    ("uk", "GB"),
    ("great britain", "GB"),
    ("england", "GB"),
    ("scotland", "GB"),
    ("wales", "GB"),
    ("gbr", "GB"),
    ("germany", "DE"),
    ("deutschland", "DE"),
    ("deu", "DE"),
    ("allemagne", "DE"),
    ("france", "FR"),
    ("fra", "FR"),
    ("frankreich", "FR"),
    ("netherlands", "NL"),
    ("the netherlands", "NL"),
    ("nederland", "NL"),
    ("holland", "NL"),
    ("nld", "NL"),
    ("sweden", "SE"),
    ("sverige", "SE"),
    ("swe", "SE"),
    ("schweden", "SE"),
    ("norway", "NO"),
    ("norge", "NO"),
    ("denmark", "DK"),
    ("danmark", "DK"),
    ("finland", "FI"),
    ("suomi", "FI"),
    ("spain", "ES"),
    ("espana", "ES"),
    ("italy", "IT"),
    ("italia", "IT"),
    ("portugal", "PT"),
    ("belgium", "BE"),
    ("belgique", "BE"),
    ("belgie", "BE"),
    ("switzerland", "CH"),
    ("schweiz", "CH"),
    ("suisse", "CH"),
    ("austria", "AT"),
    ("osterreich", "AT"),
    ("poland", "PL"),
    ("polska", "PL"),
    ("czech republic", "CZ"),
    ("czechia", "CZ"),
    ("hungary", "HU"),
    ("ireland", "IE"),
    ("canada", "CA"),
    ("mexico", "MX"),
    ("brazil", "BR"),
    ("brasil", "BR"),
    ("argentina", "AR"),
    ("chile", "CL"),
    ("colombia", "CO"),
    ("peru", "PE"),
    ("australia", "AU"),
    ("new zealand", "NZ"),
    ("japan", "JP"),
    ("china", "CN"),
    ("india", "IN"),
    ("south korea", "KR"),
    ("korea", "KR"),
    ("singapore", "SG"),
    ("hong kong", "HK"),
    ("taiwan", "TW"),
    ("turkey", "TR"),
    ("turkiye", "TR"),
    ("russia", "RU"),
    ("russian federation", "RU"),
    ("ukraine", "UA"),
    ("romania", "RO"),
    ("bulgaria", "BG"),
    ("greece", "GR"),
    ("croatia", "HR"),
    ("serbia", "RS"),
    ("slovakia", "SK"),
    ("slovenia", "SI"),
    ("south africa", "ZA"),
    ("israel", "IL"),
    ("united arab emirates", "AE"),
    ("saudi arabia", "SA"),
    ("egypt", "EG"),
    ("luxembourg", "LU"),
    ("estonia", "EE"),
    ("latvia", "LV"),
    ("lithuania", "LT"),
    ("iceland", "IS"),
];

/// The ISO 3166 code of a country, or the folded name in capitals when it is not in the list.
///
/// | written | code |
/// |---|---|
/// | `Germany`, `Deutschland`, `de`, `DEU` | `DE` |
/// | `United Kingdom`, `UK` | `GB` |
pub fn country(text: &str) -> Option<String> {
    let name = fold(text);
    if name.is_empty() {
        return None;
    }
    let code = COUNTRIES.iter().find(|(known, _)| *known == name).map(|(_, code)| (*code).to_owned());
    Some(code.unwrap_or_else(|| name.to_uppercase()))
}

/// A postal code without spaces and signs, lower case.
///
/// | written | code |
/// |---|---|
/// | `SW1A 1AA`, `sw1a-1aa` | `sw1a1aa` |
/// | `D-89073` | `d89073` |
/// | `-`, blank | none |
pub fn postal_code(text: &str) -> Option<String> {
    let code = squash(&fold(text));
    (!code.is_empty()).then_some(code)
}

/// Street name and house number, told apart.
///
/// | written | name | number |
/// |---|---|---|
/// | `Main St. 12` | `main street` | `12` |
/// | `12, rue de la Paix` | `rue de la paix` | `12` |
/// | `Hauptstr. 5a` | `hauptstrasse` | `5a` |
pub fn street(text: &str) -> (String, String) {
    let folded = fold(text);
    let mut name = Vec::new();
    let mut number = String::new();
    for word in folded.split(' ') {
        if word.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
            if number.is_empty() {
                word.clone_into(&mut number);
            }
        } else if let Some(stem) = word.strip_suffix("str").filter(|stem| stem.len() > 2) {
            name.push(format!("{stem}strasse"));
        } else {
            name.push(
                match word {
                    "st" | "str" => "street",
                    "ave" | "av" => "avenue",
                    "rd" => "road",
                    "blvd" | "bd" => "boulevard",
                    "ln" => "lane",
                    "dr" => "drive",
                    "pl" => "place",
                    "ct" => "court",
                    "sq" => "square",
                    "crs" | "cres" => "crescent",
                    other => other,
                }
                .to_owned(),
            );
        }
    }
    (name.join(" ").trim().to_owned(), number)
}

/// A date as eight digits, year first.
///
/// | written | date |
/// |---|---|
/// | `1970-12-31`, `1970/12/31`, `31.12.1970`, `31/12/1970`, `1970-12-31T00:00:00Z` | `19701231` |
/// | `12/11/1970` (the month first, unless it cannot be one) | `19701211` |
/// | `1705-81-01` (no such date: kept, a typing error of a real one) | `17058101` |
///
/// Days before months are read only with dots (`31.12.1970`) or when the first number cannot be a month; what is not a
/// full date keeps its digits, `None` when there are none. Impossible dates are kept: they are typing errors of real ones.
pub fn date(text: &str) -> Option<String> {
    let day = text.trim().split(['T', ' ']).next().unwrap_or("");
    let parts: Vec<&str> = day.split(['-', '/', '.']).filter(|part| !part.is_empty()).collect();
    let number = |part: &str| part.parse::<u32>().ok();
    let written = match parts.as_slice() {
        [year, month, day] if year.len() == 4 => format!("{year}{month:0>2}{day:0>2}"),
        [first, second, year] if year.len() == 4 => {
            let day_first = text.contains('.') || number(first).is_some_and(|n| n > 12);
            if day_first { format!("{year}{second:0>2}{first:0>2}") } else { format!("{year}{first:0>2}{second:0>2}") }
        }
        _ => day.to_owned(),
    };
    let digits: String = written.chars().filter(char::is_ascii_digit).take(8).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_tables() {
        assert_eq!(country("Deutschland").as_deref(), Some("DE"));
        assert_eq!(country("gb").as_deref(), Some("GB"));
        assert_eq!(country(" "), None);
        assert_eq!(postal_code("SW1A 1AA").as_deref(), Some("sw1a1aa"));
        assert_eq!(street("Main St. 12"), ("main street".to_owned(), "12".to_owned()));
        assert_eq!(street("12, rue de la Paix"), ("rue de la paix".to_owned(), "12".to_owned()));
        assert_eq!(street("Hauptstr. 5a"), ("hauptstrasse".to_owned(), "5a".to_owned()));
        for written in ["1970-12-31", "1970/12/31", "31.12.1970", "12/31/1970", "19701231", "1970-12-31T00:00:00Z"] {
            assert_eq!(date(written).as_deref(), Some("19701231"), "{written}");
        }
        assert_eq!(date("unknown"), None);
    }
}
