//! What there is to believe a message by.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::error::{Error, Result};
use crate::salesforce::ids;
use crate::salesforce::webhook::message::OutboundMessage;
use crate::webhook::api::{DEFAULT_BODY_LIMIT, RawRequest, Receipt, Verified, Verifier, bounded, digest_key};
use crate::webhook::signature::equal;
use crate::webhook::{Secrets, SignatureError};

/// Checks the organization, the action, and a secret in the path of the URL.
///
/// The first two are no secrets: whoever knows them can forge a message. Use [`OutboundVerifier::path_secret`] over TLS, or
/// mutual TLS in front of the host, and read records again instead of believing a payload where it matters.
#[derive(Clone)]
pub struct OutboundVerifier {
    organization_id: String,
    actions: Vec<String>,
    path: Secrets,
    has_path: bool,
    limit: usize,
}

impl OutboundVerifier {
    /// Messages of this org, by its id of 15 or 18 characters.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is no id of an org.
    pub fn new(organization_id: &str) -> Result<Self> {
        let organization_id = ids::to_18(organization_id)?;
        if ids::key_prefix(&organization_id) != Some("00D") {
            return Err(Error::config("not the id of an org: it begins with 00D"));
        }
        Ok(Self { organization_id, actions: Vec::new(), path: Secrets::none(), has_path: false, limit: DEFAULT_BODY_LIMIT })
    }

    /// Allows this action only, or as well: the id of the outbound message in the org's setup (`04k…`). Default: all.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is no id.
    pub fn action(mut self, id: &str) -> Result<Self> {
        self.actions.push(ids::to_18(id)?);
        Ok(self)
    }

    /// Asks for this secret as one segment of the URL's path; several are valid at once, so that they can be rotated.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is empty.
    pub fn path_secret(mut self, label: impl Into<String>, secret: impl Into<SecretString>) -> Result<Self> {
        self.path = self.path.and(label, secret)?;
        self.has_path = true;
        Ok(self)
    }

    /// The longest body that is looked at. Default: [`DEFAULT_BODY_LIMIT`]; a hundred notifications of many fields are longer.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    fn secret(&self, url: &str) -> Option<String> {
        if !self.has_path {
            return Some(String::new());
        }
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let mut matched = None;
        for (label, secret) in self.path.iter() {
            // Every segment is compared with every secret, whatever was found.
            for segment in path.split('/') {
                if equal(segment.as_bytes(), secret) {
                    matched = matched.or_else(|| Some(label.to_owned()));
                }
            }
        }
        matched
    }
}

impl fmt::Debug for OutboundVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundVerifier")
            .field("organization_id", &self.organization_id)
            .field("actions", &self.actions)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Verifier for OutboundVerifier {
    fn source(&self) -> &str {
        "salesforce"
    }

    /// The receipt's key is made of the ids of the notifications, so that a message that is sent again is known although its
    /// values moved on. Salesforce may put them together in another way: [`Notification::id`] is what never changes.
    ///
    /// [`Notification::id`]: crate::salesforce::webhook::Notification::id
    fn verify<'a>(&self, request: &RawRequest<'a>, _now: Timestamp) -> Result<Verified<'a>, SignatureError> {
        bounded(request, self.limit)?;
        let secret = self.secret(request.url).ok_or(SignatureError::WrongSignature)?;
        let message = OutboundMessage::parse(request.body).map_err(|_| SignatureError::BadBody)?;
        let action = self.actions.is_empty() || self.actions.contains(&message.action_id);
        if message.organization_id != self.organization_id || !action {
            return Err(SignatureError::WrongSender);
        }
        let ids: Vec<&[u8]> = message.notifications.iter().flat_map(|one| [one.id.as_str().as_bytes(), b"\n"]).collect();
        let key = digest_key(&ids);
        Ok(Verified::new(request.body, Receipt { scheme: "salesforce_outbound", secret, id: None, at: None, key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    const BODY: &str = include_str!("../../../tests/fixtures/salesforce/outbound_message.xml");

    fn check(verifier: &OutboundVerifier, url: &str, body: &str) -> Result<(String, String), &'static str> {
        let headers = HeaderMap::new();
        let request = RawRequest { method: &Method::POST, url, headers: &headers, body: body.as_bytes() };
        let verified = verifier.verify(&request, Timestamp::UNIX_EPOCH).map_err(|error| error.reason())?;
        Ok((verified.receipt().secret.clone(), verified.receipt().key.clone()))
    }

    #[test]
    fn org_action_and_secret() {
        let org = OutboundVerifier::new("00DAb0000001Org").unwrap();
        let url = "https://host/hooks/canary-2/x?y=canary-1";
        assert!(check(&org, url, BODY).is_ok());
        assert_eq!(check(&OutboundVerifier::new("00DAb0000001Orh").unwrap(), url, BODY), Err("wrong_sender"));
        let action = org.clone().action("04kAb00000Xy12Z").unwrap();
        assert!(check(&action, url, BODY).is_ok());
        assert_eq!(check(&org.clone().action("04kAb00000Xy12Y").unwrap(), url, BODY), Err("wrong_sender"));
        let secret = org.clone().path_secret("old", "canary-1").unwrap();
        assert_eq!(check(&secret, url, BODY), Err("wrong_signature"), "a query is no path");
        let secret = secret.path_secret("new", "canary-2").unwrap();
        assert_eq!(check(&secret, url, BODY).unwrap().0, "new");
        assert!(!format!("{secret:?}").contains("canary"));
        assert_eq!(check(&org, url, "<a/>"), Err("bad_body"));
        assert_eq!(check(&org.clone().body_limit(10), url, BODY), Err("body_too_large"));
        assert!(OutboundVerifier::new("00QAb00000Xy12Z").is_err());
    }

    #[test]
    fn sent_again_with_other_values_is_the_same_delivery() {
        let org = OutboundVerifier::new("00DAb0000001OrgMAE").unwrap();
        let first = check(&org, "https://host/", BODY).unwrap();
        assert_eq!(check(&org, "https://host/", &BODY.replace("a@b.c", "d@e.f")).unwrap(), first);
        assert_ne!(check(&org, "https://host/", &BODY.replace("<Id>04l", "<Id>04L")).unwrap(), first);
    }
}
