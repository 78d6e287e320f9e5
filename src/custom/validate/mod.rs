//! A definition looked at as a whole, before anything is sent.

mod check;
mod code;
mod connection;
mod entity;
mod login;
mod operation;
mod variables;

pub(super) use check::validate;
pub(super) use code::SHAPE;
pub(super) use variables::resolve;
