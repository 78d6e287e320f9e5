//! Salesforce ids: 15 characters that are case sensitive, or 18 of which the last three are a checksum of the case.
//!
//! The API answers 18; people, exports and old code hold 15. Whatever is used as a key is brought to 18 first, or one record
//! has two names.

use crate::error::{Error, Result};
use crate::model::RecordId;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The 18-character form of `id`. A text that already has 18 characters is checked; if it is all in one case, as some
/// spreadsheets leave it, the checksum gives the case back.
///
/// # Errors
/// [`crate::error::ErrorKind::Config`] if it is no id: wrong length, other characters, or a checksum that does not fit.
pub fn to_18(id: &str) -> Result<String> {
    normalise(id).ok_or_else(|| Error::config("not a Salesforce id: 15 or 18 letters and digits with a fitting checksum are expected"))
}

/// As [`to_18`] for a [`RecordId`]; what is no Salesforce id stays as it is, for the server to judge.
pub fn record_id(id: &str) -> RecordId {
    RecordId::new(normalise(id).unwrap_or_else(|| id.to_owned()))
}

/// As [`record_id`], of an id that is not needed any more.
pub(super) fn record_id_of(id: String) -> RecordId {
    let is_long = id.split_at_checked(15).is_some_and(|(base, suffix)| {
        suffix.len() == 3 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && checksum(base) == suffix.as_bytes()
    });
    if is_long { RecordId::new(id) } else { record_id(&id) }
}

/// The first three characters, which name the kind of record (`00Q` is a Lead).
pub fn key_prefix(id: &str) -> Option<&str> {
    id.get(..3)
}

fn normalise(id: &str) -> Option<String> {
    let id = id.trim();
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match id.len() {
        15 => {
            let mut long = String::with_capacity(18);
            long.push_str(id);
            long.extend(checksum(id).map(char::from));
            Some(long)
        }
        18 => {
            let (base, suffix) = id.split_at_checked(15)?;
            if checksum(base) == suffix.as_bytes() {
                return Some(id.to_owned());
            }
            // Only an id that has lost its case altogether is mended; a mixture that does not fit is a typing mistake.
            let mixed = base.bytes().any(|byte| byte.is_ascii_lowercase()) && base.bytes().any(|byte| byte.is_ascii_uppercase());
            if mixed { None } else { recase(base, suffix) }
        }
        _ => None,
    }
}

/// Three characters, each of which holds the case of five.
fn checksum(base: &str) -> [u8; 3] {
    let mut groups = base.as_bytes().chunks(5);
    std::array::from_fn(|_| {
        let group = groups.next().unwrap_or_default();
        let bits = group.iter().enumerate().fold(0, |bits, (at, byte)| bits | usize::from(byte.is_ascii_uppercase()) << at);
        ALPHABET.get(bits).copied().unwrap_or(b'A')
    })
}

/// Sets the case of `base` as `suffix` says; `None` if the two cannot belong together.
fn recase(base: &str, suffix: &str) -> Option<String> {
    let suffix = suffix.to_ascii_uppercase();
    let mut id = String::with_capacity(18);
    for (group, check) in base.as_bytes().chunks(5).zip(suffix.bytes()) {
        let bits = ALPHABET.iter().position(|byte| *byte == check)?;
        for (at, byte) in group.iter().enumerate() {
            let upper = bits >> at & 1 == 1;
            if upper && !byte.is_ascii_alphabetic() {
                return None;
            }
            id.push(char::from(if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }));
        }
    }
    id.push_str(&suffix);
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors() {
        for (short, long) in [
            ("001ABCDEFGHIJKL", "001ABCDEFGHIJKLY55"),
            ("001abcdefghijkl", "001abcdefghijklAAA"),
            ("0010000000AbCdE", "0010000000AbCdEAAV"),
            ("00QAb00000Xy12Z", "00QAb00000Xy12ZMAR"),
            ("001D000000Kv3g5", "001D000000Kv3g5IAB"),
            ("003D000000QV9n2", "003D000000QV9n2IAD"),
            ("0015f00002J9YYE", "0015f00002J9YYEAA3"),
            ("001ZM000001n4n5", "001ZM000001n4n5YAA"),
            ("000000000000000", "000000000000000AAA"),
        ] {
            assert_eq!(to_18(short).unwrap(), long);
            assert_eq!([short, long].map(|id| record_id_of(id.to_owned()).into_string()), [long, long]);
            assert_eq!(to_18(long).unwrap(), long);
            assert_eq!(to_18(&long.to_lowercase()).unwrap(), long, "lost case is mended");
            assert_eq!(to_18(&long.to_uppercase()).unwrap(), long);
        }
    }

    #[test]
    fn what_is_no_id() {
        for text in ["", "001", "001ABCDEFGHIJK", "001ABCDEFGHIJKL'", "0010000000AbCdEAA5", "00é00000000000a", "001ABCDEFGHIJKLY5"] {
            assert!(to_18(text).is_err(), "{text}");
            assert_eq!(record_id(text).as_str(), text);
            assert_eq!(record_id_of(text.to_owned()).as_str(), text);
        }
        assert_eq!(key_prefix("00QAb00000Xy12Z"), Some("00Q"));
    }
}
