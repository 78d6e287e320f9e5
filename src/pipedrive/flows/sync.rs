//! The guide's person sync, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fields, RecordId};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::flows::lead::{MarketingActivity, MarketingLead};
use crate::pipedrive::flows::person::{differing, is_empty, with_point};
use crate::pipedrive::flows::probe::{Probe, mark, short};
use crate::pipedrive::flows::steps::{Ensured, Steps, Wanted};
use crate::pipedrive::resource::Kind;
use crate::store::Store;

/// Brings marketing leads into Pipedrive.
///
/// For each lead, in this order, each step at most once in the life of the store: the organization (by name), the person (by
/// e-mail address), the deal if it is qualified, the attribution as a note pinned to the deal, the marketing history as a note on
/// the person, and the activities, done. A call that failed or was dropped half-way is repeated whole: what is done is not done
/// again. One call at a time for the same lead.
#[derive(Clone, Debug)]
pub struct PersonSync {
    steps: Steps,
    types: BTreeMap<String, String>,
}

/// What a lead has become.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncedPerson {
    /// The person.
    pub person: RecordId,
    /// How it came to be there.
    pub person_was: Ensured,
    /// The person's company, if the lead names one.
    pub organization: Option<RecordId>,
    /// The deal, if the lead is qualified.
    pub deal: Option<RecordId>,
    /// How the deal came to be there.
    pub deal_was: Option<Ensured>,
    /// The note with the attribution.
    pub attribution: Option<RecordId>,
    /// The note with the marketing history.
    pub history: Option<RecordId>,
    /// One outcome for each activity: a type the account does not have fails alone.
    pub activities: Vec<Result<RecordId>>,
}

impl PersonSync {
    /// Over a connection, and a store that remembers what was made.
    pub fn new(client: Pipedrive, store: Arc<dyn Store>) -> Self {
        Self { steps: Steps { client, store }, types: BTreeMap::new() }
    }

    /// The account's activity type (key or name) for a type of the host's. Default: the same word.
    #[must_use]
    pub fn activity_type(mut self, ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        self.types.insert(ours.into(), theirs.into());
        self
    }

    fn client(&self) -> &Pipedrive {
        &self.steps.client
    }

    /// Brings one lead in. Safe to repeat. Dropping the future leaves at most one step that the next call looks for first.
    ///
    /// # Errors
    /// See [`Pipedrive`] and the store. [`ErrorKind::Unavailable`] with the time to come back if an earlier try may still be under
    /// way; [`ErrorKind::Config`] if the pipeline or stage does not exist.
    pub async fn sync(&self, lead: &MarketingLead) -> Result<SyncedPerson> {
        if lead.id.is_empty() || lead.name().is_empty() {
            return Err(Error::new(ErrorKind::Validation, "a lead needs an id and a name").on(&Kind::Person.entity()));
        }
        let organization = match lead.company() {
            Some(company) => Some(self.organization(company).await?),
            None => None,
        };
        let (person, person_was) = self.person(lead, organization.as_ref()).await?;
        let deal = if lead.qualified { Some(self.deal(lead, &person, organization.as_ref()).await?) } else { None };
        let deal_id = deal.as_ref().map(|(id, _)| id);
        let attribution = match (&lead.attribution, deal_id) {
            (Some(text), Some(deal)) => Some(self.note(lead, "attribution", text, ("deal_id", deal), true).await?),
            _ => None,
        };
        let history = match &lead.history {
            Some(text) => Some(self.note(lead, "history", text, ("person_id", &person), false).await?),
            None => None,
        };
        let mut activities = Vec::with_capacity(lead.activities.len());
        for activity in &lead.activities {
            let outcome = self.activity(lead, activity, &person, organization.as_ref(), deal_id).await;
            // What every other one would meet too ends the call.
            match outcome {
                Err(error) if error.kind() != ErrorKind::Validation => return Err(error),
                outcome => activities.push(outcome),
            }
        }
        Ok(SyncedPerson {
            person,
            person_was,
            organization,
            deal_was: deal.as_ref().map(|(_, was)| *was),
            deal: deal.map(|(id, _)| id),
            attribution,
            history,
            activities,
        })
    }

