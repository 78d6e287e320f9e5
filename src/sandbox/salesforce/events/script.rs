//! What a test can do to the bus.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::events::bus::{Breakage, Refusal, Writer};
use crate::sandbox::salesforce::events::capture::{NO_ID, change};
use crate::sandbox::salesforce::events::log::{Payload, uuid};
use crate::sandbox::salesforce::events::outbound::Message;
use crate::sandbox::salesforce::events::shape::{Delta, KINDS};
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef};

/// Something done to the event bus: trouble, and what has no API in Salesforce. As JSON: `{"do": "overflow", "entity": "Lead"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventScript {
    /// Pub/Sub calls that are open or come next end with this status.
    Break {
        /// `Subscribe`, `GetTopic` and so on; any if absent.
        #[serde(default)]
        method: Option<String>,
        /// The gRPC status number.
        status: i32,
        /// The `error-code` of the trailers.
        error_code: String,
        /// So many calls.
        #[serde(default = "once")]
        times: u64,
    },
    /// A change event that no row has made: several ids, a wildcard (`001*`), another user's origin.
    Change {
        /// The object.
        entity: String,
        /// The record ids, as they are.
        ids: Vec<String>,
        /// `UPDATE`, `GAP_CREATE` and so on.
        kind: String,
        /// The body, in the event's names.
        #[serde(default)]
        fields: Map<String, Value>,
        /// `changedFields`, in the event's names.
        #[serde(default)]
        changed: Vec<String>,
        /// `nulledFields`.
        #[serde(default)]
        nulled: Vec<String>,
        /// `changeOrigin`.
        #[serde(default)]
        origin: String,
    },
    /// At most so many CometD clients at a time; 20 at first.
    Clients {
        /// The limit.
        most: usize,
    },
    /// Held connects and open Pub/Sub streams break now.
    Cut,
    /// Selects or deselects an object for change events; five are selected at first.
    Enable {
        /// The object.
        entity: String,
        /// Off if false.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Everything so far is out of retention: its replay ids are refused.
    Expire,
    /// A gap event for records whose change cannot be told.
    Gap {
        /// The object.
        entity: String,
        /// The records.
        ids: Vec<String>,
        /// `CREATE`, `UPDATE`, `DELETE` or `UNDELETE`.
        #[serde(default = "update")]
        operation: String,
    },
    /// Seconds after which a Pub/Sub stream without events gets an empty answer; 270 at first.
    Keepalive {
        /// The interval.
        seconds: u64,
    },
    /// Registers an outbound message for created and changed records.
    Outbound {
        /// The action's id, `04k...`; made up if absent.
        #[serde(default)]
        action: Option<String>,
        /// The object.
        entity: String,
        /// The fields that are sent besides `Id`.
        fields: Vec<String>,
        /// Where it is sent.
        url: String,
        /// With the session id.
        #[serde(default)]
        session: bool,
    },
    /// An overflow event: too much has changed to be told.
    Overflow {
        /// The object.
        entity: String,
    },
    /// Adds a platform event.
    PlatformEvent {
        /// `Signal__e`.
        name: String,
        /// Field names (`X__c`) and kinds: `text`, `double`, `boolean`, `date_time`, `long_text`, ...
        fields: std::collections::BTreeMap<String, FieldKind>,
    },
    /// The next Bayeux messages on a channel are refused.
    Refuse {
        /// `/meta/handshake`, `/meta/connect`, `/meta/subscribe`.
        channel: String,
        /// `403::Unknown client`.
        error: String,
        /// `ext.sfdc.failureReason`.
        #[serde(default)]
        reason: Option<String>,
        /// The advice, as it is.
        #[serde(default)]
        advice: Option<Value>,
        /// So many messages.
        #[serde(default = "once")]
        times: u64,
    },
    /// The log is lost and numbering starts anew below where it was, as after an org's migration.
    Reset,
    /// Nothing is delivered and nothing is answered on held connects and open streams until it is switched off.
    Stall {
        /// Off if false.
        #[serde(default = "yes")]
        on: bool,
    },
    /// All CometD clients are forgotten: `403::Unknown client`.
    UnknownClient,
}

fn once() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn update() -> String {
    "UPDATE".to_owned()
}

impl Salesforce {
    fn entity(&self, name: &str) -> Result<String> {
        let object = self.schema.object(name).ok_or_else(|| Error::config(format!("the sandbox's org has no object {name}")))?;
        Ok(object.name.clone())
    }

