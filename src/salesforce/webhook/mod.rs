//! Outbound messages: the SOAP that Salesforce sends when a workflow rule, an approval or a flow says so.
//!
//! Salesforce signs nothing. [`OutboundVerifier`] checks what there is: the organization, the actions that are allowed, and a
//! secret in the URL if the host put one there; use mutual TLS as well where it can be had. [`OutboundFormat`] reads the events,
//! for the [`Router`](crate::webhook::Router); [`OutboundMessage::parse`] reads everything. Answer with [`ack`]: one `true`
//! covers all notifications of the message; anything else makes Salesforce send it again, for up to 24 hours.
//!
//! Messages come in any order and more than once: drop what was seen by [`Notification::id`]. The values are those of the moment
//! it was sent, not of the moment it was triggered. A session id that comes along is never read.

mod format;
mod message;
mod verifier;
mod xml;

pub use format::OutboundFormat;
pub use message::{ACK_CONTENT_TYPE, Notification, OutboundMessage, ack};
pub use verifier::OutboundVerifier;
