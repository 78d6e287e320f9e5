//! The Pub/Sub API: platform events and change data capture over gRPC, with Avro.
//!
//! The host brings the connection: a `tonic` channel from [`endpoint`] (`endpoint(…)?.connect_lazy()`), or any `tower` service
//! that speaks HTTP/2. Nothing is spawned here; a `tonic` channel runs its connection on the executor of the host's runtime, so
//! it is made inside of one.
//!
//! [`PubSub::subscribe`] gives the same items as the Streaming API, see the [`stream`](crate::salesforce::stream) module.
//! Salesforce sends every field of a record, those that did not change as null; here they are absent, by the bitmaps of the
//! event's header. PushTopics and generic events are not carried.

mod avro;
mod bitmap;
mod client;
mod codec;
mod proto;
mod schema;
mod service;
mod status;
mod subscribe;

pub use client::{PubSub, TopicInfo};
pub use service::endpoint;
#[cfg(feature = "rustls")]
pub use service::endpoint_with_ca;
pub use subscribe::{ManagedSubscription, PubSubStream};
