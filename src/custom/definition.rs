//! What can be said about an API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::auth::AuthSpec;
use crate::custom::limits::RateSpec;
use crate::custom::operation::{BatchSpec, BodyEncoding, ChangesSpec, ReadOp, SearchOp, WriteOp};
use crate::custom::pointer::Paths;
use crate::custom::relation::RelatedSpec;
use crate::custom::template::Names;
use crate::custom::wire::WireFormat;
use crate::webhook::JsonEvents;

/// An API as data. Read it with [`Definition::from_yaml`], [`Definition::from_json`] or [`Definition::from_toml`], which check it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Definition {
    /// The label of the connection, e.g. `kinto:crm`.
    pub name: String,
    /// Where the API answers, with `{variables}`: an absolute http or https URL, perhaps with a path.
    pub base_url: String,
    /// What the variables stand for, unless the host sets them.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Headers of every request; values may hold variables.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters of every request.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How one logs in.
    #[serde(default)]
    pub auth: AuthSpec,
    /// The request that proves that the credentials work. Without it the first page of the first entity is read.
    #[serde(default)]
    pub check: Option<Check>,
    /// The longest answer that is read, in bytes. Default: 64 MiB.
    #[serde(default)]
    pub max_body: Option<usize>,
    /// After so many pages of one search an endless chain is suspected. Default: 100,000.
    #[serde(default)]
    pub max_pages: Option<u64>,
    /// What answers mean; the first that matches counts, then the usual meaning of the status.
    #[serde(default)]
    pub errors: Vec<ErrorRule>,
    /// Where an error's own words stand.
    #[serde(default)]
    pub error_body: ErrorBody,
    /// How often the API may be called, and where it says so.
    #[serde(default)]
    pub rate: RateSpec,
    /// What holds for every entity, unless it says otherwise. Maps are merged key by key.
    #[serde(default)]
    pub defaults: EntitySpec,
    /// The entities, by the CRM's name. If there are none, every name is one and `defaults` describes it.
    #[serde(default)]
    pub entities: BTreeMap<String, EntitySpec>,
    /// How the CRM's webhooks are read.
    #[serde(default)]
    pub webhook: Option<WebhookSpec>,
}

/// A request that proves that the credentials work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Check {
    /// Default: GET.
    #[serde(default = "get")]
    pub method: String,
    /// The path, from the base URL.
    pub path: String,
    /// The statuses that mean yes; none: every 2xx.
    #[serde(default)]
    pub status: Vec<u16>,
    /// Where the answer names the user.
    #[serde(default)]
    pub user: Option<Paths>,
    /// Where the answer names the account.
    #[serde(default)]
    pub account: Option<Paths>,
}

fn get() -> String {
    "GET".to_owned()
}

/// One kind of record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EntitySpec {
    /// The path of the collection, which operations without one of their own stand upon. Default: `/{entity}`.
    pub path: Option<String>,
    /// Where a record has its id. Default: `id`.
    pub id: Option<Paths>,
    /// The id is made of several members, for APIs whose records have no single one.
    pub id_parts: Option<IdParts>,
    /// Where a record has its version.
    pub version: Option<VersionSpec>,
    /// Where a record says when it was changed.
    pub modified: Option<Paths>,
    /// How `modified` is written. Default: RFC 3339.
    pub modified_format: Option<WireFormat>,
    /// What marks a record as deleted.
    pub deleted: Option<TombstoneSpec>,
    /// What ids are. Default: text.
    pub id_type: IdType,
    /// Fields that identify a record and may be the key of an upsert.
    pub keys: Vec<String>,
    /// Records are made under an id of the host's choice: `upsert` by the id field is a PUT.
    pub client_id: bool,
    /// Where one record stands in an answer. Default: the answer itself.
    pub record: Option<Paths>,
    /// Where the list of records stands. Default: the answer itself.
    pub records: Option<Paths>,
    /// The member of a request's body the record stands in, e.g. `data`. Default: the body itself.
    pub wrap: Option<String>,
    /// The member of a record that holds its fields, e.g. `attributes` or `fields`; the id and fields with a path of their own
    /// stand beside it. Default: the record itself.
    pub attributes: Option<String>,
    /// Members every written record has, by path, as templates with `{entity}` and `{id}`: `{type: contacts, id: "{id}"}`. One with
    /// `{id}` is left out of a create.
    pub always: BTreeMap<String, Value>,
    /// How bodies are written. Default: JSON.
    pub encoding: BodyEncoding,
    /// What is known of fields; others go through as they are.
    pub fields: BTreeMap<String, FieldSpec>,
    /// Only the fields named under `fields` exist: a write or a condition with another one is refused before anything is sent,
    /// for APIs that would take any name.
    pub strict: bool,
    /// Fields that live in records of another entity.
    pub related: BTreeMap<String, RelatedSpec>,
    /// Lists and searches.
    pub search: Option<SearchOp>,
    /// Reads one record by its id. Default: GET of `{path}/{id}`, if there is an `update` or a `delete`.
    pub get: Option<ReadOp>,
    /// Makes a record.
    pub create: Option<WriteOp>,
    /// Changes a record.
    pub update: Option<WriteOp>,
    /// Makes a record or changes it, by a key: the path has `{key}` and perhaps `{field}`.
    pub upsert: Option<WriteOp>,
    /// Deletes a record.
    pub delete: Option<WriteOp>,
    /// Several writes in one request.
    pub batch: Option<BatchSpec>,
    /// Further ones, for APIs with a path per kind of write. The first that takes a write carries it.
    pub batches: Vec<BatchSpec>,
    /// How many requests of one `bulk` may be under way at once; two writes of one record never are. Default: 4.
    pub concurrency: Option<usize>,
    /// What changed since.
    pub changes: Option<ChangesSpec>,
    /// The entity's fields, asked from the API.
    pub schema: Option<SchemaSpec>,
}

