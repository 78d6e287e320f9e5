//! Running a plan: which rows, in which order, in which groups.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use crate::sandbox::salesforce::schema::{FieldKind, ObjectDef};
use crate::sandbox::salesforce::soql::checked::{Col, Key, Output, Plan, Scope, Test, Want};
use crate::sandbox::salesforce::soql::lexer::Piece;
use crate::sandbox::salesforce::soql::parser::{Agg, DateFn, Op};
use crate::sandbox::store::Row;

impl<'a> Scope<'a> {
    /// The row a lookup points to, and its object.
    pub(crate) fn parent(&self, row: &Row, lookup: &str) -> Option<(&'a ObjectDef, &'a Row)> {
        let id = row.text(lookup)?;
        let object = self.schema.of_id(id)?;
        Some((object, self.tables.live(&object.name, id)?))
    }

    pub(crate) fn value<'r>(&self, row: &'r Row, key: &Key, aggregates: &[Value]) -> Cow<'r, Value>
    where
        'a: 'r,
    {
        match key {
            Key::Agg(at, _) => Cow::Owned(aggregates.get(*at).cloned().unwrap_or(Value::Null)),
            Key::Col(col) => self.col(row, col),
            Key::Date(function, col) => Cow::Owned(date_part(*function, &self.col(row, col))),
        }
    }

    fn col<'r>(&self, row: &'r Row, col: &Col) -> Cow<'r, Value>
    where
        'a: 'r,
    {
        let mut row = row;
        let mut entity = None;
        for (lookup, _) in &col.steps {
            let Some((object, parent)) = self.parent(row, lookup) else {
                // Booleans of a missing parent count as false.
                return Cow::Owned(if col.kind == FieldKind::Boolean { Value::Bool(false) } else { Value::Null });
            };
            entity = Some(object);
            row = parent;
        }
        if col.entity_name {
            return Cow::Owned(entity.map_or(Value::Null, |object| json!(object.name)));
        }
        row.fields.get(&col.field).map_or(Cow::Owned(Value::Null), Cow::Borrowed)
    }

    /// Whether a row passes a filter.
    pub(crate) fn passes(&self, row: &Row, test: &Test, aggregates: &[Value]) -> bool {
        match test {
            Test::And(all) => all.iter().all(|test| self.passes(row, test, aggregates)),
            Test::Or(any) => any.iter().any(|test| self.passes(row, test, aggregates)),
            Test::Not(inner) => !self.passes(row, inner, aggregates),
            Test::Cmp(key, op, want) => compare(&self.value(row, key, aggregates), key.kind(), *op, want),
            Test::In(key, negated, set, null) => {
                let hit = match folded(&self.value(row, key, aggregates), key.kind()) {
                    None => *null,
                    Some(text) => set.contains(text.as_ref()),
                };
                hit != *negated
            }
            Test::Like(key, pattern) => match &*self.value(row, key, aggregates) {
                Value::String(text) => like(&text.to_lowercase().chars().collect::<Vec<_>>(), pattern),
                _ => false,
            },
            Test::Members(key, negated, members) => {
                let value = self.value(row, key, aggregates);
                let chosen: HashSet<String> =
                    value.as_str().unwrap_or_default().split(';').map(|part| part.trim().to_lowercase()).collect();
                members.iter().any(|all| all.iter().all(|part| chosen.contains(part))) != *negated
            }
        }
    }

    /// Ids that may pass, from indexes; `None` if every row must be looked at.
    fn candidates(&self, object: &ObjectDef, test: &Test) -> Option<BTreeSet<String>> {
        match test {
            Test::And(all) => all.iter().filter_map(|test| self.candidates(object, test)).min_by_key(BTreeSet::len),
            Test::Or(any) => {
                let mut union = BTreeSet::new();
                for test in any {
                    union.extend(self.candidates(object, test)?);
                }
                Some(union)
            }
            Test::Cmp(Key::Col(col), Op::Eq, Want::Text(text)) if col.steps.is_empty() => {
                self.indexed(object, col, std::iter::once(text.as_str()))
            }
            Test::In(Key::Col(col), false, set, false) if col.steps.is_empty() => self.indexed(object, col, set.iter().map(String::as_str)),
            _ => None,
        }
    }

    fn indexed<'t>(&self, object: &ObjectDef, col: &Col, texts: impl Iterator<Item = &'t str>) -> Option<BTreeSet<String>> {
        if col.kind == FieldKind::Id {
            return Some(texts.map(str::to_owned).collect());
        }
        if !self.tables.has_index(&object.name, &col.field) {
            return None;
        }
        let mut ids = BTreeSet::new();
        for text in texts {
            ids.extend(self.tables.lookup(&object.name, &col.field, &text.to_lowercase()).map(str::to_owned));
        }
        Some(ids)
    }
}

