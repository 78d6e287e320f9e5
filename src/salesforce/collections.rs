//! sObject collections: up to 200 rows in one request, each with an outcome of its own.
//!
//! The answer is a 200 whatever became of the rows; only `success` tells. With `all_or_none` one bad row undoes the others,
//! which then fail with `ALL_OR_NONE_OPERATION_ROLLED_BACK` although their ids are still printed.

use std::fmt;

use http::HeaderMap;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::model::{Entity, ExternalKey, Fields, FieldsSeed, RecordId, ShapeCache};
use crate::rest::{Answer, Call};
use crate::salesforce::client::{RowBody, Salesforce};
use crate::salesforce::dialect::{Complaint, row_error};
use crate::salesforce::ids;
use crate::salesforce::limits::COLLECTION_LIMIT;
use crate::salesforce::query::strip;
use crate::salesforce::soql::identifier;

/// A row that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedRow {
    /// The record.
    pub id: RecordId,
    /// Whether it is new, where Salesforce says so (upsert).
    pub created: Option<bool>,
}

impl Salesforce {
    /// Makes up to 200 records, one outcome each, in order. Kinds may be mixed; records of one kind should stand together.
    ///
    /// # Errors
    /// See [`Salesforce`]; an error of the whole says nothing about the rows unless it
    /// [may have been applied](Error::may_have_applied).
    pub async fn create_collection(&self, rows: &[(&Entity, &Fields)]) -> Result<Vec<Result<SavedRow>>> {
        let rows: Vec<Row<'_>> = rows.iter().map(|(entity, fields)| Row { entity, id: None, key: None, fields }).collect();
        let call = Call::post("create", self.path("/composite/sobjects"));
        self.save(call, &rows).await
    }

    /// Changes up to 200 records, one outcome each, in order.
    ///
    /// # Errors
    /// As [`Salesforce::create_collection`].
    pub async fn update_collection(&self, rows: &[(&Entity, &RecordId, &Fields)]) -> Result<Vec<Result<SavedRow>>> {
        let rows: Vec<Row<'_>> = rows.iter().map(|(entity, id, fields)| Row { entity, id: Some(id), key: None, fields }).collect();
        let call = Call::patch("update", self.path("/composite/sobjects"));
        self.save(call, &rows).await
    }

    /// Makes or changes up to 200 records of one kind by their values of `field`, one outcome each, in order.
    ///
    /// # Errors
    /// As [`Salesforce::create_collection`].
    pub async fn upsert_collection(&self, entity: &Entity, field: &str, rows: &[(&ExternalKey, &Fields)]) -> Result<Vec<Result<SavedRow>>> {
        if rows.iter().any(|(key, _)| !key.field.eq_ignore_ascii_case(field)) {
            return Err(Error::config("the rows of one upsert collection must share the external id field"));
        }
        let rows: Vec<Row<'_>> = rows.iter().map(|(key, fields)| Row { entity, id: None, key: Some(key), fields }).collect();
        let path = self.path(&format!("/composite/sobjects/{}/{}", identifier(entity.as_str())?, identifier(field)?));
        self.save(Call::patch("upsert", path), &rows).await
    }

    /// Deletes up to 200 records, one outcome each, in order.
    ///
    /// # Errors
    /// As [`Salesforce::create_collection`].
    pub async fn delete_collection(&self, ids: &[&RecordId]) -> Result<Vec<Result<SavedRow>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        fits(ids.len())?;
        let mut list = String::with_capacity(ids.len() * 19);
        for id in ids {
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&crate::rest::percent_encode(id.as_str()));
        }
        let path = self.path(&format!("/composite/sobjects?ids={list}&allOrNone={}", self.config.all_or_none));
        let answer = self.send(Call::delete("delete", path), &HeaderMap::new()).await?;
        outcomes(&answer, ids.len())
    }

    /// Up to 2,000 records of one kind by id, in order; `None` for each that does not exist or is not visible.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn retrieve_collection<S: AsRef<str> + Sync>(
        &self,
        entity: &Entity,
        ids: &[&RecordId],
        select: &[S],
    ) -> Result<Vec<Option<Fields>>> {
        #[derive(Serialize)]
        struct Wanted<'a> {
            ids: Vec<&'a str>,
            fields: Vec<&'a str>,
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        if ids.len() > 2000 {
            return Err(Error::config("at most 2,000 records can be read by id in one request"));
        }
        let fields = select.iter().map(|field| identifier(field.as_ref())).collect::<Result<Vec<_>>>()?;
        let path = self.path(&format!("/composite/sobjects/{}", identifier(entity.as_str())?));
        let wanted = Wanted { ids: ids.iter().map(|id| id.as_str()).collect(), fields };
        let call = Call::post("get", path).read_only().json(&wanted)?;
        let answer = self.send_on(call, &HeaderMap::new(), entity).await?;
        let rows = answer.decode(rows)?;
        if rows.len() != ids.len() {
            return Err(Error::decode("salesforce answered another number of records than was asked for").during("get").on(entity));
        }
        Ok(rows)
    }

    async fn save(&self, call: Call, rows: &[Row<'_>]) -> Result<Vec<Result<SavedRow>>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        fits(rows.len())?;
        for row in rows {
            identifier(row.entity.as_str())?;
        }
        // A row that cannot be written must not keep the others from being written.
        let bodies: Vec<Result<Record<'_>>> = rows.iter().map(Record::new).collect();
        let good: Vec<&Record<'_>> = bodies.iter().filter_map(|body| body.as_ref().ok()).collect();
        let mut saved = Vec::new();
        if good.len() == rows.len() || !(good.is_empty() || self.config.all_or_none) {
            let call = call.json_of(&Collection { all_or_none: self.config.all_or_none, records: &good }, good.len() * ROW_BYTES)?;
            let answer = self.send(call, self.write_headers()).await?;
            saved = outcomes(&answer, good.len())?;
        }
        let mut saved = saved.into_iter();
        let victim = || Err(row_error(&[Complaint::of("ALL_OR_NONE_OPERATION_ROLLED_BACK")]));
        let outcomes = bodies.into_iter().zip(rows).map(|(body, row)| {
            let outcome = match body {
                Ok(_) => saved.next().unwrap_or_else(victim),
                Err(error) => Err(error),
            };
            outcome.map_err(|error| match row.id {
                Some(id) => error.on(row.entity).record_id(id),
                None => error.on(row.entity),
            })
        });
        Ok(outcomes.collect())
    }
}

