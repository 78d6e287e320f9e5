//! Rows in tables, with an undo journal and hash indexes.
//!
//! Every write goes through [`Tables::put`], which remembers what was there: a rollback replays that backwards, a commit
//! reads from it which rows have changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A stored record. Null fields are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The fields, in the vendor's spelling.
    #[serde(rename = "f")]
    pub(crate) fields: Map<String, Value>,
    /// In the recycle bin.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
}

impl Row {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    pub(crate) fn is_true(&self, field: &str) -> bool {
        self.fields.get(field).and_then(Value::as_bool).unwrap_or(false)
    }
}

type Index = HashMap<String, BTreeSet<String>>;

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<String, Row>,
    /// By field: folded value to the ids of live rows.
    indexes: HashMap<String, Index>,
}

/// One changed row: entity, id, and the row as it is now (`None` if it is gone).
pub(crate) type Changed<'a> = (&'a str, &'a str, Option<&'a Row>);

/// One changed row: entity, id, the row as it was at the last commit and as it is now.
pub(crate) type Edit<'a> = (&'a str, &'a str, Option<&'a Row>, Option<&'a Row>);

/// All rows of a face.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tables: BTreeMap<String, Table>,
    journal: Vec<(String, String, Option<Row>)>,
}

/// The form in which an index compares values: text without regard to case.
pub(crate) fn fold(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.to_lowercase()),
        other => Some(other.to_string()),
    }
}

impl Tables {
    /// Keeps an index on `field` of `entity`, and fills it.
    pub(crate) fn add_index(&mut self, entity: &str, field: &str) {
        let table = self.tables.entry(entity.to_owned()).or_default();
        let mut index = Index::new();
        for (id, row) in table.rows.iter().filter(|(_, row)| !row.deleted) {
            if let Some(key) = row.fields.get(field).and_then(fold) {
                index.entry(key).or_default().insert(id.clone());
            }
        }
        table.indexes.insert(field.to_owned(), index);
    }

    pub(crate) fn has_index(&self, entity: &str, field: &str) -> bool {
        self.tables.get(entity).is_some_and(|table| table.indexes.contains_key(field))
    }

    pub(crate) fn get(&self, entity: &str, id: &str) -> Option<&Row> {
        self.tables.get(entity)?.rows.get(id)
    }

    /// The row, unless it is in the recycle bin.
    pub(crate) fn live(&self, entity: &str, id: &str) -> Option<&Row> {
        self.get(entity, id).filter(|row| !row.deleted)
    }

    /// All rows, deleted ones too, in the order of their ids.
    pub(crate) fn rows(&self, entity: &str) -> impl Iterator<Item = (&str, &Row)> {
        self.tables.get(entity).into_iter().flat_map(|table| table.rows.iter().map(|(id, row)| (id.as_str(), row)))
    }

    /// Ids of live rows whose indexed `field` has the folded value `key`.
    pub(crate) fn lookup(&self, entity: &str, field: &str, key: &str) -> impl Iterator<Item = &str> {
        let ids = self.tables.get(entity).and_then(|table| table.indexes.get(field)).and_then(|index| index.get(key));
        ids.into_iter().flatten().map(String::as_str)
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub(crate) fn put(&mut self, entity: &str, id: &str, row: Option<Row>) {
        let old = self.replace(entity, id, row);
        self.journal.push((entity.to_owned(), id.to_owned(), old));
    }

    fn replace(&mut self, entity: &str, id: &str, row: Option<Row>) -> Option<Row> {
        if !self.tables.contains_key(entity) {
            self.tables.insert(entity.to_owned(), Table::default());
        }
        let table = self.tables.get_mut(entity)?;
        let old = table.rows.get(id);
        for (field, index) in &mut table.indexes {
            let key = |row: Option<&Row>| row.filter(|row| !row.deleted).and_then(|row| row.fields.get(field)).and_then(fold);
            let (before, after) = (key(old), key(row.as_ref()));
            if before == after {
                continue;
            }
            if let Some(before) = before
                && let Some(ids) = index.get_mut(&before)
            {
                ids.remove(id);
                if ids.is_empty() {
                    index.remove(&before);
                }
            }
            if let Some(after) = after {
                index.entry(after).or_default().insert(id.to_owned());
            }
        }
        match row {
            Some(row) => table.rows.insert(id.to_owned(), row),
            None => table.rows.remove(id),
        }
    }

    /// A savepoint.
    pub(crate) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Undoes everything since the savepoint.
    pub(crate) fn rollback(&mut self, mark: usize) {
        while self.journal.len() > mark {
            if let Some((entity, id, old)) = self.journal.pop() {
                self.replace(&entity, &id, old);
            }
        }
    }

    /// The rows that have changed since the last commit, each once.
    pub(crate) fn changes(&self) -> Vec<Changed<'_>> {
        let touched: BTreeSet<(&str, &str)> = self.journal.iter().map(|(entity, id, _)| (entity.as_str(), id.as_str())).collect();
        touched.into_iter().map(|(entity, id)| (entity, id, self.get(entity, id))).collect()
    }

    /// The rows that have changed since the last commit, each once, in the order in which they were first touched.
    pub(crate) fn edits(&self) -> Vec<Edit<'_>> {
        let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
        let first = self.journal.iter().filter(|(entity, id, _)| seen.insert((entity, id)));
        first.map(|(entity, id, old)| (entity.as_str(), id.as_str(), old.as_ref(), self.get(entity, id))).collect()
    }

    /// Forgets how to undo.
    pub(crate) fn commit(&mut self) {
        self.journal.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(email: &str) -> Row {
        Row { fields: [("Email".to_owned(), json!(email))].into_iter().collect(), deleted: false }
    }

    #[test]
    fn a_rollback_restores_rows_and_indexes() {
        let mut tables = Tables::default();
        tables.add_index("Lead", "Email");
        tables.put("Lead", "1", Some(row("A@x")));
        tables.commit();
        let mark = tables.mark();
        tables.put("Lead", "1", Some(row("b@x")));
        tables.put("Lead", "2", Some(row("a@x")));
        assert_eq!(tables.lookup("Lead", "Email", "a@x").collect::<Vec<_>>(), ["2"]);
        assert_eq!(tables.changes().len(), 2);
        tables.rollback(mark);
        assert_eq!(tables.lookup("Lead", "Email", "a@x").collect::<Vec<_>>(), ["1"]);
        assert_eq!(tables.lookup("Lead", "Email", "b@x").count(), 0);
        assert!(tables.get("Lead", "2").is_none());
        assert!(tables.changes().is_empty());
    }
}