/// The text by which a value is found in a list.
fn folded(value: &Value, kind: FieldKind) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) if kind.is_text() => Some(Cow::Owned(text.to_lowercase())),
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.as_f64().unwrap_or_default().to_string())),
        other => Some(Cow::Owned(other.to_string())),
    }
}

fn date_part(function: DateFn, value: &Value) -> Value {
    let Some(text) = value.as_str() else { return Value::Null };
    let part =
        |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<i64>().ok()).map_or(Value::Null, Value::from);
    match function {
        DateFn::CalendarMonth => part(5..7),
        DateFn::CalendarYear => part(0..4),
        DateFn::DayInMonth => part(8..10),
        DateFn::DayOnly => text.get(..10).map_or(Value::Null, Value::from),
        DateFn::HourInDay => part(11..13),
    }
}

fn compare(value: &Value, kind: FieldKind, op: Op, want: &Want) -> bool {
    let ordering = match (value, want) {
        (value, Want::Null) => return value.is_null() == (op == Op::Eq),
        // Only "is not" holds for an empty field.
        (Value::Null, _) => return op == Op::Ne,
        (Value::String(text), Want::Range(from, to)) => {
            let (early, late) = (text < from, text >= to);
            return match op {
                Op::Eq => !early && !late,
                Op::Ne => early || late,
                Op::Lt => early,
                Op::Le => !late,
                Op::Gt => late,
                Op::Ge => !early,
                Op::Like | Op::Includes | Op::Excludes => false,
            };
        }
        (Value::Bool(value), Want::Bool(want)) => value.cmp(want),
        (Value::Number(number), Want::Number(want)) => number.as_f64().unwrap_or_default().total_cmp(want),
        (Value::String(text), Want::Text(want)) if kind.is_text() => text.to_lowercase().as_str().cmp(want),
        (Value::String(text), Want::Text(want)) => text.as_str().cmp(want),
        _ => return op == Op::Ne,
    };
    match op {
        Op::Eq => ordering == Ordering::Equal,
        Op::Ne => ordering != Ordering::Equal,
        Op::Lt => ordering == Ordering::Less,
        Op::Le => ordering != Ordering::Greater,
        Op::Gt => ordering == Ordering::Greater,
        Op::Ge => ordering != Ordering::Less,
        Op::Like | Op::Includes | Op::Excludes => false,
    }
}

