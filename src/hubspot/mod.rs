//! The HubSpot client and adapter.
