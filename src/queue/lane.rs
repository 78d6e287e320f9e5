//! The ordering key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Entity;

/// The ordering key: one record of one entity of one connection.
///
/// Two lanes are the same if all three parts are equal, byte for byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lane {
    /// The label of the connection, as the adapter's name says it.
    pub connection: String,
    /// The entity.
    pub entity: Entity,
    /// The key of the record: the host's id for what goes to the CRM, the CRM's id for what comes from it.
    pub record: String,
}

impl Lane {
    /// A lane.
    pub fn new(connection: impl Into<String>, entity: Entity, record: impl Into<String>) -> Self {
        Self { connection: connection.into(), entity, record: record.into() }
    }

    /// The lane as one text, for a column or a key: the parts separated by `/`, with `/`, `%` and control characters in them
    /// written as `%XX`. Different lanes have different texts; [`Lane::decode`] is the way back.
    pub fn encode(&self) -> String {
        let parts = [self.connection.as_str(), self.entity.as_str(), self.record.as_str()];
        let mut text = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                text.push('/');
            }
            escape(&mut text, part);
        }
        text
    }

    /// The lane of a text made by [`Lane::encode`]; `None` for any other text.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (connection, entity, record) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self { connection: unescape(connection)?, entity: Entity::new(unescape(entity)?), record: unescape(record)? })
    }
}

/// Without the record's key, which may be an e-mail address.
impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("connection", &self.connection).field("entity", &self.entity).finish_non_exhaustive()
    }
}

pub(super) fn escape(text: &mut String, part: &str) {
    // As nearly all are.
    if !part.bytes().any(|byte| matches!(byte, b'/' | b'%' | 0..=0x1f | 0x7f)) {
        text.push_str(part);
        return;
    }
    for character in part.chars() {
        match character {
            '/' | '%' | '\0'..='\u{1f}' | '\u{7f}' => {
                let byte = u32::from(character);
                text.push('%');
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(digit, 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
            plain => text.push(plain),
        }
    }
}

pub(super) fn unescape(part: &str) -> Option<String> {
    if !part.contains('%') {
        return Some(part.to_owned());
    }
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
    fn debug_shows_no_record_key() {
        let lane = Lane::new("sf", Entity::from_static("Lead"), "ada@example.com");
        assert!(!format!("{lane:?}").contains("ada"), "{lane:?}");
    }

    proptest! {
        #[test]
        fn lanes_come_back(connection in "[\\PC/%\\x00-\\x1f]{0,8}", entity in "[\\PC/%]{0,8}", record in "[\\PC/%\\x7f]{0,8}") {
            let lane = Lane::new(connection, Entity::new(entity), record);
            prop_assert_eq!(Lane::decode(&lane.encode()), Some(lane));
        }
    }
}
