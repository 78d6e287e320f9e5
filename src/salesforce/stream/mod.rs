//! What happens in an org, as it happens: change data capture, PushTopics, platform and generic events.
//!
//! [`Salesforce::listen`](crate::salesforce::Salesforce::listen) speaks the Streaming API (CometD, long polling) over the host's
//! own transport; with the feature `pubsub` the module `pubsub` speaks the Pub/Sub API. Both give the same [`StreamEvent`]s:
//!
//! * [`StreamEvent::Change`]: a record, what happened to it and the fields that did change. A field that is null here was cleared;
//!   one that did not change is absent, whatever the wire says.
//! * [`StreamEvent::Reread`]: the event does not hold what is needed (a gap, an overflow, a wildcard, one change of many records,
//!   a text that came as a diff), or events were lost: read these records again.
//! * [`StreamEvent::Message`]: a platform or generic event.
//! * [`StreamEvent::Health`]: the connection changed its state. A stream that ends says why: its last item is an error.
//!
//! ```
//! # use crm_sync::error::Result;
//! # use crm_sync::host::Host;
//! # use crm_sync::model::Fields;
//! # use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
//! # use crm_sync::sandbox::Sandbox;
//! use crm_sync::salesforce::stream::{StreamEvent, StreamOptions, Subscription};
//! use futures_util::StreamExt;
//!
//! # async fn run() -> Result<()> {
//! # let (host, org) = (Host::manual(1), Host::manual(1));
//! # let sandbox = Sandbox::new(org, 1);
//! # let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
//! # let config = SalesforceConfig::with_access_token(Sandbox::IN_PROCESS_URL, access.access_token.into());
//! # let crm = Salesforce::new(config, sandbox.transport(), host)?;
//! // What was kept when the last event's work was done; `None` in the first run.
//! let stored = None;
//! let mut events = crm.listen([Subscription::changes(&entity::LEAD).from(stored)], StreamOptions::new())?;
//! # let mut lead = Fields::new();
//! # lead.insert("LastName", "Lovelace");
//! # lead.insert("Company", "Example Ltd");
//! # crm.create(&entity::LEAD, &lead).await?;
//! while let Some(event) = events.next().await {
//!     match event? {
//!         StreamEvent::Change(change) => {
//!             assert_eq!(change.change.fields.text("LastName"), Some("Lovelace"));
//!             break;
//!         }
//!         StreamEvent::Reread(order) => println!("read again, because of {:?}", order.reason),
//!         StreamEvent::Health(health) => println!("the stream is {}", health.state.as_str()),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # At least once
//! Keep the [`Position`] of an event when its work is done, and begin there the next time ([`Subscription::from`]). While a stream
//! lives it resumes behind the last event it handed out, whatever broke, and drops what comes twice. A replay id that Salesforce
//! no longer knows (events are kept for 24 hours, those of change data capture and high-volume platform events for 72) is
//! replaced by the [`ReplayFallback`], and the hole is told as a [`StreamEvent::Reread`].
//!
//! # Limits worth knowing
//! Events delivered are counted over 24 hours for each subscriber; 20 to 2,000 CometD clients may listen at a time (Streaming API
//! Developer Guide, "Streaming API Allocations"). Two subscriptions that overlap deliver an event twice, once on each channel.

mod assemble;
mod bayeux;
mod channel;
mod comet;
mod compound;
mod cookies;
mod decode;
mod event;
mod header;
mod health;
mod log;
mod options;
mod position;
#[cfg(feature = "pubsub")]
pub mod pubsub;
mod push_topic;
mod session;
mod topic_query;

pub use comet::CometdStream;
pub use event::{Commit, Reread, RereadReason, RereadScope, StreamChange, StreamEvent, StreamMessage};
pub use health::{StreamHealth, StreamMonitor, StreamState};
pub use log::StreamLog;
pub use options::{ReplayFallback, StreamOptions, Subscription};
pub use position::{Position, Replay, ReplayId};
pub use push_topic::{NotifyForFields, PushTopic};
