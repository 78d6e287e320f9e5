//! Chapters for people, with code that is compiled and run.

#[doc = include_str!("describe_an_api.md")]
pub mod describe_an_api {}

#[doc = include_str!("recovery.md")]
pub mod recovery {}

#[doc = include_str!("write_an_adapter.md")]
pub mod write_an_adapter {}
