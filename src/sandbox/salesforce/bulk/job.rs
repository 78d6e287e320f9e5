//! A job, and all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::state::Usage;
use crate::sandbox::salesforce::validate::stamp;

/// Jobs and their results are kept for 7 days.
const KEPT_MILLIS: i64 = 7 * 24 * 3600 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Ingest,
    Query,
}

impl Kind {
    /// As in `/jobs/ingest`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Aborted,
    Failed,
    InProgress,
    JobComplete,
    Open,
    UploadComplete,
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Aborted => "Aborted",
            Self::Failed => "Failed",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
        }
    }

    /// Nothing more will happen.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Aborted | Self::Failed | Self::JobComplete)
    }
}

/// What separates cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delimiter {
    Backquote,
    Caret,
    Comma,
    Pipe,
    Semicolon,
    Tab,
}

impl Delimiter {
    const ALL: [Self; 6] = [Self::Backquote, Self::Caret, Self::Comma, Self::Pipe, Self::Semicolon, Self::Tab];

    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|delimiter| delimiter.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Backquote => "BACKQUOTE",
            Self::Caret => "CARET",
            Self::Comma => "COMMA",
            Self::Pipe => "PIPE",
            Self::Semicolon => "SEMICOLON",
            Self::Tab => "TAB",
        }
    }

    pub(crate) fn byte(self) -> u8 {
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

/// What became of one uploaded row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Where the row stands in the upload.
    #[serde(rename = "f")]
    pub(crate) from: usize,
    #[serde(rename = "t")]
    pub(crate) to: usize,
    /// Empty if it has none.
    #[serde(rename = "i")]
    pub(crate) id: String,
    #[serde(rename = "c")]
    pub(crate) created: bool,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The result of a query job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResultFile {
    /// The header row, its line ending included.
    pub(crate) header: String,
    pub(crate) rows: String,
    /// Where each row begins.
    pub(crate) starts: Vec<usize>,
}

impl ResultFile {
    /// Header and at most `most` rows from row `from` on, and how many rows that are.
    pub(crate) fn page(&self, from: usize, most: usize) -> (String, usize) {
        let to = from.saturating_add(most).min(self.starts.len());
        let begin = self.starts.get(from).copied().unwrap_or(self.rows.len());
        let end = self.starts.get(to).copied().unwrap_or(self.rows.len());
        let rows = self.rows.get(begin..end).unwrap_or_default();
        (format!("{}{rows}", self.header), to.saturating_sub(from))
    }
}

/// A job. Its large parts are shared between copies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) operation: String,
    pub(crate) object: String,
    pub(crate) external: Option<String>,
    pub(crate) assignment: Option<String>,
    pub(crate) delimiter: Delimiter,
    pub(crate) crlf: bool,
    pub(crate) soql: Option<String>,
    pub(crate) user: String,
    /// The client that made the job, by `Sforce-Call-Options`.
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// 68 of `v68.0`.
    pub(crate) number: u32,
    pub(crate) state: State,
    /// Milliseconds since 1970, as the other times.
    pub(crate) created: i64,
    pub(crate) modified: i64,
    /// When the next step happens.
    pub(crate) due: Option<i64>,
    /// Where in the upload the next row begins.
    pub(crate) at: usize,
    pub(crate) processed: usize,
    pub(crate) failed: usize,
    pub(crate) batches: u64,
    pub(crate) spent: u64,
    pub(crate) error: Option<String>,
    /// Counts the changes.
    pub(crate) revision: u64,
    #[serde(skip)]
    pub(crate) upload: Option<Arc<str>>,
    #[serde(skip)]
    pub(crate) done: Vec<Arc<[Done]>>,
    #[serde(skip)]
    pub(crate) file: Option<Arc<ResultFile>>,
}

