//! SOQL: read, checked against the schema, and run over the tables.

mod dates;
mod eval;
mod lexer;
mod parser;
mod plan;
mod render;

pub(crate) use eval::Scope;
pub(crate) use parser::{Cond, Expr, Item, Query as Statement, parse};
pub(crate) use plan::{Column, Output, Plan, columns, plan};
pub(crate) use render::{Pages, cursor_id, next_url};
