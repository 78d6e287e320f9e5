//! Reads and writes that depend on what the server holds.

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;

use crate::error::{ErrorKind, Result};
use crate::model::{Entity, Fields, RecordId};
use crate::rest::Call;
use crate::salesforce::client::{RowBody, Salesforce, row};
use crate::salesforce::precondition::Precondition;
use crate::salesforce::soql::identifier;

/// What a conditional read found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Conditional {
    /// The record, and what to ask with the next time.
    Found {
        /// The fields.
        fields: Fields,
        /// Its entity tag, for [`Precondition::differs`] and [`Precondition::matches`]; Account rows only.
        etag: Option<String>,
        /// When it was changed last, for [`Precondition::modified_since`].
        modified_at: Option<Timestamp>,
    },
    /// There is none this user sees.
    Missing,
    /// It is what the condition says the caller has already (304).
    NotModified,
}

impl Salesforce {
    /// One record by id, if `condition` holds. An empty `select` asks for every field.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Conflict`] for [`Precondition::matches`] or [`Precondition::unmodified_since`] that does
    /// not hold (412).
    pub async fn retrieve_when<S: AsRef<str> + Sync>(
        &self,
        entity: &Entity,
        id: &RecordId,
        select: &[S],
        condition: &Precondition,
    ) -> Result<Conditional> {
        let mut path = self.row_path(entity, id)?;
        for (at, field) in select.iter().enumerate() {
            path.push_str(if at == 0 { "?fields=" } else { "," });
            path.push_str(identifier(field.as_ref())?);
        }
        let call = Call::get("get", path).accept(StatusCode::NOT_MODIFIED);
        let answer = match self.send_on(call, &condition.headers()?, entity).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Conditional::Missing),
            answer => answer?,
        };
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Conditional::NotModified);
        }
        let text = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let etag = text(ETAG).map(ToOwned::to_owned);
        let modified_at = text(LAST_MODIFIED).and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|zoned| zoned.timestamp());
        let fields = answer.decode(row).map_err(|error| error.on(entity))?;
        Ok(Conditional::Found { fields, etag, modified_at })
    }

    /// Changes the given fields, if `condition` holds.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Conflict`] if the condition does not hold: read the record again and decide anew.
    pub async fn update_when(&self, entity: &Entity, id: &RecordId, fields: &Fields, condition: &Precondition) -> Result<()> {
        let call = Call::patch("update", self.row_path(entity, id)?).headers(condition.headers()?);
        let call = call.json(&RowBody::new(fields, None)?)?;
        self.send_on(call, self.write_headers(), entity).await.map_err(|error| error.record_id(id))?;
        Ok(())
    }

    /// Deletes a record, if `condition` holds; false if it was gone already.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Conflict`] if the condition does not hold.
    pub async fn delete_when(&self, entity: &Entity, id: &RecordId, condition: &Precondition) -> Result<bool> {
        let call = Call::delete("delete", self.row_path(entity, id)?);
        match self.send_on(call, &condition.headers()?, entity).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.record_id(id)),
        }
    }
}
