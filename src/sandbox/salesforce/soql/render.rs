//! Records as JSON, with their parents and children.

use serde_json::{Map, Value, json};

use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::shown::field_value;
use crate::sandbox::salesforce::soql::checked::{Child, Key, Node, Output, Plan, Scope};
use crate::sandbox::store::Row;

/// Where a page stands: how many rows it has, and the sets of children that go on in pages of their own.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The most rows of one set.
    size: usize,
    /// The number of the next result set.
    next: u64,
    /// Rows shown, children among them.
    rows: usize,
    pub(crate) opened: Vec<(u64, Plan, Vec<String>)>,
}

impl Pages {
    /// `next` is the number of the next result set to be opened.
    pub(crate) fn new(size: usize, next: u64) -> Self {
        Self { size, next, rows: 0, opened: Vec::new() }
    }

    fn open(&mut self, plan: &Plan, ids: Vec<String>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.opened.push((number, plan.clone(), ids));
        number
    }
}

/// Where the rows of an open result set go on.
pub(crate) fn next_url(version: &str, number: u64, from: usize) -> String {
    format!("/services/data/{version}/query/{}-{from}", cursor_id(number))
}

/// The id of an open result set.
pub(crate) fn cursor_id(number: u64) -> String {
    ids::make("01g", 0, number)
}

impl Node {
    /// The record as an object.
    pub(crate) fn render(&self, scope: &Scope<'_>, entity: &str, row: &Row, pages: &mut Pages) -> Value {
        let mut record = Map::new();
        let id = row.text("Id").unwrap_or_default();
        record.insert(
            "attributes".to_owned(),
            json!({"type": entity, "url": format!("/services/data/{}/sobjects/{entity}/{id}", scope.version)}),
        );
        let object = scope.schema.object(entity);
        for col in &self.fields {
            let value = match object.and_then(|object| object.field(&col.field)) {
                _ if col.entity_name => json!(entity),
                Some(field) => field_value(row, field),
                None => Value::Null,
            };
            record.insert(col.field.clone(), value);
        }
        for (name, text, col) in &self.shown {
            let value = scope.value(row, &Key::Col(col.clone()), &[]).into_owned();
            let value = match value {
                Value::Number(number) if *text => json!(number.to_string()),
                value => value,
            };
            record.insert(name.clone(), value);
        }
        for choice in &self.choices {
            let parent = scope.parent(row, &choice.lookup).map_or(Value::Null, |(object, row)| {
                let node = choice.whens.iter().find(|(kind, _)| *kind == object.name).map(|(_, node)| node);
                node.or(choice.otherwise.as_ref()).map_or(Value::Null, |node| node.render(scope, &object.name, row, pages))
            });
            record.insert(choice.name.clone(), parent);
        }
        for (name, (lookup, node)) in &self.parents {
            let parent = scope.parent(row, lookup).map_or(Value::Null, |(object, row)| node.render(scope, &object.name, row, pages));
            record.insert(name.clone(), parent);
        }
        for child in &self.children {
            record.insert(child.name.clone(), child.render(scope, id, pages));
        }
        Value::Object(record)
    }
}

impl Child {
    fn render(&self, scope: &Scope<'_>, parent: &str, pages: &mut Pages) -> Value {
        let ids = self.plan.children(scope, &self.lookup, parent);
        if ids.is_empty() {
            return Value::Null;
        }
        let total = ids.len();
        let (records, shown) = self.plan.records(scope, &ids, pages);
        if shown >= total {
            return json!({"totalSize": total, "done": true, "records": records});
        }
        let url = next_url(scope.version, pages.open(&self.plan, ids), shown);
        json!({"totalSize": total, "done": false, "nextRecordsUrl": url, "records": records})
    }
}

impl Plan {
    /// The first of the rows `ids` as records, as many as a page takes, and how many ids that used up; rows that are gone since are
    /// left out.
    pub(crate) fn records(&self, scope: &Scope<'_>, ids: &[String], pages: &mut Pages) -> (Vec<Value>, usize) {
        let Output::Rows(node) = &self.output else { return (Vec::new(), ids.len()) };
        let name = &self.object.name;
        let mut records = Vec::new();
        let before = pages.rows;
        let mut used = 0;
        for id in ids {
            // The rows of a set count with those below them; one row is always shown, or paging would never end.
            if used > 0 && pages.rows - before >= pages.size {
                break;
            }
            used += 1;
            if let Some(row) = scope.tables.get(name, id) {
                pages.rows += 1;
                records.push(node.render(scope, name, row, pages));
            }
        }
        (records, used)
    }
}

impl Node {
    /// True if only fields of the object itself are shown, `Id` among them.
    pub(crate) fn is_flat(&self) -> bool {
        self.parents.is_empty()
            && self.shown.is_empty()
            && self.choices.is_empty()
            && self.children.is_empty()
            && self.fields.iter().any(|col| col.field == "Id")
    }
}
