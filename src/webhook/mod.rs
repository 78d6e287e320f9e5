//! Webhooks: raw bytes in, a verified event out. Framework-neutral and pure: no I/O, no clock of its own.
//!
//! 1. A [`Verifier`] looks at the bytes as they came in ([`RawRequest`]) and either answers a [`Verified`] body or says why not.
//!    [`HmacVerifier`] covers the plain and the timestamped HMAC schemes, [`StandardWebhooks`] the Standard Webhooks
//!    specification, [`BasicVerifier`] senders that sign nothing. A CRM with a scheme of its own has it in its folder.
//! 2. An [`EventFormat`] reads the events out of a verified body; [`JsonEvents`] is the one described by data.
//! 3. A [`Router`] hands each event to the closure that is registered for its type.
//!
//! Several secrets may be valid at once, each with a label, so that a rotation can be watched. Times are compared both ways
//! with a tolerance; `now` is an argument. A payload is a hint: read the record again where order matters.
//!
//! What was seen before is not known here: keep [`Receipt::key`] in the store's inbox, in the commit that enqueues the work.

pub(crate) mod api;
mod basic;
mod error;
mod event;
mod hmac;
mod router;
mod secret;
pub(crate) mod signature;
mod standard;
mod url;

pub(crate) use api::digest_key;
pub use api::{DEFAULT_BODY_LIMIT, DEFAULT_TOLERANCE, RawRequest, Receipt, Verified, Verifier};
pub use basic::BasicVerifier;
pub use error::SignatureError;
pub use event::{EventFormat, JsonEvents, WebhookEvent};
pub use hmac::{Encoding, HmacVerifier, Signed, TimeUnit};
pub use router::{ContactUpdated, DealWon, Dispatched, LeadConverted, OptOutChange, Router};
pub use secret::Secrets;
pub use standard::StandardWebhooks;
pub use url::UrlVerifier;
