//! Where in a channel's events a reader stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The mark of an event in its channel, opaque: a number in CometD, bytes in Pub/Sub (written `0x…`). Marks are neither contiguous
/// nor the same for ever: they begin anew when an org moves or a sandbox is refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplayId(String);

impl ReplayId {
    /// From its text, as [`ReplayId::as_str`] gave it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// From the bytes of Pub/Sub.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }

    /// Its text, to be kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number CometD takes, if it is one. A mark of Pub/Sub with eight bytes is read as the number it holds.
    pub fn number(&self) -> Option<i64> {
        if let Some(bytes) = self.0.strip_prefix("0x") {
            return if bytes.len() == 16 { i64::from_str_radix(bytes, 16).ok() } else { None };
        }
        self.0.parse().ok()
    }

    /// The bytes Pub/Sub takes, if it is a mark of either kind.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let Some(text) = self.0.strip_prefix("0x") else {
            return self.0.parse::<i64>().ok().map(|number| number.to_be_bytes().to_vec());
        };
        let digits = text.as_bytes();
        if digits.len() % 2 != 0 {
            return None;
        }
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    }
}

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<i64> for ReplayId {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

/// An event's place: its channel and its mark there. Keep it once the event's work is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Position {
    /// The channel it was subscribed by.
    pub channel: String,
    /// The mark.
    pub replay_id: ReplayId,
}

impl Position {
    /// A place.
    pub fn new(channel: impl Into<String>, replay_id: ReplayId) -> Self {
        Self { channel: channel.into(), replay_id }
    }
}

/// Which events a subscription begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replay {
    /// Those after this one.
    After(ReplayId),
    /// All that are retained (CometD's -2, Pub/Sub's EARLIEST).
    All,
    /// Those that happen from now on (CometD's -1, Pub/Sub's LATEST).
    #[default]
    New,
}

impl Replay {
    /// What CometD takes; `None` for a mark that is no number.
    pub(super) fn cometd(&self) -> Option<i64> {
        match self {
            Self::New => Some(-1),
            Self::All => Some(-2),
            Self::After(id) => id.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_both_kinds_are_kept_as_text() {
        let number = ReplayId::from(18_098_167);
        assert_eq!((number.as_str(), number.number()), ("18098167", Some(18_098_167)));
        assert_eq!(number.bytes().unwrap(), 18_098_167_i64.to_be_bytes());
        let bytes = ReplayId::from_bytes(&[0, 0, 0, 0, 1, 20, 39, 247]);
        assert_eq!((bytes.as_str(), bytes.number()), ("0x00000000011427f7", Some(18_098_167)));
        assert_eq!(bytes.bytes().unwrap(), [0, 0, 0, 0, 1, 20, 39, 247]);
        let odd = ReplayId::from_bytes(&[9]);
        assert_eq!((odd.number(), odd.bytes().unwrap()), (None, vec![9]));
        assert_eq!(ReplayId::new("0xzz").bytes(), None);
        assert_eq!(ReplayId::new("0xa").bytes(), None);
        let text = serde_json::to_string(&Position::new("/data/ChangeEvents", number)).unwrap();
        assert_eq!(text, r#"{"channel":"/data/ChangeEvents","replay_id":"18098167"}"#);
    }

    #[test]
    fn minus_one_is_new_and_minus_two_is_all() {
        assert_eq!((Replay::New.cometd(), Replay::All.cometd()), (Some(-1), Some(-2)));
        assert_eq!(Replay::After(ReplayId::from(7)).cometd(), Some(7));
        assert_eq!(Replay::After(ReplayId::new("0x01")).cometd(), None);
    }
}
