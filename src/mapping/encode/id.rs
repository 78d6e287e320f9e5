//! Salesforce's record ids: 15 characters that tell upper from lower case, or 18 with the case in a suffix that survives
//! tools which do not. The API takes both and answers with 18; one spelling is needed for comparing.

use super::refused::{Refused, refused};

/// The key prefixes of the standard objects that references usually point to ("Standard Field Types", key prefixes).
const PREFIXES: [(&str, &str); 12] = [
    ("Account", "001"),
    ("Campaign", "701"),
    ("Case", "500"),
    ("Contact", "003"),
    ("Contract", "800"),
    ("Event", "00U"),
    ("Group", "00G"),
    ("Lead", "00Q"),
    ("Opportunity", "006"),
    ("Product2", "01t"),
    ("Task", "00T"),
    ("User", "005"),
];

const CODE: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The id in 18 characters; `None` if the text is no id, or its suffix contradicts its letters.
pub(crate) fn eighteen(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (body, suffix) = match text.len() {
        15 => (text, None),
        18 => {
            let (body, suffix) = text.split_at_checked(15)?;
            (body, Some(suffix))
        }
        _ => return None,
    };
    let mut made = String::with_capacity(18);
    made.push_str(body);
    for part in body.as_bytes().chunks(5) {
        let bits = part.iter().enumerate().fold(0_usize, |bits, (at, byte)| bits | (usize::from(byte.is_ascii_uppercase()) << at));
        made.push(char::from(CODE.get(bits).copied().unwrap_or(b'A')));
    }
    match suffix {
        Some(suffix) if !made.ends_with(&suffix.to_ascii_uppercase()) => None,
        _ => Some(made),
    }
}

/// An id for a reference to one of `entities` (all, if there is none).
pub(super) fn reference(text: &str, entities: &[String]) -> Result<String, Refused> {
    let Some(id) = eighteen(text.trim()) else {
        return refused("wrong_format", "this is no record id of 15 or 18 characters; use `type: lookup` to find one by a value");
    };
    let known: Option<Vec<&str>> =
        entities.iter().map(|entity| PREFIXES.iter().find(|(name, _)| name == entity).map(|(_, prefix)| *prefix)).collect();
    match known {
        Some(prefixes) if !prefixes.is_empty() && !prefixes.iter().any(|prefix| id.starts_with(prefix)) => {
            refused("wrong_format", format!("the id is not one of {}: those begin with {}", entities.join(" or "), prefixes.join(" or ")))
        }
        _ => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_become_eighteen() {
        for (short, long) in [
            ("001D000000IqhSL", "001D000000IqhSLIAZ"),
            ("000000000000000", "000000000000000AAA"),
            ("AAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAA555"),
        ] {
            assert_eq!(eighteen(short).as_deref(), Some(long));
            assert_eq!(eighteen(long).as_deref(), Some(long));
        }
        assert_eq!(eighteen("001D000000IqhSLIAA"), None);
        for text in ["", "001", "001D000000IqhS-", "001D000000IqhSLI", "éééééééé"] {
            assert_eq!(eighteen(text), None, "{text}");
        }
    }

    #[test]
    fn the_id_of_another_object_is_refused() {
        assert!(reference("001D000000IqhSL", &["Account".to_owned()]).is_ok());
        assert!(reference("001D000000IqhSL", &["Contact".to_owned(), "Lead".to_owned()]).is_err());
        assert!(reference("a01D000000IqhSL", &["Invoice__c".to_owned()]).is_ok());
        assert!(reference("x", &[]).is_err());
    }
}
