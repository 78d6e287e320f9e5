//! By what a record of ours is known again.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::model::RecordId;
use crate::pipedrive::client::{Pipedrive, row_id};
use crate::pipedrive::list::{ListQuery, MOST};
use crate::pipedrive::record::all_fields;
use crate::pipedrive::resource::Kind;

/// Clocks differ.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What tells the record from others of its kind.
#[derive(Debug)]
pub(super) enum Probe {
    /// A member with this text, without regard to case; looked for by an exact search in `scope`.
    Text { scope: &'static str, member: &'static str, text: String },
    /// A person with this e-mail address.
    Email(String),
    /// A mark in `member`, among the records that a list narrowed by `filter` shows.
    Mark { filter: (&'static str, String), member: &'static str, mark: String },
    /// A text in `member`, among the records that a list narrowed by `filter` shows.
    Listed { filter: (&'static str, String), member: &'static str, text: String },
}

/// The mark a text of ours carries: which text it is, and, after a dash, which version of it.
pub(super) fn mark(connection: &str, local: &str) -> String {
    format!("crm-sync:{}", short(&[connection, "\u{0}", local]))
}

pub(super) fn short(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part.as_bytes()));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Probe {
    fn carries(&self, row: &Map<String, Value>) -> bool {
        let text = |member: &str| row.get(member).and_then(Value::as_str).unwrap_or_default();
        let same = |a: &str, b: &str| a.trim().to_lowercase() == b.trim().to_lowercase();
        match self {
            Self::Text { member, text: wanted, .. } | Self::Listed { member, text: wanted, .. } => same(text(member), wanted),
            Self::Mark { member, mark, .. } => text(member).contains(mark.as_str()),
            Self::Email(email) => {
                let emails = row.get("emails").and_then(Value::as_array).into_iter().flatten();
                emails.filter_map(|point| point.get("value")?.as_str()).any(|value| same(value, email))
            }
        }
    }

    /// The records it finds. With `since`, the time a create was sent, what changed since is read instead of the search index,
    /// which lags. `operation` is looked at first, where the account keeps it.
    pub(super) async fn find(&self, client: &Pipedrive, kind: Kind, since: Option<Timestamp>, operation: &str) -> Result<Vec<RecordId>> {
        let field = client.operation_field(kind).await?;
        let rows = match (self, since) {
            (Self::Mark { filter: (name, value), .. } | Self::Listed { filter: (name, value), .. }, _) => {
                all(client, kind, ListQuery::new().filter(*name, value).limit(MOST)).await?
            }
            (_, Some(since)) => {
                let since = since.checked_sub(SKEW).unwrap_or(since);
                all(client, kind, ListQuery::new().updated_since(since).sort("update_time", false).limit(MOST)).await?
            }
            (Self::Text { scope, text, .. }, None) => {
                let ids = client.search_exact(kind, scope, text).await?;
                client.rows_by_id(kind, &ids).await?
            }
            (Self::Email(email), None) => {
                let ids = client.search_exact(kind, "email", email).await?;
                client.rows_by_id(kind, &ids).await?
            }
        };
        let map = client.fields(kind).await?;
        let operation_of = |row: &Map<String, Value>| {
            let field = field.as_ref()?;
            all_fields(kind, row, &map).get(&field.key).and_then(Value::as_str).map(str::to_owned)
        };
        let ours: Vec<RecordId> = rows.iter().filter(|row| operation_of(row).as_deref() == Some(operation)).filter_map(row_id).collect();
        if !ours.is_empty() {
            return Ok(ours);
        }
        Ok(rows.iter().filter(|row| self.carries(row)).filter_map(row_id).collect())
    }
}

async fn all(client: &Pipedrive, kind: Kind, mut query: ListQuery) -> Result<Vec<Map<String, Value>>> {
    let mut rows = Vec::new();
    loop {
        let page = client.list_rows(kind, &query).await?;
        rows.extend(page.rows);
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(rows),
        }
    }
}
