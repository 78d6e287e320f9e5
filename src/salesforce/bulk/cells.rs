//! A row's fields as columns and cells.
//!
//! An empty cell leaves the field alone and `#N/A` clears it ("Valid Date Format in Records", "CSV files: null values"), so an
//! absent field is an empty cell, and null and the empty text, which Salesforce stores as null, are `#N/A`.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::model::{EntitySchema, FieldType, Fields, parse_datetime};
use crate::salesforce::bulk::job::IngestOperation;
use crate::salesforce::client::writable;
use crate::salesforce::soql::identifier;

/// The cell that clears a field.
pub(super) const NULL: &str = "#N/A";

/// How rows of one ingest become cells.
#[derive(Clone, Debug)]
pub(super) struct Encoding {
    operation: IngestOperation,
    /// Names, in lower case, of the fields that hold instants.
    instants: HashSet<String>,
}

/// A column and its cell.
pub(super) type Cell<'a> = (Cow<'a, str>, Cow<'a, str>);

impl Encoding {
    pub(super) fn new(operation: IngestOperation) -> Self {
        Self { operation, instants: HashSet::new() }
    }

    pub(super) fn typed(&mut self, schema: &EntitySchema) {
        let instants = schema.fields.iter().filter(|field| matches!(field.kind, FieldType::DateTime { .. }));
        self.instants = instants.map(|field| field.name.to_ascii_lowercase()).collect();
    }

    /// The record is found by this field.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.operation.required().is_some_and(|required| required.eq_ignore_ascii_case(name))
    }

    /// The field is sent, if the row has it.
    pub(super) fn sends(&self, name: &str) -> bool {
        if self.operation.deletes() { name.eq_ignore_ascii_case("Id") } else { self.is_named(name) || writable(name) }
    }

    pub(super) fn is_instant(&self, name: &str) -> bool {
        !self.instants.is_empty() && self.instants.contains(&name.to_ascii_lowercase())
    }

    /// A field must be there for the record to be found.
    pub(super) fn names_records(&self) -> bool {
        self.operation.required().is_some()
    }

    /// The cells of `row` that are sent.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] for what a CSV file cannot say; the row was not sent then.
    pub(super) fn cells<'a>(&self, row: &'a Fields) -> Result<Vec<Cell<'a>>> {
        let mut cells = Vec::with_capacity(row.len());
        for (name, value) in row {
            if !self.sends(name) {
                continue;
            }
            let cell = self.cell(name, value)?;
            if self.is_named(name) && matches!(cell.1.as_ref(), "" | NULL) {
                return Err(refuse(name, "must be filled: the record is found by it"));
            }
            cells.push(cell);
        }
        if let Some(required) = self.operation.required()
            && !cells.iter().any(|(column, _)| column.eq_ignore_ascii_case(required))
        {
            return Err(refuse(required, "is missing: the record is found by it"));
        }
        if cells.is_empty() {
            return Err(Error::new(ErrorKind::Validation, "the row holds no field that can be sent"));
        }
        Ok(cells)
    }

    /// The column and the cell of a field.
    ///
    /// # Errors
    /// As [`Encoding::cells`].
    pub(super) fn cell<'a>(&self, name: &'a str, value: &'a Value) -> Result<Cell<'a>> {
        if let Value::Object(related) = value {
            return relation(name, related);
        }
        column(name)?;
        let text = match value {
            Value::String(text) if self.is_instant(name) => match parse_datetime(text) {
                Some(at) => Cow::Owned(format!("{at:.3}")),
                None => scalar(name, value)?,
            },
            _ => scalar(name, value)?,
        };
        Ok((Cow::Borrowed(name), text))
    }
}

/// `{"Account": {"Ext__c": "A-1"}}` is the column `Account.Ext__c`; a polymorphic relation names its type in `attributes`.
fn relation<'a>(name: &'a str, related: &'a Map<String, Value>) -> Result<Cell<'a>> {
    let kind = related.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Value::as_str);
    let mut fields = related.iter().filter(|(field, _)| *field != "attributes");
    let (Some((field, value)), None) = (fields.next(), fields.next()) else {
        return Err(refuse(name, "must hold exactly one external id field; compound fields are read-only, write their parts"));
    };
    let path = match kind {
        Some(kind) => format!("{kind}:{name}.{field}"),
        None => format!("{name}.{field}"),
    };
    column(&path)?;
    Ok((Cow::Owned(path), scalar(name, value)?))
}

fn column(name: &str) -> Result<()> {
    if is_column(name) { Ok(()) } else { Err(Error::new(ErrorKind::Validation, "the row has a field whose name Salesforce cannot have")) }
}

/// Column names are those of the API, with a dot between relation and field and the type before a colon.
pub(super) fn is_column(name: &str) -> bool {
    identifier(name).is_ok() || name.split_once(':').is_some_and(|(kind, path)| identifier(kind).is_ok() && identifier(path).is_ok())
}