/// An id that is made of several members: `{paths: [order, item], join: "-"}` is `17-3`. Templates have the parts as `{id.1}`,
/// `{id.2}` and so on: `/items(order={id.1},item={id.2})`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IdParts {
    /// Where a record has the parts: two to four.
    pub paths: Vec<String>,
    /// What stands between them. A record with this text inside of a part is refused: its id would not come apart again. Default:
    /// a colon.
    #[serde(default = "colon")]
    pub join: String,
}

fn colon() -> String {
    ":".to_owned()
}

/// The placeholders for the parts of an id.
pub(super) const ID_PARTS: [&str; 4] = ["id.1", "id.2", "id.3", "id.4"];

/// What ids are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IdType {
    /// A number: written as one where a template or a condition holds nothing but an id.
    Integer,
    /// A text.
    #[default]
    Text,
}

/// Where a record has its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct VersionSpec {
    /// A member of the record.
    pub path: Option<Paths>,
    /// The `ETag` header of an answer with one record; sent back as `If-Match`.
    pub etag: bool,
    /// The member of an update's body that carries the version, for APIs without `If-Match`.
    pub send: Option<String>,
    /// Puts the version in quotes for `If-Match` (the member holds a bare number).
    pub quoted: bool,
}

/// What marks a record as deleted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TombstoneSpec {
    /// The member.
    pub path: Paths,
    /// The value that means "deleted"; none: anything but null, false, 0 and an empty text.
    #[serde(default)]
    pub equals: Option<Value>,
}

/// What is known of one field. Its name is the one the host uses in mappings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FieldSpec {
    /// Where it stands in a record, if not under its name: `address.city`, `emails.0.address`, `custom[id=12].value`.
    pub path: Option<String>,
    /// What is written beside it, by path: `{emails.0.kind: work}`.
    pub also: BTreeMap<String, Value>,
    /// What its values mean.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// How dates and times are written.
    pub format: Option<WireFormat>,
    /// How true and false are written, e.g. `[1, 0]`.
    pub booleans: Option<[Value; 2]>,
    /// Labels and what the API calls them, e.g. `{"Hot": 3}`: the host sees labels.
    pub options: BTreeMap<String, Value>,
    /// Values are joined by this text instead of a list.
    pub join: Option<String>,
    /// The API computes it: it is never sent.
    pub read_only: bool,
    /// A create without it fails.
    pub required: bool,
    /// Two records cannot hold the same value.
    pub unique: bool,
    /// Longest text, in characters.
    pub max_length: Option<u32>,
    /// What the API calls it in filters, if not by its path.
    pub filter: Option<String>,
    /// What is sent for "no value". Default: null.
    pub clear: Option<Value>,
    /// The entities a reference may point to.
    pub references: Vec<String>,
    /// A reference is written as a number.
    pub numeric: bool,
}

