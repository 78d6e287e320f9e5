//! PushTopics: which rows they tell of.

use serde_json::{Map, json};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events::kind::kind_of;
use crate::sandbox::salesforce::events::log::Payload;
use crate::sandbox::salesforce::events::shape::wire;
use crate::sandbox::salesforce::schema::{FieldKind, ObjectDef};
use crate::sandbox::salesforce::shown::field_value;
use crate::sandbox::salesforce::soql::{self, Cond, Expr, Item, Plan, Scope, Statement};
use crate::sandbox::store::{Edit, Row};

/// Topics per org of this edition.
const MOST: usize = 40;

/// A live, active topic.
#[derive(Debug)]
pub(crate) struct Topic {
    name: String,
    plan: Plan,
    select: Vec<String>,
    wheres: Vec<String>,
    row: Row,
}

fn expr_field(expr: &Expr, fields: &mut Vec<String>) {
    let (Expr::Agg(_, path) | Expr::Date(_, path) | Expr::Field(path) | Expr::Shown(_, path)) = expr;
    fields.extend(path.parts.last().cloned());
}

fn where_fields(cond: &Cond, fields: &mut Vec<String>) {
    match cond {
        Cond::And(all) | Cond::Or(all) => all.iter().for_each(|cond| where_fields(cond, fields)),
        Cond::Not(cond) => where_fields(cond, fields),
        Cond::Cmp(expr, ..) | Cond::In(expr, ..) | Cond::Members(expr, ..) | Cond::Sub(expr, ..) => expr_field(expr, fields),
    }
}

fn has(cond: &Cond, test: &dyn Fn(&Cond) -> bool) -> bool {
    test(cond)
        || match cond {
            Cond::And(all) | Cond::Or(all) => all.iter().any(|cond| has(cond, test)),
            Cond::Not(cond) => has(cond, test),
            _ => false,
        }
}

fn selected(query: &Statement, object: &ObjectDef) -> Vec<String> {
    let mut names = Vec::new();
    for item in &query.items {
        match item {
            Item::Expr(expr, _) => expr_field(expr, &mut names),
            Item::Fields(..) => names.extend(object.fields.iter().map(|field| field.name.clone())),
            Item::Child(_) | Item::TypeOf(_) => {}
        }
    }
    names.into_iter().filter_map(|name| Some(object.field(&name)?.name.clone())).collect()
}

/// What a topic's query may not do, beyond what is refused by its shape (Streaming API Developer Guide, PushTopic queries).
pub(crate) fn check(query: &Statement, object: &ObjectDef) -> Result<(), String> {
    if query.items.iter().any(|item| matches!(item, Item::TypeOf(_) | Item::Expr(Expr::Shown(..), _))) {
        return Err("TYPEOF and functions are not supported in a PushTopic query".to_owned());
    }
    let Some(filter) = &query.filter else { return Ok(()) };
    if has(filter, &|cond| matches!(cond, Cond::Not(_))) {
        return Err("NOT is not supported in a PushTopic query".to_owned());
    }
    if has(filter, &|cond| matches!(cond, Cond::Sub(..))) {
        return Err("semi joins and anti joins are not supported in a PushTopic query".to_owned());
    }
    let mut names = Vec::new();
    where_fields(filter, &mut names);
    let area =
        names.iter().filter_map(|name| object.field(name)).find(|field| matches!(field.kind, FieldKind::TextArea | FieldKind::LongText));
    match area {
        Some(field) => Err(format!("the text area field {} cannot be filtered in a PushTopic query", field.name)),
        None => Ok(()),
    }
}

impl Topic {
    fn relevant(&self, object: &ObjectDef, old: &Row, new: &Row) -> bool {
        let differs = |name: &String| old.fields.get(name) != new.fields.get(name);
        let known = |names: &[String]| {
            names.iter().filter_map(|name| object.field(name)).any(|field| {
                field.name != "SystemModstamp" && field.name != "LastModifiedDate" && field_value(old, field) != field_value(new, field)
            })
        };
        match self.row.text("NotifyForFields").unwrap_or("Referenced") {
            "All" => object.fields.iter().map(|field| &field.name).any(differs),
            "Select" => known(&self.select),
            "Where" => known(&self.wheres),
            _ => known(&self.select) || known(&self.wheres),
        }
    }

