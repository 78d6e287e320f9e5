//! Requests as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::filter::FilterSpec;
use crate::custom::paging::{PageTarget, Paging};
use crate::custom::pointer::Paths;
use crate::custom::wire::WireFormat;

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BodyEncoding {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// JSON.
    #[default]
    Json,
}

/// A read of one record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadOp {
    /// Default: GET.
    pub method: Option<String>,
    /// The path, with `{entity}` and `{id}`. Default: the entity's path and the id.
    pub path: Option<String>,
    /// Query parameters.
    pub query: BTreeMap<String, String>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// A body, as a template.
    pub body: Option<Value>,
    /// The statuses that mean success, also beyond 2xx; none: every 2xx. 204, an empty list and null mean that there is none.
    pub success: Vec<u16>,
    /// Where the record stands in the answer, if not where the entity says.
    pub record: Option<Paths>,
    /// Members of the answer beside the record that belong to it, by the name they get there: `{fieldValues: fieldValues}` for
    /// `{"contact": {…}, "fieldValues": […]}`.
    pub beside: BTreeMap<String, Paths>,
    /// The parameter that names the fields to return.
    pub select: Option<SelectSpec>,
}

/// A list or search.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SearchOp {
    /// Default: GET.
    pub method: Option<String>,
    /// The path, with `{entity}`. Default: the entity's path.
    pub path: Option<String>,
    /// Query parameters.
    pub query: BTreeMap<String, String>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// A body, as a template; filters and paging are laid into it.
    pub body: Option<Value>,
    /// The statuses that mean success, also beyond 2xx; none: every 2xx. An answer without a body is an empty list.
    pub success: Vec<u16>,
    /// Where the list stands in the answer, if not where the entity says.
    pub records: Option<Paths>,
    /// Where a record stands in an entry of the list. Default: the entry itself.
    pub item: Option<Paths>,
    /// How many match in all.
    pub total: Option<Paths>,
    /// The header with the same.
    pub total_header: Option<String>,
    /// How conditions are said.
    pub filter: FilterSpec,
    /// How an order is said.
    pub sort: Option<SortSpec>,
    /// How the fields to return are said.
    pub select: Option<SelectSpec>,
    /// How one gets from page to page.
    pub paging: Paging,
    /// A record is found as soon as it is written. Default: true.
    pub reads_own_writes: Option<bool>,
}

/// How an order is said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SortSpec {
    /// The query parameter, or the place in the body.
    pub param: String,
    /// A field in ascending order: a text, or a piece of JSON for the body. Default: `{field}`.
    #[serde(default = "ascending")]
    pub ascending: Value,
    /// A field in descending order. Default: `-{field}`.
    #[serde(default = "descending")]
    pub descending: Value,
    /// Between fields. Default: a comma. In a body pieces of JSON, and texts joined by nothing, are a list.
    #[serde(default = "comma")]
    pub join: String,
    /// Where it goes.
    #[serde(default)]
    pub target: PageTarget,
}

fn ascending() -> Value {
    "{field}".into()
}

fn descending() -> Value {
    "-{field}".into()
}

fn comma() -> String {
    ",".to_owned()
}

/// How the fields to return are said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SelectSpec {
    /// The query parameter, or the place in the body.
    pub param: String,
    /// Between names; none: the parameter is repeated, and in a body a list. Default: a comma.
    #[serde(default = "joined")]
    pub join: Option<String>,
    /// Where it goes.
    #[serde(default)]
    pub target: PageTarget,
}

fn joined() -> Option<String> {
    Some(comma())
}

/// What an update does with the fields that are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteStyle {
    /// It leaves them alone.
    #[default]
    Partial,
    /// It empties them: the record is read first and sent as a whole (two requests; with a version, so that nothing is lost).
    Replace,
}

/// A write.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WriteOp {
    /// Default: POST for a create, PATCH for an update, PUT for an upsert, DELETE for a delete.
    pub method: Option<String>,
    /// The path. Default: the entity's path, and the id or key where there is one.
    pub path: Option<String>,
    /// Query parameters.
    pub query: BTreeMap<String, String>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// The body as a template, with `{record}`, `{id}`, `{entity}`. Default: the record, wrapped as the entity says.
    pub body: Option<Value>,
    /// The statuses that mean success, also beyond 2xx; none: every 2xx.
    pub success: Vec<u16>,
    /// What becomes of fields that are not sent.
    pub style: WriteStyle,
    /// Where the record stands in the answer, if not where the entity says.
    pub record: Option<Paths>,
    /// Where the new id stands, from the whole answer; else it is read from the record, or from the `Location` header.
    pub id: Option<Paths>,
    /// The header with the address of the new record: its last step, or what stands in parentheses there, is the id.
    /// Default: `Location`.
    pub id_header: Option<String>,
    /// The header a key goes into that makes the write repeatable, e.g. `Idempotency-Key`.
    pub idempotency_header: Option<String>,
    /// A create that fails if the id is taken: `If-None-Match: *`.
    pub create_only: bool,
    /// The member of the answer that says whether an upsert made the record.
    pub created: Option<Paths>,
    /// The record is read again after the write (one more request), for its version where the answer does not hold it.
    pub reread: bool,
}

