//! The endpoints that only v1 has, and what is left of the old ones.

mod furniture;
mod leads;
mod legacy;
mod merge;
mod notes;
mod paging;
mod recents;
mod router;
mod shape;

pub(crate) use leads::lead_record;
pub(crate) use paging::pages;
