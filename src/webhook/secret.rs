//! The secrets of one sender, with labels.

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};

use crate::error::{Error, Result};

/// Secrets that are valid at the same time, in the order they were given; during a rotation there are two.
#[derive(Clone)]
pub struct Secrets(Vec<(String, SecretSlice<u8>)>);

impl Secrets {
    /// One secret, as text.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is empty: an HMAC with an empty key proves nothing.
    pub fn new(label: impl Into<String>, secret: impl Into<secrecy::SecretString>) -> Result<Self> {
        Self(Vec::new()).and(label, secret)
    }

    /// One more.
    ///
    /// # Errors
    /// As [`Secrets::new`].
    pub fn and(self, label: impl Into<String>, secret: impl Into<secrecy::SecretString>) -> Result<Self> {
        self.and_bytes(label, secret.into().expose_secret().as_bytes())
    }

    /// One more, as bytes.
    ///
    /// # Errors
    /// As [`Secrets::new`].
    pub fn and_bytes(mut self, label: impl Into<String>, secret: &[u8]) -> Result<Self> {
        let label = label.into();
        if secret.is_empty() {
            return Err(Error::config(format!("the webhook secret {label:?} is empty")));
        }
        self.0.push((label, SecretSlice::from(secret.to_vec())));
        Ok(self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(label, secret)| (label.as_str(), secret.expose_secret()))
    }

    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}

/// The labels alone.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(label, _)| label)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_shown_and_secrets_are_not() {
        let secrets = Secrets::new("new", "canary-1").unwrap().and("old", "canary-2").unwrap();
        assert_eq!(format!("{secrets:?}"), r#"["new", "old"]"#);
        assert!(Secrets::new("empty", "").is_err());
    }
}
