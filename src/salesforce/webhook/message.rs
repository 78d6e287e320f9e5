//! The message (SOAP API Developer Guide, "Outbound Messaging Notifications").

use std::fmt;

use serde_json::{Map, Number, Value};

use crate::error::{Error, Result};
use crate::model::{Entity, EntitySchema, EventId, FieldType, Fields, RecordId};
use crate::salesforce::ids;
use crate::salesforce::webhook::xml::{Element, parse};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";

/// The content type of an answer.
pub const ACK_CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// The body of an answer; send it with status 200 and [`ACK_CONTENT_TYPE`]. `true` once all notifications are kept; `false`
/// makes Salesforce send the message again.
pub fn ack(kept: bool) -> &'static str {
    macro_rules! answer {
        ($word:literal) => {
            concat!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">",
                "<soapenv:Body><notificationsResponse xmlns=\"http://soap.sforce.com/2005/09/outbound\"><Ack>",
                $word,
                "</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>"
            )
        };
    }
    if kept { answer!("true") } else { answer!("false") }
}

/// A message: one to a hundred notifications of one action.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutboundMessage {
    /// The org, 18 characters.
    pub organization_id: String,
    /// The outbound message that was configured, 18 characters.
    pub action_id: String,
    /// The org's enterprise endpoint, if told.
    pub enterprise_url: Option<String>,
    /// The org's partner endpoint, if told.
    pub partner_url: Option<String>,
    /// What happened, in no particular order.
    pub notifications: Vec<Notification>,
}

/// A record, as it was when the message was sent.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Notification {
    /// The id of the notification, the same whenever it is sent again.
    pub id: EventId,
    /// The record's kind.
    pub entity: Entity,
    /// The record.
    pub record: RecordId,
    /// The fields that were configured, as texts; `xsi:nil` is null. Fields that are empty are mostly left out.
    pub fields: Fields,
}

/// Never the values.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("id", &self.id)
            .field("entity", &self.entity)
            .field("record", &self.record)
            .field("fields", &self.fields)
            .finish()
    }
}

impl OutboundMessage {
    /// Reads a message. Who sent it is not known by that: see [`OutboundVerifier`](crate::salesforce::webhook::OutboundVerifier).
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::error::ErrorKind::Decode) with the place of what does not fit; a document type, an entity
    /// that XML does not define, and a processing instruction are refused.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let envelope = parse(body)?;
        let missing = |what: &str| Error::decode(format!("the outbound message has no {what}"));
        if !envelope.is(SOAP, "Envelope") {
            return Err(missing("SOAP envelope"));
        }
        let body = envelope.child(SOAP, "Body").ok_or_else(|| missing("SOAP body"))?;
        let message = body.child(OUTBOUND, "notifications").ok_or_else(|| missing("notifications"))?;
        let text = |name: &str| message.child(OUTBOUND, name).filter(|found| !found.nil).map(|found| found.text.trim().to_owned());
        let id = |name: &str| text(name).and_then(|id| ids::to_18(&id).ok()).ok_or_else(|| missing(name));
        let notifications = message
            .children
            .iter()
            .filter(|child| child.is(OUTBOUND, "Notification"))
            .enumerate()
            .map(|(at, child)| Notification::read(child).ok_or_else(|| missing(&format!("id, record and kind in notification {at}"))))
            .collect::<Result<Vec<_>>>()?;
        if notifications.is_empty() {
            return Err(missing("notification"));
        }
        Ok(Self {
            organization_id: id("OrganizationId")?,
            action_id: id("ActionId")?,
            enterprise_url: text("EnterpriseUrl").filter(|url| !url.is_empty()),
            partner_url: text("PartnerUrl").filter(|url| !url.is_empty()),
            notifications,
        })
    }
}

