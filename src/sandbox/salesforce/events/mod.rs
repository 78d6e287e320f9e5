//! The event bus: change events, platform events, PushTopics, generic channels; CometD, Pub/Sub and outbound messages over it.

mod bus;
mod capture;
mod channel;
mod cometd;
mod diff;
mod kind;
mod log;
mod outbound;
mod platform;
mod script;
mod session;
mod shape;
mod tooling;
mod topic;

pub(crate) use bus::{Bus, Saved, client};
#[cfg(feature = "sandbox-pubsub")]
pub(crate) use channel::Channel;
pub(crate) use cometd::{Ended, Held, Polled};
#[cfg(feature = "sandbox-pubsub")]
pub(crate) use log::{Change, Payload, uuid};
pub use outbound::OutboundDelivery;
pub(crate) use outbound::acknowledges;
pub(crate) use platform::{enqueued, is_event};
pub use script::EventScript;
#[cfg(feature = "sandbox-pubsub")]
pub(crate) use shape::{EventField, KINDS, Shape};
