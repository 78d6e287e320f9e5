//! What HubSpot can do, as data.

use crate::adapter::Capabilities;
use crate::hubspot::limits::BATCH_LIMIT;

pub(super) fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::basic("hs_object_id");
    capabilities.search_with_or = true;
    capabilities.search_with_not = true;
    capabilities.search_with_order = true;
    // The index lags behind writes.
    capabilities.search_read_your_writes = false;
    capabilities.search_max_clauses = 18;
    capabilities.search_max_in = 100;
    capabilities.upsert = true;
    capabilities.bulk = true;
    capabilities.bulk_max_ops = BATCH_LIMIT;
    capabilities.changes = true;
    capabilities.changes_with_deletes = true;
    capabilities.associate = true;
    capabilities.describe = true;
    capabilities
}
