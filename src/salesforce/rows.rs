//! All rows of a query, and where a reader stands in them.

use std::fmt;
use std::marker::PhantomData;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::salesforce::client::Salesforce;

/// Where a reader of a query stands. It can be stored, and read on from by another process as the same user, for about two days.
/// It holds the statement, so treat it like the values in it; `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryCursor {
    soql: String,
    #[serde(default)]
    deleted: bool,
    /// The link of the page the reader is in; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// Rows of that page the reader has.
    #[serde(default)]
    taken: usize,
    #[serde(default)]
    done: bool,
}

impl fmt::Debug for QueryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryCursor").field("taken", &self.taken).field("done", &self.done).finish_non_exhaustive()
    }
}

impl QueryCursor {
    /// True if every row was read.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

/// The rows of a query, each page read when it is needed.
pub struct QueryRows<T> {
    client: Salesforce,
    cursor: QueryCursor,
    page: Option<Loaded<T>>,
    rows: PhantomData<fn() -> T>,
}

struct Loaded<T> {
    rows: std::vec::IntoIter<T>,
    next: Option<String>,
}

impl<T> fmt::Debug for QueryRows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryRows").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl Salesforce {
    /// All rows of `soql`, from the first. Nothing is sent before the first row is asked for.
    pub fn rows<T: DeserializeOwned>(&self, soql: impl Into<String>) -> QueryRows<T> {
        self.resume_rows(QueryCursor { soql: soql.into(), deleted: false, page: None, taken: 0, done: false })
    }

    /// As [`Salesforce::rows`], with deleted, merged and archived rows (`queryAll`).
    pub fn rows_with_deleted<T: DeserializeOwned>(&self, soql: impl Into<String>) -> QueryRows<T> {
        self.resume_rows(QueryCursor { soql: soql.into(), deleted: true, page: None, taken: 0, done: false })
    }

    /// The rows behind `cursor`. From the second page on none comes twice and none is left out; a reader that stood in the first
    /// page begins anew, because that page has no link of its own.
    pub fn resume_rows<T: DeserializeOwned>(&self, mut cursor: QueryCursor) -> QueryRows<T> {
        if cursor.page.is_none() {
            cursor.taken = 0;
        }
        QueryRows { client: self.clone(), cursor, page: None, rows: PhantomData }
    }
}

impl<T: DeserializeOwned> QueryRows<T> {
    /// The next row, or `None` at the end. After an error the same row may be asked for again. Dropping the future loses nothing.
    ///
    /// # Errors
    /// See [`Salesforce::query`]; [`crate::error::ErrorKind::Conflict`] if the query's pages have expired: start it again from a
    /// watermark; [`crate::error::ErrorKind::Decode`] if a page's link leads away from the instance: it is not followed.
    pub async fn next(&mut self) -> Result<Option<T>> {
        loop {
            if self.cursor.done {
                return Ok(None);
            }
            if let Some(page) = &mut self.page {
                if let Some(row) = page.rows.next() {
                    self.cursor.taken += 1;
                    return Ok(Some(row));
                }
                let next = page.next.take();
                self.step(next)?;
                continue;
            }
            let page = match &self.cursor.page {
                Some(link) => self.client.query_more::<T>(link).await?,
                None if self.cursor.deleted => self.client.query_with_deleted::<T>(&self.cursor.soql).await?,
                None => self.client.query::<T>(&self.cursor.soql).await?,
            };
            let mut rows = page.records.into_iter();
            if self.cursor.taken > 0 {
                rows.by_ref().take(self.cursor.taken).for_each(drop);
            }
            self.page = Some(Loaded { rows, next: page.next });
        }
    }

    fn step(&mut self, next: Option<String>) -> Result<()> {
        self.page = None;
        self.cursor.taken = 0;
        match next {
            Some(next) if self.cursor.page.as_ref() == Some(&next) => {
                self.cursor.done = true;
                return Err(Error::decode("the query's next page is the same page again").during("query"));
            }
            Some(next) => self.cursor.page = Some(next),
            None => self.cursor.done = true,
        }
        Ok(())
    }

    /// Where this reader stands: behind the last row it gave.
    pub fn cursor(&self) -> QueryCursor {
        let mut cursor = self.cursor.clone();
        if let Some(page) = &self.page
            && page.rows.as_slice().is_empty()
        {
            match &page.next {
                Some(next) => (cursor.page, cursor.taken) = (Some(next.clone()), 0),
                None => cursor.done = true,
            }
        }
        cursor
    }

    /// The rows as a stream; an error ends it.
    pub fn into_stream(self) -> BoxStream<'static, Result<T>>
    where
        T: Send + 'static,
    {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(row)) => Some((Ok(row), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}
