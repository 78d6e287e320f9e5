//! Records of a job's files as rows.

use std::sync::Arc;

use serde_json::{Number, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntitySchema, FieldType, Fields, Shape};
use crate::salesforce::bulk::block::{Block, Record};
use crate::salesforce::bulk::outcome::{RowOutcome, RowResult, Sent};
use crate::salesforce::bulk::sent::SentColumns;
use crate::salesforce::dialect::{Complaint, row_error};
use crate::salesforce::ids;
use crate::salesforce::soql::identifier;

/// The columns of a query's pages: a shape all rows share, and what each cell means.
#[derive(Debug)]
pub(super) struct QueryColumns {
    shape: Arc<Shape>,
    places: Vec<(usize, FieldType)>,
}

impl QueryColumns {
    /// `schema` gives the types; without it every cell is a text.
    pub(super) fn new(header: &[String], schema: Option<&EntitySchema>) -> Self {
        let shape = Shape::new(header);
        let kind = |name: &String| schema.map_or(FieldType::Text, |schema| schema.field_type(name));
        let places = header.iter().map(|name| (shape.position(name).unwrap_or_default(), kind(name))).collect();
        Self { shape, places }
    }

    pub(super) fn row(&self, record: Record<'_>) -> Fields {
        let mut values = vec![None; self.shape.len()];
        for (cell, (place, kind)) in record.cells().zip(&self.places) {
            if let Some(slot) = values.get_mut(*place) {
                *slot = Some(value(cell, kind));
            }
        }
        Fields::from_values(Arc::clone(&self.shape), values)
    }
}

/// A cell as the same field stands in JSON. Null prints as an empty cell; what does not fit its type stays a text.
fn value(cell: &str, kind: &FieldType) -> Value {
    let typed = match kind {
        _ if cell.is_empty() => return Value::Null,
        FieldType::Boolean => match cell {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldType::Integer => cell.parse::<i64>().ok().map(Value::from),
        FieldType::Decimal { .. } => {
            let whole = cell.parse::<i64>().ok().map(Value::from);
            whole.or_else(|| cell.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number))
        }
        _ => None,
    };
    typed.unwrap_or_else(|| Value::from(cell))
}

/// Which of a job's result files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultFile {
    Successful,
    Failed,
    Unprocessed,
}

impl ResultFile {
    pub(super) const ALL: [Self; 3] = [Self::Successful, Self::Failed, Self::Unprocessed];

    /// The resource below the job. The last one is spelled in lower case (Bulk API 2.0 Developer Guide, "Get Job Unprocessed
    /// Record Results").
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Successful => "successfulResults/",
            Self::Failed => "failedResults/",
            Self::Unprocessed => "unprocessedrecords/",
        }
    }
}

/// The columns of a result file: those the org adds, and those that were sent.
#[derive(Debug)]
pub(super) struct ResultColumns {
    file: ResultFile,
    created: Option<usize>,
    error: Option<usize>,
    id: Option<usize>,
    sent: Arc<SentColumns>,
    key: Option<usize>,
}

impl ResultColumns {
    pub(super) fn new(file: ResultFile, header: &[String], key: Option<&str>) -> Self {
        const OWN: [&str; 3] = ["sf__Created", "sf__Error", "sf__Id"];
        let at = |name: &str| header.iter().position(|column| column == name);
        let [created, error, id] = OWN.map(at);
        let sent = Arc::new(SentColumns::new(header, |name| !OWN.contains(&name)));
        let key = key.and_then(|key| header.iter().position(|name| name.eq_ignore_ascii_case(key)));
        Self { file, created, error, id, sent, key }
    }

    /// The outcome of a row of `block`. A row that was saved shares the block with its neighbours; one that was not is likely to
    /// be kept, and has its cells to itself.
    pub(super) fn outcome(&self, block: &Arc<Block>, row: usize) -> Result<RowOutcome> {
        let record = block.record(row);
        let cell = |place: Option<usize>| place.and_then(|at| record.get(at)).unwrap_or_default();
        let id = Some(cell(self.id)).filter(|id| !id.is_empty()).map(ids::record_id);
        let result = match (self.file, id) {
            (ResultFile::Successful, Some(id)) => RowResult::Saved { id, created: cell(self.created).parse().ok() },
            (ResultFile::Successful, None) => {
                return Err(Error::decode("a bulk job's file of saved rows names a row without its id").ambiguous());
            }
            (ResultFile::Failed, id) => RowResult::Failed { error: failure(cell(self.error), id.as_ref()), id },
            (ResultFile::Unprocessed, _) => RowResult::Unprocessed,
        };
        let key = self.key.and_then(|at| record.get(at)).map(ToOwned::to_owned);
        let columns = Arc::clone(&self.sent);
        let sent = match &result {
            RowResult::Saved { .. } => Sent::Record(columns, Arc::clone(block), row),
            _ => Sent::Record(columns, Arc::new(record.alone()), 0),
        };
        Ok(RowOutcome { key, result, sent })
    }
}

