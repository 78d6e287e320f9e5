//! Comforts on top of any adapter; nobody overrides them.

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::adapter::api::CrmAdapter;
use crate::adapter::bulk::{BulkOp, BulkOutcome};
use crate::adapter::dictionary::Dictionary;
use crate::adapter::mapped::MappedAdapter;
use crate::adapter::write::WriteOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, Record};
use crate::query::Query;

/// Comforts for every [`CrmAdapter`].
#[async_trait]
pub trait CrmAdapterExt: CrmAdapter {
    /// The same CRM in the host's own words: entities, fields, values, conditions and changes are translated both ways by the
    /// mappings of `words`, as the original guide's adapter does.
    ///
    /// ```
    /// # use crm_sync::adapter::{CrmAdapter, CrmAdapterExt, Dictionary};
    /// # use crm_sync::mapping::{Mapping, MappingSet};
    /// # fn example(crm: impl CrmAdapter) -> crm_sync::error::Result<()> {
    /// let set = MappingSet::from_json(r#"{"salesforce": {"lead": {"lastName": "LastName", "company": "Company"}}}"#, "mapping.json")?;
    /// let lead = Mapping::compile(set.require("salesforce", "lead")?, None)?;
    /// // `lead` with `lastName` here is `Lead` with `LastName` there.
    /// let crm = crm.mapped(Dictionary::new().entity("Lead", lead));
    /// # let _ = crm;
    /// # Ok(()) }
    /// ```
    fn mapped(self, words: impl Into<Dictionary>) -> MappedAdapter<Self>
    where
        Self: Sized,
    {
        MappedAdapter::new(self, words.into())
    }

    /// All pages of a search, one record after the other; one call per page, made when the page is needed.
    ///
    /// An error ends the stream.
    fn search_all<'a>(&'a self, query: Query) -> BoxStream<'a, Result<Record>> {
        let pages = stream::try_unfold(Some(query), move |query| async move {
            let Some(mut query) = query else { return Ok(None) };
            let page = self.search(&query).await?;
            let next = match page.next {
                // A server that names the same place again would keep us here for ever.
                Some(next) if query.cursor.as_ref() == Some(&next) => {
                    return Err(Error::new(ErrorKind::Decode, "the next page is the page just read").during("search").on(&query.entity));
                }
                Some(next) => {
                    query.cursor = Some(next);
                    Some(query)
                }
                None => None,
            };
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), next)))
        });
        futures_util::TryStreamExt::try_flatten(pages).boxed()
    }

    /// The first record that matches.
    ///
    /// # Errors
    /// Those of [`CrmAdapter::search`].
    async fn find_one(&self, query: Query) -> Result<Option<Record>> {
        self.search_all(query.limit(1)).next().await.transpose()
    }

    /// [`CrmAdapter::bulk`] in chunks of what the CRM takes; one outcome per operation, in order.
    ///
    /// A chunk that fails as a whole gives its error to each of its operations, and the others go on.
    async fn bulk_all(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Vec<BulkOutcome> {
        let size = match self.capabilities().bulk_max_ops {
            0 => ops.len().max(1),
            most => most,
        };
        let mut outcomes = Vec::with_capacity(ops.len());
        for chunk in ops.chunks(size) {
            match self.bulk(entity, chunk, options).await {
                Ok(some) => outcomes.extend(some),
                Err(error) => outcomes.extend(spread(&error, chunk.len())),
            }
        }
        outcomes
    }
}

impl<A: CrmAdapter + ?Sized> CrmAdapterExt for A {}

/// One copy of an error for each operation it is about.
fn spread(error: &Error, count: usize) -> impl Iterator<Item = BulkOutcome> + '_ {
    std::iter::repeat_with(|| Err(error.echo())).take(count)
}
