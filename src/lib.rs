//! Keeps a marketing system's leads, contacts and companies in step with a CRM. An embeddable library: no service, no runtime of
//! its own, nothing spawned; the host lends time, sleep, randomness and a store.
//!
//! The heart is [`sync::Engine`]: it compares the host's records with the CRM, makes a [`sync::Plan`] (create, update, skip,
//! review; why; how safe; at what price), and applies it so that a crash at any moment loses nothing and doubles nothing.
//!
//! ```
//! # #[cfg(all(feature = "sandbox", feature = "salesforce"))]
//! # async fn run() -> crm_sync::error::Result<()> {
//! use std::sync::Arc;
//!
//! use crm_sync::adapter::CrmAdapter;
//! use crm_sync::host::Host;
//! use crm_sync::mapping::{Mapping, MappingSet};
//! use crm_sync::model::Fields;
//! use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
//! use crm_sync::sandbox::Sandbox;
//! use crm_sync::store::MemoryStore;
//! use crm_sync::sync::{Engine, Incoming};
//! use futures_util::TryStreamExt;
//!
//! // In production: Host::tokio(), a ReqwestTransport and a real org.
//! let host = Host::manual(7);
//! let sandbox = Sandbox::new(host.clone(), 7);
//! let access = sandbox.salesforce("http://sandbox.test");
//! let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
//! let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, sandbox.transport(), host.clone())?);
//!
//! // The host's words and the CRM's, checked against the CRM's own description.
//! let set = MappingSet::from_json(r#"{"salesforce": {"lead": {"lastName": "LastName", "company": "Company"}}}"#, "mapping.json")?;
//! let schema = crm.describe(&entity::LEAD).await?;
//! let config = set.entity("salesforce", "lead").expect("the section above");
//! let mapping = Mapping::compile(config, Some(&schema))?;
//!
//! let store = Arc::new(MemoryStore::new(host.clone()));
//! let engine = Engine::builder(crm, store, host, schema, mapping).external_key("External_Id__c").build()?;
//! let fields: Fields = [("lastName", "Curie"), ("company", "Sorbonne")].into_iter().collect();
//! let leads = [Incoming::new("lead-1", fields)];
//!
//! let plan = engine.plan(&leads).await?;
//! assert_eq!(plan.summary().create, 1);
//! let applied: Vec<_> = engine.apply(&plan).try_collect().await?;
//! assert_eq!(applied.len(), 1);
//! // Again: nothing to write.
//! assert_eq!(engine.plan(&leads).await?.writes(), 0);
//! # Ok(()) }
//! # #[cfg(all(feature = "sandbox", feature = "salesforce"))]
//! # futures_util::FutureExt::now_or_never(run()).expect("nothing waits in a manual host").unwrap();
//! ```
//!
//! # Modules
//!
//! | module | what |
//! | --- | --- |
//! | [`adapter`] | the contract of a CRM, and comforts on top of it |
//! | [`auth`] | tokens and OAuth; one refresh however many callers wait |
//! | [`dedup`] | which records are the same person or company |
//! | [`error`] | the one error: kind, retry verdict, "may have been applied" |
//! | [`host`] | what the host lends |
//! | [`http`] | the transport seam |
//! | [`layer`] | decorators of an adapter: retry, rate limit, observe, guard |
//! | [`mapping`] | the host's words and the CRM's |
//! | [`model`] | values, fields, records, schemas |
//! | [`observe`] | what happened, told to whoever listens |
//! | [`pace`] | retry schedules, budgets, buckets |
//! | [`query`] | conditions and searches as data |
//! | [`queue`] | work that waits: lanes, leases, dead letters |
//! | [`rest`] | the one place where a call is made |
//! | [`store`] | what must be remembered |
//! | [`sync`] | plan, apply, resolve |
//! | [`webhook`] | webhooks: verified raw bytes, events, a router |
//! | `custom` | any other REST API, described as data (feature `custom`) |
//! | `hubspot` | the HubSpot client and adapter (feature `hubspot`) |
//! | `pipedrive` | the Pipedrive client and adapter (feature `pipedrive`) |
//! | `salesforce` | the Salesforce client and adapter (feature `salesforce`) |
//! | `sandbox` | pretend CRMs to test against (feature `sandbox`) |
//! | `conformance` | test lists for adapters, queues, stores and transports (feature `conformance`) |
//! | `guide` | chapters: write an adapter in an afternoon |
//!
//! The features are listed in the README, with what each brings.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
pub mod auth;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "custom")]
pub mod custom;
pub mod dedup;
mod document;
pub mod error;
#[cfg(all(any(doc, doctest), feature = "conformance", feature = "custom", feature = "yaml"))]
pub mod guide;
pub mod host;
pub mod http;
#[cfg(feature = "hubspot")]
pub mod hubspot;
pub mod layer;
pub mod mapping;
pub mod model;
pub mod observe;
pub mod pace;
#[cfg(feature = "pipedrive")]
pub mod pipedrive;
pub mod query;
pub mod queue;
pub mod rest;
#[cfg(feature = "salesforce")]
pub mod salesforce;
#[cfg(feature = "sandbox")]
pub mod sandbox;
mod sql;
pub mod store;
pub mod sync;
pub mod webhook;

/// The README's example is compiled and run.
#[cfg(all(doctest, feature = "sandbox", feature = "salesforce", feature = "reqwest"))]
#[doc = include_str!("../README.md")]
mod readme {}
