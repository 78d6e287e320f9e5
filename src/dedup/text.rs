//! Folding: the spelling that all comparisons work on.

use deunicode::deunicode_char;
use unicode_normalization::UnicodeNormalization as _;

/// Longest value that is looked at, in characters. What comes after adds nothing to a comparison.
const LONGEST: usize = 200;

/// Lower-case words of letters and digits with single spaces between them.
///
/// | written | folded |
/// |---|---|
/// | `Müller-Lüdenscheidt` | `muller ludenscheidt` |
/// | `O'Neil`, `O’NEIL` | `oneil` |
/// | `Łukasz ZIĘCIK` | `lukasz ziecik` |
/// | `Straße` | `strasse` |
/// | `MÃ¼ller` (read in the wrong encoding) | `muller` |
/// | `東京` | `東京` (never turned into Latin letters) |
/// | `-`, blanks, zero-width characters | empty |
///
/// Only the first 200 characters count.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    if text.is_ascii() {
        let mut bytes = out.into_bytes();
        for byte in text.bytes().take(LONGEST) {
            if byte.is_ascii_alphanumeric() {
                bytes.push(byte.to_ascii_lowercase());
            } else if !matches!(byte, b'\'' | b'`') && bytes.last().is_some_and(|last| *last != b' ') {
                bytes.push(b' ');
            }
        }
        out = String::from_utf8(bytes).unwrap_or_default();
    } else {
        let repaired = repair(text);
        for c in repaired.as_deref().unwrap_or(text).chars().take(LONGEST).nfkc() {
            push(&mut out, c);
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

fn push(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() {
        out.push(c.to_ascii_lowercase());
    } else if c.is_ascii() {
        // An apostrophe is inside a name, everything else parts words.
        if c != '\'' && c != '`' {
            gap(out);
        }
    } else if matches!(c, '\u{2019}' | '\u{2018}' | '\u{b4}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
    {
        // Invisible characters do occur in exports.
    } else if is_romanised(c) {
        for part in deunicode_char(c).unwrap_or_default().chars() {
            if part.is_ascii_alphanumeric() {
                out.push(part.to_ascii_lowercase());
            } else if part != '\'' && part != '`' {
                gap(out);
            }
        }
    } else if c.is_alphanumeric() {
        out.extend(c.to_lowercase());
    } else if !is_mark(c) {
        gap(out);
    }
}

fn gap(out: &mut String) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
}

/// Latin, Greek, Cyrillic and Armenian: their romanisation is close enough to compare.
fn is_romanised(c: char) -> bool {
    matches!(c, '\u{aa}'..='\u{58f}' | '\u{1e00}'..='\u{1fff}') && (c.is_alphanumeric() || is_mark(c))
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}')
}

/// Undoes UTF-8 that was read as Latin-1, when the round trip gives valid text.
fn repair(text: &str) -> Option<String> {
    if !text.contains(['Ã', 'Â', 'Å', 'Ä']) {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    String::from_utf8(bytes?).ok()
}

/// Without spaces.
pub(super) fn squash(folded: &str) -> String {
    if folded.as_bytes().contains(&b' ') { folded.chars().filter(|c| *c != ' ').collect() } else { folded.to_owned() }
}

/// A lossy spelling that is the same for `ö`, `oe` and `o`, and for `å`, `aa` and `a`.
pub(super) fn loose(folded: &str) -> String {
    let mut out = String::with_capacity(folded.len());
    let mut last = '\0';
    for c in folded.chars() {
        let umlaut = c == 'e' && matches!(last, 'a' | 'o' | 'u');
        let ring = c == 'a' && last == 'a';
        if c != ' ' && !umlaut && !ring {
            out.push(c);
        }
        last = c;
    }
    out
}

/// Whether a value stands for "nothing": compared as missing.
///
/// | missing | why |
/// |---|---|
/// | blank, `-`, `n/a`, `none`, `null`, `unknown`, `not provided`, `tbd`, `xxx` | written to get past a required field |
pub fn is_placeholder(text: &str) -> bool {
    // The longest of them has thirteen letters; of a longer text only signs can be left out.
    if text.len() > 13 && text.is_ascii() && text.bytes().filter(u8::is_ascii_alphanumeric).nth(13).is_some() {
        return false;
    }
    // They begin with one of these letters.
    let first = || text.bytes().find(u8::is_ascii_alphanumeric);
    if text.is_ascii() && first().is_some_and(|first| !matches!(first.to_ascii_lowercase(), b'n' | b'u' | b't' | b'x')) {
        return false;
    }
    matches!(
        fold(text).as_str(),
        "" | "n a"
            | "na"
            | "none"
            | "null"
            | "nil"
            | "unknown"
            | "not provided"
            | "not available"
            | "undefined"
            | "tbd"
            | "test"
            | "xxx"
            | "xx"
            | "nan"
    )
}

/// A stable 64-bit hash (FNV-1a with a finishing mix), the same on every platform and in every version.
pub(super) fn hash(seed: u8, parts: &[&str]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in parts {
        for byte in part.as_bytes() {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state = (state ^ 0x1f).wrapping_mul(0x0100_0000_01b3);
    }
    state ^ (state >> 29)
}

/// The first `count` characters.
pub(super) fn head(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// The last `count` characters.
pub(super) fn tail(text: &str, count: usize) -> &str {
    let skip = text.chars().count().saturating_sub(count);
    text.char_indices().nth(skip).and_then(|(at, _)| text.get(at..)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_table() {
        for (written, folded) in [
            ("Müller-Lüdenscheidt", "muller ludenscheidt"),
            ("O'Neil", "oneil"),
            ("O\u{2019}NEIL", "oneil"),
            ("Łukasz  ZIĘCIK ", "lukasz ziecik"),
            ("Straße", "strasse"),
            ("MÃ¼ller", "muller"),
            ("東京", "東京"),
            ("İstanbul", "istanbul"),
            ("Jo\u{200b}hn\u{0}", "john"),
            (" - ", ""),
            ("Øre Æble Đ", "ore aeble d"),
        ] {
            assert_eq!(fold(written), folded, "{written}");
        }
        assert_eq!(fold(&"a".repeat(70_000)).len(), LONGEST);
    }

    #[test]
    fn umlauts_are_one_in_the_loose_spelling() {
        for name in ["Pölitz", "Poelitz", "Politz"] {
            assert_eq!(loose(&fold(name)), "politz");
        }
    }

    #[test]
    fn heads_and_tails_of_any_script() {
        assert_eq!(head("äbc", 2), "äb");
        assert_eq!(tail("abä", 2), "bä");
        assert_eq!(tail("a", 5), "a");
        assert!(is_placeholder("N/A") && is_placeholder("-") && !is_placeholder("Nina"));
    }
}
