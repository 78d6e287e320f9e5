//! What became of a create that got no answer.
//!
//! There is no external id, no upsert and no idempotency key: a repeated POST makes a second record. So the id of the operation
//! is kept in a custom field, and looked for before anybody tries again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Entity, Fields, RecordId};
use crate::pipedrive::client::{Pipedrive, row_id};
use crate::pipedrive::field_map::FieldInfo;
use crate::pipedrive::list::{ListQuery, MOST};
use crate::pipedrive::record::all_fields;
use crate::pipedrive::resource::Kind;

/// How long the search index is given to see a new record; integrators have seen some seconds.
pub const SEARCH_LAG: Duration = Duration::from_secs(60);
/// Clocks differ.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What is known of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateOutcome {
    /// It made this record.
    Made(RecordId),
    /// It made none; it may be tried again.
    NotMade,
    /// Several records carry the operation's id: a person has to look.
    Several(Vec<RecordId>),
    /// Not found yet, and the request may still be under way: ask again after this time.
    TooEarly(Duration),
}

impl Pipedrive {
    /// The field that keeps the ids of operations, if one is configured for the kind.
    pub(crate) async fn operation_field(&self, kind: Kind) -> Result<Option<FieldInfo>> {
        let settings = &self.config.settings.operation_fields;
        let Some(name) = settings.get(kind.singular()).or_else(|| settings.get(kind.path())) else { return Ok(None) };
        let field = self.field(kind, name).await?;
        if !field.kind.is_searchable() {
            return Err(Error::config("the operation field must be a text field: others are not searched").on(&kind.entity()));
        }
        Ok(Some(field))
    }

    /// `fields` with the operation's id in the configured field.
    pub(crate) async fn with_operation(&self, kind: Kind, fields: &Fields, operation: Option<&str>) -> Result<Option<Fields>> {
        let Some(operation) = operation else { return Ok(None) };
        let Some(field) = self.operation_field(kind).await? else { return Ok(None) };
        let mut marked = fields.clone();
        if !marked.contains(&field.key) {
            marked.insert(&field.key, operation);
        }
        Ok(Some(marked))
    }

    /// Finds out what became of the create that carried `operation` and was sent at `sent_at`. The list is read from that time on
    /// (it sees what the search index does not yet), and from [`SEARCH_LAG`] on the search is asked first. Price: 10 for a page
    /// of what changed since, 20 for the search.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if no operation field is configured for the entity; else see [`Pipedrive`].
    pub async fn resolve_create(&self, entity: &Entity, operation: &str, sent_at: Timestamp) -> Result<CreateOutcome> {
        let kind = Kind::of(entity)?;
        let Some(field) = self.operation_field(kind).await? else {
            return Err(Error::config("no operation field is configured for this entity, so an unanswered create cannot be found")
                .during("resolve")
                .on(entity));
        };
        let age = Duration::try_from(self.host.now().duration_since(sent_at)).unwrap_or_default();
        if age >= SEARCH_LAG {
            let hits = self.search_exact(kind, "custom_fields", operation).await?;
            let rows = self.rows_by_id(kind, &hits).await?;
            let found = self.carriers(kind, &field, operation, rows.iter()).await?;
            if !found.is_empty() {
                return Ok(outcome(found));
            }
        }
        let since = sent_at.checked_sub(SKEW).unwrap_or(sent_at);
        let mut query = ListQuery::new().updated_since(since).sort("update_time", false).limit(MOST).custom_fields([field.key.as_str()]);
        let mut found = Vec::new();
        loop {
            let page = self.list_rows(kind, &query).await?;
            found.extend(self.carriers(kind, &field, operation, page.rows.iter()).await?);
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        found.dedup();
        match SEARCH_LAG.checked_sub(age) {
            Some(wait) if found.is_empty() && !wait.is_zero() => Ok(CreateOutcome::TooEarly(wait)),
            _ => Ok(outcome(found)),
        }
    }

    async fn carriers<'r>(
        &self,
        kind: Kind,
        field: &FieldInfo,
        operation: &str,
        rows: impl Iterator<Item = &'r serde_json::Map<String, Value>>,
    ) -> Result<Vec<RecordId>> {
        let map = self.fields(kind).await?;
        let carries = |row: &&serde_json::Map<String, Value>| {
            all_fields(kind, row, &map).get(&field.key).and_then(Value::as_str).is_some_and(|text| text.trim() == operation)
        };
        Ok(rows.filter(carries).filter_map(row_id).collect())
    }
}

fn outcome(mut found: Vec<RecordId>) -> CreateOutcome {
    match found.len() {
        0 => CreateOutcome::NotMade,
        1 => found.pop().map_or(CreateOutcome::NotMade, CreateOutcome::Made),
        _ => CreateOutcome::Several(found),
    }
}
