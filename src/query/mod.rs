//! What to ask a CRM for, independent of its query language.
//!
//! [`Criteria`] is a condition as data. Each adapter lowers it to its own language with every value escaped; what it cannot
//! lower is [`crate::error::ErrorKind::Unsupported`] unless the query allows the rest to be filtered here. The sync rules of
//! the original guide (`Status != 'Disqualified'`) are read by [`Criteria::parse`].

mod criteria;
mod display;
mod error;
mod lexer;
mod matches;
mod page;
mod parse;
mod search;

pub use criteria::{Criteria, Operator};
pub use error::ParseError;
pub use page::{Cursor, Page};
pub use search::{Order, Query};