/// What a row is guessed to take in a body.
const ROW_BYTES: usize = 512;

fn fits(rows: usize) -> Result<()> {
    if rows > COLLECTION_LIMIT {
        return Err(Error::config(format!("a collection takes at most {COLLECTION_LIMIT} rows; split it")));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    id: Option<String>,
    success: bool,
    #[serde(default)]
    created: Option<bool>,
    #[serde(default)]
    errors: Option<Vec<Complaint>>,
}

fn outcomes(answer: &Answer, expected: usize) -> Result<Vec<Result<SavedRow>>> {
    let outcomes: Vec<Outcome> = answer.json()?;
    if outcomes.len() != expected {
        return Err(Error::decode("salesforce answered another number of rows than was sent").ambiguous());
    }
    Ok(outcomes.into_iter().map(Outcome::into_result).collect())
}

impl Outcome {
    fn into_result(self) -> Result<SavedRow> {
        if !self.success {
            return Err(row_error(self.errors.as_deref().unwrap_or_default()));
        }
        let id = self.id.ok_or_else(|| Error::decode("salesforce saved a row and did not say its id").ambiguous())?;
        Ok(SavedRow { id: ids::record_id_of(id), created: self.created })
    }
}

struct Row<'a> {
    entity: &'a Entity,
    id: Option<&'a RecordId>,
    key: Option<&'a ExternalKey>,
    fields: &'a Fields,
}

/// A row that can be written.
struct Record<'a> {
    row: &'a Row<'a>,
    body: RowBody<'a>,
}

impl<'a> Record<'a> {
    fn new(row: &'a Row<'a>) -> Result<Self> {
        Ok(Self { row, body: RowBody::new(row.fields, row.key.map(|key| key.field.as_str()))? })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Collection<'a> {
    all_or_none: bool,
    records: &'a [&'a Record<'a>],
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Attributes<'a> {
            r#type: &'a str,
        }
        let row = self.row;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("attributes", &Attributes { r#type: row.entity.as_str() })?;
        if let Some(id) = row.id {
            map.serialize_entry("id", id.as_str())?;
        }
        if let Some(key) = row.key {
            map.serialize_entry(&key.field, &key.value)?;
        }
        for (name, value) in self.body.entries() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A list of rows or nulls, straight into shared shapes.
fn rows(body: &[u8]) -> serde_json::Result<Vec<Option<Fields>>> {
    let mut cache = ShapeCache::skipping(&["attributes"]);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let rows = MaybeRows(&mut cache).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(rows)
}

struct MaybeRows<'a>(&'a mut ShapeCache);

impl<'de> DeserializeSeed<'de> for MaybeRows<'_> {
    type Value = Vec<Option<Fields>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for MaybeRows<'_> {
    type Value = Vec<Option<Fields>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(row) = rows.next_element_seed(MaybeRow(self.0))? {
            out.push(row);
        }
        Ok(out)
    }
}

struct MaybeRow<'a>(&'a mut ShapeCache);

impl<'de> DeserializeSeed<'de> for MaybeRow<'_> {
    type Value = Option<Fields>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for MaybeRow<'_> {
    type Value = Option<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut row = FieldsSeed { cache: self.0 }.deserialize(deserializer)?;
        strip(&mut row);
        Ok(Some(row))
    }
}