/// What values mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueType {
    /// Not known: goes through as it is.
    #[default]
    Any,
    /// True or false.
    Boolean,
    /// A calendar day.
    Date,
    /// An instant.
    #[serde(alias = "date_time")]
    Datetime,
    /// A number with decimals.
    Decimal,
    /// The same, written as text.
    DecimalText,
    /// An e-mail address.
    Email,
    /// A whole number.
    Integer,
    /// Several values of a list.
    MultiPicklist,
    /// A phone number.
    Phone,
    /// One value of a list.
    Picklist,
    /// The id of another record.
    Reference,
    /// Text.
    Text,
    /// A web address.
    Url,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ErrorRule {
    /// The statuses it is about; none: every one that is not 2xx. Name 200 to catch failures that hide in a success.
    #[serde(default)]
    pub status: Vec<StatusMatch>,
    /// The operations it is about (`get`, `search`, `create`, `update`, `upsert`, `delete`, `bulk`, `changes`, `describe`); none: all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// A header that must be there.
    #[serde(default)]
    pub header: Option<String>,
    /// A member of the JSON body that must be there and, with `equals`, hold this value.
    #[serde(default)]
    pub path: Option<Paths>,
    /// The value of that member.
    #[serde(default)]
    pub equals: Option<Value>,
    /// A text that must occur in the body, whatever it is.
    #[serde(default)]
    pub contains: Option<String>,
    /// What it means.
    pub class: ErrorClass,
    /// How long to wait, for classes that are tried again.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// A sentence for people.
    #[serde(default)]
    pub message: Option<String>,
}

/// Statuses: one (`404`) or a hundred (`5xx`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum StatusMatch {
    /// One.
    Code(u16),
    /// `2xx` to `5xx`.
    Family(String),
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// The credentials are refused; a person has to act.
    Authentication,
    /// The request is wrong as it is.
    Configuration,
    /// Somebody else wrote in between.
    Conflict,
    /// The token has expired: it is renewed, and the request repeated once.
    Expired,
    /// The record exists already.
    Duplicate,
    /// The record does not exist.
    NotFound,
    /// The page of a list is too large: it is asked for again with half of its size, down to one record, and the rest of the list
    /// is read by the smaller size. A 413 means it without a rule.
    PageTooLarge,
    /// This user may not.
    Permission,
    /// The day's allowance is spent.
    Quota,
    /// Too many requests just now.
    RateLimited,
    /// No failure at all.
    Success,
    /// Passes by itself.
    Transient,
    /// A field's value is refused.
    Validation,
}

/// How long to wait before the next try.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Wait {
    /// A header: seconds or an HTTP date, or with a unit of its own.
    Header(String),
    /// A header with thousandths of seconds.
    HeaderMilliseconds(String),
    /// A member of the body, in seconds.
    Path(Paths),
    /// So many seconds.
    Seconds(u64),
}

/// Where an error's own words stand in its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ErrorBody {
    /// The sentence. Default: `message`, `error_description`, `error.message`, `error`, `errors.0.message`, `detail`, `title`.
    pub message: Option<Paths>,
    /// The code. Default: `code`, `errorCode`, `error.code`, `errors.0.code`, `error`.
    pub code: Option<Paths>,
    /// The header with the request's id. Default: `x-request-id`, `request-id`, `x-correlation-id`.
    pub request_id: Option<String>,
    /// The id of the record that is in the way of a create.
    pub duplicate: Option<Paths>,
    /// The fields that were refused.
    pub fields: Option<FieldErrors>,
}

/// The fields an error names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FieldErrors {
    /// The list, or an object whose keys are the fields.
    pub list: Paths,
    /// The field's name, from an entry of the list.
    pub name: Paths,
    /// The code, from an entry.
    pub code: Option<Paths>,
}

/// The fields of an entity, asked from the API.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SchemaSpec {
    /// The path, with `{entity}`.
    pub path: String,
    /// For how many seconds a description is kept before it is asked for again. Default: 0, not at all.
    #[serde(default)]
    pub cache: u64,
    /// The list of fields, or an object whose keys are their names.
    #[serde(default)]
    pub fields: Paths,
    /// The name, from a field.
    #[serde(default)]
    pub name: Option<Paths>,
    /// The label, from a field.
    #[serde(default)]
    pub label: Option<Paths>,
    /// The type, from a field.
    #[serde(default, rename = "type")]
    pub kind: Option<Paths>,
    /// What the API's types mean here.
    #[serde(default)]
    pub types: BTreeMap<String, ValueType>,
    /// The options, from a field: a list of texts, or of objects with `option`.
    #[serde(default)]
    pub options: Option<Paths>,
    /// The value, from an option that is an object.
    #[serde(default)]
    pub option: Option<Paths>,
    /// True if the field must be filled, from a field; or the list of required names, from the answer.
    #[serde(default)]
    pub required: Option<Paths>,
    /// True if the field cannot be written, from a field.
    #[serde(default)]
    pub read_only: Option<Paths>,
    /// True if no two records can hold the same value, from a field.
    #[serde(default)]
    pub unique: Option<Paths>,
    /// The longest text, from a field.
    #[serde(default)]
    pub max_length: Option<Paths>,
}

