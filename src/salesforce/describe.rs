//! What the org says about its objects.
//!
//! Descriptions take megabytes. The connection keeps them and asks again with `If-Modified-Since`; a 304 costs one request and
//! no decoding. They are those of this user: fields hidden from it are missing.

use std::sync::Arc;

use http::header::{IF_MODIFIED_SINCE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Entity, EntitySchema, Picklist, PicklistValue, RecordId};
use crate::rest::Call;
use crate::salesforce::client::{Salesforce, segment};
use crate::salesforce::ids;
use crate::salesforce::schema::{Described, GlobalDescribe, ObjectDescribe, ObjectDetail};
use crate::salesforce::soql::identifier;

/// What one record type allows in one picklist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordTypePicklist {
    /// The field.
    pub field: String,
    /// Its values.
    pub picklist: Picklist,
}

/// Which layout the records of a type have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayoutMapping {
    /// The record type.
    pub record_type: RecordId,
    /// The layout; none for a type this user may not use.
    pub layout: Option<RecordId>,
    /// The record type's name.
    pub name: String,
    /// This user may use the type.
    pub available: bool,
}

impl Salesforce {
    /// `GET /sobjects`: the objects this user sees. Asked for again only if something has changed.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn describe_global(&self) -> Result<GlobalDescribe> {
        let known = self.known_global();
        let headers = since(known.as_ref().map(|(_, modified)| modified));
        let call = Call::get("describe", self.path("/sobjects")).accept(StatusCode::NOT_MODIFIED);
        let answer = self.send(call, &headers).await?;
        if let (StatusCode::NOT_MODIFIED, Some((global, _))) = (answer.status(), known) {
            return Ok((*global).clone());
        }
        let global: GlobalDescribe = answer.json()?;
        if let Some(modified) = answer.headers().get(LAST_MODIFIED) {
            self.keep_global(Arc::new(global.clone()), modified.clone());
        }
        Ok(global)
    }

    /// `GET /sobjects/{entity}/describe`: the fields this user sees. Asked for again only if something has changed.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`crate::error::ErrorKind::NotFound`] for an object that does not exist or is hidden.
    pub async fn describe_object(&self, entity: &Entity) -> Result<EntitySchema> {
        Ok((*self.describe_entity(entity).await?.schema).clone())
    }

    /// As [`Salesforce::describe_object`]: record types, relationships, lookups and dependent picklists.
    ///
    /// # Errors
    /// As [`Salesforce::describe_object`].
    pub async fn describe_detail(&self, entity: &Entity) -> Result<Arc<ObjectDetail>> {
        Ok(self.describe_entity(entity).await?.detail)
    }

    pub(super) async fn describe_entity(&self, entity: &Entity) -> Result<Described> {
        let path = self.path(&format!("/sobjects/{}/describe", identifier(entity.as_str())?));
        let known = self.known(entity);
        let headers = since(known.as_ref().and_then(|known| known.modified.as_ref()));
        let answer = self.send_on(Call::get("describe", path).accept(StatusCode::NOT_MODIFIED), &headers, entity).await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return known.ok_or_else(|| Error::decode("salesforce says that an unknown description has not changed").on(entity));
        }
        let (schema, detail) = answer.json::<ObjectDescribe>().map_err(|error| error.on(entity))?.into_parts();
        let modified = answer.headers().get(LAST_MODIFIED).cloned();
        let described = Described { schema: Arc::new(schema), detail: Arc::new(detail), modified };
        self.keep(entity, described.clone());
        Ok(described)
    }

    /// What a record type allows in the picklists of `entity`, by the User Interface API (`/ui-api/object-info`). The master record
    /// type is `012000000000000AAA`. Some objects are not served there.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn picklists_of(&self, entity: &Entity, record_type: &RecordId) -> Result<Vec<RecordTypePicklist>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answered {
            picklist_field_values: std::collections::BTreeMap<String, Values>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Values {
            #[serde(default)]
            values: Vec<Entry>,
            #[serde(default)]
            default_value: Option<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            value: String,
            #[serde(default)]
            label: Option<String>,
        }
        let (name, id) = (identifier(entity.as_str())?, ids::to_18(record_type.as_str())?);
        let path = self.path(&format!("/ui-api/object-info/{name}/picklist-values/{id}"));
        let answer = self.send_on(Call::get("describe", path), &HeaderMap::new(), entity).await?;
        let answered: Answered = answer.json().map_err(|error| error.on(entity))?;
        let picklists = answered.picklist_field_values.into_iter().map(|(field, told)| {
            let default = told.default_value.map(|entry| entry.value);
            let mut picklist = Picklist::of(true, Vec::<String>::new());
            picklist.values = told
                .values
                .into_iter()
                .map(|entry| {
                    let mut value = PicklistValue::new(entry.value);
                    value.default = default.as_deref() == Some(value.value.as_str());
                    if let Some(label) = entry.label {
                        value.label = label;
                    }
                    value
                })
                .collect();
            RecordTypePicklist { field, picklist }
        });
        Ok(picklists.collect())
    }

    /// Which layout the records of each type have (`/sobjects/{entity}/describe/layouts`).
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn layouts(&self, entity: &Entity) -> Result<Vec<LayoutMapping>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answered {
            #[serde(default)]
            record_type_mappings: Vec<Mapping>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Mapping {
            record_type_id: String,
            #[serde(default)]
            layout_id: Option<String>,
            #[serde(default)]
            name: String,
            #[serde(default)]
            available: bool,
        }
        let path = self.path(&format!("/sobjects/{}/describe/layouts", identifier(entity.as_str())?));
        let answer = self.send_on(Call::get("describe", path), &HeaderMap::new(), entity).await?;
        let answered: Answered = answer.json().map_err(|error| error.on(entity))?;
        let mappings = answered.record_type_mappings.into_iter().map(|mapping| LayoutMapping {
            record_type: ids::record_id(&mapping.record_type_id),
            layout: mapping.layout_id.as_deref().map(ids::record_id),
            name: mapping.name,
            available: mapping.available,
        });
        Ok(mappings.collect())
    }

    /// One layout of a record type as Salesforce describes it: sections, rows, items.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn layout(&self, entity: &Entity, record_type: &RecordId) -> Result<Value> {
        let path = format!("/sobjects/{}/describe/layouts/{}", identifier(entity.as_str())?, segment(record_type.as_str())?);
        self.send_on(Call::get("describe", self.path(&path)), &HeaderMap::new(), entity).await?.json().map_err(|error| error.on(entity))
    }
}

fn since(modified: Option<&HeaderValue>) -> HeaderMap {
    modified.map(|modified| HeaderMap::from_iter([(IF_MODIFIED_SINCE, modified.clone())])).unwrap_or_default()
}
