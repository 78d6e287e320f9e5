//! The mapping engine over the guide's configurations, the three CRMs and JSON text.

mod crms;
mod engine;
mod json;
