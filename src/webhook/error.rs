//! Why a request was refused.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// Why a webhook was not believed. Never shows a secret, a signature or the body.
///
/// Answer all of them to the outside with the same bare 401; count them by [`SignatureError::reason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The body is not what the scheme reads its sender from.
    #[error("the body is not what the scheme asks for")]
    BadBody,
    /// A header does not have the form the scheme asks for.
    #[error("the header {0} does not have the form that the scheme asks for")]
    BadHeader(Cow<'static, str>),
    /// The timestamp is not a whole number of the scheme's unit.
    #[error("the timestamp is not a plain whole number")]
    BadTimestamp,
    /// The body is longer than allowed; nothing was hashed.
    #[error("the body has {length} bytes; at most {limit} are read")]
    BodyTooLarge {
        /// Its length.
        length: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A header of the scheme occurs more than once.
    #[error("the header {0} occurs more than once")]
    DuplicateHeader(Cow<'static, str>),
    /// The body is compressed; signatures are over plain bytes, and nothing is unpacked here.
    #[error("the body is content-encoded; only plain bodies are accepted")]
    Encoded,
    /// A header of the scheme is missing.
    #[error("the header {0} is missing")]
    MissingHeader(Cow<'static, str>),
    /// Further in the future than the tolerance allows.
    #[error("the timestamp is {0} s in the future; check the clocks")]
    TooNew(i64),
    /// Further in the past than the tolerance allows: late, or replayed.
    #[error("the timestamp is {0} s old")]
    TooOld(i64),
    /// More signatures than any honest sender gives.
    #[error("the request has more than {0} signatures")]
    TooManySignatures(usize),
    /// The body names another sender than the one configured.
    #[error("the body names another sender than the one configured")]
    WrongSender,
    /// No secret gives this signature, or the credential is another one.
    #[error("no configured secret matches the signature")]
    WrongSignature,
}

impl SignatureError {
    /// A short stable word for counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadBody => "bad_body",
            Self::BadHeader(_) => "bad_header",
            Self::BadTimestamp => "bad_timestamp",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::DuplicateHeader(_) => "duplicate_header",
            Self::Encoded => "encoded",
            Self::MissingHeader(_) => "missing_header",
            Self::TooManySignatures(_) => "too_many_signatures",
            Self::TooNew(_) => "too_new",
            Self::TooOld(_) => "too_old",
            Self::WrongSender => "wrong_sender",
            Self::WrongSignature => "wrong_signature",
        }
    }
}

impl From<SignatureError> for Error {
    fn from(error: SignatureError) -> Self {
        Self::new(ErrorKind::Signature, error.to_string()).with_code(error.reason())
    }
}
