//! Outbound messages: SOAP notifications that are repeated until they are acknowledged.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::events::kind::kind_of;
use crate::sandbox::salesforce::events::shape::wire;
use crate::sandbox::salesforce::shown::field_value;
use crate::sandbox::store::Edit;

/// So many notifications fit into an envelope.
const MOST: usize = 100;
/// What is not acknowledged after a day is given up.
const LIFE: i64 = 24 * 3_600_000;
/// The first wait after a failure; each further one is twice as long, up to two hours.
const FIRST_WAIT: i64 = 15_000;
const LONGEST_WAIT: i64 = 2 * 3_600_000;

/// A message that a workflow sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// `04k...`.
    pub(crate) action: String,
    pub(crate) entity: String,
    pub(crate) fields: Vec<String>,
    pub(crate) url: String,
    pub(crate) session: bool,
}

/// A notification that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Notification {
    id: String,
    action: String,
    record: String,
    made: i64,
    due: i64,
    tries: u32,
}

/// What is sent, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outbound {
    messages: Vec<Message>,
    queue: Vec<Notification>,
    /// Ids of notifications that were given up.
    failed: Vec<String>,
}

/// One envelope to send.
#[derive(Clone)]
#[non_exhaustive]
pub struct OutboundDelivery {
    /// Where it goes.
    pub url: String,
    /// The SOAP envelope.
    pub envelope: String,
    ids: Vec<String>,
}

/// Not the envelope, which holds values and perhaps a session.
impl std::fmt::Debug for OutboundDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundDelivery").field("url", &self.url).field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Adds a message, or replaces the one with that action id.
    pub(crate) fn register(&mut self, message: Message) {
        self.messages.retain(|known| known.action != message.action);
        self.messages.push(message);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// Action and record of what changes give rise to: rows made or changed.
    pub(crate) fn wanted(&self, edits: &[Edit<'_>]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for message in &self.messages {
            for (_, id, old, new) in edits.iter().filter(|(entity, ..)| *entity == message.entity) {
                if matches!(kind_of(*old, *new), Some("CREATE" | "UPDATE")) {
                    found.push((message.action.clone(), (*id).to_owned()));
                }
            }
        }
        found
    }

    pub(crate) fn queue(&mut self, action: String, id: String, record: String, now: Timestamp) {
        let now = now.as_millisecond();
        self.queue.push(Notification { id, action, record, made: now, due: now, tries: 0 });
    }

    fn give_up(&mut self, now: i64) -> bool {
        let (old, rest): (Vec<Notification>, Vec<Notification>) = self.queue.drain(..).partition(|one| now >= one.made + LIFE);
        self.queue = rest;
        self.failed.extend(old.iter().map(|one| one.id.clone()));
        !old.is_empty()
    }

    fn settle(&mut self, ids: &[String], acknowledged: bool, now: i64) {
        if acknowledged {
            self.queue.retain(|one| !ids.contains(&one.id));
            return;
        }
        for one in self.queue.iter_mut().filter(|one| ids.contains(&one.id)) {
            let wait = FIRST_WAIT.saturating_mul(1 << one.tries.min(20)).min(LONGEST_WAIT);
            one.tries += 1;
            one.due = now + wait;
        }
    }
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML 1.0 has no place for these.
            control if control.is_control() && !matches!(control, '\t' | '\n' | '\r') => {}
            '\r' => safe.push_str("&#xD;"),
            other => safe.push(other),
        }
    }
    safe
}

static ACK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?s)<(?:\w+:)?notificationsResponse[\s>].*<(?:\w+:)?Ack(?:\s[^>]*)?>\s*true\s*</").ok());

/// Whether an answer acknowledges: 2xx with `<Ack>true</Ack>` in a `notificationsResponse`.
pub(crate) fn acknowledges(status: u16, body: &str) -> bool {
    (200..300).contains(&status) && ACK.as_ref().is_some_and(|ack| ack.is_match(body))
}

