//! The members of a campaign, in batches of 200.

use std::collections::HashMap;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, Fields, RecordId, same};
use crate::query::Criteria;
use crate::salesforce::client::Salesforce;
use crate::salesforce::collections::SavedRow;
use crate::salesforce::entity::CAMPAIGN_MEMBER;
use crate::salesforce::flows::campaigns::Campaigns;
use crate::salesforce::flows::people::{Person, resolve};
use crate::salesforce::ids;
use crate::salesforce::limits::COLLECTION_LIMIT;
use crate::salesforce::select::Soql;

/// Set by Salesforce alone: the first two follow from the status, the others are named by the call.
const NOT_WRITTEN: [&str; 6] = ["HasResponded", "FirstRespondedDate", "CampaignId", "LeadId", "ContactId", "Status"];

/// A person in a campaign, as the host has it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Who. A converted lead stands for its contact.
    pub person: Person,
    /// The host's status, mapped by [`Campaigns::map_status`]; `None` leaves it to the campaign's default.
    pub status: Option<String>,
    /// Fields of the org's own. `HasResponded` and `FirstRespondedDate` are read-only and left out: the status decides them.
    pub fields: Fields,
}

impl Member {
    /// A member with a status.
    pub fn new(person: Person, status: Option<&str>) -> Self {
        Self { person, status: status.map(ToOwned::to_owned), fields: Fields::new() }
    }

    /// Sets [`Member::fields`].
    #[must_use]
    pub fn fields(mut self, fields: Fields) -> Self {
        self.fields = fields;
        self
    }
}

/// What was done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberWrite {
    /// The person was put into the campaign.
    Created,
    /// Nothing: the org has it so already.
    Unchanged,
    /// The membership was changed.
    Updated,
}

/// A person who is in the campaign now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncedMember {
    /// The membership.
    pub id: RecordId,
    /// Who it is: the contact, if the lead is converted.
    pub person: Person,
    /// What was done.
    pub write: MemberWrite,
}

/// A person of a batch, with all that was said about them.
struct Wanted {
    person: Person,
    row: Fields,
    outcome: Option<Result<SyncedMember>>,
}

impl Campaigns {
    /// Puts people into a campaign, or changes how they stand there; one outcome each, in order. A person named twice is written
    /// once, with what was said last.
    ///
    /// For each 200 people: one request for the leads among them, one for existing memberships, one for new ones, one for those
    /// that differ. Before them one for the campaign's statuses and, once per connection, the description of CampaignMember.
    ///
    /// # Errors
    /// See [`Salesforce`]. A member whose status the campaign does not have is refused here, since Salesforce may silently take
    /// another one ([`Campaigns::ensure_statuses`] makes it). Safe to repeat: a person is never put into a campaign twice.
    pub async fn sync_members(&self, campaign: &RecordId, members: &[Member]) -> Result<Vec<Result<SyncedMember>>> {
        let campaign = ids::record_id(campaign.as_str());
        let known = if members.iter().any(|member| member.status.is_some()) { self.member_statuses(&campaign).await? } else { Vec::new() };
        let mut outcomes = Vec::with_capacity(members.len());
        for batch in members.chunks(COLLECTION_LIMIT) {
            let people: Vec<&Person> = batch.iter().map(|member| &member.person).collect();
            let resolved = resolve(&self.client, &people).await?;
            let mut wanted: Vec<Wanted> = Vec::new();
            let mut places: HashMap<Person, usize> = HashMap::new();
            let mut slots: Vec<Result<usize>> = Vec::with_capacity(batch.len());
            for (member, person) in batch.iter().zip(resolved) {
                slots.push(person.and_then(|person| {
                    let row = self.row(member, &known)?;
                    let place = *places.entry(person.clone()).or_insert(wanted.len());
                    match wanted.get_mut(place) {
                        Some(earlier) => earlier.row.merge(row),
                        None => wanted.push(Wanted { person, row, outcome: None }),
                    }
                    Ok(place)
                }));
            }
            self.write(&campaign, &mut wanted).await?;
            // Somebody else put them into the campaign since: now they are there to be changed.
            let lost = |wanted: &mut Wanted| matches!(&wanted.outcome, Some(Err(error)) if error.kind() == ErrorKind::Duplicate);
            if wanted.iter_mut().any(lost) {
                wanted.iter_mut().filter_map(|wanted| lost(wanted).then_some(&mut wanted.outcome)).for_each(|outcome| *outcome = None);
                self.write(&campaign, &mut wanted).await?;
            }
            for slot in slots {
                outcomes.push(slot.and_then(|place| match wanted.get(place).and_then(|wanted| wanted.outcome.as_ref()) {
                    Some(Ok(member)) => Ok(member.clone()),
                    Some(Err(error)) => Err(error.echo()),
                    None => Err(Error::internal("a campaign member got no outcome").on(&CAMPAIGN_MEMBER)),
                }));
            }
        }
        Ok(outcomes)
    }

