//! Numbers of HubSpot's guides.

/// Inputs of one batch.
pub const BATCH_LIMIT: usize = 100;
/// Names of properties longer than this in all do not go into a URL (414 at about 900 names): they are read by POST.
pub(super) const MAX_NAMES: usize = 6_000;
