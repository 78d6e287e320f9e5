//! Leads into deals, and back.
//!
//! A conversion is a job of Pipedrive's: it is begun, and asked for until it is done. On success the source is deleted. Results
//! are kept for a few days.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::RecordId;
use crate::pipedrive::catalog::Place;
use crate::pipedrive::client::{Pipedrive, tail};
use crate::pipedrive::envelope::record;
use crate::pipedrive::resource::{ApiVersion, Kind};
use crate::rest::Call;

/// A conversion is dear (OpenAPI documents, `x-token-cost`).
const PRICE: u32 = 40;

/// A conversion that was begun: plain data, to be kept until it is done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Conversion {
    /// The lead or deal that is converted.
    pub source: RecordId,
    /// True from lead to deal.
    pub to_deal: bool,
    /// Its id.
    pub id: String,
}

/// What has become of a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversionState {
    /// Done: this is the new deal or lead, and the source is deleted.
    Completed(RecordId),
    /// It did not work; the source is still there.
    Failed,
    /// It was refused; the source is still there.
    Rejected,
    /// Not begun yet, or at work: ask again a little later.
    Running,
}

impl Conversion {
    fn source_kind(&self) -> Kind {
        if self.to_deal { Kind::Lead } else { Kind::Deal }
    }
}

impl Pipedrive {
    /// Begins to make a deal of a lead, in this place or at the start of the default pipeline. Price: 40. Not repeatable: after an
    /// error that [may have been applied](Error::may_have_applied) see whether the lead is still there.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn convert_lead(&self, lead: &RecordId, place: Option<Place>) -> Result<Conversion> {
        // The pipeline follows the stage; both together are refused.
        let body = place.map(|place| Map::from_iter([("stage_id".to_owned(), json!(place.stage_id))])).unwrap_or_default();
        self.convert(Kind::Lead, lead, "/convert/deal", Some(&body)).await
    }

    /// Begins to make a lead of a deal. Price: 40. As [`Pipedrive::convert_lead`].
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn convert_deal(&self, deal: &RecordId) -> Result<Conversion> {
        // Documented without a body.
        self.convert(Kind::Deal, deal, "/convert/lead", None).await
    }

    async fn convert(&self, kind: Kind, source: &RecordId, action: &str, body: Option<&Map<String, Value>>) -> Result<Conversion> {
        let named = |error: Error| error.during("convert").on(&kind.entity()).record_id(source);
        let path = self.path(ApiVersion::V2, kind.path(), &format!("{}{action}", tail(kind, source)?), &[]);
        let row = self.write(Call::post("convert", path), body, PRICE).await.map_err(named)?;
        let id = row.as_ref().and_then(|row| row.get("conversion_id")).and_then(Value::as_str);
        let id = id.ok_or_else(|| named(Error::decode("pipedrive did not name the conversion").ambiguous()))?;
        Ok(Conversion { source: source.clone(), to_deal: kind == Kind::Lead, id: id.to_owned() })
    }

    /// What has become of a conversion. Price: 1.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`crate::error::ErrorKind::NotFound`] once the result is forgotten.
    pub async fn conversion(&self, conversion: &Conversion) -> Result<ConversionState> {
        let kind = conversion.source_kind();
        let named = |error: Error| error.during("conversion").on(&kind.entity()).record_id(&conversion.source);
        // It becomes a part of the path.
        if conversion.id.is_empty() || !conversion.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(named(Error::config("the id of the conversion is not one of Pipedrive's")));
        }
        let status = format!("{}/convert/status/{}", tail(kind, &conversion.source)?, conversion.id);
        let answer = self.send(&Call::get("conversion", self.path(ApiVersion::V2, kind.path(), &status, &[])), 1).await.map_err(named)?;
        let row = record(&answer)?.unwrap_or_default();
        let made = if conversion.to_deal { "deal_id" } else { "lead_id" };
        Ok(match row.get("status").and_then(Value::as_str) {
            Some("completed") => match row.get(made) {
                Some(Value::Number(id)) => ConversionState::Completed(RecordId::new(id.to_string())),
                Some(Value::String(id)) => ConversionState::Completed(RecordId::new(id.as_str())),
                _ => return Err(named(Error::decode("the conversion is done and does not say what it made"))),
            },
            Some("failed") => ConversionState::Failed,
            Some("rejected") => ConversionState::Rejected,
            Some("not_started" | "running") => ConversionState::Running,
            _ => return Err(named(Error::decode("the conversion has a state this client does not know"))),
        })
    }
}
