//! The JWT bearer grant: an assertion signed with RS256, checked against the registered key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::sandbox::call::{Call, Reply, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::oauth::refuse;
use crate::sandbox::store::Row;

/// `exp` lies at most this many seconds ahead, clocks that differ by 3 minutes included (Help: OAuth 2.0 JWT Bearer Flow).
const LONGEST: i64 = 300 + 180;

/// One DER element, and what follows it.
struct Element<'a> {
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (length, head) = match der {
        [_, short, ..] if *short < 0x80 => (usize::from(*short), 2),
        [_, long, rest @ ..] => {
            let count = usize::from(long & 0x7F);
            let digits = rest.get(..count).filter(|_| count <= 4)?;
            (digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)), 2 + count)
        }
        _ => return None,
    };
    Some(Element { content: der.get(head..head + length)?, whole: der.get(..head + length)?, rest: der.get(head + length..)? })
}

/// The public key of a PEM text, as SubjectPublicKeyInfo: of a certificate (RFC 5280, section 4.1) its seventh part.
fn public_key(pem: &str) -> Option<Vec<u8>> {
    let certificate = pem.contains("BEGIN CERTIFICATE");
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).ok()?;
    if !certificate {
        return Some(der);
    }
    let mut rest = element(element(&der)?.content)?.content;
    // The version is optional; then serial, algorithm, issuer, validity, subject.
    if rest.first() == Some(&0xA0) {
        rest = element(rest)?.rest;
    }
    for _ in 0..5 {
        rest = element(rest)?.rest;
    }
    element(rest).map(|key| key.whole.to_vec())
}

#[cfg(feature = "jwt")]
fn is_signed(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature).is_ok()
}

/// Without the feature `jwt` no signature can be checked, so none is good.
#[cfg(not(feature = "jwt"))]
fn is_signed(_: &[u8], _: &[u8], _: &[u8]) -> bool {
    false
}

impl Salesforce {
    /// Answers the grant.
    pub(crate) fn by_assertion(&mut self, call: &Call, form: &[(String, String)]) -> Reply {
        let Some(assertion) = param(form, "assertion") else {
            return refuse("invalid_request", "assertion required");
        };
        match self.asserted(call, assertion) {
            Ok(()) => self.fresh_grant(call),
            Err(reply) => reply,
        }
    }

    fn asserted(&self, call: &Call, assertion: &str) -> Result<(), Reply> {
        let invalid = || refuse("invalid_grant", "invalid assertion");
        let (signed, signature) = assertion.rsplit_once('.').ok_or_else(invalid)?;
        let (header, claims) = signed.split_once('.').ok_or_else(invalid)?;
        let read = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
        let (header, claims) = (read(header).ok_or_else(invalid)?, read(claims).ok_or_else(invalid)?);
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if header.get("alg").and_then(Value::as_str) != Some("RS256") {
            return Err(invalid());
        }
        if text("iss") != self.auth.client_id {
            return Err(refuse("invalid_client_id", "client identifier invalid"));
        }
        let key = self.options.jwt_key.as_deref().and_then(public_key).ok_or_else(invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid())?;
        if !is_signed(&key, signed.as_bytes(), &signature) {
            return Err(invalid());
        }
        let audience = ["https://login.salesforce.com", "https://test.salesforce.com", call.origin.as_str()];
        if !audience.contains(&text("aud").trim_end_matches('/')) {
            return Err(refuse("invalid_grant", "audience is invalid"));
        }
        let expires = claims.get("exp").and_then(Value::as_i64).ok_or_else(invalid)?;
        let now = call.now.as_second();
        if expires <= now || expires > now + LONGEST {
            return Err(invalid());
        }
        let user: Option<&Row> =
            self.tables.lookup("User", "Username", &text("sub").to_lowercase()).next().and_then(|id| self.tables.live("User", id));
        match user {
            None => Err(refuse("invalid_grant", "user hasn't approved this consumer")),
            Some(user) if !user.is_true("IsActive") => Err(refuse("invalid_grant", "inactive user")),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_holds_its_key() {
        let key = [0x30, 0x03, 0x02, 0x01, 0x05];
        let part = [0x30, 0x00];
        let mut inner = vec![0xA0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x01, 0x07];
        inner.extend(part.repeat(4));
        inner.extend(key);
        let mut tbs = vec![0x30, u8::try_from(inner.len()).unwrap()];
        tbs.extend(inner);
        let mut whole = vec![0x30, u8::try_from(tbs.len()).unwrap()];
        whole.extend(tbs);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(whole));
        assert_eq!(public_key(&pem).as_deref(), Some(key.as_slice()));
        assert!(element(&[0x30, 0x05, 0x00]).is_none());
    }
}
