//! Senders whose only proof is the address they were given: a secret in its path or query.

use std::fmt;

use ::url::Url;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::error::{Error, Result};
use crate::webhook::api::{DEFAULT_BODY_LIMIT, RawRequest, Receipt, Verified, Verifier, bounded, digest_key};
use crate::webhook::error::SignatureError;
use crate::webhook::secret::Secrets;
use crate::webhook::signature::equal;

/// Compares one step of the path, or one query parameter, with a secret, in constant time.
///
/// It proves that the sender knows the address, not that the body is the sender's; and addresses stand in logs. Use it where the
/// sender offers nothing better, over TLS, and read the record again instead of believing the payload.
#[derive(Clone)]
pub struct UrlVerifier {
    source: String,
    place: Place,
    expected: Secrets,
}

#[derive(Clone)]
enum Place {
    /// The steps the path ends with; `None` is the secret.
    Path(Vec<Option<String>>),
    Query(String),
}

impl UrlVerifier {
    /// The secret is a step of the path. `pattern` is compared with the end of the URL's path: `{secret}` is that step, `*` any
    /// one: `/hooks/{secret}`. `label` names the secret.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the pattern does not have exactly one `{secret}`, or the secret is empty.
    pub fn path(source: impl Into<String>, pattern: &str, label: &str, secret: impl Into<SecretString>) -> Result<Self> {
        let steps: Vec<_> =
            pattern.split('/').filter(|step| !step.is_empty()).map(|step| (step != "{secret}").then(|| step.to_owned())).collect();
        if steps.iter().filter(|step| step.is_none()).count() != 1 {
            return Err(Error::config("the path of a webhook needs exactly one step {secret}"));
        }
        Ok(Self { source: source.into(), place: Place::Path(steps), expected: Secrets::new(label, secret)? })
    }

    /// The secret is the query parameter `name`; `label` names the secret.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the name or the secret is empty.
    pub fn query(source: impl Into<String>, name: &str, label: &str, secret: impl Into<SecretString>) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::config("the query parameter of a webhook has no name"));
        }
        Ok(Self { source: source.into(), place: Place::Query(name.to_owned()), expected: Secrets::new(label, secret)? })
    }
}

/// Never the secret.
impl fmt::Debug for UrlVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlVerifier").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Verifier for UrlVerifier {
    fn source(&self) -> &str {
        &self.source
    }

    fn verify<'a>(&self, request: &RawRequest<'a>, _now: Timestamp) -> Result<Verified<'a>, SignatureError> {
        bounded(request, DEFAULT_BODY_LIMIT)?;
        let absolute = Url::parse(request.url).or_else(|_| Url::parse("http://host/").and_then(|base| base.join(request.url)));
        let url = absolute.map_err(|_| SignatureError::WrongSignature)?;
        let given = match &self.place {
            Place::Query(name) => {
                let mut found = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
                let first = found.next();
                // Two of them are one for the host's router and the other one here.
                first.filter(|_| found.next().is_none())
            }
            Place::Path(steps) => {
                let path: Vec<&str> = url.path_segments().into_iter().flatten().collect();
                let ends = path.len().checked_sub(steps.len()).and_then(|from| path.get(from..)).unwrap_or_default();
                let fits = !ends.is_empty()
                    && steps.iter().zip(ends).all(|(step, given)| step.as_deref().is_none_or(|step| step == "*" || step == *given));
                let secret = steps.iter().zip(ends).find(|(step, _)| step.is_none()).map(|(_, given)| *given);
                secret.filter(|_| fits).map(decoded)
            }
        };
        let given = given.ok_or(SignatureError::WrongSignature)?;
        let mut matched = None;
        for (label, expected) in self.expected.iter() {
            if equal(given.as_bytes(), expected) {
                matched = matched.or(Some(label));
            }
        }
        let secret = matched.ok_or(SignatureError::WrongSignature)?.to_owned();
        let key = digest_key(&[request.body]);
        Ok(Verified::new(request.body, Receipt { scheme: "url", secret, id: None, at: None, key }))
    }
}

/// A step of a path without its percent signs.
fn decoded(step: &str) -> String {
    let plain = step.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    ::url::form_urlencoded::parse(plain.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn check(verifier: &UrlVerifier, url: &str) -> bool {
        let headers = HeaderMap::new();
        let request = RawRequest { method: &Method::POST, url, headers: &headers, body: b"{}" };
        verifier.verify(&request, Timestamp::UNIX_EPOCH).is_ok()
    }

    #[test]
    fn a_step_of_the_path() {
        let verifier = UrlVerifier::path("x", "/hooks/{secret}/*", "2026", "can ary".to_owned()).unwrap();
        assert!(check(&verifier, "https://x.io/v1/hooks/can%20ary/lead?a=b") && check(&verifier, "/hooks/can%20ary/deal"));
        for wrong in ["https://x.io/hooks/canary/lead", "https://x.io/hooks/can%20ary", "/other/can%20ary/lead", "https://x.io/", ""] {
            assert!(!check(&verifier, wrong), "{wrong}");
        }
        assert!(!format!("{verifier:?}").contains("ary"));
        assert!(UrlVerifier::path("x", "/hooks", "2026", "s".to_owned()).is_err());
    }

    #[test]
    fn a_query_parameter() {
        let verifier = UrlVerifier::query("x", "token", "2026", "canary".to_owned()).unwrap();
        assert!(check(&verifier, "https://x.io/hook?token=canary"));
        assert!(!check(&verifier, "https://x.io/hook?token=canarz") && !check(&verifier, "https://x.io/hook"));
        assert!(!check(&verifier, "https://x.io/hook?token=canary&token=other"));
    }
}
