//! A SELECT statement from parts, every part checked or escaped.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::model::{EntitySchema, FieldType};
use crate::query::{Criteria, Operator};
use crate::salesforce::dates::DateLiteral;
use crate::salesforce::soql::{MAX_STATEMENT, identifier};

/// Subqueries of children, and how deep they go (API 58.0 and later).
const MAX_CHILDREN: usize = 20;
const MAX_LEVELS: usize = 5;
/// Conditions on other queries.
const MAX_JOINS: usize = 2;

/// A SOQL query.
///
/// ```
/// use crm_sync::query::Criteria;
/// use crm_sync::salesforce::Soql;
///
/// let soql = Soql::select(["Id", "Email"]).from("Lead").filter(&Criteria::eq("LastName", "O'Brien")).limit(10).build()?;
/// assert_eq!(soql, r"SELECT Id, Email FROM Lead WHERE LastName = 'O\'Brien' LIMIT 10");
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Soql {
    select: Vec<String>,
    count: bool,
    set: Option<FieldSet>,
    children: Vec<Soql>,
    from: String,
    pub(super) filter: Option<Criteria>,
    dates: Vec<(String, Operator, DateLiteral)>,
    joins: Vec<(String, bool, Soql)>,
    pub(super) order: Vec<(String, bool)>,
    limit: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) types: HashMap<String, FieldType>,
}

/// The values of a condition may be personal.
impl std::fmt::Debug for Soql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Soql").field("select", &self.select).field("from", &self.from).field("filter", &self.filter).finish_non_exhaustive()
    }
}

/// Fields by group, instead of by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldSet {
    /// `FIELDS(ALL)`; needs a limit of at most 200.
    All,
    /// `FIELDS(CUSTOM)`; needs a limit of at most 200.
    Custom,
    /// `FIELDS(STANDARD)`.
    Standard,
}

impl Soql {
    /// Which fields; paths of relationships are allowed (`Owner.Email`).
    pub fn select(fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { select: fields.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// How many records: `SELECT COUNT()`. The answer is the `total` of a page without rows.
    pub fn count() -> Self {
        Self { count: true, ..Self::default() }
    }

    /// A group of fields, beside those selected by name.
    pub fn fields(mut self, set: FieldSet) -> Self {
        self.set = Some(set);
        self
    }

    /// Rows that belong to each row, by the name of their relationship: `child(Soql::select(["Id"]).from("Contacts"))`. They come
    /// to their end with [`Salesforce`](crate::salesforce::Salesforce)'s queries, however many there are.
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Only records whose `field` lies in this span of days. For `Lt` and `Gt` the span counts as a whole.
    pub fn when(mut self, field: impl Into<String>, op: Operator, span: DateLiteral) -> Self {
        self.dates.push((field.into(), op, span));
        self
    }

    /// Only records whose `field` (an id or a lookup) is among the single field that `query` selects.
    pub fn in_query(mut self, field: impl Into<String>, query: Self) -> Self {
        self.joins.push((field.into(), true, query));
        self
    }

    /// Only records whose `field` is not among the single field that `query` selects.
    pub fn not_in_query(mut self, field: impl Into<String>, query: Self) -> Self {
        self.joins.push((field.into(), false, query));
        self
    }

    /// Of which object.
    pub fn from(mut self, entity: impl Into<String>) -> Self {
        self.from = entity.into();
        self
    }

    /// Which records; a second call narrows the first.
    pub fn filter(mut self, criteria: &Criteria) -> Self {
        self.filter = Some(match self.filter.take() {
            Some(before) => before.and(criteria.clone()),
            None => criteria.clone(),
        });
        self
    }

    /// A field to sort by. Paging by key needs one.
    pub fn order_by(mut self, field: impl Into<String>, descending: bool) -> Self {
        self.order.push((field.into(), descending));
        self
    }

    /// At most so many rows, over all pages.
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Leaves out so many rows first; at most 2,000.
    pub fn offset(mut self, rows: u64) -> Self {
        self.offset = Some(rows);
        self
    }

    /// The types of fields, so that dates stand unquoted and texts quoted whatever they look like. Without them a text that
    /// looks exactly like a date or an instant is written as one if the field's name ends in `Date`, `Date__c`, `Modstamp`
    /// or the like.
    pub fn typed(mut self, schema: &EntitySchema) -> Self {
        self.types.extend(schema.fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.kind.clone())));
        self
    }

    /// The statement.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for a name or value SOQL cannot hold, or a statement longer than 100,000 characters;
    /// [`crate::error::ErrorKind::Unsupported`] for a comparison it does not have.
    pub fn build(&self) -> Result<String> {
        let out = self.written(1)?;
        if out.chars().count() > MAX_STATEMENT {
            return Err(Error::config("a SOQL statement has at most 100,000 characters; split its lists"));
        }
        Ok(out)
    }

