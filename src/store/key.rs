//! The address of a row.

use std::fmt;

/// What a row is about. Each family has its own keys and its own value format; a store keeps them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Family {
    /// Host id to CRM id.
    Links,
    /// CRM id to host id.
    LinksByRemote,
    /// The last agreed state of a record.
    Base,
    /// Writes that were begun and not yet settled.
    Ledger,
    /// How far a reader has come.
    Cursors,
    /// Ids of webhook events that were seen.
    Inbox,
    /// Shared rate budgets.
    Budget,
    /// Access tokens.
    Tokens,
    /// Locks with a time limit.
    Locks,
    /// What was done.
    Journal,
    /// Records the CRM refused for good.
    Parked,
    /// Changes that were set aside, and what was written over them since.
    Overtaken,
    /// Records that a two-way sync has yet to look at.
    Pending,
    /// Values that were written and not read back yet.
    Own,
    /// What a two-way sync keeps about one record: flips, conflicts, a freeze.
    Lanes,
    /// Records that have ended, by salted hashes of their ids.
    Gone,
    /// What was written to a record, when and why.
    Audit,
}

impl Family {
    /// The family as a stable lower-case word. It is part of the stored form and never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::LinksByRemote => "links_by_remote",
            Self::Base => "base",
            Self::Ledger => "ledger",
            Self::Cursors => "cursors",
            Self::Inbox => "inbox",
            Self::Budget => "budget",
            Self::Tokens => "tokens",
            Self::Locks => "locks",
            Self::Journal => "journal",
            Self::Parked => "parked",
            Self::Overtaken => "overtaken",
            Self::Pending => "pending",
            Self::Own => "own",
            Self::Lanes => "lanes",
            Self::Gone => "gone",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address of a row: its family and a text.
///
/// [`Key::new`] ends every part with `/` and escapes `/`, `%` and control characters inside a part as `%XX`. So two
/// different lists of parts never make the same text, and a key made of the first parts is a prefix of exactly the keys that
/// begin with these whole parts: `["acme", "Lead"]` finds `["acme", "Lead", "1"]` and not `["acme", "Leads", "1"]`.
///
/// Keys are ordered by family, then by the bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The family.
    pub family: Family,
    /// The encoded parts.
    pub key: String,
}

impl Key {
    /// A key from its parts. No parts at all make the prefix of the whole family.
    pub fn new(family: Family, parts: &[&str]) -> Self {
        let mut key = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
        for part in parts {
            push_part(&mut key, part);
        }
        Self { family, key }
    }

    /// The key of a part below this one.
    #[must_use]
    pub fn child(&self, part: &str) -> Self {
        let mut key = String::with_capacity(self.key.len() + part.len() + 1);
        key.push_str(&self.key);
        push_part(&mut key, part);
        Self { family: self.family, key }
    }

    /// True if `self` is `prefix` or lies below it.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.family == prefix.family && self.key.starts_with(&prefix.key)
    }

    /// The parts [`Key::new`] was given. `None` for a text that [`Key::new`] does not make.
    pub fn parts(&self) -> Option<Vec<String>> {
        if self.key.is_empty() {
            return Some(Vec::new());
        }
        self.key.strip_suffix('/')?.split('/').map(unescape).collect()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.family, self.key)
    }
}

fn push_part(key: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            // Control characters: a NUL does not fit into a PostgreSQL text.
            '/' | '%' | '\0'..='\u{1f}' | '\u{7f}' => {
                let byte = u32::from(character);
                key.push('%');
                for digit in [byte >> 4, byte & 15] {
                    key.push(char::from_digit(digit, 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
            plain => key.push(plain),
        }
    }
    key.push('/');
}

fn unescape(part: &str) -> Option<String> {
    let mut out = String::with_capacity(part.len());
    let mut rest = part.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let high = rest.next()?.to_digit(16)?;
        let low = rest.next()?.to_digit(16)?;
        out.push(char::from_u32(high * 16 + low)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_holds_whole_parts() {
        let prefix = Key::new(Family::Links, &["acme", "Lead"]);
        assert!(Key::new(Family::Links, &["acme", "Lead", "1"]).starts_with(&prefix));
        assert!(!Key::new(Family::Links, &["acme", "Leads", "1"]).starts_with(&prefix));
        assert!(!Key::new(Family::Links, &["acme/Lead", "1"]).starts_with(&prefix));
        assert!(!Key::new(Family::Base, &["acme", "Lead", "1"]).starts_with(&prefix));
        assert_eq!(prefix.child("1"), Key::new(Family::Links, &["acme", "Lead", "1"]));
        assert_eq!(prefix.to_string(), "links/acme/Lead/");
    }

    proptest! {
        #[test]
        fn parts_come_back(parts in proptest::collection::vec("[\\PC/%\\x00-\\x1f]{0,8}", 0..4)) {
            let borrowed: Vec<&str> = parts.iter().map(String::as_str).collect();
            let key = Key::new(Family::Base, &borrowed);
            prop_assert!(!key.key.contains('\0'));
            prop_assert_eq!(key.parts(), Some(parts));
        }

        #[test]
        fn a_key_starts_with_another_exactly_if_its_parts_do(
            a in proptest::collection::vec("[ab/%]{0,2}", 0..4),
            b in proptest::collection::vec("[ab/%]{0,2}", 0..3),
        ) {
            let key = |parts: &[String]| Key::new(Family::Base, &parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(key(&a).starts_with(&key(&b)), a.starts_with(&b));
        }
    }
}
