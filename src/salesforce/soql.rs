//! Writing SOQL without injection: literals, names, and lists that fit into a URL.
//!
//! SOQL has no bind variables. Every value goes through [`literal`] or its sisters, every name through [`identifier`]. The rules
//! are those of the "SOQL and SOSL Reference", "Quoted String Escape Sequences".

use jiff::Timestamp;
use jiff::civil::Date;

use crate::error::{Error, Result};
use crate::rest::unreserved;

/// Characters of one statement ("SOQL and SOSL Reference"); the 16,384 bytes of a request line are reached long before.
pub const MAX_STATEMENT: usize = 100_000;

/// `text` as a quoted literal.
///
/// # Errors
/// [`crate::error::ErrorKind::Config`] for control characters SOQL cannot write, such as NUL.
pub fn literal(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 8);
    out.push('\'');
    escape(text, false, &mut out)?;
    out.push('\'');
    Ok(out)
}

/// `text` as a quoted LIKE pattern that stands for itself, with `before` and `after` (`%` or nothing) around it.
///
/// # Errors
/// As [`literal`].
pub fn like(before: &str, text: &str, after: &str) -> Result<String> {
    let mut out = format!("'{before}");
    escape(text, true, &mut out)?;
    out.push_str(after);
    out.push('\'');
    Ok(out)
}

fn escape(text: &str, pattern: bool, out: &mut String) -> Result<()> {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '_' if pattern => out.push_str("\\_"),
            '%' if pattern => out.push_str("\\%"),
            control if control.is_control() => {
                return Err(Error::config("a value holds a control character that SOQL cannot write; clean it before searching"));
            }
            plain => out.push(plain),
        }
    }
    Ok(())
}

/// Checks an object or field name, which may be a path of relationships (`Owner.Email`). Names cannot be quoted in SOQL.
///
/// # Errors
/// [`crate::error::ErrorKind::Config`] if it is anything else.
pub fn identifier(name: &str) -> Result<&str> {
    // Most names are one word.
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && name.bytes().all(word) {
        return Ok(name);
    }
    let part = |part: &str| part.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && part.bytes().all(word);
    if name.split('.').all(part) {
        Ok(name)
    } else {
        Err(Error::config("not a Salesforce name: letters, digits and underscores are expected, with dots between relationships"))
    }
}

/// An instant, unquoted: `2026-01-02T03:04:05Z`; milliseconds only if there are any.
pub fn datetime(at: Timestamp) -> String {
    let millis = if at.as_millisecond() % 1000 == 0 { 0 } else { 3 };
    format!("{at:.millis$}")
}

/// A day, unquoted: `2026-01-31`.
pub fn date(day: Date) -> String {
    day.to_string()
}

/// Cuts `literals` into the insides of IN lists of at most `max_chars` characters each, as they stand in a URL (a quote takes
/// three there). An empty input gives no list: `IN ()` is not SOQL.
pub fn in_lists(literals: &[String], max_chars: usize) -> Vec<String> {
    let mut lists: Vec<String> = Vec::new();
    let mut room = 0;
    for literal in literals {
        let cost = encoded_len(literal) + 3;
        match lists.last_mut() {
            Some(list) if cost <= room => {
                list.push(',');
                list.push_str(literal);
                room -= cost;
            }
            _ => {
                lists.push(literal.clone());
                room = max_chars.saturating_sub(cost);
            }
        }
    }
    lists
}

pub(super) fn encoded_len(text: &str) -> usize {
    text.bytes().map(|byte| if unreserved(byte) { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::percent_encode;
    use proptest::prelude::*;

    #[test]
    fn the_vectors() {
        for (value, inside) in [
            ("O'Brien", r"O\'Brien"),
            (r"a\b", r"a\\b"),
            (r"\' OR Name LIKE '%", r"\\\' OR Name LIKE \'%"),
            ("50%_x", "50%_x"),
            (r#"a"b"#, r#"a\"b"#),
            ("\n", r"\n"),
            ("é", "é"),
            (r"x\", r"x\\"),
        ] {
            assert_eq!(literal(value).unwrap(), format!("'{inside}'"));
        }
        assert_eq!(like("", "50%_x", "").unwrap(), r"'50\%\_x'");
        assert_eq!(like("", "Ter%", "%").unwrap(), r"'Ter\%%'");
        assert!(literal("a\0b").is_err());
    }

    #[test]
    fn names() {
        for name in ["Id", "UTM_Source__c", "Owner.Email", "Parent__r.Ext__c"] {
            assert_eq!(identifier(name).unwrap(), name);
        }
        for name in ["", "1a", "a b", "a'", "a.", ".a", "a..b", "Id FROM User", "é", "COUNT()"] {
            assert!(identifier(name).is_err(), "{name}");
        }
    }

    #[test]
    fn instants() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(datetime(at), "2026-01-02T03:04:05Z");
        assert_eq!(datetime("2026-01-02T03:04:05.070Z".parse().unwrap()), "2026-01-02T03:04:05.070Z");
    }

    #[test]
    fn segments() {
        assert_eq!(percent_encode("A/B #1"), "A%2FB%20%231");
        assert_eq!(percent_encode("2026-01-01T00:00:00+01:00"), "2026-01-01T00%3A00%3A00%2B01%3A00");
        assert_eq!(percent_encode("é"), "%C3%A9");
    }

    #[test]
    fn lists_fit() {
        let ids: Vec<String> = (0..50).map(|n| literal(&format!("003{n:015}")).unwrap()).collect();
        let lists = in_lists(&ids, 300);
        assert!(lists.iter().all(|list| encoded_len(list) <= 300), "{lists:?}");
        assert_eq!(lists.iter().map(|list| list.split(',').count()).sum::<usize>(), 50);
        assert!(in_lists(&[], 300).is_empty());
    }

    /// Reads a literal as Salesforce does; `None` if it ends early or late.
    fn unescape(text: &str) -> Option<String> {
        let mut out = String::new();
        let mut chars = text.strip_prefix('\'')?.chars();
        loop {
            match chars.next()? {
                '\'' => return chars.next().is_none().then_some(out),
                '\\' => out.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    c @ ('\\' | '\'' | '"' | '_' | '%') => c,
                    _ => return None,
                }),
                plain => out.push(plain),
            }
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_quotes(value in r#"([\\'"%_\n\t a-z;]|\PC){0,40}"#) {
            prop_assert_eq!(unescape(&literal(&value).unwrap()), Some(value.clone()));
            prop_assert_eq!(unescape(&like("", &value, "").unwrap()), Some(value));
        }

        #[test]
        fn encoding_is_reversible(value in "\\PC{0,30}") {
            let encoded = percent_encode(&value);
            prop_assert!(encoded.bytes().all(|byte| unreserved(byte) || byte == b'%'));
            let back: String = url::form_urlencoded::parse(format!("v={encoded}").as_bytes()).map(|(_, value)| value.into_owned()).collect();
            prop_assert_eq!(back, value);
        }
    }
}