impl Job {
    pub(crate) fn line_ending(&self) -> &'static str {
        if self.crlf { "\r\n" } else { "\n" }
    }

    /// Enters a state.
    pub(crate) fn enter(&mut self, state: State, at: i64) {
        self.state = state;
        self.modified = at;
        self.revision += 1;
        if state.is_final() {
            self.due = None;
        }
    }

    /// Ends the job without rolling anything back.
    pub(crate) fn fail(&mut self, at: i64, message: impl Into<String>) {
        self.error = Some(message.into());
        self.enter(State::Failed, at);
    }

    /// As answered; the answers to POST and PATCH have no counters.
    pub(crate) fn show(&self, whole: bool) -> Value {
        let mut value = json!({
            "id": self.id, "operation": self.operation, "object": self.object, "createdById": self.user, "createdDate": at(self.created),
            "systemModstamp": at(self.modified), "state": self.state.word(), "concurrencyMode": "Parallel", "contentType": "CSV",
            "apiVersion": f64::from(self.number), "lineEnding": if self.crlf { "CRLF" } else { "LF" },
            "columnDelimiter": self.delimiter.word(),
        });
        let Value::Object(map) = &mut value else { return value };
        let mut set = |name: &str, value: Value| _ = map.insert(name.to_owned(), value);
        if self.kind == Kind::Ingest {
            // Without a slash at the front, as Salesforce has it.
            set("contentUrl", json!(format!("services/data/v{}.0/jobs/ingest/{}/batches", self.number, self.id)));
            if let Some(field) = &self.external {
                set("externalIdFieldName", json!(field));
            }
            if let Some(rule) = &self.assignment {
                set("assignmentRuleId", json!(rule));
            }
        }
        if whole {
            set("numberRecordsProcessed", json!(self.processed));
            set("retries", json!(0));
            set("totalProcessingTime", json!(self.spent));
            match self.kind {
                Kind::Ingest => {
                    set("jobType", json!("V2Ingest"));
                    set("numberRecordsFailed", json!(self.failed));
                    set("apiActiveProcessingTime", json!(self.spent));
                    set("apexProcessingTime", json!(0));
                }
                Kind::Query => {
                    set("jobType", json!("V2Query"));
                    set("isPkChunkingSupported", json!(true));
                }
            }
            if let Some(error) = &self.error {
                set("errorMessage", json!(error));
            }
        }
        value
    }
}

fn at(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map(stamp).unwrap_or_default()
}

/// Every job of the org.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) all: BTreeMap<String, Job>,
    /// Internal batches of the last day.
    pub(crate) batches: Usage,
    /// Query jobs of the last day.
    pub(crate) queries: Usage,
    /// Counts jobs that came and went.
    pub(crate) revision: u64,
    /// When the world was last looked at.
    pub(crate) horizon: i64,
}

impl Jobs {
    pub(crate) fn add(&mut self, job: Job) {
        self.revision += 1;
        self.all.insert(job.id.clone(), job);
    }

    /// The world is looked at.
    pub(crate) fn seen(&mut self, now: Timestamp) {
        self.horizon = self.horizon.max(now.as_millisecond());
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.revision += 1;
        self.all.remove(id);
    }

    /// A job by its id in either form.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Result<&Job, ApiError> {
        let id = ids::normalize(id).ok_or_else(ApiError::not_found)?;
        self.all.get(&id).filter(|job| job.kind == kind).ok_or_else(ApiError::not_found)
    }

    /// The job whose next step comes first, if that is not after `now`.
    pub(crate) fn due(&self, now: i64) -> Option<&Job> {
        let waiting = self.all.values().filter(|job| job.due.is_some_and(|due| due <= now));
        waiting.min_by_key(|job| job.due)
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: i64) {
        let old = |job: &Job| job.state.is_final() && now - job.modified > KEPT_MILLIS;
        if self.all.values().any(old) {
            self.all.retain(|_, job| !old(job));
            self.revision += 1;
        }
    }

    /// Changes with every change.
    pub(crate) fn stamp(&self) -> (u64, u64) {
        (self.revision, self.all.values().map(|job| job.revision).sum())
    }
}
