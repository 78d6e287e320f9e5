//! The Pipedrive client and adapter.
