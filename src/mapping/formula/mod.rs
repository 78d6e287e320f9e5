//! The formula language of computed fields: the subset of Salesforce and Excel formulas that translates data.
//!
//! `CONCAT(firstName, ' ', lastName)`, `IF(score >= 50, 'Hot', 'Cold')`, `LOWER(TRIM(email))`. Functions in any case, texts in
//! `'…'` or `"…"`, exact decimals, `TRUE FALSE NULL`, `&` for concatenation, `+ - * / ^`, `= == <> != < <= > >=`,
//! `&& || !` and `AND OR NOT`, comments `/* … */`, names with paths (`utm.source`) and names with blanks in `[Lead Source]`.
//! No loops, no functions of one's own, no I/O: a formula always ends.
//!
//! One rule for null: null in, null out, except where a function is about null (`COALESCE`, `ISBLANK`, …), in `CONCAT` and
//! `&` (null is the empty text) and in `=` and `<>` (null equals null alone).

mod arguments;
mod ast;
mod calls;
mod dates;
mod error;
mod eval;
mod function;
mod inverse;
mod lexer;
mod lists;
mod numbers;
mod parser;
mod patterns;
#[cfg(test)]
mod tables;
mod texts;
mod types;
mod val;

pub use ast::{Formula, Name};
pub use error::{FormulaError, FormulaErrorKind};
pub(crate) use eval::{Env, Input};
pub(crate) use inverse::Inverse;
pub(crate) use texts::boolean;
pub(crate) use types::Type;
pub(crate) use val::{Val, decimal_to_value, parse_zone, value_to_decimal};