/// `CODE:message:field --`. Only the code is sure; the rest is taken apart if it fits.
fn failure(told: &str, id: Option<&crate::model::RecordId>) -> Error {
    let (code, rest) = told.split_once(':').unwrap_or((told, ""));
    let plain = !code.is_empty() && code.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !plain {
        return Error::new(ErrorKind::Validation, "salesforce refused the row and gave no reason it documents");
    }
    let rest = rest.trim();
    let (message, fields) = match rest.strip_suffix("--").and_then(|rest| rest.rsplit_once(':')) {
        Some((message, names)) => {
            let names = names.split(',').map(str::trim).filter(|name| identifier(name).is_ok());
            (message, names.map(ToOwned::to_owned).collect())
        }
        None => (rest, Vec::new()),
    };
    let error = row_error(&[Complaint::told(code.trim(), message, fields)]);
    match id {
        Some(id) => error.record_id(id),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Retry;
    use crate::model::{Entity, FieldSchema};
    use serde_json::json;

    fn texts(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn cells_have_the_types_of_their_fields() {
        let fields = vec![
            FieldSchema::new("Name", FieldType::Text),
            FieldSchema::new("Open", FieldType::Boolean),
            FieldSchema::new("Count", FieldType::Integer),
            FieldSchema::new("Amount", FieldType::Decimal { scale: Some(2) }),
        ];
        let schema = EntitySchema::new(Entity::from_static("Thing"), "Thing", fields);
        let columns = QueryColumns::new(&texts(&["Name", "open", "Count", "Amount", "Owner.Name"]), Some(&schema));
        let row = |cells: &[&str]| columns.row(Block::of(cells).record(0)).to_value();
        assert_eq!(
            row(&["7", "true", "3", "1.0E7", "9"]),
            json!({"Name": "7", "open": true, "Count": 3, "Amount": 1.0e7, "Owner.Name": "9"})
        );
        assert_eq!(
            row(&["", "", "x", "12", ""]),
            json!({"Name": null, "open": null, "Count": "x", "Amount": 12, "Owner.Name": null}),
            "what does not fit stays a text"
        );
        let plain = QueryColumns::new(&texts(&["A", "A"]), None);
        assert_eq!(plain.row(Block::of(&["1", "2"]).record(0)).to_value(), json!({"A": "2"}));
    }

    #[test]
    fn errors_of_rows() {
        let error = failure("REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --", None);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Validation, Some("REQUIRED_FIELD_MISSING")));
        assert_eq!(error.fields()[0].field, "LastName");
        assert!(error.message().ends_with("Required fields are missing: [LastName]"), "{error}");
        let lock = failure("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record: 00Q:--", None);
        assert_eq!((lock.kind(), lock.retry()), (ErrorKind::Unavailable, Retry::Backoff));
        let flow = failure("CANNOT_EXECUTE_FLOW_TRIGGER:secret UNABLE_TO_LOCK_ROW secret:--", None);
        assert_eq!(flow.retry(), Retry::Backoff);
        assert!(!flow.to_string().contains("secret"));
        assert_eq!(failure("DUPLICATE_EXTERNAL_ID:x:Ext__c --", None).kind(), ErrorKind::Duplicate);
        for text in ["", "no code here", ":x"] {
            assert_eq!(failure(text, None).code(), None, "{text}");
        }
        assert_eq!(failure("SOME_CODE", None).code(), Some("SOME_CODE"));
    }

    #[test]
    fn rows_come_back_as_they_were_sent() {
        let header = texts(&["sf__Id", "sf__Error", "Ext__c", "Title", "Phone"]);
        let columns = ResultColumns::new(ResultFile::Failed, &header, Some("ext__C"));
        let row = columns.outcome(&Arc::new(Block::of(&["", "X:y:--", "1", "#N/A", ""])), 0).unwrap();
        assert_eq!(row.key.as_deref(), Some("1"));
        assert_eq!(row.fields().to_value(), json!({"Ext__c": "1", "Title": null}));
        assert!(matches!(row.result, RowResult::Failed { id: None, .. }));
        let columns = ResultColumns::new(ResultFile::Successful, &texts(&["sf__Id", "sf__Created", "A"]), None);
        let row = columns.outcome(&Arc::new(Block::of(&["00QAb00000Xy12Z", "true", "x"])), 0).unwrap();
        assert!(matches!(&row.result, RowResult::Saved { id, created: Some(true) } if id.as_str() == "00QAb00000Xy12ZMAR"));
        assert!(columns.outcome(&Arc::new(Block::of(&["", "true", "x"])), 0).unwrap_err().may_have_applied());
    }
}