/// How the CRM's webhooks are verified and read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WebhookSpec {
    /// The name of the secret: the HMAC key, the value of the header, of the query parameter or of the step of the path, or the
    /// password of `user`.
    pub secret: Option<String>,
    /// The header with the signature, or with the secret itself.
    pub header: Option<String>,
    /// `hmac` (default), `timestamped` (`t=…,v1=…`), `standard` (Standard Webhooks), `header`, `basic`, `path`, `query`.
    pub style: Option<String>,
    /// The path the sender calls, for `path`, with `{secret}` as one of its steps and `*` for steps that may be anything:
    /// `/hooks/{secret}`. It is compared with the end of the URL's path. Default: `/{secret}`.
    pub path: Option<String>,
    /// The query parameter with the secret, for `query`.
    pub param: Option<String>,
    /// The user of `basic`.
    pub user: Option<String>,
    /// What stands before the signature, e.g. `sha256=`.
    pub prefix: Option<String>,
    /// The signature is base64 instead of hex.
    pub base64: bool,
    /// The header with the time of the signature, in seconds.
    pub time_header: Option<String>,
    /// What is signed, piece by piece: `body`, `timestamp`, `url`, `method`, or any other text as it is.
    pub signed: Vec<String>,
    /// The events.
    #[cfg_attr(feature = "json-schema", schemars(with = "Value"))]
    pub events: JsonEvents,
}

impl Definition {
    /// What is known of `entity`; `None` if the definition names others and not this one.
    pub fn entity(&self, entity: &str) -> Option<&EntitySpec> {
        if self.entities.is_empty() { Some(&self.defaults) } else { self.entities.get(entity) }
    }
}

impl EntitySpec {
    /// Every batch.
    pub(super) fn all_batches(&self) -> impl Iterator<Item = &BatchSpec> {
        self.batch.iter().chain(&self.batches)
    }

    /// An id as it stands in JSON.
    pub(super) fn id_value(&self, id: &str) -> Value {
        let number = || id.parse::<i64>().ok().filter(|_| self.id_type == IdType::Integer);
        number().map_or_else(|| id.into(), Value::from)
    }

    pub(super) fn id_paths(&self) -> std::borrow::Cow<'_, Paths> {
        self.id.as_ref().map_or_else(|| std::borrow::Cow::Owned(Paths::from("id")), std::borrow::Cow::Borrowed)
    }

    /// The id of a record of the API's.
    pub(super) fn id_of(&self, record: &Value) -> Option<String> {
        let Some(parts) = &self.id_parts else { return self.id_paths().text(record) };
        let texts = parts.paths.iter().map(|path| Paths::from(path.as_str()).text(record)).collect::<Option<Vec<_>>>()?;
        texts.iter().all(|text| !text.contains(&parts.join)).then(|| texts.join(&parts.join))
    }

    /// Where ids are looked for, in words.
    pub(super) fn id_told(&self) -> String {
        self.id_parts.as_ref().map_or_else(|| self.id_paths().told(), |parts| parts.paths.join(" and "))
    }

    /// The names of the members without which a record has no id.
    pub(super) fn id_members(&self) -> Vec<&str> {
        self.id_parts.as_ref().map_or_else(|| vec![self.id_name()], |parts| parts.paths.iter().map(String::as_str).collect())
    }

    /// The placeholders `{id}` and, where it has parts, those of its parts.
    pub(super) fn with_id<'a>(&self, names: Names<'a>, id: &'a str) -> Names<'a> {
        let names = names.with("id", id);
        let Some(parts) = &self.id_parts else { return names };
        let pieces: Vec<&str> = id.split(parts.join.as_str()).collect();
        if pieces.len() != parts.paths.len() {
            return names;
        }
        ID_PARTS.into_iter().zip(pieces).fold(names, |names, (name, piece)| names.with(name, piece))
    }

    /// The name of the id in filters: the last step of its first path, and `id` for one that is made of parts.
    pub(super) fn id_name(&self) -> &str {
        if self.id_parts.is_some() {
            return "id";
        }
        let path = self.id.as_ref().and_then(|paths| paths.all().first()).map_or("id", String::as_str);
        path.rsplit(['/', '.']).next().filter(|name| !name.is_empty()).unwrap_or("id")
    }
}