    pub(super) fn written(&self, level: usize) -> Result<String> {
        let mut parts: Vec<String> = Vec::new();
        if self.count {
            parts.push("COUNT()".to_owned());
        }
        if let Some(set) = self.set {
            if set != FieldSet::Standard && self.limit.is_none_or(|limit| limit > 200) {
                return Err(Error::config("FIELDS(ALL) and FIELDS(CUSTOM) need a limit of at most 200 rows"));
            }
            let word = match set {
                FieldSet::All => "ALL",
                FieldSet::Custom => "CUSTOM",
                FieldSet::Standard => "STANDARD",
            };
            parts.push(format!("FIELDS({word})"));
        }
        for field in &self.select {
            parts.push(identifier(field)?.to_owned());
        }
        if self.children.len() > MAX_CHILDREN || (!self.children.is_empty() && level >= MAX_LEVELS) {
            return Err(Error::config("a SOQL query has at most 20 subqueries of children, down to 5 levels"));
        }
        for child in &self.children {
            if child.offset.is_some() {
                return Err(Error::config("a subquery of children takes no OFFSET"));
            }
            parts.push(format!("({})", child.written(level + 1)?));
        }
        if parts.is_empty() {
            return Err(Error::config("a SOQL query needs at least one field"));
        }
        if self.count && parts.len() > 1 {
            return Err(Error::config("COUNT() stands alone"));
        }
        let mut out = format!("SELECT {} FROM {}", parts.join(", "), identifier(&self.from)?);
        let mut conditions: Vec<String> = Vec::new();
        if let Some(filter) = &self.filter {
            conditions.extend(self.condition(filter, 0)?);
        }
        for (field, op, span) in &self.dates {
            if matches!(span, DateLiteral::LastN(0, _) | DateLiteral::NextN(0, _) | DateLiteral::Ago(0, _)) {
                return Err(Error::config("a SOQL date literal counts from 1"));
            }
            conditions.push(format!("{} {} {span}", identifier(field)?, sign(*op)));
        }
        if self.joins.len() > MAX_JOINS {
            return Err(Error::config("a SOQL query has at most two conditions on other queries"));
        }
        for (field, within, query) in &self.joins {
            if query.select.len() != 1 || query.count || query.set.is_some() || !query.children.is_empty() || !query.joins.is_empty() {
                return Err(Error::config("the query of a condition selects exactly one field and has no queries of its own"));
            }
            let word = if *within { "IN" } else { "NOT IN" };
            conditions.push(format!("{} {word} ({})", identifier(field)?, query.written(level)?));
        }
        if !conditions.is_empty() {
            out.push_str(" WHERE ");
            out.push_str(&conditions.join(" AND "));
        }
        for (at, (field, descending)) in self.order.iter().enumerate() {
            out.push_str(if at == 0 { " ORDER BY " } else { ", " });
            out.push_str(identifier(field)?);
            if *descending {
                out.push_str(" DESC");
            }
        }
        if let Some(limit) = self.limit {
            out.push_str(&format!(" LIMIT {limit}"));
        }
        if let Some(offset) = self.offset {
            if offset > 2000 {
                return Err(Error::config("a SOQL OFFSET is at most 2000; page by a key or by the query's own pages"));
            }
            out.push_str(&format!(" OFFSET {offset}"));
        }
        Ok(out)
    }
}

/// An operator as SOQL writes it.
pub(super) fn sign(op: Operator) -> &'static str {
    match op {
        Operator::Eq => "=",
        Operator::Gt => ">",
        Operator::Gte => ">=",
        Operator::Lt => "<",
        Operator::Lte => "<=",
        Operator::Ne => "!=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salesforce::dates::DateUnit;

    #[test]
    fn the_whole_statement() {
        let soql =
            Soql::select(["Id", "Owner.Email"]).from("Lead").order_by("SystemModstamp", false).order_by("Id", true).limit(5).offset(10);
        assert_eq!(soql.build().unwrap(), "SELECT Id, Owner.Email FROM Lead ORDER BY SystemModstamp, Id DESC LIMIT 5 OFFSET 10");
        assert!(Soql::select(["Id"]).from("Lead").offset(2001).build().is_err());
        assert!(Soql::select(Vec::<String>::new()).from("Lead").build().is_err());
    }

    #[test]
    fn children_dates_and_queries_within() {
        let contacts = Soql::select(["Id", "Email"]).from("Contacts").filter(&Criteria::ne("Email", serde_json::Value::Null));
        let soql = Soql::select(["Id"])
            .from("Account")
            .child(contacts)
            .filter(&Criteria::eq("Name", "O'Brien").or(Criteria::eq("Name", "x")))
            .when("CreatedDate", Operator::Gte, DateLiteral::LastN(7, DateUnit::Day))
            .in_query("Id", Soql::select(["AccountId"]).from("Opportunity").filter(&Criteria::eq("IsWon", true)))
            .limit(3);
        assert_eq!(
            soql.build().unwrap(),
            r"SELECT Id, (SELECT Id, Email FROM Contacts WHERE Email != null) FROM Account WHERE (Name = 'O\'Brien' OR Name = 'x') AND CreatedDate >= LAST_N_DAYS:7 AND Id IN (SELECT AccountId FROM Opportunity WHERE IsWon = TRUE) LIMIT 3"
        );
        assert_eq!(Soql::count().from("Lead").build().unwrap(), "SELECT COUNT() FROM Lead");
        assert_eq!(Soql::default().fields(FieldSet::Standard).from("Lead").build().unwrap(), "SELECT FIELDS(STANDARD) FROM Lead");
        assert!(Soql::default().fields(FieldSet::All).from("Lead").build().is_err());
        assert!(Soql::default().fields(FieldSet::All).from("Lead").limit(200).build().is_ok());
        assert!(Soql::select(["Id"]).from("A").when("B", Operator::Eq, DateLiteral::Ago(0, DateUnit::Day)).build().is_err());
        let mut deep = Soql::select(["Id"]).from("E");
        for _ in 0..4 {
            deep = Soql::select(["Id"]).from("D").child(deep);
        }
        assert!(deep.build().is_ok());
        assert!(Soql::select(["Id"]).from("A").child(deep).build().is_err());
        let two = Soql::select(["Id", "B"]).from("C");
        assert!(Soql::select(["Id"]).from("A").in_query("X", two).build().is_err());
        let long: Vec<String> = (0..4000).map(|n| format!("{n:030}")).collect();
        let error = Soql::select(["Id"]).from("A").filter(&Criteria::one_of("B", long)).build().unwrap_err();
        assert!(error.to_string().contains("100,000"));
    }
}
