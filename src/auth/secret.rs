//! Secrets out of configuration files.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// A secret that may be missing; an empty text, as an unset variable leaves it, is none. It is read and never written.
pub(crate) fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(SecretString::from))
}
