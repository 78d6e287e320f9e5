//! What Pipedrive can do, as data.

use crate::adapter::Capabilities;

/// Ids in one `ids=` (OpenAPI documents, entity lists).
pub(crate) const IDS: usize = 100;

/// No upsert, no external id and no batch exist, and a search sees a new record some seconds late: a create is safe as
/// [`ProbedWithLag`](crate::sync::Guarantee::ProbedWithLag) at best. Deletions can be polled for deals alone.
pub(crate) fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::basic("id");
    capabilities.search_read_your_writes = false;
    capabilities.search_max_in = IDS;
    capabilities.changes = true;
    capabilities.changes_with_deletes_of = vec!["deals".into(), "deal".into()];
    capabilities.associate = true;
    capabilities.describe = true;
    capabilities
}
