//! The lists of tests every adapter, queue, store and transport must pass.
//!
//! Each list is a set of plain async functions over the trait, to be called from the test of an implementation, this crate's
//! or a host's. They answer a [`Report`] instead of panicking, so that one run shows everything that is wrong. Outside semver.

pub mod adapter;
pub mod queue;
mod report;
pub mod store;
pub mod transport;

pub use report::{Broken, Check, Report};
