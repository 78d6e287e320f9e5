//! The real-time worker: one queue, claimed, worked and settled in rounds.

mod api;
mod aside;
mod build;
mod gate;
mod item;
mod job;
mod report;
mod shared;

pub use api::Worker;
pub use build::WorkerBuilder;
pub use item::WorkItem;
pub use report::Report;
