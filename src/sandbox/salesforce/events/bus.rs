//! The state of the bus, and how it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Waker;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::call::Call;
use crate::sandbox::salesforce::events::log::{Event, EventLog, Payload};
use crate::sandbox::salesforce::events::outbound::Outbound;
use crate::sandbox::salesforce::events::session::Sessions;
use crate::sandbox::salesforce::events::shape::Shape;

/// A custom channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CustomChannel {
    /// `data` or `event`.
    pub(crate) kind: String,
    pub(crate) label: String,
    /// Names of change events and platform events.
    pub(crate) members: BTreeSet<String>,
}

/// A managed subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Managed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) topic: String,
    /// Start at the oldest event when nothing was committed yet.
    pub(crate) earliest: bool,
    /// Start at the oldest event when the committed position is lost.
    pub(crate) recover_earliest: bool,
    pub(crate) running: bool,
    pub(crate) committed: Option<u64>,
}

/// What is set up in the org.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Objects selected for Change Data Capture.
    pub(crate) enabled: BTreeSet<String>,
    /// By full name, `Sales__chn`.
    pub(crate) channels: BTreeMap<String, CustomChannel>,
    pub(crate) managed: BTreeMap<String, Managed>,
    pub(crate) outbound: Outbound,
    /// CometD clients at a time.
    pub(crate) clients: usize,
    /// Seconds without an event after which a Pub/Sub stream says that it lives.
    pub(crate) keepalive: u64,
}

/// What changes of the bus a commit stores.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Config>,
    epoch: u64,
    last: u64,
    transactions: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cleared: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event>,
}

/// Who writes, and how.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) now: Timestamp,
    pub(crate) user: String,
    /// Empty when a person in the org writes.
    pub(crate) origin: String,
}

/// A scripted answer to a Bayeux message.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) channel: String,
    pub(crate) error: String,
    pub(crate) reason: Option<String>,
    pub(crate) advice: Option<Value>,
    pub(crate) left: u64,
}

/// A scripted end of Pub/Sub calls.
#[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
#[derive(Clone, Debug)]
pub(crate) struct Breakage {
    pub(crate) method: Option<String>,
    pub(crate) status: i32,
    pub(crate) code: String,
    pub(crate) left: u64,
}

/// The bus.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    config_dirty: bool,
    cleared: bool,
    /// So far.
    transactions: u64,
    pub(crate) log: EventLog,
    pub(crate) writer: Option<Writer>,
    staged: Vec<Payload>,
    pub(crate) sessions: Sessions,
    /// Nothing is sent, and nothing ends.
    pub(crate) stalled: bool,
    /// Grows when every open stream is to be cut.
    pub(crate) cuts: u64,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) breakages: Vec<Breakage>,
    /// Where Pub/Sub is reached: URL and certificate.
    pub(crate) pubsub: Option<(String, String)>,
    pub(crate) shapes: BTreeMap<String, Arc<Shape>>,
    pub(crate) schemas: BTreeMap<String, Arc<Shape>>,
    /// Pub/Sub calls so far.
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
    calls: u64,
    wakers: Vec<Waker>,
}

/// The client that `Sforce-Call-Options` names.
pub(crate) fn client(options: &str) -> Option<String> {
    options.split([',', ';']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim();
        (name.trim().eq_ignore_ascii_case("client") && !value.is_empty()).then(|| value.to_owned())
    })
}

impl Bus {
    pub(crate) fn new(seed: u64) -> Self {
        // A Developer Edition has change events for five objects at most.
        let enabled = ["Account", "Campaign", "Contact", "Lead", "Opportunity"].map(str::to_owned).into_iter().collect();
        let config = Config {
            enabled,
            channels: BTreeMap::new(),
            managed: BTreeMap::new(),
            outbound: Outbound::default(),
            clients: 20,
            keepalive: 270,
        };
        Self {
            seed,
            config,
            config_dirty: false,
            cleared: false,
            transactions: 0,
            log: EventLog::new(seed),
            writer: None,
            staged: Vec::new(),
            sessions: Sessions::new(seed),
            stalled: false,
            cuts: 0,
            refusals: Vec::new(),
            breakages: Vec::new(),
            pubsub: None,
            shapes: BTreeMap::new(),
            schemas: BTreeMap::new(),
            calls: 0,
            wakers: Vec::new(),
        }
    }