    fn wants(&self, kind: &str) -> bool {
        let flag = match kind {
            "CREATE" => "NotifyForOperationCreate",
            "UPDATE" => "NotifyForOperationUpdate",
            "DELETE" => "NotifyForOperationDelete",
            _ => "NotifyForOperationUndelete",
        };
        // `NotifyForOperations` is the form before version 29; it narrows what the flags say.
        let named = match self.row.text("NotifyForOperations") {
            Some("Create") => kind == "CREATE",
            Some("Update") => kind == "UPDATE",
            _ => true,
        };
        named && self.row.is_true(flag)
    }

    /// What the topic tells of these changes.
    pub(crate) fn notices(&self, scope: &Scope<'_>, edits: &[Edit<'_>]) -> Vec<Payload> {
        let object = &self.plan.object;
        let passes = |row: &Row| self.plan.filter.as_ref().is_none_or(|test| scope.passes(row, test, &[]));
        let mut found = Vec::new();
        for (_, id, old, new) in edits.iter().filter(|(entity, ..)| *entity == object.name) {
            let Some(kind) = kind_of(*old, *new).filter(|kind| self.wants(kind)) else { continue };
            let (word, shown) = match (kind, old, new) {
                ("CREATE", _, Some(new)) if passes(new) => ("created", Some(*new)),
                ("UPDATE", Some(old), Some(new)) if passes(new) && self.relevant(object, old, new) => ("updated", Some(*new)),
                ("UNDELETE", _, Some(new)) if passes(new) => ("undeleted", Some(*new)),
                ("DELETE", Some(old), _) if passes(old) => ("deleted", None),
                _ => continue,
            };
            let mut sobject = Map::new();
            sobject.insert("Id".to_owned(), json!(id));
            if let Some(row) = shown {
                for field in self.select.iter().filter_map(|name| object.field(name)) {
                    sobject.insert(field.name.clone(), wire(field.kind, &field_value(row, field)));
                }
            }
            found.push(Payload::Topic { topic: self.name.clone(), kind: word.to_owned(), sobject });
        }
        found
    }
}

impl Salesforce {
    /// The topics that were there at the last commit.
    pub(crate) fn active_topics(&self) -> Vec<Topic> {
        let fresh: Vec<&str> = self
            .tables
            .edits()
            .iter()
            .filter(|(entity, _, old, _)| *entity == "PushTopic" && old.is_none())
            .map(|(_, id, ..)| *id)
            .collect();
        let scope = self.scope("v68.0", jiff::civil::Date::constant(2026, 1, 1));
        self.tables
            .rows("PushTopic")
            .filter(|(id, row)| !row.deleted && row.is_true("IsActive") && !fresh.contains(id))
            .filter_map(|(_, row)| {
                let text = row.text("Query")?;
                let query = soql::parse(text).ok()?;
                let plan = soql::plan(&query, text, &scope).ok()?;
                let select = selected(&query, &plan.object);
                let mut wheres = Vec::new();
                if let Some(filter) = &query.filter {
                    where_fields(filter, &mut wheres);
                }
                Some(Topic { name: row.text("Name")?.to_owned(), plan, select, wheres, row: row.clone() })
            })
            .collect()
    }

    /// The rules of a topic besides those of its query's shape.
    pub(crate) fn topic_rules(&self, query: &Statement, object: &ObjectDef, new: bool) -> Result<(), ApiError> {
        check(query, object).map_err(|message| ApiError::field("INVALID_FIELD", message, &["QUERY"]))?;
        let live = self.tables.rows("PushTopic").filter(|(_, row)| !row.deleted).count();
        if new && live >= MOST {
            return Err(ApiError::bad("LIMIT_EXCEEDED", format!("the org has the most PushTopics it can have: {MOST}")));
        }
        Ok(())
    }
}
