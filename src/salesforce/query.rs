//! Queries, page by page. Children of a row (subqueries) are read to their end with the page they stand in, and held with it.

use std::fmt;

use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::{Fields, FieldsSeed, ShapeCache};
use crate::rest::percent_encode;
use crate::rest::{Call, decode_error};
use crate::salesforce::client::Salesforce;
use crate::salesforce::soql::MAX_STATEMENT;

/// One page of a query.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueryPage<T> {
    /// How many rows match in all.
    pub total: u64,
    /// The rows; may be fewer than asked for while there is a next page.
    pub records: Vec<T>,
    /// Where the next page is; hand it to [`Salesforce::query_more`]. It lives for about two days and belongs to this user.
    pub next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedPage<T> {
    #[serde(default)]
    total_size: u64,
    #[serde(default)]
    done: Option<bool>,
    #[serde(default)]
    next_records_url: Option<String>,
    records: Vec<T>,
}

impl Salesforce {
    /// The first page of `soql`, as `T`.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`crate::error::ErrorKind::Decode`] with the path of what does not fit `T`.
    pub async fn query<T: DeserializeOwned>(&self, soql: &str) -> Result<QueryPage<T>> {
        self.typed_page(self.query_path(soql, false)?).await
    }

    /// As [`Salesforce::query`], with deleted, merged and archived rows (`queryAll`).
    ///
    /// # Errors
    /// See [`Salesforce::query`].
    pub async fn query_with_deleted<T: DeserializeOwned>(&self, soql: &str) -> Result<QueryPage<T>> {
        self.typed_page(self.query_path(soql, true)?).await
    }

    /// The page at `next`.
    ///
    /// # Errors
    /// See [`Salesforce::query`]; [`crate::error::ErrorKind::Conflict`] if the cursor has expired: start the query again.
    pub async fn query_more<T: DeserializeOwned>(&self, next: &str) -> Result<QueryPage<T>> {
        self.typed_page(self.locator_path(next).await?).await
    }

    /// All rows of `soql`, each page read when it is needed. An error ends the stream. See [`Salesforce::rows`] for a stream that
    /// can be stopped and resumed.
    #[must_use]
    pub fn query_all<T: DeserializeOwned + Send + 'static>(&self, soql: impl Into<String>) -> BoxStream<'static, Result<T>> {
        self.rows(soql).into_stream()
    }

    /// As [`Salesforce::query_all`], with deleted, merged and archived rows (`queryAll`).
    #[must_use]
    pub fn query_all_with_deleted<T: DeserializeOwned + Send + 'static>(&self, soql: impl Into<String>) -> BoxStream<'static, Result<T>> {
        self.rows_with_deleted(soql).into_stream()
    }