    /// Does what a script says.
    pub(crate) fn script(&mut self, now: Timestamp, script: EventScript) -> Result<()> {
        match script {
            EventScript::Break { method, status, error_code, times } => {
                self.events.breakages.push(Breakage { method, status, code: error_code, left: times });
            }
            EventScript::Change { entity, ids, kind, fields, changed, nulled, origin } => {
                let delta = Delta { fields, changed, nulled, diffs: Vec::new() };
                self.tell(now, &entity, ids, kind, origin, delta)?;
            }
            EventScript::Clients { most } => self.events.change().clients = most,
            EventScript::Cut => self.events.cuts += 1,
            EventScript::Enable { entity, on } => {
                let entity = self.entity(&entity)?;
                let enabled = &mut self.events.change().enabled;
                if on {
                    enabled.insert(entity);
                } else {
                    enabled.remove(&entity);
                }
            }
            EventScript::Expire => self.events.clear(false),
            EventScript::Gap { entity, ids, operation } => {
                self.tell(now, &entity, ids, format!("GAP_{operation}"), String::new(), Delta::default())?;
            }
            EventScript::Keepalive { seconds } => self.events.change().keepalive = seconds.max(1),
            EventScript::Outbound { action, entity, fields, url, session } => {
                let entity = self.entity(&entity)?;
                let action = match action {
                    Some(action) => ids::normalize(&action).ok_or_else(|| Error::config("an action id has 15 or 18 characters"))?,
                    None => self.new_id("04k"),
                };
                self.events.change().outbound.register(Message { action, entity, fields, url, session });
            }
            EventScript::Overflow { entity } => {
                let ids = vec![NO_ID.to_owned()];
                self.tell(now, &entity, ids, "GAP_OVERFLOW".to_owned(), String::new(), Delta::default())?;
            }
            EventScript::PlatformEvent { name, fields } => {
                if !name.ends_with("__e") {
                    return Err(Error::config("the name of a platform event ends in __e"));
                }
                let fields = fields.into_iter().map(|(name, kind)| FieldDef::new(name, kind, 255)).collect();
                let prefix = ('0'..='9')
                    .flat_map(|tens| ('0'..='9').map(move |ones| format!("e{tens}{ones}")))
                    .find(|prefix| !self.schema.prefix_taken(prefix))
                    .ok_or_else(|| Error::config("the org has no room for more events"))?;
                self.add_object(now, ObjectDef::new(name, prefix, fields))?;
            }
            EventScript::Refuse { channel, error, reason, advice, times } => {
                self.events.refusals.push(Refusal { channel, error, reason, advice, left: times.max(1) });
            }
            EventScript::Reset => self.events.clear(true),
            EventScript::Stall { on } => self.events.stalled = on,
            EventScript::UnknownClient => self.events.sessions.close_all(),
        }
        self.events.wake();
        Ok(())
    }

    fn tell(&mut self, now: Timestamp, entity: &str, ids: Vec<String>, kind: String, origin: String, delta: Delta) -> Result<()> {
        let entity = self.entity(entity)?;
        if !KINDS.contains(&kind.as_str()) {
            return Err(Error::config(format!("a change event is one of {}, not {kind}", KINDS.join(", "))));
        }
        let writer = Writer { now, user: self.other.clone(), origin };
        let mut event = change(&entity, ids, kind, &writer, delta);
        let number = self.events.number();
        event.transaction = uuid(self.events.seed, "transaction", number);
        event.number = 1_080_000_000_000 + i64::try_from(number).unwrap_or(0) * 3;
        self.events.log.append(now, Payload::Change(Box::new(event)));
        Ok(())
    }

    /// The bus at a glance, without any secret.
    pub(crate) fn events_state(&self, now: Timestamp) -> Value {
        let bus = &self.events;
        let clients: Vec<Value> = bus
            .sessions
            .all()
            .filter(|(_, session)| now.as_millisecond() < session.forgotten_at)
            .map(|(id, session)| {
                let channels: Vec<&str> = session.subscriptions.iter().map(|one| one.text.as_str()).collect();
                json!({"client": id, "subscriptions": channels, "connects": session.connects})
            })
            .collect();
        json!({
            "enabled": bus.config.enabled,
            "channels": bus.config.channels,
            "managed": bus.config.managed,
            "kept": bus.log.len(),
            "oldest": bus.log.oldest(),
            "last": bus.log.last(),
            "clients": clients,
            "stalled": bus.stalled,
            "outbound": {"waiting": bus.config.outbound.waiting(), "failed": bus.config.outbound.failed()},
            "pubsub_url": bus.pubsub.as_ref().map(|(url, _)| url),
            "pubsub_ca_pem": bus.pubsub.as_ref().map(|(_, pem)| pem),
        })
    }
}