fn scalar<'a>(name: &str, value: &'a Value) -> Result<Cow<'a, str>> {
    Ok(match value {
        Value::Null => Cow::Borrowed(NULL),
        Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::String(text) if text.is_empty() => Cow::Borrowed(NULL),
        // A job would take it for null.
        Value::String(text) if text == NULL => return Err(refuse(name, "is the text #N/A, which a bulk job cannot store")),
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(items) if items.is_empty() => Cow::Borrowed(NULL),
        Value::Array(items) => {
            let mut list = String::new();
            for item in items {
                let part = match item {
                    Value::String(text) => Cow::Borrowed(text.as_str()),
                    Value::Number(number) => Cow::Owned(number.to_string()),
                    _ => return Err(refuse(name, "is a list of something else than texts")),
                };
                if !list.is_empty() {
                    list.push(';');
                }
                list.push_str(&part);
            }
            Cow::Owned(list)
        }
        Value::Object(_) => return Err(refuse(name, "is an object, which a cell cannot hold")),
    })
}

fn refuse(field: &str, why: &str) -> Error {
    let shown = if is_column(field) { field } else { "a field" };
    Error::new(ErrorKind::Validation, format!("the row cannot be sent by a bulk job: {shown} {why}"))
        .with_fields(vec![FieldError::new(shown, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    fn cells(encoding: &Encoding, value: Value) -> Vec<(String, String)> {
        let row = row(value);
        encoding.cells(&row).unwrap().into_iter().map(|(name, cell)| (name.into_owned(), cell.into_owned())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, cell)| ((*name).to_owned(), (*cell).to_owned())).collect()
    }

    #[test]
    fn null_clears_and_absent_does_not_stand_there() {
        let encoding = Encoding::new(IngestOperation::Insert);
        let made = cells(
            &encoding,
            json!({"Id": "x", "attributes": {}, "A": null, "B": "", "C": true, "D": 1.5, "E": " Smith", "F": ["X", "Y"], "G": []}),
        );
        let expected = [("A", NULL), ("B", NULL), ("C", "true"), ("D", "1.5"), ("E", " Smith"), ("F", "X;Y"), ("G", NULL)];
        assert_eq!(made, pairs(&expected));
    }

    #[test]
    fn relations_by_external_id() {
        let encoding = Encoding::new(IngestOperation::Insert);
        let made = cells(
            &encoding,
            json!({"Account": {"Ext__c": "A-1"}, "Parent__r": {"Ext__c": 7}, "Who": {"attributes": {"type": "Lead"}, "Email": "a@b.c"}}),
        );
        assert_eq!(made, pairs(&[("Account.Ext__c", "A-1"), ("Parent__r.Ext__c", "7"), ("Lead:Who.Email", "a@b.c")]));
        assert_eq!(cells(&encoding, json!({"Account.Ext__c": "A-1"})), pairs(&[("Account.Ext__c", "A-1")]), "as results come back");
        let address = encoding.cells(&row(json!({"MailingAddress": {"city": "Rome", "street": "Via"}}))).unwrap_err();
        assert!(address.message().contains("compound"), "{address}");
    }

    #[test]
    fn what_cannot_be_sent_says_so_and_shows_no_value() {
        let upsert = Encoding::new(IngestOperation::upsert("Ext__c"));
        for (value, field) in [
            (json!({"LastName": "secret"}), "Ext__c"),
            (json!({"Ext__c": null, "LastName": "secret"}), "Ext__c"),
            (json!({"Ext__c": "secret", "Note__c": "#N/A"}), "Note__c"),
            (json!({"Ext__c": "secret", "Deep__r": {"A": {"B": "secret"}}}), "Deep__r"),
            (json!({"Ext__c": "secret", "Tags__c": [{}]}), "Tags__c"),
        ] {
            let error = upsert.cells(&row(value)).unwrap_err();
            assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, field), "{error}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(upsert.cells(&row(json!({"Ext__c": "1", "a'b": "x"}))).is_err());
        assert!(Encoding::new(IngestOperation::Insert).cells(&Fields::new()).is_err());
    }

    #[test]
    fn deletes_send_the_id_alone() {
        let delete = Encoding::new(IngestOperation::Delete);
        assert_eq!(cells(&delete, json!({"Id": "00Q", "LastName": "Ng"})), pairs(&[("Id", "00Q")]));
    }

    #[test]
    fn with_types_instants_are_written_as_a_job_reads_them() {
        let schema = serde_json::from_value(json!({"entity": "Lead", "label": "Lead", "fields": []})).unwrap();
        let mut schema: EntitySchema = schema;
        schema.fields = vec![crate::model::FieldSchema::new("At__c", FieldType::DateTime { whole_seconds: true })];
        let mut encoding = Encoding::new(IngestOperation::Insert);
        encoding.typed(&schema);
        let made = cells(&encoding, json!({"At__c": "2026-01-02T03:04:05.000+0000", "Note__c": "2026-01-02T03:04:05.000+0000"}));
        assert_eq!(made, pairs(&[("At__c", "2026-01-02T03:04:05.000Z"), ("Note__c", "2026-01-02T03:04:05.000+0000")]));
    }
}