    /// The first page of `soql`, as rows with shared keys: the fast way for many rows.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn query_fields(&self, soql: &str) -> Result<QueryPage<Fields>> {
        self.fields_page(self.query_path(soql, false)?, &self.query_headers).await
    }

    /// The page at `next`, as rows with shared keys.
    ///
    /// # Errors
    /// See [`Salesforce::query_more`].
    pub async fn query_fields_more(&self, next: &str) -> Result<QueryPage<Fields>> {
        self.fields_page(self.locator_path(next).await?, &self.query_headers).await
    }

    pub(super) fn query_path(&self, soql: &str, deleted: bool) -> Result<String> {
        if soql.chars().count() > MAX_STATEMENT {
            let message = "a SOQL statement has at most 100,000 characters; split its lists, or use a bulk query";
            return Err(Error::config(message).during("query"));
        }
        Ok(self.path(&format!("/{}?q={}", if deleted { "queryAll" } else { "query" }, percent_encode(soql))))
    }

    pub(super) async fn typed_page<T: DeserializeOwned>(&self, path: String) -> Result<QueryPage<T>> {
        let answer = self.send(Call::get("query", path), &self.query_headers).await?;
        // Children that do not fit into a page are rare, and reading them takes the page apart.
        if has_nested_links(answer.bytes()) {
            let page: TypedPage<Value> = answer.json()?;
            let next = next_link(page.done, page.next_records_url)?;
            let mut records = Vec::with_capacity(page.records.len());
            for mut row in page.records {
                self.complete(&mut row).await?;
                let misfit = |error: serde_json::Error| decode_error(&serde_json::to_vec(&row).unwrap_or_default(), &error);
                records.push(T::deserialize(&row).map_err(misfit).map_err(|error| error.during("query"))?);
            }
            return Ok(QueryPage { total: page.total_size, records, next });
        }
        let page: TypedPage<T> = answer.json()?;
        let next = next_link(page.done, page.next_records_url)?;
        Ok(QueryPage { total: page.total_size, records: page.records, next })
    }

    pub(super) async fn fields_page(&self, path: String, headers: &HeaderMap) -> Result<QueryPage<Fields>> {
        let answer = self.send(Call::get("query", path), headers).await?;
        let page = answer.decode(|body| {
            let mut cache = ShapeCache::skipping(&["attributes"]);
            let seed = PageSeed { cache: &mut cache };
            // Looked at once as a whole, a text is faster read than once for each text in it.
            match std::str::from_utf8(body) {
                Ok(text) => whole(seed, serde_json::Deserializer::from_str(text)),
                Err(_) => whole(seed, serde_json::Deserializer::from_slice(body)),
            }
        })?;
        let next = next_link(page.done, page.next_records_url)?;
        let mut records = page.records;
        if has_nested_links(answer.bytes()) {
            for row in &mut records {
                for position in 0..row.shape().len() {
                    if row.at(position).is_some_and(Value::is_object)
                        && let Some(mut related) = row.set(position, None)
                    {
                        self.complete(&mut related).await?;
                        undecorated(&mut related);
                        row.set(position, Some(related));
                    }
                }
            }
        }
        Ok(QueryPage { total: page.total_size, records, next })
    }

    /// Reads the children of a row to their end, those of the children as well. One request for each page of them.
    async fn complete(&self, row: &mut Value) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Children {
            #[serde(default)]
            done: Option<bool>,
            #[serde(default)]
            next_records_url: Option<String>,
            records: Vec<Value>,
        }
        while let Some(link) = unfinished(row).and_then(|children| children.get("nextRecordsUrl")).and_then(Value::as_str) {
            let path = self.locator_path(link).await?;
            let page: Children = self.send(Call::get("query", path), &self.query_headers).await?.json()?;
            let next = next_link(page.done, page.next_records_url)?;
            let Some(children) = unfinished(row) else { break };
            if let Some(Value::Array(records)) = children.get_mut("records") {
                records.extend(page.records);
            }
            match next {
                Some(next) => children.insert("nextRecordsUrl".to_owned(), Value::String(next)),
                None => {
                    children.insert("done".to_owned(), Value::Bool(true));
                    children.remove("nextRecordsUrl")
                }
            };
        }
        Ok(())
    }

    /// The path of a next link: on the instance of now, of the shape `/services/data/vNN.N/query/{locator}`, nothing else.
    pub(super) async fn locator_path(&self, next: &str) -> Result<String> {
        let path = self.rest.link(next).await?;
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let fits = match parts.as_slice() {
            ["services", "data", version, "query" | "queryAll" | "queryall", locator] => {
                let digits = version.strip_prefix('v').unwrap_or_default();
                !digits.is_empty()
                    && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
                    && !locator.is_empty()
                    && locator.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'~'))
            }
            _ => false,
        };
        if fits { Ok(path) } else { Err(Error::decode("the next page's link is not that of a query; it was not followed")) }
    }
}

/// True if the page links to more than its own next page: some row's children go on. A page's own link stands before its rows;
/// where it does not, looking closer finds nothing to do.
fn has_nested_links(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let rows = text.find("\"records\"").and_then(|at| text.get(at..));
    rows.is_some_and(|rows| rows.contains("\"nextRecordsUrl\""))
}