impl Notification {
    fn read(element: &Element) -> Option<Self> {
        let id = element.child(OUTBOUND, "Id")?.text.trim();
        let record = element.child(OUTBOUND, "sObject")?;
        let entity = record.kind.as_deref().filter(|kind| !kind.is_empty())?;
        let mut fields = Fields::new();
        let mut own = None;
        for field in &record.children {
            match field.name.as_str() {
                "Id" if own.is_none() => own = Some(ids::record_id(&field.text)),
                name => drop(fields.insert(name, value(field))),
            }
        }
        let record = own.filter(|id| !id.as_str().trim().is_empty())?;
        (!id.is_empty()).then(|| Self { id: EventId::from(id), entity: Entity::new(entity), record, fields })
    }

    /// The fields by the types of `schema`: true, false and numbers as such; texts that are none stay as they are, and so do
    /// fields the schema does not know.
    pub fn typed(&self, schema: &EntitySchema) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in self.fields.iter() {
            let typed = value.as_str().and_then(|text| typed(text, &schema.field_type(name)));
            fields.insert(name, typed.unwrap_or_else(|| value.clone()));
        }
        fields
    }
}

fn value(field: &Element) -> Value {
    if field.nil {
        return Value::Null;
    }
    if field.children.is_empty() {
        return Value::String(field.text.clone());
    }
    Value::Object(field.children.iter().map(|child| (child.name.clone(), value(child))).collect::<Map<_, _>>())
}

fn typed(text: &str, kind: &FieldType) -> Option<Value> {
    match kind {
        FieldType::Boolean => match text.trim() {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldType::Integer | FieldType::Decimal { .. } => {
            let text = text.trim();
            // Whole numbers keep their digits.
            let whole = text.parse::<i64>().ok().map(Number::from);
            whole.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64)).map(Value::Number)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldSchema;
    use serde_json::json;

    const BODY: &str = include_str!("../../../tests/fixtures/salesforce/outbound_message.xml");

    #[test]
    fn the_documented_message() {
        let message = OutboundMessage::parse(BODY.as_bytes()).unwrap();
        assert_eq!((message.organization_id.as_str(), message.action_id.len()), ("00DAb0000001OrgMAE", 18));
        assert!(message.partner_url.unwrap().contains("/services/Soap/u/68.0/"));
        let [first, second] = message.notifications.as_slice() else { panic!("two notifications") };
        assert_eq!((first.entity.as_str(), first.record.as_str()), ("Lead", "00QAb00000Xy12ZMAR"));
        assert_eq!(first.fields.to_value(), json!({"Company": "A & <B>", "Email": "a@b.c", "NumberOfEmployees": "42", "Title": null}));
        assert_ne!(first.id, second.id);
        let field = |name: &str, kind: FieldType| FieldSchema::new(name, kind);
        let fields = vec![field("NumberOfEmployees", FieldType::Integer), field("Active__c", FieldType::Boolean)];
        let schema = EntitySchema::new(Entity::from_static("Lead"), "Lead", fields);
        assert_eq!(first.typed(&schema).to_value()["NumberOfEmployees"], 42);
        assert_eq!(second.typed(&schema).to_value()["Active__c"], true);
        assert!(!format!("{first:?}").contains("a@b.c"));
    }

    #[test]
    fn what_is_no_message_is_told_by_what_it_lacks() {
        for (from, to, lacks) in [
            ("soapenv:Body", "soapenv:Other", "SOAP body"),
            ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope", "SOAP envelope"),
            ("http://soap.sforce.com/2005/09/outbound", "http://example.com", "notifications"),
            ("00DAb0000001OrgMAE", "nonsense", "OrganizationId"),
            ("xsi:type", "xsi:kind", "id, record and kind in notification 0"),
            ("Notification>", "Other>", "notification"),
        ] {
            let error = OutboundMessage::parse(BODY.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.message().ends_with(lacks), "{error}");
        }
    }

    #[test]
    fn answers() {
        let element = parse(ack(true).as_bytes()).unwrap();
        let response = element.child(SOAP, "Body").unwrap().child(OUTBOUND, "notificationsResponse").unwrap();
        assert_eq!(response.child(OUTBOUND, "Ack").unwrap().text, "true");
        assert!(ack(false).contains("<Ack>false</Ack>"));
    }
}
