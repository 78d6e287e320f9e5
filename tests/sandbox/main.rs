//! The sandbox's faces, asked over plain HTTP by nobody's client.

mod events;
mod events_cometd;
mod hubspot;
mod hubspot_app;
mod hubspot_objects;
mod pipedrive;
mod pipedrive_access;
mod pipedrive_v1;
mod pubsub;
mod salesforce;
mod salesforce_bulk;
mod salesforce_habits;
mod salesforce_oauth;
mod salesforce_objects;
mod salesforce_soql;
mod search;

#[path = "../bayeux/mod.rs"]
mod bayeux;
#[path = "../pipedrive_http/mod.rs"]
mod pipedrive_http;
#[path = "../portal/mod.rs"]
mod portal;
#[path = "../raw_http/mod.rs"]
mod raw_http;