/// The first list of children that has another page.
fn unfinished(value: &mut Value) -> Option<&mut Map<String, Value>> {
    let open = value.get("nextRecordsUrl").is_some_and(Value::is_string)
        && value.get("records").is_some_and(Value::is_array)
        && value.get("done").and_then(Value::as_bool) != Some(true);
    if open {
        return value.as_object_mut();
    }
    match value {
        Value::Object(map) => map.values_mut().find_map(unfinished),
        Value::Array(values) => values.iter_mut().find_map(unfinished),
        _ => None,
    }
}

/// The end is told by `done` or by the missing link, never by the number of rows.
fn next_link(done: Option<bool>, next: Option<String>) -> Result<Option<String>> {
    match (done, next) {
        (Some(true), _) => Ok(None),
        (Some(false), None) => Err(Error::decode("the query is not done and names no next page; rows would be lost").during("query")),
        (_, next) => Ok(next),
    }
}

/// `batchSize` for one query, within what Salesforce takes.
pub(super) fn with_batch_size(headers: &HeaderMap, rows: Option<u32>) -> HeaderMap {
    let mut headers = headers.clone();
    if let Some(rows) = rows
        && let Ok(value) = HeaderValue::try_from(format!("batchSize={}", rows.clamp(200, 2000)))
    {
        headers.insert(HeaderName::from_static("sforce-query-options"), value);
    }
    headers
}

/// A page and nothing behind it.
fn whole<'de, R: serde_json::de::Read<'de>>(seed: PageSeed<'_>, mut text: serde_json::Deserializer<R>) -> serde_json::Result<RawPage> {
    let page = seed.deserialize(&mut text)?;
    text.end()?;
    Ok(page)
}

#[derive(Default)]
struct RawPage {
    total_size: u64,
    done: Option<bool>,
    next_records_url: Option<String>,
    records: Vec<Fields>,
}

/// Decodes a page in one pass, its rows straight into shared shapes.
struct PageSeed<'a> {
    cache: &'a mut ShapeCache,
}

impl<'de> DeserializeSeed<'de> for PageSeed<'_> {
    type Value = RawPage;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawPage, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PageSeed<'_> {
    type Value = RawPage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of a query")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawPage, A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Key {
            TotalSize,
            Done,
            NextRecordsUrl,
            Records,
            #[serde(other)]
            Other,
        }
        let mut page = RawPage::default();
        let mut rows = false;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::TotalSize => page.total_size = map.next_value::<Option<u64>>()?.unwrap_or(0),
                Key::Done => page.done = map.next_value()?,
                Key::NextRecordsUrl => page.next_records_url = map.next_value()?,
                Key::Records => {
                    page.records = map.next_value_seed(RowsSeed { cache: self.cache, capacity: page.total_size })?;
                    rows = true;
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if rows { Ok(page) } else { Err(serde::de::Error::missing_field("records")) }
    }
}

struct RowsSeed<'a> {
    cache: &'a mut ShapeCache,
    capacity: u64,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Vec<Fields>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Fields>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Vec<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Vec<Fields>, A::Error> {
        let mut out = Vec::with_capacity(usize::try_from(self.capacity).unwrap_or(0).min(2000));
        while let Some(mut row) = rows.next_element_seed(FieldsSeed { cache: self.cache })? {
            strip(&mut row);
            out.push(row);
        }
        Ok(out)
    }
}

/// Related rows carry the decoration too; it is no data.
pub(super) fn strip(row: &mut Fields) {
    for position in 0..row.shape().len() {
        if row.at(position).is_some_and(Value::is_object)
            && let Some(mut related) = row.set(position, None)
        {
            undecorated(&mut related);
            row.set(position, Some(related));
        }
    }
}

fn undecorated(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("attributes");
            map.values_mut().for_each(undecorated);
        }
        Value::Array(values) => values.iter_mut().for_each(undecorated),
        _ => {}
    }
}
