//! HMAC-SHA256 schemes described by data: the plain ones (hex or base64 over the body) and the timestamped ones.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::webhook::api::{
    DEFAULT_BODY_LIMIT, DEFAULT_TOLERANCE, RawRequest, Receipt, Verified, Verifier, bounded, digest_key, one_header,
};
use crate::webhook::error::SignatureError;
use crate::webhook::secret::Secrets;
use crate::webhook::signature::{equal, hex, hmac_sha256, unhex};

/// More signatures in one header than any honest sender gives during a rotation.
pub(crate) const MOST_SIGNATURES: usize = 32;

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoding {
    /// Base64, of either alphabet, padded or not.
    Base64,
    /// Hex, of either case.
    #[default]
    Hex,
}

/// The unit of a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimeUnit {
    /// Thousandths of seconds since 1970.
    Milliseconds,
    /// Seconds since 1970.
    #[default]
    Seconds,
}

/// A piece of the text that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signed {
    /// The body as it came in.
    Body,
    /// The text of a header.
    Header(String),
    /// The method, in upper case.
    Method,
    /// A constant, such as a dot.
    Text(String),
    /// The timestamp as it was sent.
    Timestamp,
    /// The public URL.
    Url,
}

/// Where a signature and its time stand.
#[derive(Clone, Debug)]
enum Layout {
    /// One header is the signature; the time, if any, has a header of its own.
    Header { signature: String, prefix: String, time: Option<String> },
    /// One header holds both: `t=1614265330,v1=…,v1=…`.
    List { header: String, time: String, signature: String },
}

/// Verifies HMAC-SHA256 signatures.
///
/// ```
/// use crm_sync::webhook::{HmacVerifier, RawRequest, Secrets, Verifier};
/// use http::{HeaderMap, Method};
///
/// let verifier = HmacVerifier::new("my-crm", Secrets::new("2026", "s3cret-of-the-sender")?, "X-Signature");
/// let headers = verifier.sign("https://me.example/hook", b"{}", "2026-11-24T00:00:00Z".parse().unwrap())?;
/// let request = RawRequest { method: &Method::POST, url: "https://me.example/hook", headers: &headers, body: b"{}" };
/// assert!(verifier.verify(&request, "2026-11-24T00:00:09Z".parse().unwrap()).is_ok());
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HmacVerifier {
    source: String,
    secrets: Secrets,
    layout: Layout,
    encoding: Encoding,
    unit: TimeUnit,
    signed: Vec<Signed>,
    tolerance: Duration,
    limit: usize,
}

