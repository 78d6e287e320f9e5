//! What a job is: its operation, its file's form, its state, and the ticket that finds it again.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Error;
use crate::model::{Entity, parse_datetime};
use crate::salesforce::dialect::{Complaint, row_error};
use crate::salesforce::version::ApiVersion;

/// What stands between the columns of a job's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Delimiter {
    /// `` ` ``
    Backquote,
    /// `^`
    Caret,
    /// `,`
    #[default]
    Comma,
    /// `|`
    Pipe,
    /// `;`
    Semicolon,
    /// A tab.
    Tab,
}

impl Delimiter {
    /// The byte itself.
    pub fn byte(self) -> u8 {
        match self {
            Self::Backquote => b'`',
            Self::Caret => b'^',
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

/// What ends the lines of a job's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum LineEnding {
    /// Carriage return and line feed.
    Crlf,
    /// A line feed.
    #[default]
    Lf,
}

/// What an ingest job does with its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IngestOperation {
    /// Moves the records to the recycle bin; rows need `Id`, nothing else is sent.
    Delete,
    /// Deletes for good; needs the permission "Bulk API Hard Delete". Rows need `Id`, nothing else is sent.
    HardDelete,
    /// Makes records. A job whose outcome is unknown must not be sent again: prefer an upsert.
    Insert,
    /// Changes records; rows need `Id`.
    Update,
    /// Makes or changes records by an external id field, which every row needs.
    Upsert {
        /// The field.
        external_id: String,
    },
}

impl IngestOperation {
    /// An upsert by `external_id`.
    pub fn upsert(external_id: impl Into<String>) -> Self {
        Self::Upsert { external_id: external_id.into() }
    }

    /// Salesforce's word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::HardDelete => "hardDelete",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert { .. } => "upsert",
        }
    }

    /// The column every row must fill.
    pub(super) fn required(&self) -> Option<&str> {
        match self {
            Self::Insert => None,
            Self::Delete | Self::HardDelete | Self::Update => Some("Id"),
            Self::Upsert { external_id } => Some(external_id),
        }
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        match self {
            Self::Upsert { external_id } => Some(external_id),
            _ => None,
        }
    }

    pub(super) fn deletes(&self) -> bool {
        matches!(self, Self::Delete | Self::HardDelete)
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobState {
    /// Given up by somebody. What was done stays done.
    Aborted,
    /// Bulk API 1.0: no further batches.
    Closed,
    /// Ended by trouble. Rows may have been saved all the same.
    Failed,
    /// At work.
    InProgress,
    /// Every row was tried; each may have failed.
    JobComplete,
    /// Waits for its file.
    Open,
    /// Waits for the org.
    UploadComplete,
    /// A word this crate does not know.
    #[serde(other)]
    Unknown,
}

impl JobState {
    /// True if nothing happens any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Aborted | Self::Failed | Self::JobComplete)
    }
}

/// A job as the org describes it. The answers to a creation or a change leave the counters out.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id (`750...`).
    pub id: String,
    /// How far it is.
    pub state: JobState,
    /// `insert`, `query` and so on.
    #[serde(default)]
    pub operation: Option<String>,
    /// The kind of record.
    #[serde(default)]
    pub object: Option<Entity>,
    /// `V2Ingest`, `V2Query`, `Classic` or `BigObjectIngest`.
    #[serde(default)]
    pub job_type: Option<String>,
    /// The API version it was made with; its results must be read with the same.
    #[serde(default)]
    pub api_version: Option<ApiVersion>,
    /// Who made it.
    #[serde(default)]
    pub created_by_id: Option<String>,
    /// When.
    #[serde(default, deserialize_with = "instant")]
    pub created_date: Option<Timestamp>,
    /// When its state changed last.
    #[serde(default, deserialize_with = "instant")]
    pub system_modstamp: Option<Timestamp>,
    /// The field of an upsert.
    #[serde(default)]
    pub external_id_field_name: Option<String>,
    /// Its files' delimiter.
    #[serde(default)]
    pub column_delimiter: Option<Delimiter>,
    /// Its files' line ending.
    #[serde(default)]
    pub line_ending: Option<LineEnding>,
    /// Rows tried so far, failed ones included; for a query the rows found.
    #[serde(default)]
    pub number_records_processed: Option<u64>,
    /// Rows that failed.
    #[serde(default)]
    pub number_records_failed: Option<u64>,
    /// How often the org tried a batch again.
    #[serde(default)]
    pub retries: Option<u64>,
    /// Milliseconds of work.
    #[serde(default)]
    pub total_processing_time: Option<u64>,
    /// Why it failed, in the org's words. May quote data.
    #[serde(default)]
    pub error_message: Option<String>,
}