    async fn organization(&self, company: &str) -> Result<RecordId> {
        let wanted = Wanted {
            kind: Kind::Organization,
            local: format!("company/{}", company.to_lowercase()),
            fields: [("name", company)].into_iter().collect(),
            probe: Probe::Text { scope: "name", member: "name", text: company.to_owned() },
        };
        let (id, was) = self.steps.ensure(&wanted).await?;
        if was == Ensured::Known && self.client().row(Kind::Organization, &id).await?.is_none() {
            // Deleted or merged away since.
            self.steps.forget(Kind::Organization, &wanted.local, &id).await?;
            return Ok(self.steps.ensure(&wanted).await?.0);
        }
        Ok(id)
    }

    async fn person(&self, lead: &MarketingLead, organization: Option<&RecordId>) -> Result<(RecordId, Ensured)> {
        let mut fields = lead.fields.clone();
        fields.insert("name", lead.name());
        for (member, value) in [("emails", lead.email()), ("phones", lead.phone())] {
            if let Some(value) = value {
                fields.insert(member, json!([{"value": value, "primary": true, "label": "work"}]));
            }
        }
        if let Some(organization) = organization {
            fields.insert("org_id", organization.as_str());
        }
        let probe = match lead.email() {
            Some(email) => Probe::Email(email.to_owned()),
            None => Probe::Text { scope: "name", member: "name", text: lead.name() },
        };
        let wanted = Wanted { kind: Kind::Person, local: lead.id.clone(), fields, probe };
        let (mut id, mut was) = self.steps.ensure(&wanted).await?;
        if was == Ensured::Created {
            return Ok((id, was));
        }
        let row = match self.client().row(Kind::Person, &id).await? {
            Some(row) => row,
            None => {
                self.steps.forget(Kind::Person, &wanted.local, &id).await?;
                (id, was) = self.steps.ensure(&wanted).await?;
                match self.client().row(Kind::Person, &id).await? {
                    Some(row) if was != Ensured::Created => row,
                    _ => return Ok((id, was)),
                }
            }
        };
        let mut changes = differing(self.client(), Kind::Person, &row, &lead.fields).await?;
        for (member, value) in [("emails", lead.email()), ("phones", lead.phone())] {
            if let Some(points) = with_point(&row, member, value) {
                changes.insert(member, points);
            }
        }
        if let Some(organization) = organization.filter(|_| is_empty(&row, "org_id")) {
            changes.insert("org_id", organization.as_str());
        }
        if is_empty(&row, "name") {
            changes.insert("name", lead.name());
        }
        if !changes.is_empty() {
            self.client().update_row(Kind::Person, &id, &changes).await?;
        }
        Ok((id, was))
    }

    async fn deal(&self, lead: &MarketingLead, person: &RecordId, organization: Option<&RecordId>) -> Result<(RecordId, Ensured)> {
        let settings = &self.client().config.settings.pipeline;
        let mut fields = lead.deal_fields.clone();
        fields.insert("title", lead.title());
        fields.insert("person_id", person.as_str());
        if let Some(organization) = organization {
            fields.insert("org_id", organization.as_str());
        }
        match lead.stage.as_deref().map_or("new", str::trim) {
            // Statuses: the deal begins at the start of its pipeline.
            status if status.eq_ignore_ascii_case("won") || status.eq_ignore_ascii_case("lost") => {
                fields.insert("status", status.to_ascii_lowercase());
                if let Some(pipeline) = settings.default_pipeline_id {
                    fields.insert("pipeline_id", pipeline);
                }
            }
            stage => {
                let place = self.client().place(stage, None).await?;
                fields.insert("pipeline_id", place.pipeline_id);
                fields.insert("stage_id", place.stage_id);
            }
        }
        if let Some(value) = &lead.value {
            fields.insert("value", Value::Number(value.clone()));
            if let Some(currency) = lead.currency.as_ref().or(settings.currency.as_ref()) {
                fields.insert("currency", currency.as_str());
            }
        }
        let wanted = Wanted {
            kind: Kind::Deal,
            local: format!("{}/deal", lead.id),
            fields,
            probe: Probe::Listed { filter: ("person_id", person.as_str().to_owned()), member: "title", text: lead.title() },
        };
        let (id, was) = self.steps.ensure(&wanted).await?;
        if was != Ensured::Created
            && let Some(row) = self.client().row(Kind::Deal, &id).await?
        {
            // Stage, status and value are the sales people's from here on.
            let changes = differing(self.client(), Kind::Deal, &row, &lead.deal_fields).await?;
            if !changes.is_empty() {
                self.client().update_row(Kind::Deal, &id, &changes).await?;
            }
        }
        Ok((id, was))
    }