impl Salesforce {
    /// The envelopes that are due. Values are those of now; rows that are gone are dropped from the queue.
    pub(crate) fn next_deliveries(&mut self, now: Timestamp, instance: &str) -> Vec<OutboundDelivery> {
        let at = now.as_millisecond();
        if self.events.config.outbound.queue.is_empty() {
            return Vec::new();
        }
        self.events.change().outbound.give_up(at);
        let mut deliveries = Vec::new();
        let mut gone = Vec::new();
        for message in &self.events.config.outbound.messages {
            let due: Vec<&Notification> =
                self.events.config.outbound.queue.iter().filter(|one| one.action == message.action && one.due <= at).collect();
            for chunk in due.chunks(MOST) {
                let mut body = String::new();
                let mut ids = Vec::new();
                for one in chunk {
                    match self.notification(message, one) {
                        Some(text) => {
                            body.push_str(&text);
                            ids.push(one.id.clone());
                        }
                        None => gone.push(one.id.clone()),
                    }
                }
                if !ids.is_empty() {
                    deliveries.push(OutboundDelivery { url: message.url.clone(), envelope: self.envelope(message, instance, &body), ids });
                }
            }
        }
        if !gone.is_empty() {
            self.events.change().outbound.settle(&gone, true, at);
        }
        deliveries
    }

    fn notification(&self, message: &Message, one: &Notification) -> Option<String> {
        let object = self.schema.object(&message.entity)?;
        let row = self.tables.live(&object.name, &one.record)?;
        let mut fields = format!("<sf:Id>{}</sf:Id>", one.record);
        for field in message.fields.iter().filter_map(|name| object.field(name)).filter(|field| field.name != "Id") {
            let text = match wire(field.kind, &field_value(row, field)) {
                Value::Null | Value::Object(_) => continue,
                Value::String(text) => escape(&text),
                other => other.to_string(),
            };
            fields.push_str(&format!("<sf:{0}>{text}</sf:{0}>", field.name));
        }
        Some(format!(
            "<Notification><Id>{}</Id><sObject xsi:type=\"sf:{}\" xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">{fields}</sObject></Notification>",
            one.id, object.name
        ))
    }

    fn envelope(&self, message: &Message, instance: &str, notifications: &str) -> String {
        let session = if message.session {
            format!("<SessionId>{}</SessionId>", escape(&self.auth.access_token))
        } else {
            "<SessionId xsi:nil=\"true\"/>".to_owned()
        };
        let org = self.org.get(..15).unwrap_or(&self.org);
        let instance = escape(instance);
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
             <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\"><OrganizationId>{}</OrganizationId><ActionId>{}</ActionId>\
             {session}<EnterpriseUrl>{instance}/services/Soap/c/68.0/{org}</EnterpriseUrl>\
             <PartnerUrl>{instance}/services/Soap/u/68.0/{org}</PartnerUrl>{notifications}</notifications></soapenv:Body></soapenv:Envelope>",
            self.org, message.action
        )
    }

    /// What came of a delivery.
    pub(crate) fn delivered(&mut self, delivery: &OutboundDelivery, acknowledged: bool, now: Timestamp) {
        self.events.change().outbound.settle(&delivery.ids, acknowledged, now.as_millisecond());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_true_ack_acknowledges() {
        let answer = |element: &str, ack: &str| {
            format!("<soapenv:Envelope><soapenv:Body><{element} xmlns=\"x\"><Ack>{ack}</Ack></{element}></soapenv:Body></soapenv:Envelope>")
        };
        assert!(acknowledges(200, &answer("notificationsResponse", "true")));
        assert!(acknowledges(200, "<n:notificationsResponse xmlns:n='x'>\n <n:Ack>\n true </n:Ack></n:notificationsResponse>"));
        assert!(!acknowledges(200, &answer("notificationsResponse", "false")));
        assert!(!acknowledges(200, &answer("notifications", "true")));
        assert!(!acknowledges(500, &answer("notificationsResponse", "true")));
        assert!(!acknowledges(200, ""));
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escape("a<b>&\"\u{1}c\r"), "a&lt;b&gt;&amp;&quot;c&#xD;");
    }

    #[test]
    fn waits_double_until_the_day_is_over() {
        let mut outbound = Outbound::default();
        outbound.queue("04k".to_owned(), "04l".to_owned(), "00Q".to_owned(), Timestamp::UNIX_EPOCH);
        let ids = vec!["04l".to_owned()];
        let mut waits = Vec::new();
        let mut now = 0;
        while outbound.waiting() > 0 {
            outbound.settle(&ids, false, now);
            let due = outbound.queue[0].due;
            waits.push((due - now) / 1000);
            now = due;
            outbound.give_up(now);
        }
        assert_eq!(waits[..4], [15, 30, 60, 120]);
        assert_eq!(*waits.last().unwrap(), 7200);
        assert_eq!(outbound.failed(), ["04l"]);
        outbound.settle(&ids, true, now);
    }
}
