//! What Salesforce can do, as data.

use crate::adapter::Capabilities;
use crate::salesforce::limits::COLLECTION_LIMIT;

pub(super) fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::basic("Id");
    capabilities.search_with_or = true;
    capabilities.search_with_not = true;
    capabilities.search_with_order = true;
    // Ids take 27 bytes of the request line each.
    capabilities.search_max_in = 300;
    capabilities.upsert = true;
    capabilities.bulk = true;
    capabilities.bulk_max_ops = COLLECTION_LIMIT;
    capabilities.changes = true;
    capabilities.changes_with_deletes = true;
    capabilities.associate = true;
    capabilities.describe = true;
    capabilities
}