    fn row(&self, member: &Member, known: &[super::campaigns::MemberStatus]) -> Result<Fields> {
        let mut row = member.fields.clone();
        row.retain(|name, _| !NOT_WRITTEN.iter().any(|own| own.eq_ignore_ascii_case(name)) && !name.eq_ignore_ascii_case("Id"));
        if let Some(ours) = &member.status {
            let theirs = self.statuses.get(ours).unwrap_or(ours);
            let Some(status) = known.iter().find(|status| status.label.eq_ignore_ascii_case(theirs)) else {
                let message = "the campaign has no such member status; map it to one of its own, or make it by ensure_statuses";
                return Err(Error::new(ErrorKind::Validation, message)
                    .on(&CAMPAIGN_MEMBER)
                    .with_fields(vec![crate::error::FieldError::new("Status", None)]));
            };
            row.insert("Status", status.label.as_str());
        }
        Ok(row)
    }

    /// Writes those that have no outcome yet.
    async fn write(&self, campaign: &RecordId, wanted: &mut [Wanted]) -> Result<()> {
        let open: Vec<usize> = wanted.iter().enumerate().filter(|(_, wanted)| wanted.outcome.is_none()).map(|(at, _)| at).collect();
        if open.is_empty() {
            return Ok(());
        }
        let schema = self.client.schema(&CAMPAIGN_MEMBER).await?;
        let existing = existing(&self.client, campaign, wanted).await?;
        let mut creates: Vec<(usize, Fields)> = Vec::new();
        let mut updates: Vec<(usize, RecordId, Fields)> = Vec::new();
        for at in open {
            let Some(entry) = wanted.get_mut(at) else { continue };
            match existing.get(&entry.person) {
                None => {
                    let mut row = entry.row.clone();
                    row.insert("CampaignId", campaign.as_str());
                    let field = if matches!(entry.person, Person::Lead(_)) { "LeadId" } else { "ContactId" };
                    row.insert(field, entry.person.id().as_str());
                    creates.push((at, row));
                }
                Some((id, stored)) => {
                    let mut row = entry.row.clone();
                    row.retain(|name, value| {
                        value.is_object() || !same(value, stored.get(name).unwrap_or(&Value::Null), &schema.field_type(name))
                    });
                    if row.is_empty() {
                        entry.outcome =
                            Some(Ok(SyncedMember { id: id.clone(), person: entry.person.clone(), write: MemberWrite::Unchanged }));
                    } else {
                        updates.push((at, id.clone(), row));
                    }
                }
            }
        }
        let entity = CAMPAIGN_MEMBER;
        if !creates.is_empty() {
            let rows: Vec<(&Entity, &Fields)> = creates.iter().map(|(_, row)| (&entity, row)).collect();
            let saved = self.client.create_collection(&rows).await.map_err(|error| error.on(&CAMPAIGN_MEMBER))?;
            settle(wanted, creates.iter().map(|(at, _)| *at), saved, MemberWrite::Created);
        }
        if !updates.is_empty() {
            let rows: Vec<(&Entity, &RecordId, &Fields)> = updates.iter().map(|(_, id, row)| (&entity, id, row)).collect();
            let saved = self.client.update_collection(&rows).await.map_err(|error| error.on(&CAMPAIGN_MEMBER))?;
            settle(wanted, updates.iter().map(|(at, ..)| *at), saved, MemberWrite::Updated);
        }
        Ok(())
    }
}

fn settle(wanted: &mut [Wanted], places: impl Iterator<Item = usize>, saved: Vec<Result<SavedRow>>, write: MemberWrite) {
    for (at, saved) in places.zip(saved) {
        if let Some(wanted) = wanted.get_mut(at) {
            wanted.outcome = Some(saved.map(|saved| SyncedMember { id: saved.id, person: wanted.person.clone(), write }));
        }
    }
}

/// The memberships these people have, with what is stored there. The membership of a lead that was converted since names both.
async fn existing(client: &Salesforce, campaign: &RecordId, wanted: &[Wanted]) -> Result<HashMap<Person, (RecordId, Fields)>> {
    let ids = |lead: bool| {
        let of = wanted.iter().filter(move |wanted| matches!(wanted.person, Person::Lead(_)) == lead);
        of.map(|wanted| Value::from(wanted.person.id().as_str())).collect::<Vec<_>>()
    };
    let mut columns: Vec<&str> = vec!["Id", "LeadId", "ContactId", "Status"];
    for wanted in wanted {
        for (name, value) in &wanted.row {
            if !value.is_object() && !columns.iter().any(|column| column.eq_ignore_ascii_case(name)) {
                columns.push(name);
            }
        }
    }
    let people = Criteria::one_of("LeadId", ids(true)).or(Criteria::one_of("ContactId", ids(false)));
    let filter = Criteria::eq("CampaignId", campaign.as_str()).and(people);
    let soql = Soql::select(columns).from(CAMPAIGN_MEMBER.as_str()).filter(&filter).build()?;
    let mut found = HashMap::new();
    let mut page = client.query_fields(&soql).await.map_err(|error| error.on(&CAMPAIGN_MEMBER))?;
    loop {
        for row in page.records {
            let Some(id) = row.text("Id").map(ids::record_id) else { continue };
            let named = |name: &str| row.text(name).filter(|id| !id.is_empty()).map(ids::record_id);
            let person = named("ContactId").map(Person::Contact).or_else(|| named("LeadId").map(Person::Lead));
            if let Some(person) = person {
                found.insert(person, (id, row));
            }
        }
        match page.next {
            Some(next) => page = client.query_fields_more(&next).await.map_err(|error| error.on(&CAMPAIGN_MEMBER))?,
            None => return Ok(found),
        }
    }
}