/// Several writes in one request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchSpec {
    /// Default: POST.
    #[serde(default)]
    pub method: Option<String>,
    /// The path, with `{entity}`.
    pub path: String,
    /// The most in one request.
    pub max: usize,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The statuses that mean that results follow, also beyond 2xx; none: every 2xx.
    #[serde(default)]
    pub success: Vec<u16>,
    /// The body, with `{items}`. Default: the list itself.
    #[serde(default)]
    pub body: Option<Value>,
    /// One write, with `{method}`, `{path}` (from the root of the host), `{body}`, `{record}`, `{id}`, `{key}`. Default: the record.
    #[serde(default)]
    pub item: Option<Value>,
    /// The kinds of write it takes: `create`, `update`, `upsert`, `delete`. They may be mixed if `mixed` is true.
    pub operations: Vec<String>,
    /// Different kinds may stand in one request.
    #[serde(default)]
    pub mixed: bool,
    /// Where the list of results stands.
    #[serde(default)]
    pub results: Paths,
    /// The HTTP status of one write, from its result.
    #[serde(default)]
    pub status: Option<Paths>,
    /// The answer of one write, from its result. Default: the result itself.
    #[serde(default)]
    pub answer: Option<Paths>,
    /// The member of a result that is there if the write failed, for APIs without a status per write.
    #[serde(default)]
    pub error: Option<Paths>,
    /// The value of that member that means a failure, if it is always there: `error: status, error_equals: error`.
    #[serde(default)]
    pub error_equals: Option<Value>,
    /// How a result finds its write.
    #[serde(default, rename = "match")]
    pub matching: BatchMatch,
    /// One failure undoes all.
    #[serde(default)]
    pub atomic: bool,
}

/// How a result finds its write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchMatch {
    /// By its position.
    #[default]
    Order,
    /// By a member of the result that repeats the number sent as `{index}` in the item.
    Index(Paths),
}

/// What changed since.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ChangesSpec {
    /// The path. Default: that of `search`, whose paging is used too.
    pub path: Option<String>,
    /// The query parameter with the time to begin at, e.g. `_since`, `updated_after`. Exactly one of this, `since_header`, `field`
    /// and `client_side`.
    pub since: String,
    /// Where `since` and `until` go: the query, or the body of a POST.
    pub target: PageTarget,
    /// The header with the time to begin at, e.g. `If-Modified-Since`; a 304 means that nothing changed.
    pub since_header: Option<String>,
    /// The field that is compared with that time by the filter of `search`, for APIs without a parameter of its own.
    pub field: Option<String>,
    /// The API cannot say it: everything is read, and compared here.
    pub client_side: bool,
    /// The query parameter with the time to end at, for APIs that want both: it says now.
    pub until: Option<String>,
    /// How that time is written. Default: as `modified_format`.
    pub format: Option<WireFormat>,
    /// Further parameters, e.g. the order by time.
    pub query: BTreeMap<String, String>,
    /// The API answers records changed *at* that time too. Default: true; without it one step of the format is subtracted.
    pub inclusive: Option<bool>,
    /// Each reading begins so many seconds before the last one ended, for rows that become visible late. Default: 60.
    pub overlap: Option<u64>,
    /// Deleted records are told too, marked as `deleted` says.
    pub deletes: bool,
    /// Deleted records are told in a list of their own, read after the other one.
    pub removed: Option<RemovedSpec>,
}

/// A list of what was deleted. It is paged as `search` is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RemovedSpec {
    /// The path, with `{entity}`.
    pub path: String,
    /// The query parameter with the time to begin at. Default: that of `changes`.
    #[serde(default)]
    pub since: Option<String>,
    /// Where the list stands. Default: as that of `search`.
    #[serde(default)]
    pub records: Option<Paths>,
    /// Where an entry has the id of the record. Default: as a record.
    #[serde(default)]
    pub id: Option<Paths>,
    /// Where an entry says when it was deleted. Default: `modified`.
    #[serde(default)]
    pub at: Option<Paths>,
}
