//! Rows as records: the columns a record needs, and what is taken off again.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Entity, FieldType, Fields, Record, Version, parse_datetime};
use crate::salesforce::client::Salesforce;
use crate::salesforce::ids;

/// Names of fields in a request line of 16,384 bytes leave room for the condition.
const SELECT_BUDGET: usize = 6_000;

impl Salesforce {
    /// The columns to ask for: those wanted and the marks a [`Record`] needs. Without a wish, every field of the description
    /// that is data of its own, custom ones last, as many as a request line holds.
    pub(super) async fn columns(&self, entity: &Entity, select: &[String]) -> Result<Vec<String>> {
        if !select.is_empty() {
            return Ok(with_marks(select));
        }
        let schema = self.schema(entity).await?;
        let plain = schema.fields.iter().filter(|field| field.kind != FieldType::Address);
        let (custom, standard): (Vec<_>, Vec<_>) = plain.map(|field| field.name.clone()).partition(|name| name.ends_with("__c"));
        let mut room = SELECT_BUDGET;
        let mut columns = Vec::new();
        for name in standard.into_iter().chain(custom) {
            // ", " takes six bytes in a URL.
            match room.checked_sub(name.len() + 6) {
                Some(left) => room = left,
                None => break,
            }
            columns.push(name);
        }
        Ok(with_marks(&columns))
    }
}

/// `select` and the marks a record needs.
pub(super) fn with_marks(select: &[String]) -> Vec<String> {
    let mut columns = select.to_vec();
    for mark in ["Id", "SystemModstamp"] {
        if !columns.iter().any(|column| column.eq_ignore_ascii_case(mark)) {
            columns.push(mark.to_owned());
        }
    }
    columns
}

/// A row as a record; the marks leave the fields unless they were asked for.
pub(super) fn record(entity: &Entity, mut row: Fields, select: &[String]) -> Result<Record> {
    let asked = |name: &str| select.is_empty() || select.iter().any(|column| column.eq_ignore_ascii_case(name));
    let Some(id) = row.text("Id").map(ids::record_id) else {
        return Err(Error::decode("a row came without its Id"));
    };
    let stamp = row.text("SystemModstamp").or_else(|| row.text("LastModifiedDate")).map(ToOwned::to_owned);
    let deleted = row.get("IsDeleted").and_then(Value::as_bool).unwrap_or(false);
    for mark in ["Id", "SystemModstamp"] {
        if !asked(mark) {
            row.remove(mark);
        }
    }
    let mut record = Record::new(entity.clone(), id, row);
    record.modified_at = stamp.as_deref().and_then(parse_datetime);
    record.version = stamp.map(Version::new);
    record.deleted = deleted;
    Ok(record)
}
