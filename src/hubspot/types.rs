//! The standard objects as Rust types, for hosts that want names checked by the compiler.
//!
//! Every member is optional, because what is read depends on what was asked for, and what is absent is not written. Whatever a
//! type does not name is in `custom`, under its internal name. Read with [`Record::parse`](crate::model::Record::parse), which takes
//! the texts that HubSpot answers as well as typed values; write through [`Fields::from_typed`](crate::model::Fields::from_typed).
//! To clear a property put null into `custom`.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::model::Fields;

/// A typed value, a text that holds one, or nothing.
fn loose<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(";"),
        Some(Value::Object(_)) => return Err(D::Error::custom("an object where a value is expected")),
        Some(other) => other.to_string(),
    };
    text.parse().map(Some).map_err(|_| D::Error::custom("a value of another type than the property's"))
}

macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(rename = $wire, deserialize_with = "loose", skip_serializing_if = "Option::is_none")]
                pub $field: Option<$kind>,
            )*
            /// Every other property, by internal name.
            #[serde(flatten)]
            pub custom: Fields,
        }

        impl $name {
            /// Nothing set.
            pub fn new() -> Self {
                Self::default()
            }
        }
    };
}

object! {
    /// A person. A create should have one of `email`, `first_name` and `last_name`.
    Contact {
        /// Unique, among the further addresses of others too.
        email: String = "email",
        /// Given name.
        first_name: String = "firstname",
        /// Family name.
        last_name: String = "lastname",
        /// The company's name as a text; no association.
        company: String = "company",
        /// Job title.
        job_title: String = "jobtitle",
        /// As typed.
        phone: String = "phone",
        /// As typed.
        mobile_phone: String = "mobilephone",
        /// Web address.
        website: String = "website",
        /// Street and number.
        address: String = "address",
        /// City.
        city: String = "city",
        /// State or region.
        state: String = "state",
        /// Postal code.
        zip: String = "zip",
        /// Country.
        country: String = "country",
        /// Moves forward only; clear it first to go back.
        lifecycle_stage: String = "lifecyclestage",
        /// Enumeration.
        lead_status: String = "hs_lead_status",
        /// An owner's id, not a user's.
        owner: String = "hubspot_owner_id",
    }
}

object! {
    /// An organisation. A create needs `domain` or `name`.
    Company {
        /// Name.
        name: String = "name",
        /// Web domain; **not** unique through the API.
        domain: String = "domain",
        /// As typed.
        phone: String = "phone",
        /// Enumeration.
        industry: String = "industry",
        /// City.
        city: String = "city",
        /// Country.
        country: String = "country",
        /// A whole number.
        number_of_employees: i64 = "numberofemployees",
        /// Money.
        annual_revenue: f64 = "annualrevenue",
        /// Text.
        description: String = "description",
        /// Moves forward only.
        lifecycle_stage: String = "lifecyclestage",
        /// An owner's id, not a user's.
        owner: String = "hubspot_owner_id",
    }
}

object! {
    /// A sale. A create needs `name` and `stage`.
    Deal {
        /// Name.
        name: String = "dealname",
        /// Money, in the account's or the deal's currency.
        amount: f64 = "amount",
        /// ISO 4217.
        currency: String = "deal_currency_code",
        /// A pipeline's id, not its label.
        pipeline: String = "pipeline",
        /// A stage's id, not its label.
        stage: String = "dealstage",
        /// RFC 3339.
        close_date: String = "closedate",
        /// Enumeration.
        kind: String = "dealtype",
        /// Text.
        description: String = "description",
        /// An owner's id, not a user's.
        owner: String = "hubspot_owner_id",
    }
}

object! {
    /// A request of a customer. A create needs `subject` and `stage`.
    Ticket {
        /// What it is about.
        subject: String = "subject",
        /// Text.
        content: String = "content",
        /// A pipeline's id, not its label.
        pipeline: String = "hs_pipeline",
        /// A stage's id, not its label.
        stage: String = "hs_pipeline_stage",
        /// Enumeration: `LOW`, `MEDIUM`, `HIGH`, `URGENT`.
        priority: String = "hs_ticket_priority",
        /// Enumeration.
        category: String = "hs_ticket_category",
        /// An owner's id, not a user's.
        owner: String = "hubspot_owner_id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_and_typed_values_are_read_alike() {
        for value in [
            json!({"name": "Acme", "numberofemployees": "12", "annualrevenue": "1.5e6", "phone": "", "city": null, "tier": "gold"}),
            json!({"name": "Acme", "numberofemployees": 12, "annualrevenue": 1_500_000.0, "tier": "gold"}),
        ] {
            let company: Company = Fields::from_value(value).unwrap().parse().unwrap();
            assert_eq!((company.number_of_employees, company.annual_revenue), (Some(12), Some(1_500_000.0)));
            assert_eq!((company.phone, company.city, company.custom.text("tier")), (None, None, Some("gold")));
        }
        let wrong = Fields::from_value(json!({"numberofemployees": "many"})).unwrap().parse::<Company>().unwrap_err();
        assert!(!wrong.to_string().contains("many"), "{wrong}");
    }

    #[test]
    fn what_is_absent_is_not_written() {
        let mut deal = Deal { name: Some("Big".into()), amount: Some(9.5), ..Deal::new() };
        deal.custom.insert("tier", Value::Null);
        let fields = Fields::from_typed(&deal).unwrap();
        assert_eq!(fields.to_value(), json!({"dealname": "Big", "amount": 9.5, "tier": null}));
        assert_eq!(
            Value::Object(crate::hubspot::values::encode(&fields).unwrap()),
            json!({"dealname": "Big", "amount": "9.5", "tier": ""})
        );
    }
}
