//! SOQL: read, checked against the schema, and run over the tables.

mod checked;
mod dates;
mod eval;
mod lexer;
mod parser;
mod plan;
mod render;

pub(crate) use checked::{Output, Plan, Scope};
pub(crate) use dates::day;
pub(crate) use parser::{Cond, Expr, Item, Query as Statement, parse};
pub(crate) use plan::{Column, columns, plan};
pub(crate) use render::{Pages, cursor_id, next_url};
