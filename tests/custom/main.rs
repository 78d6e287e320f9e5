//! The declarative adapter: definitions, real servers, servers made by hand, and the ways out into code.

mod definitions;
mod edges;
mod examples;
mod generality;
mod hooks;
mod json_server;
mod kinto;
mod mapped;
mod shapes;
mod ways;

#[path = "../support/fake.rs"]
mod fake;
#[path = "../support/local.rs"]
mod local;
#[path = "../support/schema.rs"]
mod schema;
