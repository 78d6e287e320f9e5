//! Archived deals and leads: apart from the others since 2025, and not editable through the API.

use futures_util::stream::BoxStream;

use crate::error::Result;
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::records::Records;
use crate::pipedrive::types::{Deal, Lead};

impl<'a> Records<'a, Deal> {
    /// The archived deals, which [`Records::list`] does not show. Price: 20 a page. Not editable: an update is refused.
    pub fn archived(&self, query: ListQuery) -> BoxStream<'a, Result<Deal>> {
        self.pages("/archived", 20, query)
    }
}

impl<'a> Records<'a, Lead> {
    /// The archived leads, which [`Records::list`] does not show. Price: 40 a page. To bring one back, `is_archived` is set to
    /// false.
    pub fn archived(&self, query: ListQuery) -> BoxStream<'a, Result<Lead>> {
        self.pages("/archived", 40, query)
    }
}
