//! Telephone numbers: one key for all the ways a number is written.

/// A telephone number after normalising. Debug does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct Phone {
    /// `+` and digits, when the number is valid by libphonenumber's rules (feature `phone`).
    pub e164: Option<String>,
    /// Calling code, when the number was written with one.
    pub country: Option<String>,
    /// National number without trunk zeros: what is compared.
    pub national: String,
    /// Digits after `ext.`, `x`, `#` or `Durchwahl`: same number with different extensions is two persons.
    pub extension: Option<String>,
}

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phone").field("valid", &self.e164.is_some()).finish_non_exhaustive()
    }
}

const CODES: &[&str] = &[
    "1", "7", "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51", "52", "53",
    "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95",
    "98", "212", "213", "216", "218", "220", "221", "223", "225", "226", "227", "228", "229", "230", "231", "233", "234", "237", "243",
    "244", "249", "250", "251", "254", "255", "256", "258", "260", "261", "263", "264", "265", "267", "350", "351", "352", "353", "354",
    "355", "356", "357", "358", "359", "370", "371", "372", "373", "374", "375", "376", "377", "378", "380", "381", "382", "383", "385",
    "386", "387", "389", "420", "421", "423", "501", "502", "503", "504", "505", "506", "507", "509", "591", "593", "595", "597", "598",
    "673", "675", "679", "852", "853", "855", "856", "880", "886", "960", "961", "962", "963", "964", "965", "966", "967", "968", "970",
    "971", "972", "973", "974", "975", "976", "977", "992", "993", "994", "995", "996", "998",
];

/// Normalises a telephone number; `None` when fewer than six digits are left or all are the same.
///
/// `region` is the ISO 3166 code of the country the number is dialled from, when known.
///
/// | written | region | calling code | national |
/// |---|---|---|---|
/// | `+49 (0)921 233 6403` | | `49` | `9212336403` |
/// | `0049 921 2336403` | | `49` | `9212336403` |
/// | `0921/2336403` | `DE` | none | `9212336403` |
/// | `1-590-066-8346` | `US` | none | `5900668346` |
/// | `555 0123 99 ext. 12` | | none | `555012399`, extension `12` |
/// | `000000` | | | none |
///
/// With the feature `phone`, a number that libphonenumber calls valid gets its E.164 form too. Trunk zeros are dropped for
/// the comparison also where they belong to the number (Italy): on both sides alike.
pub fn phone(text: &str, region: Option<&str>) -> Option<Phone> {
    let mut found = digits(text, region)?;
    found.e164 = e164(text, region);
    Some(found)
}

/// Without the E.164 form: comparing does not need it, and libphonenumber's validity check is by far the dearest step.
pub(crate) fn digits(text: &str, region: Option<&str>) -> Option<Phone> {
    let lower: String = text.chars().take(64).flat_map(char::to_lowercase).collect();
    let (body, extension) = part_extension(&lower);
    let body = body.replace("(0)", "");
    let body = body.trim().trim_start_matches("tel:").trim_start();
    let digits: String = body.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 6 || digits.bytes().all(|b| Some(b) == digits.bytes().next()) {
        return None;
    }
    let mut international = if body.starts_with('+') || body.starts_with("(+") {
        Some(digits.as_str())
    } else {
        digits.strip_prefix("00").filter(|rest| rest.len() > 7)
    };
    if international.is_none() && region.is_some_and(|region| matches!(region, "US" | "CA")) {
        international = digits.strip_prefix("011").filter(|rest| rest.len() > 8);
    }
    let found = international.and_then(|rest| {
        let code = CODES.iter().find(|code| rest.starts_with(**code))?;
        Some(((*code).to_owned(), rest.get(code.len()..).unwrap_or("")))
    });
    let (country, rest) = match &found {
        Some((code, rest)) => (Some(code.clone()), *rest),
        None => (None, international.unwrap_or(&digits)),
    };
    let mut national = rest.trim_start_matches('0');
    if country.is_none() && national.len() == 11 && national.starts_with('1') && region.is_none_or(|region| matches!(region, "US" | "CA")) {
        national = national.get(1..).unwrap_or(national);
    }
    if national.len() < 5 {
        return None;
    }
    Some(Phone { e164: None, country, national: national.to_owned(), extension })
}

fn part_extension(text: &str) -> (&str, Option<String>) {
    for mark in ["extension", "durchwahl", "ext.", "ext", "poste", "x", "#", "dw"] {
        if let Some((body, rest)) = text.rsplit_once(mark) {
            let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
            let enough = body.bytes().filter(u8::is_ascii_digit).count() >= 6;
            if enough && !digits.is_empty() && digits.len() <= 6 {
                return (body, Some(digits));
            }
        }
    }
    (text, None)
}

#[cfg(feature = "phone")]
fn e164(text: &str, region: Option<&str>) -> Option<String> {
    let country = region.and_then(|region| region.parse().ok());
    let text = text.trim().trim_start_matches("tel:").trim_start();
    if country.is_none() && !text.starts_with('+') {
        return None;
    }
    let number = phonenumber::parse(country, text).ok()?;
    number.is_valid().then(|| number.format().mode(phonenumber::Mode::E164).to_string())
}

#[cfg(not(feature = "phone"))]
fn e164(_: &str, _: Option<&str>) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_table() {
        for (written, region, country, national, extension) in [
            ("+49 (0)921 233 6403", None, Some("49"), "9212336403", None),
            ("0049 921 2336403", None, Some("49"), "9212336403", None),
            ("0921/2336403", Some("DE"), None, "9212336403", None),
            ("1-590-066-8346", Some("US"), None, "5900668346", None),
            ("555 0123 99 ext. 12", None, None, "555012399", Some("12")),
            ("+31 (0)547 017 468", None, Some("31"), "547017468", None),
            ("011 49 921 2336403", Some("US"), Some("49"), "9212336403", None),
        ] {
            let found = phone(written, region).unwrap();
            assert_eq!(
                (found.country.as_deref(), found.national.as_str(), found.extension.as_deref()),
                (country, national, extension),
                "{written}"
            );
        }
        assert!(phone("000000", None).is_none() && phone("12", None).is_none() && phone("", None).is_none());
    }

    #[cfg(feature = "phone")]
    #[test]
    fn valid_numbers_get_their_e164_form() {
        assert_eq!(phone("(650) 253-0000", Some("US")).unwrap().e164.as_deref(), Some("+16502530000"));
        assert_eq!(phone("030 8145170", Some("DE")).unwrap().e164.as_deref(), Some("+49308145170"));
        assert_eq!(phone("+1 023 456 7890", None).unwrap().e164, None);
    }
}