impl HmacVerifier {
    /// The guide's scheme, put right: the header named `header` is the hex of the HMAC over the raw body. Without a time in
    /// it, a copy of the request can be sent again for ever: keep [`Receipt::key`].
    pub fn new(source: impl Into<String>, secrets: Secrets, header: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            secrets,
            layout: Layout::Header { signature: header.into(), prefix: String::new(), time: None },
            encoding: Encoding::Hex,
            unit: TimeUnit::Seconds,
            signed: vec![Signed::Body],
            tolerance: DEFAULT_TOLERANCE,
            limit: DEFAULT_BODY_LIMIT,
        }
    }

    /// Stripe's scheme: `header` is `t=<seconds>,v1=<hex>[,v1=<hex>…]` over `<t>.<body>`.
    pub fn timestamped(source: impl Into<String>, secrets: Secrets, header: impl Into<String>) -> Self {
        Self {
            layout: Layout::List { header: header.into(), time: "t".to_owned(), signature: "v1".to_owned() },
            signed: vec![Signed::Timestamp, Signed::Text(".".to_owned()), Signed::Body],
            ..Self::new(source, secrets, "")
        }
    }

    /// How the signature is written. Default: hex.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// A constant that stands before the signature in its header, e.g. `sha256=`.
    #[must_use]
    pub fn prefix(mut self, text: impl Into<String>) -> Self {
        if let Layout::Header { prefix, .. } = &mut self.layout {
            *prefix = text.into();
        }
        self
    }

    /// The header that holds the time of the signature, and its unit. It should be part of [`HmacVerifier::signed`].
    #[must_use]
    pub fn time_header(mut self, name: impl Into<String>, unit: TimeUnit) -> Self {
        if let Layout::Header { time, .. } = &mut self.layout {
            *time = Some(name.into());
        }
        self.unit = unit;
        self
    }

    /// What is signed, piece by piece. Default: the body; for the timestamped form time, dot, body.
    #[must_use]
    pub fn signed(mut self, parts: impl IntoIterator<Item = Signed>) -> Self {
        self.signed = parts.into_iter().collect();
        self
    }

    /// How far the time may be off, either way. Default: [`DEFAULT_TOLERANCE`].
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The longest body that is hashed. Default: [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The headers of a POST of `body` to `url`, signed at `now` with the first secret: for tests of receivers, and for
    /// senders. [`Signed::Header`] pieces count as empty.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if a header name cannot be one, or there is no secret.
    pub fn sign(&self, url: &str, body: &[u8], now: Timestamp) -> Result<HeaderMap> {
        let (_, secret) = self.secrets.iter().next().ok_or_else(|| Error::config("there is no secret to sign with"))?;
        let time = match self.unit {
            TimeUnit::Milliseconds => now.as_millisecond().to_string(),
            TimeUnit::Seconds => now.as_second().to_string(),
        };
        let mut headers = HeaderMap::new();
        let request = RawRequest { method: &http::Method::POST, url, headers: &headers, body };
        let pieces = self.pieces(&request, &time);
        let code = hmac_sha256(secret, &pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        let code = match self.encoding {
            Encoding::Base64 => STANDARD.encode(code),
            Encoding::Hex => hex(&code),
        };
        let mut put = |name: &str, value: String| -> Result<()> {
            let name = HeaderName::try_from(name).map_err(|_| Error::config(format!("{name:?} cannot be the name of a header")))?;
            let value = HeaderValue::try_from(value).map_err(|_| Error::config("a signature prefix that cannot stand in a header"))?;
            headers.insert(name, value);
            Ok(())
        };
        match &self.layout {
            Layout::Header { signature, prefix, time: header } => {
                put(signature, format!("{prefix}{code}"))?;
                if let Some(header) = header {
                    put(header, time)?;
                }
            }
            Layout::List { header, time: name, signature } => put(header, format!("{name}={time},{signature}={code}"))?,
        }
        Ok(headers)
    }

    fn pieces<'a>(&'a self, request: &RawRequest<'a>, time: &'a str) -> Vec<Cow<'a, [u8]>> {
        let piece = |part: &'a Signed| -> Cow<'a, [u8]> {
            match part {
                Signed::Body => Cow::Borrowed(request.body),
                Signed::Header(name) => request.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes).into(),
                Signed::Method => request.method.as_str().to_ascii_uppercase().into_bytes().into(),
                Signed::Text(text) => text.as_bytes().into(),
                Signed::Timestamp => time.as_bytes().into(),
                Signed::Url => request.url.as_bytes().into(),
            }
        };
        self.signed.iter().map(piece).collect()
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Base64 => unbase64(text),
            Encoding::Hex => unhex(text),
        }
    }
}

impl Verifier for HmacVerifier {
    fn source(&self) -> &str {
        &self.source
    }

    fn verify<'a>(&self, request: &RawRequest<'a>, now: Timestamp) -> Result<Verified<'a>, SignatureError> {
        bounded(request, self.limit)?;
        let (time, given) = match &self.layout {
            Layout::Header { signature, prefix, time } => {
                let value = one_header(request.headers, signature)?;
                let bare = value.strip_prefix(prefix.as_str());
                let bare = bare.ok_or_else(|| SignatureError::BadHeader(signature.clone().into()))?;
                let time = time.as_deref().map(|name| one_header(request.headers, name)).transpose()?;
                (time, vec![bare])
            }
            Layout::List { header, time, signature } => {
                let (at, given) = list(one_header(request.headers, header)?, time, signature)?;
                (Some(at.ok_or_else(|| SignatureError::BadHeader(header.clone().into()))?), given)
            }
        };
        let at = time.map(|text| timely(text, self.unit, now, self.tolerance)).transpose()?;
        let pieces = self.pieces(request, time.unwrap_or_default());
        let pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
        let given: Vec<Vec<u8>> = given.into_iter().filter_map(|text| self.decode(text)).collect();
        let mut matched = None;
        for (label, secret) in self.secrets.iter() {
            let expected = hmac_sha256(secret, &pieces);
            if given.iter().fold(false, |hit, given| hit | equal(given, &expected)) && matched.is_none() {
                matched = Some(label);
            }
        }
        let secret = matched.ok_or(SignatureError::WrongSignature)?.to_owned();
        let receipt = Receipt { scheme: "hmac", secret, id: None, at, key: digest_key(&pieces) };
        Ok(Verified::new(request.body, receipt))
    }
}

