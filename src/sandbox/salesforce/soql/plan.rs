//! A tree checked against the schema: every name found, every literal of the right type.

use std::collections::HashSet;
use std::sync::Arc;

use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef};
use crate::sandbox::salesforce::soql::checked::{Child, Choice, Col, Key, Node, Output, Plan, Scope, Test, Want};
use crate::sandbox::salesforce::soql::dates;
use crate::sandbox::salesforce::soql::lexer::{plain, refuse, unescape};
use crate::sandbox::salesforce::soql::parser::{Agg, Cond, Expr, Group, Item, Literal, Op, Path, Query, TypeOf};
use crate::sandbox::salesforce::validate::{canonical_date, canonical_datetime};

/// Checks `query`, whose text is `text`.
pub(crate) fn plan(query: &Query, text: &str, scope: &Scope<'_>) -> Result<Plan, ApiError> {
    let Some(object) = scope.schema.object(&query.object).cloned() else {
        let message = format!(
            "sObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the \
             entity name. Please reference your WSDL or the describe call for the appropriate names.",
            query.object
        );
        return Err(refuse(text, query.object_at, "INVALID_TYPE", message));
    };
    plan_on(query, text, scope, object)
}

fn plan_on(query: &Query, text: &str, scope: &Scope<'_>, object: Arc<ObjectDef>) -> Result<Plan, ApiError> {
    let mut planner =
        Planner { text, scope, object: Arc::clone(&object), alias: query.alias.clone(), aggregates: Vec::new(), semijoins: 0 };
    let grouped = !query.group.is_empty() || query.items.iter().any(|item| matches!(item, Item::Expr(Expr::Agg(..), _)));
    let group = query
        .group
        .iter()
        .map(|expr| {
            let (key, field) = planner.key(expr)?;
            if let (Key::Col(_), Some(field)) = (&key, field)
                && !field.groupable()
            {
                return Err(malformed(format!("field '{}' can not be grouped in a query call", field.name)));
            }
            Ok(key)
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    let mut long_texts = 0;
    let output = if query.count {
        Output::Count
    } else if grouped {
        Output::Groups(planner.columns(query, &group)?)
    } else {
        Output::Rows(planner.node(query, &mut long_texts)?)
    };
    let filter = query.filter.as_ref().map(|cond| planner.test(cond, false)).transpose()?;
    let having = query.having.as_ref().map(|cond| planner.test(cond, true)).transpose()?;
    if having.is_some() && query.group.is_empty() {
        return Err(malformed("having clause requires a group by clause"));
    }
    let mut order = Vec::new();
    for item in &query.order {
        if query.count {
            return Err(malformed("ORDER BY is not allowed with COUNT()"));
        }
        let (key, field) = planner.key(&item.expr)?;
        if let Some(field) = field
            && !field.sortable()
        {
            return Err(malformed(format!("field '{}' can not be sorted in a query call", field.name)));
        }
        if grouped && !matches!(key, Key::Agg(..)) && !group.contains(&key) {
            return Err(malformed(format!("Ordered field must be grouped or aggregated: {}", key.name())));
        }
        order.push((key, item.descending, item.nulls_last));
    }
    Ok(Plan {
        object,
        output,
        filter,
        group,
        aggregates: planner.aggregates,
        having,
        order,
        limit: query.limit,
        offset: query.offset,
        long_texts,
    })
}

/// A column of plain rows: its name as selected, and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) key: Key,
}

impl Column {
    /// True for addresses, which have no single value.
    pub(crate) fn is_compound(&self) -> bool {
        self.key.kind() == FieldKind::Address
    }
}

/// The columns `query` selects, in its order; child queries and aggregates are not among them.
pub(crate) fn columns(query: &Query, text: &str, scope: &Scope<'_>) -> Result<Vec<Column>, ApiError> {
    let object = scope.schema.object(&query.object).cloned();
    let object = object.ok_or_else(|| ApiError::bad("INVALID_TYPE", format!("sObject type '{}' is not supported.", query.object)))?;
    let planner = Planner { text, scope, object: Arc::clone(&object), alias: query.alias.clone(), aggregates: Vec::new(), semijoins: 0 };
    let mut columns = Vec::new();
    for item in &query.items {
        match item {
            Item::Expr(Expr::Field(path) | Expr::Shown(_, path), _) => {
                let (col, _) = planner.col(path)?;
                let steps: String = col.steps.iter().map(|(_, relationship)| format!("{relationship}.")).collect();
                columns.push(Column { name: format!("{steps}{}", col.field), key: Key::Col(col) });
            }
            Item::Fields(..) => {
                columns.extend(object.fields.iter().filter(|field| field.kind != FieldKind::Address && !field.is_custom()).map(|field| {
                    let col = Col { steps: Vec::new(), field: field.name.clone(), kind: field.kind, entity_name: false };
                    Column { name: field.name.clone(), key: Key::Col(col) }
                }))
            }
            Item::Expr(..) | Item::Child(_) | Item::TypeOf(_) => {}
        }
    }
    Ok(columns)
}

impl Query {
    /// What of the query Bulk API 2.0 does not take (Bulk API 2.0, query jobs).
    pub(crate) fn not_for_bulk(&self) -> Option<&'static str> {
        let item = |wanted: fn(&Item) -> bool| self.items.iter().any(wanted);
        if self.count || item(|item| matches!(item, Item::Expr(Expr::Agg(..), _))) {
            Some("Aggregate functions are")
        } else if !self.group.is_empty() {
            Some("GROUP BY is")
        } else if self.offset > 0 {
            Some("OFFSET is")
        } else if item(|item| matches!(item, Item::Child(_))) {
            Some("Parent-to-child relationship queries are")
        } else if item(|item| matches!(item, Item::TypeOf(_))) {
            Some("TYPEOF is")
        } else if item(|item| matches!(item, Item::Fields(Group::All | Group::Custom, _))) {
            Some("FIELDS(ALL) and FIELDS(CUSTOM) are")
        } else {
            None
        }
    }
}

fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::bad("MALFORMED_QUERY", message)
}

struct Planner<'a> {
    text: &'a str,
    scope: &'a Scope<'a>,
    object: Arc<ObjectDef>,
    alias: Option<String>,
    aggregates: Vec<(Agg, Col)>,
    semijoins: usize,
}

impl<'a> Planner<'a> {
    /// A column by its path. For several possible parents the first that has the field answers for its type.
    fn col(&self, path: &Path) -> Result<(Col, Option<FieldDef>), ApiError> {
        let mut parts: &[String] = &path.parts;
        // The object's own name or alias may stand first.
        if let [first, rest @ ..] = parts
            && !rest.is_empty()
            && (self.alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(first))
                || (first.eq_ignore_ascii_case(&self.object.name) && self.object.relation(first).is_none()))
        {
            parts = rest;
        }
        let Some((last, steps)) = parts.split_last() else { return Err(malformed("empty field name")) };
        if steps.len() > 5 {
            return Err(malformed("a query can follow at most 5 levels of parents"));
        }
        let mut objects = vec![Arc::clone(&self.object)];
        let mut lookups = Vec::new();
        for step in steps {
            let Some(lookup) = objects.iter().find_map(|object| object.relation(step)) else {
                let from = objects.first().map_or("", |object| object.name.as_str());
                let message = format!(
                    "Didn't understand relationship '{step}' in field path. If you are attempting to use a custom relationship, be sure to \
                     append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the \
                     appropriate names. (on entity '{from}')"
                );
                return Err(refuse(self.text, path.at, "INVALID_FIELD", message));
            };
            lookups.push((lookup.name.clone(), lookup.relationship.clone().unwrap_or_default()));
            let next: Vec<_> = lookup.refs.iter().filter_map(|target| self.scope.schema.object(target).cloned()).collect();
            objects = next;
        }
        if !steps.is_empty() && last.eq_ignore_ascii_case("Type") && objects.len() > 1 {
            return Ok((Col { steps: lookups, field: "Type".to_owned(), kind: FieldKind::Text, entity_name: true }, None));
        }
        let Some(field) = objects.iter().find_map(|object| object.field(last)) else {
            let entity = if objects.len() > 1 { "Name" } else { objects.first().map_or("", |object| object.name.as_str()) };
            let message = format!(
                "No such column '{last}' on entity '{entity}'. If you are attempting to use a custom field, be sure to append the '__c' \
                 after the custom field name. Please reference your WSDL or the describe call for the appropriate names."
            );
            return Err(refuse(self.text, path.at, "INVALID_FIELD", message));
        };
        Ok((Col { steps: lookups, field: field.name.clone(), kind: field.kind, entity_name: false }, Some(field.clone())))
    }

    fn key(&mut self, expr: &Expr) -> Result<(Key, Option<FieldDef>), ApiError> {
        match expr {
            Expr::Field(path) | Expr::Shown(_, path) => self.col(path).map(|(col, field)| (Key::Col(col), field)),
            Expr::Date(function, path) => {
                let (col, _) = self.col(path)?;
                if !matches!(col.kind, FieldKind::Date | FieldKind::DateTime) {
                    return Err(malformed(format!("a date function does not take the field '{}'", col.field)));
                }
                Ok((Key::Date(*function, col), None))
            }
            Expr::Agg(agg, path) => {
                let (col, field) = self.col(path)?;
                let wrong = match agg {
                    Agg::Sum | Agg::Avg => !col.kind.is_number(),
                    Agg::Min | Agg::Max => matches!(col.kind, FieldKind::Boolean | FieldKind::LongText | FieldKind::Address),
                    Agg::Count | Agg::CountDistinct => field.as_ref().is_some_and(|field| !field.filterable()),
                };
                if wrong {
                    return Err(malformed(format!("field {} does not support aggregate operator {agg:?}", col.field).to_uppercase()));
                }
                let kind = match agg {
                    Agg::Avg => FieldKind::Double,
                    Agg::Count | Agg::CountDistinct => FieldKind::Int,
                    Agg::Max | Agg::Min | Agg::Sum => col.kind,
                };
                let wanted = (*agg, col);
                let at = self.aggregates.iter().position(|known| *known == wanted).unwrap_or_else(|| {
                    self.aggregates.push(wanted);
                    self.aggregates.len() - 1
                });
                Ok((Key::Agg(at, kind), None))
            }
        }
    }

    fn columns(&mut self, query: &Query, group: &[Key]) -> Result<Vec<(String, Key)>, ApiError> {
        let mut columns = Vec::new();
        let mut unnamed = 0;
        for item in &query.items {
            let Item::Expr(expr, alias) = item else {
                return Err(malformed("a grouped query selects grouped fields and aggregates only"));
            };
            let (key, _) = self.key(expr)?;
            let named = match (&key, alias) {
                (_, Some(alias)) => alias.clone(),
                (Key::Col(col), None) => col.field.clone(),
                _ => {
                    unnamed += 1;
                    format!("expr{}", unnamed - 1)
                }
            };
            if !matches!(key, Key::Agg(..)) && !group.contains(&key) {
                return Err(malformed(format!("Field must be grouped or aggregated: {}", key.name())));
            }
            if columns.iter().any(|(known, _): &(String, Key)| known.eq_ignore_ascii_case(&named)) {
                return Err(malformed(format!("duplicate alias: {named}")));
            }
            columns.push((named, key));
        }
        Ok(columns)
    }

    fn node(&mut self, query: &Query, long_texts: &mut usize) -> Result<Node, ApiError> {
        let mut node = Node::default();
        let mut seen = HashSet::new();
        for item in &query.items {
            match item {
                Item::Fields(group, at) => {
                    if *group != Group::Standard && query.limit.is_none_or(|limit| limit > 200) {
                        return Err(refuse(self.text, *at, "MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200"));
                    }
                    for field in &self.object.fields {
                        if *group == Group::All || field.is_custom() == (*group == Group::Custom) {
                            node.add(Col { steps: Vec::new(), field: field.name.clone(), kind: field.kind, entity_name: false });
                        }
                    }
                }
                Item::Expr(Expr::Field(path), alias) => {
                    if alias.is_some() {
                        return Err(refuse(self.text, path.at, "MALFORMED_QUERY", "only aggregate expressions use field aliasing"));
                    }
                    let (col, _) = self.col(path)?;
                    if !seen.insert((col.steps.clone(), col.field.clone())) {
                        return Err(ApiError::bad("INVALID_FIELD", format!("duplicate field selected: {}", path.parts.join("."))));
                    }
                    *long_texts += usize::from(col.kind == FieldKind::LongText);
                    node.add(col);
                }
                Item::Expr(Expr::Shown(text, path), alias) => {
                    let (col, _) = self.col(path)?;
                    let name = alias.clone().unwrap_or_else(|| col.field.clone());
                    node.show(name, *text, col);
                }
                Item::TypeOf(item) => {
                    let choice = self.type_of(item)?;
                    node.choose(choice);
                }
                Item::Expr(..) => return Err(malformed("a date function is selected only if it is grouped by")),
                Item::Child(child) => {
                    let known = self
                        .scope
                        .schema
                        .children(&self.object.name)
                        .find(|(_, lookup)| lookup.child_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&child.object)));
                    let Some((object, lookup)) = known else {
                        let message = format!(
                            "Didn't understand relationship '{}' in FROM part of query call. If you are attempting to use a custom \
                             relationship, be sure to append the '__r' after the custom relationship name.",
                            child.object
                        );
                        return Err(refuse(self.text, child.object_at, "INVALID_TYPE", message));
                    };
                    if child.count {
                        return Err(malformed("COUNT() is not allowed in a child query"));
                    }
                    let plan = plan_on(child, self.text, self.scope, Arc::clone(object))?;
                    let name = lookup.child_name.clone().unwrap_or_default();
                    node.children.push(Child { name, lookup: lookup.name.clone(), plan: Box::new(plan) });
                }
            }
        }
        if node.children.len() > 20 {
            return Err(malformed("a query has at most 20 child queries"));
        }
        Ok(node)
    }

    /// What a TYPEOF shows of each type, and what of the others.
    fn type_of(&self, item: &TypeOf) -> Result<Choice, ApiError> {
        let name = item.path.parts.join(".");
        let lookup = self.object.relation(&name).filter(|lookup| lookup.polymorphic());
        let lookup = lookup.ok_or_else(|| {
            refuse(self.text, item.path.at, "INVALID_FIELD", format!("TYPEOF needs a relationship to several objects, not '{name}'"))
        })?;
        let part = |object: &Arc<ObjectDef>| Planner {
            text: self.text,
            scope: self.scope,
            object: Arc::clone(object),
            alias: None,
            aggregates: Vec::new(),
            semijoins: 0,
        };
        let mut whens = Vec::new();
        for (kind, paths) in &item.whens {
            let object = self.scope.schema.object(kind).filter(|object| lookup.refs.contains(&object.name));
            let object = object.ok_or_else(|| malformed(format!("{kind} is not a type '{name}' leads to")))?;
            let planner = part(object);
            let mut node = Node::default();
            for path in paths {
                node.add(planner.col(path)?.0);
            }
            whens.push((object.name.clone(), node));
        }
        let mut otherwise = Node::default();
        for path in &item.otherwise {
            let objects = lookup.refs.iter().filter_map(|target| self.scope.schema.object(target));
            let mut found = objects.map(|object| part(object).col(path));
            let col = found.find(Result::is_ok).unwrap_or_else(|| self.col(path))?.0;
            otherwise.add(col);
        }
        Ok(Choice {
            name: lookup.relationship.clone().unwrap_or_default(),
            lookup: lookup.name.clone(),
            whens,
            otherwise: (!item.otherwise.is_empty()).then_some(otherwise),
        })
    }

    fn test(&mut self, cond: &Cond, having: bool) -> Result<Test, ApiError> {
        Ok(match cond {
            Cond::And(all) => Test::And(all.iter().map(|cond| self.test(cond, having)).collect::<Result<_, _>>()?),
            Cond::Or(any) => Test::Or(any.iter().map(|cond| self.test(cond, having)).collect::<Result<_, _>>()?),
            Cond::Not(inner) => Test::Not(Box::new(self.test(inner, having)?)),
            Cond::Cmp(expr, op, literal) => {
                let key = self.filter_key(expr, having)?;
                let kind = key.kind();
                if *op == Op::Like {
                    let Literal::Text(raw) = literal else {
                        return Err(malformed("LIKE takes a quoted text"));
                    };
                    if !kind.is_text() {
                        return Err(operator("invalid operator on a field that is not text"));
                    }
                    let pieces = unescape(&raw.to_lowercase(), true)?;
                    return Ok(Test::Like(key, pieces));
                }
                let ordered = matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge);
                if ordered && kind == FieldKind::Boolean {
                    return Err(operator("invalid operator on a boolean field"));
                }
                if ordered && matches!(literal, Literal::Null) {
                    return Err(operator("null takes only = and !="));
                }
                let want = self.want(&key, literal)?;
                Test::Cmp(key, *op, want)
            }
            Cond::Members(expr, op, members) => {
                let key = self.filter_key(expr, having)?;
                if key.kind() != FieldKind::MultiPicklist {
                    return Err(operator("INCLUDES and EXCLUDES take a multi-select picklist"));
                }
                let members = members
                    .iter()
                    .map(|member| match member {
                        Literal::Text(raw) => {
                            Ok(plain(&unescape(raw, false)?).to_lowercase().split(';').map(|part| part.trim().to_owned()).collect())
                        }
                        _ => Err(operator("INCLUDES and EXCLUDES take quoted texts")),
                    })
                    .collect::<Result<_, _>>()?;
                Test::Members(key, *op == Op::Excludes, members)
            }
            Cond::In(expr, negated, members) => {
                let key = self.filter_key(expr, having)?;
                let mut set = HashSet::new();
                let mut null = false;
                for member in members {
                    match self.want(&key, member)? {
                        Want::Null => null = true,
                        Want::Text(text) => _ = set.insert(text),
                        Want::Bool(value) => _ = set.insert(value.to_string()),
                        Want::Number(number) => _ = set.insert(number.to_string()),
                        Want::Range(..) => return Err(malformed("a date literal does not stand in a list")),
                    }
                }
                Test::In(key, *negated, set, null)
            }
            Cond::Sub(expr, negated, query) => {
                self.semijoins += 1;
                if self.semijoins > 2 {
                    return Err(malformed("a filter has at most two semi-joins"));
                }
                let key = self.filter_key(expr, having)?;
                if !matches!(key.kind(), FieldKind::Id | FieldKind::Reference) {
                    return Err(malformed("the left side of a semi-join must be an id or a reference"));
                }
                let inner = plan(query, self.text, self.scope)?;
                if inner.object.name == self.object.name && matches!(key.kind(), FieldKind::Id) {
                    return Err(malformed("the inner and the outer query of a semi-join must not be on the same object"));
                }
                let Output::Rows(node) = &inner.output else { return Err(malformed("a semi-join selects one field")) };
                let Some(col) = node.only() else { return Err(malformed("a semi-join selects exactly one field")) };
                if !matches!(col.kind, FieldKind::Id | FieldKind::Reference) {
                    return Err(malformed("a semi-join selects an id or a reference"));
                }
                let key_inner = Key::Col(col.clone());
                let set = inner
                    .ids(self.scope, false)
                    .iter()
                    .filter_map(|id| self.scope.tables.get(&inner.object.name, id))
                    .filter_map(|row| self.scope.value(row, &key_inner, &[]).as_str().map(str::to_owned))
                    .collect();
                Test::In(key, *negated, set, false)
            }
        })
    }

    fn filter_key(&mut self, expr: &Expr, having: bool) -> Result<Key, ApiError> {
        let (key, field) = self.key(expr)?;
        if matches!(key, Key::Agg(..)) && !having {
            return Err(malformed("aggregate functions stand in HAVING, not in WHERE"));
        }
        if let Some(field) = field
            && !field.filterable()
        {
            let at = match expr {
                Expr::Field(path) | Expr::Agg(_, path) | Expr::Date(_, path) | Expr::Shown(_, path) => path.at,
            };
            let message = format!("field '{}' can not be filtered in a query call", field.name);
            return Err(refuse(self.text, at, "INVALID_FIELD", message));
        }
        Ok(key)
    }

    /// The literal in the form the field's values have.
    fn want(&self, key: &Key, literal: &Literal) -> Result<Want, ApiError> {
        let kind = key.kind();
        let mismatch = |kind_name: &str, quoted: bool| {
            let should = if quoted { "should be enclosed in quotes" } else { "should not be enclosed in quotes" };
            ApiError::bad(
                "INVALID_FIELD",
                format!("value of filter criterion for field '{}' must be of type {kind_name} and {should}", key.name()),
            )
        };
        match kind {
            _ if matches!(literal, Literal::Null) => Ok(Want::Null),
            FieldKind::Boolean => match literal {
                Literal::Bool(value) => Ok(Want::Bool(*value)),
                _ => Err(mismatch("boolean", false)),
            },
            FieldKind::Int | FieldKind::Double | FieldKind::Currency | FieldKind::Percent => match literal {
                Literal::Number(digits) => digits
                    .parse::<f64>()
                    .map(Want::Number)
                    .map_err(|_| mismatch(if kind == FieldKind::Int { "int" } else { "double" }, false)),
                _ => Err(mismatch(if kind == FieldKind::Int { "int" } else { kind.word() }, false)),
            },
            FieldKind::Date | FieldKind::DateTime => {
                let word = if kind == FieldKind::Date { "date" } else { "dateTime" };
                match literal {
                    Literal::Named(name, count) => {
                        let (from, to) = dates::range(name, *count, self.scope.today)
                            .ok_or_else(|| ApiError::bad("NUMBER_OUTSIDE_VALID_RANGE", format!("{name} leaves the range of dates")))?;
                        let form = |day: jiff::civil::Date| {
                            if kind == FieldKind::Date { day.to_string() } else { format!("{day}T00:00:00.000+0000") }
                        };
                        Ok(Want::Range(form(from), form(to)))
                    }
                    Literal::Number(text) if kind == FieldKind::Date && text.len() == 10 => {
                        canonical_date(text).map(Want::Text).ok_or_else(|| mismatch(word, false))
                    }
                    Literal::Number(text) if kind == FieldKind::DateTime => {
                        canonical_datetime(text).map(Want::Text).ok_or_else(|| mismatch(word, false))
                    }
                    _ => Err(mismatch(word, false)),
                }
            }
            _ => {
                let Literal::Text(raw) = literal else { return Err(mismatch("string", true)) };
                let text = plain(&unescape(raw, false)?);
                if matches!(kind, FieldKind::Id | FieldKind::Reference) {
                    if text.is_empty() {
                        return Ok(Want::Null);
                    }
                    return ids::normalize(&text)
                        .map(Want::Text)
                        .ok_or_else(|| ApiError::bad("INVALID_QUERY_FILTER_OPERATOR", format!("invalid ID field: {text}")));
                }
                if text.is_empty() { Ok(Want::Null) } else { Ok(Want::Text(text.to_lowercase())) }
            }
        }
    }
}

fn operator(message: &str) -> ApiError {
    ApiError::bad("INVALID_QUERY_FILTER_OPERATOR", message)
}
