//! Queries, page by page.

use std::fmt;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Fields, FieldsSeed, ShapeCache};
use crate::rest::Call;
use crate::salesforce::client::Salesforce;
use crate::salesforce::soql::percent_encode;

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
        self.typed_page(self.query_path(soql, false)).await
    }

    /// As [`Salesforce::query`], with deleted, merged and archived rows (`queryAll`).
    ///
    /// # Errors
    /// See [`Salesforce::query`].
    pub async fn query_with_deleted<T: DeserializeOwned>(&self, soql: &str) -> Result<QueryPage<T>> {
        self.typed_page(self.query_path(soql, true)).await
    }

    /// The page at `next`.
    ///
    /// # Errors
    /// See [`Salesforce::query`]; [`crate::error::ErrorKind::Conflict`] if the cursor has expired: start the query again.
    pub async fn query_more<T: DeserializeOwned>(&self, next: &str) -> Result<QueryPage<T>> {
        self.typed_page(self.locator_path(next).await?).await
    }

    /// All rows of `soql`, each page read when it is needed. An error ends the stream.
    #[must_use]
    pub fn query_all<T: DeserializeOwned + Send + 'static>(&self, soql: impl Into<String>) -> BoxStream<'static, Result<T>> {
        let start = Some(Step::Start(soql.into()));
        let client = self.clone();
        let pages = stream::try_unfold(start, move |step| {
            let client = client.clone();
            async move {
                let page: QueryPage<T> = match &step {
                    None => return Ok::<_, Error>(None),
                    Some(Step::Start(soql)) => client.query(soql).await?,
                    Some(Step::Next(next)) => client.query_more(next).await?,
                };
                let next = advance(step.as_ref(), page.next)?;
                Ok(Some((stream::iter(page.records.into_iter().map(Ok::<T, Error>)), next)))
            }
        });
        futures_util::TryStreamExt::try_flatten(pages).boxed()
    }

    /// The first page of `soql`, as rows with shared keys: the fast way for many rows.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn query_fields(&self, soql: &str) -> Result<QueryPage<Fields>> {
        self.fields_page(self.query_path(soql, false), &self.query_headers).await
    }

    /// The page at `next`, as rows with shared keys.
    ///
    /// # Errors
    /// See [`Salesforce::query_more`].
    pub async fn query_fields_more(&self, next: &str) -> Result<QueryPage<Fields>> {
        self.fields_page(self.locator_path(next).await?, &self.query_headers).await
    }

    pub(super) fn query_path(&self, soql: &str, deleted: bool) -> String {
        self.path(&format!("/{}?q={}", if deleted { "queryAll" } else { "query" }, percent_encode(soql)))
    }

    async fn typed_page<T: DeserializeOwned>(&self, path: String) -> Result<QueryPage<T>> {
        let page: TypedPage<T> = self.send(Call::get("query", path), &self.query_headers).await?.json()?;
        let next = next_link(page.done, page.next_records_url)?;
        Ok(QueryPage { total: page.total_size, records: page.records, next })
    }

    pub(super) async fn fields_page(&self, path: String, headers: &HeaderMap) -> Result<QueryPage<Fields>> {
        let answer = self.send(Call::get("query", path), headers).await?;
        let page = answer.decode(|body| {
            let mut cache = ShapeCache::skipping(&["attributes"]);
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            let page = PageSeed { cache: &mut cache }.deserialize(&mut deserializer)?;
            deserializer.end()?;
            Ok(page)
        })?;
        let next = next_link(page.done, page.next_records_url)?;
        Ok(QueryPage { total: page.total_size, records: page.records, next })
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

enum Step {
    Start(String),
    Next(String),
}

fn advance(step: Option<&Step>, next: Option<String>) -> Result<Option<Step>> {
    match (step, next) {
        (Some(Step::Next(last)), Some(next)) if *last == next => {
            Err(Error::decode("the next page of the query is the page just read").during("query"))
        }
        (_, next) => Ok(next.map(Step::Next)),
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
            && let Some(Value::Object(mut related)) = row.set(position, None)
        {
            related.remove("attributes");
            row.set(position, Some(Value::Object(related)));
        }
    }
}
