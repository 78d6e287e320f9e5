//! The vendor's name of a kind of record.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of record in the vendor's spelling: `Lead`, `contacts`, `Invoice__c`.
///
/// The host's own names (`lead`) exist only as keys of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Entity(Cow<'static, str>);

impl Entity {
    /// An entity whose name is only known at run time.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// An entity with a name known at compile time; costs nothing.
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&'static str> for Entity {
    fn from(name: &'static str) -> Self {
        Self::from_static(name)
    }
}
