//! Leads and contacts, and the leads that have become contacts.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::model::RecordId;
use crate::salesforce::client::Salesforce;
use crate::salesforce::entity::LEAD;
use crate::salesforce::ids;

/// Leads read by one request.
const PAGE: usize = 2_000;

/// A person of the org: a contact, or a lead that was not converted when last seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Person {
    /// A contact.
    Contact(RecordId),
    /// A lead.
    Lead(RecordId),
}

impl Person {
    /// The record.
    pub fn id(&self) -> &RecordId {
        match self {
            Self::Contact(id) | Self::Lead(id) => id,
        }
    }
}

/// Who each person is now: a converted lead is its contact. One request for each 2,000 leads, none without leads. A lead that is
/// gone or hidden is an error of its own.
pub(super) async fn resolve(client: &Salesforce, people: &[&Person]) -> Result<Vec<Result<Person>>> {
    let mut leads: Vec<RecordId> = Vec::new();
    for person in people {
        if let Person::Lead(id) = person {
            leads.push(ids::record_id(id.as_str()));
        }
    }
    leads.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    leads.dedup();
    let mut standing: HashMap<RecordId, Option<Person>> = HashMap::with_capacity(leads.len());
    for page in leads.chunks(PAGE) {
        let wanted: Vec<&RecordId> = page.iter().collect();
        let rows = client.retrieve_collection(&LEAD, &wanted, &["Id", "IsConverted", "ConvertedContactId"]).await?;
        for (id, row) in page.iter().zip(rows) {
            let person = row.map(|row| match row.text("ConvertedContactId") {
                Some(contact) if !contact.is_empty() => Person::Contact(ids::record_id(contact)),
                _ => Person::Lead(id.clone()),
            });
            standing.insert(id.clone(), person);
        }
    }
    Ok(people
        .iter()
        .map(|person| match person {
            Person::Contact(id) => Ok(Person::Contact(ids::record_id(id.as_str()))),
            Person::Lead(id) => {
                let id = ids::record_id(id.as_str());
                standing.get(&id).cloned().flatten().ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "the lead does not exist, or this user may not see it").on(&LEAD).record_id(&id)
                })
            }
        })
        .collect())
}