fn like(text: &[char], pattern: &[Piece]) -> bool {
    // Backtracks to the last `%` only, which is enough for wildcards of this kind.
    let (mut at, mut piece) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(at) {
        match pattern.get(piece) {
            Some(Piece::Any) => {
                star = Some((piece, at));
                piece += 1;
            }
            Some(Piece::One) => (at, piece) = (at + 1, piece + 1),
            Some(Piece::Letter(wanted)) if wanted == letter => (at, piece) = (at + 1, piece + 1),
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (at, piece) = (from + 1, back + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(piece..).is_none_or(|rest| rest.iter().all(|piece| *piece == Piece::Any))
}

fn order(a: &Value, b: &Value, descending: bool, nulls_last: bool) -> Ordering {
    let ordering = match (a, b) {
        (Value::Null, Value::Null) => return Ordering::Equal,
        (Value::Null, _) => return if nulls_last { Ordering::Greater } else { Ordering::Less },
        (_, Value::Null) => return if nulls_last { Ordering::Less } else { Ordering::Greater },
        (Value::String(a), Value::String(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
        (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    if descending { ordering.reverse() } else { ordering }
}

impl Plan {
    /// Rows that pass, in the order of their ids. `deleted` adds the recycle bin.
    fn matching<'s>(&self, scope: &Scope<'s>, deleted: bool) -> Vec<(&'s str, &'s Row)> {
        let passes = |row: &Row| (deleted || !row.deleted) && self.filter.as_ref().is_none_or(|filter| scope.passes(row, filter, &[]));
        let known = if deleted { None } else { self.filter.as_ref().and_then(|filter| scope.candidates(&self.object, filter)) };
        match known {
            Some(ids) => ids
                .iter()
                .filter_map(|id| scope.tables.get(&self.object.name, id))
                .filter(|row| passes(row))
                .filter_map(|row| Some((row.text("Id")?, row)))
                .collect(),
            None => scope.tables.rows(&self.object.name).filter(|(_, row)| passes(row)).collect(),
        }
    }

    /// Ids of the rows the query answers with.
    pub(crate) fn ids(&self, scope: &Scope<'_>, deleted: bool) -> Vec<String> {
        let mut rows = self.matching(scope, deleted);
        if !self.order.is_empty() {
            let mut keyed: Vec<(Vec<_>, _)> = rows
                .into_iter()
                .map(|(id, row)| (self.order.iter().map(|(key, ..)| scope.value(row, key, &[])).collect(), (id, row)))
                .collect();
            keyed.sort_by(|(a, _), (b, _)| {
                let mut pairs = a.iter().zip(b).zip(&self.order);
                pairs
                    .find_map(|((a, b), (_, descending, last))| Some(order(a, b, *descending, *last)).filter(|found| found.is_ne()))
                    .unwrap_or(Ordering::Equal)
            });
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        self.window(rows.into_iter().map(|(id, _)| id.to_owned()))
    }

    fn window<T>(&self, rows: impl Iterator<Item = T>) -> Vec<T> {
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let take = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        rows.skip(skip).take(take).collect()
    }

    /// Children of one parent.
    pub(crate) fn children(&self, scope: &Scope<'_>, lookup: &str, parent: &str) -> Vec<String> {
        let col = Col { steps: Vec::new(), field: lookup.to_owned(), kind: FieldKind::Reference, entity_name: false };
        let tie = Test::Cmp(Key::Col(col), Op::Eq, Want::Text(parent.to_owned()));
        let mut plan = self.clone();
        plan.filter = Some(match plan.filter.take() {
            None => tie,
            Some(filter) => Test::And(vec![tie, filter]),
        });
        plan.ids(scope, false)
    }

    /// How many rows `COUNT()` counts.
    pub(crate) fn count(&self, scope: &Scope<'_>, deleted: bool) -> usize {
        self.window(self.matching(scope, deleted).into_iter()).len()
    }

    /// Aggregate rows.
    pub(crate) fn groups(&self, scope: &Scope<'_>, deleted: bool) -> Vec<Value> {
        let Output::Groups(columns) = &self.output else { return Vec::new() };
        let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
        if self.group.is_empty() {
            groups.insert(Vec::new(), Vec::new());
        }
        for (_, row) in self.matching(scope, deleted) {
            let key = self
                .group
                .iter()
                .map(|key| match &*scope.value(row, key, &[]) {
                    Value::String(text) => text.to_lowercase(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                })
                .collect();
            groups.entry(key).or_default().push(row);
        }
        let nobody = Row::default();
        let mut found = Vec::new();
        for rows in groups.values() {
            let aggregates: Vec<Value> = self.aggregates.iter().map(|(agg, col)| aggregate(scope, *agg, col, rows)).collect();
            let first = rows.first().copied().unwrap_or(&nobody);
            if self.having.as_ref().is_some_and(|having| !scope.passes(first, having, &aggregates)) {
                continue;
            }
            let keys: Vec<Value> = self.order.iter().map(|(key, ..)| scope.value(first, key, &aggregates).into_owned()).collect();
            let mut record: Map<String, Value> =
                columns.iter().map(|(name, key)| (name.clone(), scope.value(first, key, &aggregates).into_owned())).collect();
            record.insert("attributes".to_owned(), json!({"type": "AggregateResult"}));
            found.push((keys, Value::Object(record)));
        }
        found.sort_by(|(a, _), (b, _)| {
            let mut pairs = a.iter().zip(b).zip(&self.order);
            pairs
                .find_map(|((a, b), (_, descending, last))| Some(order(a, b, *descending, *last)).filter(|found| found.is_ne()))
                .unwrap_or(Ordering::Equal)
        });
        self.window(found.into_iter().map(|(_, record)| record))
    }
}

fn aggregate(scope: &Scope<'_>, agg: Agg, col: &Col, rows: &[&Row]) -> Value {
    let key = Key::Col(col.clone());
    let values: Vec<Value> = rows.iter().map(|row| scope.value(row, &key, &[]).into_owned()).filter(|value| !value.is_null()).collect();
    let sum = || values.iter().filter_map(Value::as_f64).sum::<f64>();
    match agg {
        Agg::Count => json!(values.len()),
        Agg::CountDistinct => {
            json!(values.iter().filter_map(|value| folded(value, col.kind)).collect::<HashSet<_>>().len())
        }
        Agg::Sum | Agg::Avg if values.is_empty() => Value::Null,
        Agg::Sum => json!(sum()),
        Agg::Avg => json!(sum() / values.len() as f64),
        Agg::Min => values.iter().min_by(|a, b| order(a, b, false, false)).cloned().unwrap_or(Value::Null),
        Agg::Max => values.iter().max_by(|a, b| order(a, b, false, false)).cloned().unwrap_or(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::salesforce::soql::lexer::unescape;

    #[test]
    fn like_knows_its_wildcards() {
        let hit = |text: &str, raw: &str| like(&text.chars().collect::<Vec<_>>(), &unescape(raw, true).unwrap());
        assert!(hit("terrace", "ter%"));
        assert!(hit("ter%", r"ter\%"));
        assert!(!hit("terx", r"ter\%"));
        assert!(hit("ter%more", r"ter\%%"));
        assert!(hit("abc", "a_c"));
        assert!(hit("xaxbxc", "%b%c"));
        assert!(!hit("abcd", "%b_"));
        assert!(hit("", "%"));
    }
}