    async fn note(
        &self,
        lead: &MarketingLead,
        what: &str,
        text: &str,
        (member, parent): (&'static str, &RecordId),
        pinned: bool,
    ) -> Result<RecordId> {
        let local = format!("{}/{what}", lead.id);
        let mark = mark(&self.client().config.name, &local);
        // The server cleans the text, so that it cannot be compared; the mark says which text it was.
        let version = format!("{mark}-{}", short(&[text]));
        let content = format!("{text}<p><small>{version}</small></p>");
        let mut fields: Fields = [("content", content.as_str()), (member, parent.as_str())].into_iter().collect();
        if pinned {
            fields.insert("pinned_to_deal_flag", true);
        }
        let probe = Probe::Mark { filter: (member, parent.as_str().to_owned()), member: "content", mark };
        let wanted = Wanted { kind: Kind::Note, local, fields, probe };
        let (id, was) = self.steps.ensure(&wanted).await?;
        if was == Ensured::Created {
            return Ok(id);
        }
        match self.client().row(Kind::Note, &id).await? {
            Some(row) if row.get("content").and_then(Value::as_str).is_some_and(|held| held.contains(&version)) => {}
            Some(_) => {
                let changes: Fields = [("content", content.as_str())].into_iter().collect();
                self.client().update_row(Kind::Note, &id, &changes).await?;
            }
            // Somebody threw it away: that was meant.
            None => {}
        }
        Ok(id)
    }

    async fn activity(
        &self,
        lead: &MarketingLead,
        activity: &MarketingActivity,
        person: &RecordId,
        organization: Option<&RecordId>,
        deal: Option<&RecordId>,
    ) -> Result<RecordId> {
        let local = format!("{}/activity/{}", lead.id, activity.id);
        let mark = mark(&self.client().config.name, &local);
        let theirs = self.types.get(&activity.kind).unwrap_or(&activity.kind);
        let key = self.client().activity_type(theirs).await.map_err(|error| error.on(&Kind::Activity.entity()))?;
        let note = format!("{}<p><small>{mark}</small></p>", activity.description.as_deref().unwrap_or_default());
        let person_number: i64 = person.as_str().parse().map_err(|_| Error::decode("the id of a person is no number"))?;
        let mut fields: Fields =
            [("subject", activity.subject.as_deref().unwrap_or(&activity.kind)), ("type", key.as_str()), ("note", note.as_str())]
                .into_iter()
                .collect();
        fields.insert("done", true);
        // `person_id` is read-only in v2.
        fields.insert("participants", json!([{"person_id": person_number, "primary": true}]));
        for (name, value) in [("due_date", &activity.date), ("due_time", &activity.time), ("duration", &activity.duration)] {
            if let Some(value) = value {
                fields.insert(name, value.as_str());
            }
        }
        for (name, id) in [("org_id", organization), ("deal_id", deal)] {
            if let Some(id) = id {
                fields.insert(name, id.as_str());
            }
        }
        let probe = Probe::Mark { filter: ("person_id", person.as_str().to_owned()), member: "note", mark };
        self.steps.ensure(&Wanted { kind: Kind::Activity, local, fields, probe }).await.map(|(id, _)| id)
    }
}
