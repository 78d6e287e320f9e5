//! Made-up records of twenty values, the same in each run: the host's words, and a mapping to each CRM's.

use std::sync::Arc;

use crm_sync::error::{Error, Result};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Fields, Shape};
use serde_json::{Value, json};

use crate::options::Crm;

const SALESFORCE: &str = "
crm:
  Lead:
    firstName: FirstName
    lastName: LastName
    company: Company
    title: Title
    email: Email
    phone: Phone
    mobile: MobilePhone
    website: Website
    street: Street
    city: City
    state: State
    postalCode: PostalCode
    country: Country
    industry: Industry
    source: LeadSource
    rating: Rating
    status: Status
    employees: NumberOfEmployees
    revenue: AnnualRevenue
    note: Description
";

const HUBSPOT: &str = "
crm:
  contacts:
    firstName: firstname
    lastName: lastname
    company: company
    title: jobtitle
    email: email
    phone: phone
    mobile: mobilephone
    website: website
    street: address
    city: city
    state: state
    postalCode: zip
    country: country
    industry: industry
    source: fax
    rating: salutation
    status: hs_lead_status
    employees: numemployees
    revenue: annualrevenue
    note: message
";

// API v2 refuses a body with one unknown member, and custom fields have other keys in each account, so that the twenty values
// stand in the members every account has.
const PIPEDRIVE: &str = "
crm:
  persons:
    name: name
    emails: emails
    phones: phones
    visibility: visible_to
    createdAt: add_time
";

/// The mapping of the host's words to the CRM's.
///
/// # Errors
/// What is wrong with the mapping.
pub(crate) fn mapping(crm: Crm) -> Result<Mapping> {
    let text = match crm {
        Crm::HubSpot => HUBSPOT,
        Crm::Pipedrive => PIPEDRIVE,
        Crm::Salesforce => SALESFORCE,
    };
    let set = MappingSet::from_yaml(text, "throughput").map_err(|wrong| Error::config(wrong.to_string()))?;
    let config = set.iter().next().ok_or_else(|| Error::config("the mapping holds no entity"))?;
    Mapping::compile(config, None).map_err(|wrong| Error::config(wrong.to_string()))
}

/// The host's records, one after the other.
pub(crate) struct MadeUp {
    crm: Crm,
    shape: Arc<Shape>,
}

const PLAIN: [&str; 20] = [
    "firstName",
    "lastName",
    "company",
    "title",
    "email",
    "phone",
    "mobile",
    "website",
    "street",
    "city",
    "state",
    "postalCode",
    "country",
    "industry",
    "source",
    "rating",
    "status",
    "employees",
    "revenue",
    "note",
];

impl MadeUp {
    pub(crate) fn new(crm: Crm) -> Self {
        let shape = match crm {
            Crm::Pipedrive => Shape::new(["name", "emails", "phones", "visibility", "createdAt"]),
            Crm::HubSpot | Crm::Salesforce => Shape::new(PLAIN),
        };
        Self { crm, shape }
    }

    /// Record number `n`.
    pub(crate) fn record(&self, n: u64) -> Fields {
        let mut values = match self.crm {
            Crm::Pipedrive => person(n),
            Crm::HubSpot | Crm::Salesforce => contact(n),
        };
        // HubSpot's number of employees is a choice of ranges.
        if self.crm == Crm::HubSpot
            && let Some(employees) = values.get_mut(17)
        {
            *employees = text("25-50");
        }
        Fields::from_values(Arc::clone(&self.shape), values)
    }
}

fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}

fn contact(n: u64) -> Vec<Option<Value>> {
    vec![
        text("Ada"),
        Some(format!("Lovelace {n}").into()),
        Some(format!("Analytical Engines {}", n % 97).into()),
        text("Head of Computing"),
        Some(format!("ada.{n}@example.com").into()),
        Some(format!("+44 20 7946 {:04}", n % 10_000).into()),
        Some(format!("+44 7700 90{:04}", n % 10_000).into()),
        text("https://example.com"),
        Some(format!("{} St James's Square", n % 200).into()),
        text("London"),
        text("England"),
        text("SW1Y 4JH"),
        text("United Kingdom"),
        text("Technology"),
        text("Web"),
        text(if n.is_multiple_of(3) { "Hot" } else { "Warm" }),
        text("NEW"),
        Some((10 + n % 500).into()),
        Some((1_000 * (n % 900)).into()),
        text("Asked for a demonstration at the fair."),
    ]
}

fn person(n: u64) -> Vec<Option<Value>> {
    let points = |first: String, second: String| {
        Some(json!([
            {"value": first, "primary": true, "label": "work"},
            {"value": second, "primary": false, "label": "home"},
            {"value": "", "primary": false, "label": "other"},
        ]))
    };
    vec![
        Some(format!("Ada Lovelace {n}").into()),
        points(format!("ada.{n}@example.com"), format!("lovelace.{n}@example.org")),
        points(format!("+44 20 7946 {:04}", n % 10_000), format!("+44 7700 90{:04}", n % 10_000)),
        Some(3.into()),
        text("2026-01-31T10:00:00Z"),
    ]
}
