//! Versions of the API.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// An API version, compared by number. Read from `"v57.0"`, `"57.0"` or `57`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(u16);

impl ApiVersion {
    /// Winter '27: 68.0.
    pub const DEFAULT: Self = Self(68);

    /// `major`.0; Salesforce has no other minor.
    pub const fn new(major: u16) -> Self {
        Self(major)
    }

    /// The number before the point.
    pub const fn major(self) -> u16 {
        self.0
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.0", self.0)
    }
}

impl FromStr for ApiVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.trim().trim_start_matches(['v', 'V']);
        let major = number.strip_suffix(".0").unwrap_or(number).parse::<u16>().ok().filter(|major| *major >= 7);
        major.map(Self).ok_or_else(|| Error::config("not a Salesforce API version; write it like v68.0, 68.0 or 68"))
    }
}

/// As `68.0`, a text.
impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        };
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}
