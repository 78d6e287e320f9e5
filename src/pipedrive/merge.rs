//! Two records into one.

use serde_json::{Map, Value, json};

use http::Method;

use crate::error::{Error, Result};
use crate::model::RecordId;
use crate::pipedrive::client::{Pipedrive, row_id, tail};
use crate::pipedrive::resource::{ApiVersion, Kind, Op};
use crate::rest::Call;

/// What a merge left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// The record that is left. Its values won; its empty ones were filled from the other.
    pub survivor: RecordId,
    /// The record that is gone: point whatever names it to the survivor.
    pub removed: RecordId,
}

impl Pipedrive {
    /// Merges `removed` into `survivor` (persons, organizations and deals). Price: 40. Not repeatable blindly: after an error that
    /// [may have been applied](Error::may_have_applied) see whether `removed` still exists.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`crate::error::ErrorKind::Config`] for other kinds or one record twice.
    pub async fn merge(&self, kind: Kind, removed: &RecordId, survivor: &RecordId) -> Result<Merged> {
        let named = |error: Error| error.during("merge").on(&kind.entity()).record_id(removed);
        if !matches!(kind, Kind::Deal | Kind::Organization | Kind::Person) {
            return Err(named(Error::unsupported("only persons, organizations and deals can be merged")));
        }
        if removed == survivor {
            return Err(named(Error::config("a record cannot be merged with itself")));
        }
        let (from, into) = (tail(kind, removed)?, tail(kind, survivor)?);
        let into: i64 = into.trim_start_matches('/').parse().map_err(|_| named(Error::config("the id of the survivor is no number")))?;
        // The record in the path goes, the one in the body stays.
        let body = Map::from_iter([("merge_with_id".to_owned(), json!(into))]);
        let path = self.path(ApiVersion::V1, kind.path(), &format!("{from}/merge"), &[]);
        let row = self.write(Call::new("merge", Method::PUT, path), Some(&body), kind.price(Op::Merge)).await.map_err(named)?;
        match row.as_ref().and_then(row_id) {
            Some(id) if id != *survivor => {
                Err(named(Error::decode("pipedrive answered another record than the survivor of the merge").ambiguous()))
            }
            _ => Ok(Merged { survivor: survivor.clone(), removed: removed.clone() }),
        }
    }

    /// Sets a deal's status to won; it keeps its stage.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn win(&self, deal: &RecordId) -> Result<()> {
        self.update_row(Kind::Deal, deal, &[("status", "won")].into_iter().collect()).await.map(drop)
    }

    /// Sets a deal's status to lost, with the reason.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn lose(&self, deal: &RecordId, reason: Option<&str>) -> Result<()> {
        let mut fields: crate::model::Fields = [("status", "lost")].into_iter().collect();
        if let Some(reason) = reason {
            fields.insert("lost_reason", Value::from(reason));
        }
        self.update_row(Kind::Deal, deal, &fields).await.map(drop)
    }
}