    /// Notes who makes the changes of a request.
    pub(crate) fn begin(&mut self, call: &Call, user: &str) {
        let version = call.path.split('/').find_map(|part| part.strip_prefix('v')?.strip_suffix(".0")?.parse().ok());
        let client = call.header("sforce-call-options").and_then(client);
        self.writes(call.now, user, "rest", version.unwrap_or(68), client.as_deref());
    }

    /// Notes that a Bulk API job makes the next changes.
    pub(crate) fn begin_job(&mut self, now: Timestamp, user: &str, version: u32, client: Option<&str>) {
        self.writes(now, user, "bulkapi", version, client);
    }

    fn writes(&mut self, now: Timestamp, user: &str, api: &str, version: u32, client: Option<&str>) {
        let client = client.map_or_else(String::new, |client| format!(";client={client}"));
        let origin = format!("com/salesforce/api/{api}/{version}.0{client}");
        self.writer = Some(Writer { now, user: user.to_owned(), origin });
    }

    /// Notes when, and for whom, if nothing is noted yet.
    pub(crate) fn begin_at(&mut self, now: Timestamp, user: &str) {
        self.writer.get_or_insert_with(|| Writer { now, user: user.to_owned(), origin: String::new() });
    }

    /// Notes that a person in the org makes the next changes.
    pub(crate) fn begin_by_hand(&mut self, now: Timestamp, user: &str) {
        self.writer = Some(Writer { now, user: user.to_owned(), origin: String::new() });
    }

    /// To be published with the commit.
    pub(crate) fn stage(&mut self, payload: Payload) {
        self.staged.push(payload);
    }

    pub(crate) fn staged(&mut self) -> Vec<Payload> {
        std::mem::take(&mut self.staged)
    }

    /// The number of a new Pub/Sub call.
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
    pub(crate) fn call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// The configuration, to be changed.
    pub(crate) fn change(&mut self) -> &mut Config {
        self.config_dirty = true;
        &mut self.config
    }

    /// The number of a new transaction.
    pub(crate) fn number(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    pub(crate) fn clear(&mut self, numbering: bool) {
        self.cleared = true;
        self.config_dirty = true;
        if numbering {
            self.log.reset();
        } else {
            self.log.expire();
        }
    }

    /// The object's fields are about to change, and with them its schema. The old schema stays known by its id.
    pub(crate) fn object_changed(&mut self, object: &str) {
        self.shapes.remove(object);
    }

    /// Calls on whoever waits for something to happen.
    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.config_dirty || self.cleared || self.log.has_fresh()
    }

    pub(crate) fn pending(&self) -> Option<Saved> {
        self.is_dirty().then(|| Saved {
            config: self.config_dirty.then(|| self.config.clone()),
            epoch: self.log.epoch(),
            last: self.log.last(),
            transactions: self.transactions,
            cleared: self.cleared,
            events: self.log.unsaved().cloned().collect(),
        })
    }

    pub(crate) fn snapshot(&self) -> Saved {
        Saved {
            config: Some(self.config.clone()),
            epoch: self.log.epoch(),
            last: self.log.last(),
            transactions: self.transactions,
            cleared: true,
            events: self.log.all().cloned().collect(),
        }
    }

    pub(crate) fn restore(&mut self, saved: Saved) {
        if let Some(config) = saved.config {
            self.config = config;
        }
        self.transactions = saved.transactions;
        self.log.restore(saved.epoch, saved.last, saved.cleared, saved.events);
    }

    pub(crate) fn committed(&mut self) {
        self.config_dirty = false;
        self.cleared = false;
        self.log.saved();
        self.staged.clear();
        self.writer = None;
    }

    /// The changes could not be kept, so they have not happened. What was set up stays for the next commit.
    pub(crate) fn discarded(&mut self) {
        self.log.discard();
        self.staged.clear();
        self.writer = None;
    }
}
