//! The notifications of a message as webhook events.

use crate::error::Result;
use crate::model::{Change, ChangeKind};
use crate::salesforce::webhook::message::OutboundMessage;
use crate::webhook::{EventFormat, Verified, WebhookEvent};

/// Reads an outbound message as events of the type `outbound_message.{entity}`, e.g. `outbound_message.Lead`, one for each
/// notification; their data is an object of the fields. Whether a record is new, the message does not say: all are updates.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboundFormat;

impl EventFormat for OutboundFormat {
    fn events(&self, verified: &Verified<'_>) -> Result<Vec<WebhookEvent>> {
        let message = OutboundMessage::parse(verified.body())?;
        let events = message.notifications.into_iter().map(|notification| {
            let mut event = WebhookEvent::new(format!("outbound_message.{}", notification.entity), notification.fields.to_value());
            let mut change = Change::new(notification.entity, notification.record, ChangeKind::Updated);
            change.fields = notification.fields;
            change.event = Some(notification.id.clone());
            event.id = Some(notification.id);
            event.change = Some(change);
            event
        });
        Ok(events.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_each_notification() {
        let body = include_str!("../../../tests/fixtures/salesforce/outbound_message.xml");
        let events = OutboundFormat.events(&Verified::trust_without_verifying(body.as_bytes(), "test", "k")).unwrap();
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["outbound_message.Lead", "outbound_message.Lead"]);
        let change = events[0].change.as_ref().unwrap();
        assert_eq!((change.fields.text("Email"), change.event.as_ref()), (Some("a@b.c"), events[0].id.as_ref()));
    }
}