impl JobInfo {
    /// Why the job failed or was aborted; `None` for any other state. The org's text may quote data and is not repeated.
    pub fn error(&self) -> Option<Error> {
        let told = self.error_message.as_deref().unwrap_or_default();
        match self.state {
            JobState::Failed => {
                let code = told.split([':', ' ']).next().unwrap_or_default();
                let told = row_error(&[Complaint::told(code, "", Vec::new())]);
                let error =
                    Error::new(told.kind(), format!("the bulk job {} failed; its result files tell which rows were saved", self.id));
                let error = error.retrying(told.retry());
                Some(if code.is_empty() { error } else { error.with_code(code) })
            }
            JobState::Aborted => {
                let message = format!("the bulk job {} was aborted; its result files tell which rows were saved", self.id);
                Some(Error::new(crate::error::ErrorKind::Cancelled, message))
            }
            _ => None,
        }
    }
}

fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(parse_datetime))
}

/// What finds a job again: keep it (it is plain data) and a restarted process goes on where this one stopped.
///
/// A bare id is enough; what is missing is then asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobTicket {
    /// The job's id.
    pub id: String,
    /// The API version it was made with.
    #[serde(default)]
    pub api_version: Option<ApiVersion>,
    /// Its files' delimiter.
    #[serde(default)]
    pub delimiter: Option<Delimiter>,
    /// How many rows were uploaded.
    #[serde(default)]
    pub rows: Option<u64>,
    /// The column its rows are known by.
    #[serde(default)]
    pub key: Option<String>,
}

impl JobTicket {
    /// A ticket of which only the id is known.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), api_version: None, delimiter: None, rows: None, key: None }
    }
}

impl From<&str> for JobTicket {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for JobTicket {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl From<&JobInfo> for JobTicket {
    fn from(info: &JobInfo) -> Self {
        Self {
            id: info.id.clone(),
            api_version: info.api_version,
            delimiter: info.column_delimiter,
            rows: None,
            key: info.external_id_field_name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Retry};

    fn info(json: serde_json::Value) -> JobInfo {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_job_is_read_whatever_is_left_out() {
        let bare = info(serde_json::json!({"id": "750", "state": "Surprise", "apiVersion": "57.0"}));
        assert_eq!((bare.state, bare.api_version), (JobState::Unknown, Some(ApiVersion::new(57))));
        assert!(bare.error().is_none() && !bare.state.is_terminal());
    }

    #[test]
    fn failures_have_their_class() {
        let class = |message: &str| {
            let error = info(serde_json::json!({"id": "750", "state": "Failed", "errorMessage": message})).error().unwrap();
            assert!(!error.to_string().contains("secret"));
            (error.kind(), error.retry())
        };
        assert_eq!(class("InvalidBatch : Field name not found : secret"), (ErrorKind::Config, Retry::Never));
        assert_eq!(class("TooManyLockFailure : secret"), (ErrorKind::Unavailable, Retry::Backoff));
        assert_eq!(class("ExceededQuota"), (ErrorKind::QuotaExhausted, Retry::Never));
        assert_eq!(class(""), (ErrorKind::Validation, Retry::Never));
        let aborted = info(serde_json::json!({"id": "750", "state": "Aborted"})).error().unwrap();
        assert_eq!(aborted.kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn tickets_are_plain_data() {
        let ticket = JobTicket { rows: Some(3), api_version: Some(ApiVersion::new(66)), ..JobTicket::from("750") };
        let text = serde_json::to_string(&ticket).unwrap();
        assert_eq!(serde_json::from_str::<JobTicket>(&text).unwrap(), ticket);
        assert_eq!(serde_json::from_str::<JobTicket>(r#"{"id":"750"}"#).unwrap(), JobTicket::from("750"));
    }
}
