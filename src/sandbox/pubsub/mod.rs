//! The Pub/Sub API (`eventbus.v1`) over the world's event bus: gRPC on HTTP/2, with TLS from a certificate made at the start.

mod avro;
mod calls;
mod codec;
mod feed;
mod messages;
mod refusal;
mod serve;
mod service;

pub use serve::PubSub;