/// The time and the signatures of `t=…,v1=…,v1=…`; other versions are left aside.
fn list<'a>(text: &'a str, time: &str, signature: &str) -> Result<(Option<&'a str>, Vec<&'a str>), SignatureError> {
    let (mut at, mut given) = (None, Vec::new());
    for (count, part) in text.split(',').enumerate() {
        if count > MOST_SIGNATURES {
            return Err(SignatureError::TooManySignatures(MOST_SIGNATURES));
        }
        match part.trim().split_once('=') {
            // Two times would leave open which one is signed.
            Some((name, value)) if name == time && at.replace(value).is_some() => return Err(SignatureError::BadTimestamp),
            Some((name, _)) if name == time => {}
            Some((name, value)) if name == signature => given.push(value),
            _ => {}
        }
    }
    Ok((at, given))
}

/// The time a text of plain digits stands for, if it is close enough to `now`.
pub(crate) fn timely(text: &str, unit: TimeUnit, now: Timestamp, tolerance: Duration) -> Result<Timestamp, SignatureError> {
    if text.is_empty() || text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SignatureError::BadTimestamp);
    }
    let number: i64 = text.parse().map_err(|_| SignatureError::BadTimestamp)?;
    let at = match unit {
        TimeUnit::Milliseconds => Timestamp::from_millisecond(number),
        TimeUnit::Seconds => Timestamp::from_second(number),
    };
    let at = at.map_err(|_| SignatureError::BadTimestamp)?;
    let age = now.duration_since(at);
    let tolerance = jiff::SignedDuration::try_from(tolerance).unwrap_or(jiff::SignedDuration::MAX);
    if age > tolerance {
        return Err(SignatureError::TooOld(age.as_secs()));
    }
    if -age > tolerance {
        return Err(SignatureError::TooNew(-age.as_secs()));
    }
    Ok(at)
}

pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    const URL: &str = "https://me.example/hook";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn check(verifier: &HmacVerifier, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Receipt, SignatureError> {
        let request = RawRequest { method: &Method::POST, url: URL, headers, body };
        verifier.verify(&request, now).map(|verified| verified.receipt().clone())
    }

    fn two() -> Secrets {
        Secrets::new("new", "first-secret").unwrap().and("old", "second-secret").unwrap()
    }

    #[test]
    fn the_bytes_are_signed_not_what_they_mean() {
        let verifier = HmacVerifier::new("x", two(), "X-Signature").prefix("sha256=");
        for body in [&b"{\"a\":1}"[..], b"\xef\xbb\xbf{}", b"{\"a\":\"\\u00e9\"}", "{\"a\":\"é\"}".as_bytes(), b"{}\n", b"\xff\xfe", b""] {
            let headers = verifier.sign(URL, body, at(0)).unwrap();
            assert_eq!(check(&verifier, &headers, body, at(0)).unwrap().secret, "new");
            let mut other = body.to_vec();
            other.push(b'\n');
            assert_eq!(check(&verifier, &headers, &other, at(0)), Err(SignatureError::WrongSignature));
        }
    }

    #[test]
    fn the_secret_that_matched_is_named() {
        let old = HmacVerifier::timestamped("x", Secrets::new("only", "second-secret").unwrap(), "Signature");
        let both = HmacVerifier::timestamped("x", two(), "Signature");
        let headers = old.sign(URL, b"b", at(1000)).unwrap();
        let receipt = check(&both, &headers, b"b", at(1000)).unwrap();
        assert_eq!((receipt.secret.as_str(), receipt.at), ("old", Some(at(1000))));
        // The same text again has the same key; another one has not.
        assert_eq!(check(&both, &headers, b"b", at(1001)).unwrap().key, receipt.key);
        let later = old.sign(URL, b"b", at(1001)).unwrap();
        assert_ne!(check(&both, &later, b"b", at(1001)).unwrap().key, receipt.key);
    }

    #[test]
    fn time_is_checked_both_ways() {
        let verifier = HmacVerifier::timestamped("x", two(), "Signature");
        let headers = verifier.sign(URL, b"b", at(10_000)).unwrap();
        for (now, outcome) in
            [(9_700, Ok(())), (10_300, Ok(())), (9_699, Err(SignatureError::TooNew(301))), (10_301, Err(SignatureError::TooOld(301)))]
        {
            assert_eq!(check(&verifier, &headers, b"b", at(now)).map(drop), outcome, "{now}");
        }
    }

    #[test]
    fn odd_headers_are_refused_by_name() {
        let verifier = HmacVerifier::timestamped("x", two(), "Signature");
        let good = verifier.sign(URL, b"b", at(1000)).unwrap();
        let good = good.get("signature").unwrap().to_str().unwrap().to_owned();
        let (_, code) = good.split_once(",v1=").unwrap();
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("signature", HeaderValue::try_from(text).unwrap());
            check(&verifier, &headers, b"b", at(1000)).map(|receipt| receipt.secret).map_err(|error| error.reason())
        };
        assert_eq!(with(&good), Ok("new".to_owned()));
        assert_eq!(with(&format!("t=1000,v1=00,v1={code},v0=11")), Ok("new".to_owned()));
        assert_eq!(with(&format!("t=1000,v2={code}")), Err("wrong_signature"));
        assert_eq!(with("t=1000,v1="), Err("wrong_signature"));
        assert_eq!(with("t=1000,v1=0"), Err("wrong_signature"));
        assert_eq!(with(&format!("v1={code}")), Err("bad_header"));
        assert_eq!(with(&format!("t=1000,t=1001,v1={code}")), Err("bad_timestamp"));
        for time in ["", "-1000", "1e3", " 1000 x", "+1000", "99999999999999999999", "999999999999999999"] {
            assert_eq!(with(&format!("t={time},v1={code}")), Err("bad_timestamp"), "{time}");
        }
        assert_eq!(with(&format!("t=1000,{},v1={code}", vec!["v1=00"; 100].join(","))), Err("too_many_signatures"));

        let mut twice = HeaderMap::new();
        twice.append("signature", HeaderValue::try_from(good.as_str()).unwrap());
        twice.append("signature", HeaderValue::try_from(good.as_str()).unwrap());
        assert_eq!(check(&verifier, &twice, b"b", at(1000)).unwrap_err().reason(), "duplicate_header");
        assert_eq!(check(&verifier, &HeaderMap::new(), b"b", at(1000)).unwrap_err().reason(), "missing_header");
    }

    #[test]
    fn large_and_packed_bodies_are_not_hashed() {
        let verifier = HmacVerifier::new("x", two(), "X-Signature").body_limit(8);
        let mut headers = verifier.sign(URL, b"123456789", at(0)).unwrap();
        assert_eq!(check(&verifier, &headers, b"123456789", at(0)), Err(SignatureError::BodyTooLarge { length: 9, limit: 8 }));
        headers.insert(http::header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(check(&verifier, &headers, b"1", at(0)), Err(SignatureError::Encoded));
    }

    #[test]
    fn pieces_in_any_order() {
        let signed = [Signed::Method, Signed::Url, Signed::Body, Signed::Timestamp];
        let verifier =
            HmacVerifier::new("x", two(), "X-Sig").encoding(Encoding::Base64).time_header("X-Time", TimeUnit::Milliseconds).signed(signed);
        let headers = verifier.sign(URL, b"b", at(5)).unwrap();
        assert_eq!(headers.get("x-time").unwrap(), "5000");
        assert!(check(&verifier, &headers, b"b", at(5)).is_ok());
        let request = RawRequest { method: &Method::PUT, url: URL, headers: &headers, body: b"b" };
        assert!(verifier.verify(&request, at(5)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "[ -~]{0,60}", time in "[ -~]{0,25}", body in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let mut headers = HeaderMap::new();
            headers.insert("signature", HeaderValue::try_from(text).unwrap());
            headers.insert("x-time", HeaderValue::try_from(time).unwrap());
            let list = HmacVerifier::timestamped("x", two(), "Signature");
            let plain = HmacVerifier::new("x", two(), "Signature").time_header("X-Time", TimeUnit::Seconds);
            proptest::prop_assert!(check(&list, &headers, &body, at(5)).is_err());
            proptest::prop_assert!(check(&plain, &headers, &body, at(5)).is_err());
        }
    }
}
