//! A CRM, a queue and a store that crm-sync does not know. They use its public API and nothing else.

#![forbid(unsafe_code)]

mod adapter;
mod queue;
mod store;

pub use adapter::Rolodex;
pub use queue::PlainQueue;
pub use store::PlainStore;
