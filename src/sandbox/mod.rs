//! Pretend CRMs, stateful and strict.
//!
//! A [`Sandbox`] is one function from request to answer over a world of records. In process it is an
//! [`HttpTransport`](crate::http::HttpTransport); [`Sandbox::serve`] puts the same function on a loopback port, for programs in
//! any language. It knows nothing of this crate's clients: it is written from the vendors' documents, refuses what they
//! refuse, and so disagrees with a client that is wrong.
//!
//! ```
//! # futures_util::FutureExt::now_or_never(async {
//! use crm_sync::host::Host;
//! use crm_sync::sandbox::Sandbox;
//!
//! let sandbox = Sandbox::new(Host::manual(1), 1);
//! let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
//! let request = http::Request::get(format!("{}/services/data/v68.0/limits", access.instance_url))
//!     .header("authorization", format!("Bearer {}", access.access_token))
//!     .body(bytes::Bytes::new())
//!     .unwrap();
//! let answer = sandbox.transport().send(request).await.unwrap();
//! assert_eq!(answer.status(), 200);
//! # }).unwrap();
//! ```
//!
//! The Salesforce face answers at the root (`/services/...`) and below `/salesforce`. Below `/_sandbox/` the sandbox itself is
//! reached: `GET state`, `DELETE state`, `GET requests`, `DELETE requests`, `GET`, `POST` and `DELETE faults`, `GET` and `POST
//! options`, `GET` and `POST events` (an [`EventScript`] as JSON), `GET clock`, and `GET`, `POST`, `PATCH` and `DELETE
//! records/{object}[/{id}]` to edit as another user of the org;
//! `POST undelete/{object}/{id}` and `DELETE recycle_bin`; `POST convert` converts a lead (a [`Conversion`] as JSON); `GET`,
//! `POST` and `DELETE automations` are the org's validation rules and triggers (an [`Automation`] as JSON).
//!
//! The Pipedrive face answers at the root (`/v1/...`, `/api/v1/...`, `/api/v2/...`, `/oauth/token`, `/oauth/revoke`, and
//! `/oauth/authorize` for its own client ids) and below `/pipedrive`. Below `/_sandbox/pipedrive/` there are `options`
//! ([`PipedriveOptions`] as JSON), `records/{entity}[/{id}]` and `POST merge/{entity}/{id}/{into}` to edit as another user, `DELETE
//! tokens`, `POST api_token`, `POST uninstall`, `GET spent` and `GET deliveries`.
//!
//! The HubSpot face answers at the root (`/crm/...`, `/oauth/...`, `/submissions/...` and so on) and below `/hubspot`; below
//! `/_sandbox/hubspot/` are its `options` ([`HubSpotOptions`]), `tokens` and `installation` (`DELETE` ends them), the `webhooks`
//! that wait, `records/{object}[/{id}]` and `POST restore/{object}/{id}`. Its records are written under the limits real accounts
//! have: five searches in a second, an index that follows writes late. The host's clock refills them.
//!
//! Bulk jobs move as the host's clock does, at the pace of [`BulkOptions`]; with every time at zero a job is done when it is next
//! looked at.
//!
//! With a directory ([`Sandbox::open`]) every write is with the operating system before its answer is given, so that killing
//! the process loses none.
//!
//! This module is outside the crate's semver promise.

mod admin;
mod api;
mod call;
mod courier;
mod dispatch;
mod encoding;
mod fault;
mod hubspot;
mod log;
mod pipedrive;
mod pipedrive_api;
mod portal;
#[cfg(feature = "sandbox-pubsub")]
mod pubsub;
mod requests;
mod salesforce;
mod serve;
mod store;
mod transport;
mod world;

pub use api::{SalesforceAccess, Sandbox};
pub use fault::{Fault, FaultKind};
pub use hubspot::{HubSpotDelivery, HubSpotOptions, HubSpotSignature, HubSpotTrouble};
pub use pipedrive::{PipedriveOptions, PipedrivePlan, WebhookDelivery};
pub use pipedrive_api::PipedriveAccess;
pub use portal::HubSpotAccess;
#[cfg(feature = "sandbox-pubsub")]
pub use pubsub::PubSub;
pub use requests::RequestRecord;
pub use salesforce::{
    AssignmentEntry, Automation, AutomationKind, BulkOptions, Conversion, Converted, DuplicateRule, EventScript, FieldDef, FieldKind,
    ObjectDef, Options, OutboundDelivery, RuleAction,
};
