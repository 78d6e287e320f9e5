//! The endpoints that only v1 has, and what is left of the old ones.

mod changelog;
mod filters;
mod furniture;
mod leads;
mod legacy;
mod merge;
mod notes;
mod recents;
mod router;
mod shape;
