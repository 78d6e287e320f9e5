//! A contact by its email: made or changed where it differs, tied to its records, with what it did.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::hubspot::associations::NewAssociation;
use crate::hubspot::client::{HubSpot, in_the_way};
use crate::hubspot::echoes::comparable;
use crate::hubspot::entity::CONTACTS;
use crate::hubspot::flows::told::{EmailEngagement, Telling};
use crate::hubspot::forms::FormSubmission;
use crate::hubspot::objects::ReadOptions;
use crate::hubspot::record::HubSpotRecord;
use crate::hubspot::values::check_dates;
use crate::model::{Entity, EntitySchema, Fields, RecordId};

/// A contact as the host knows it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MarketingContact {
    /// Its address; one of several it may have.
    pub email: String,
    /// Its properties, in HubSpot's names. Null clears.
    pub fields: Fields,
    /// Records it belongs to, e.g. its company. Plain associations: the primary company is left to HubSpot.
    pub about: Vec<(Entity, RecordId)>,
    /// What it did with emails.
    pub emails: Vec<EmailEngagement>,
    /// Forms it filled in.
    pub submissions: Vec<FormSubmission>,
}

impl MarketingContact {
    /// A contact with nothing else.
    pub fn new(email: impl Into<String>, fields: Fields) -> Self {
        Self { email: email.into(), fields, about: Vec::new(), emails: Vec::new(), submissions: Vec::new() }
    }

    /// Ties it to a record.
    #[must_use]
    pub fn about(mut self, entity: Entity, id: impl Into<RecordId>) -> Self {
        self.about.push((entity, id.into()));
        self
    }

    /// Adds what it did with an email.
    #[must_use]
    pub fn email_engagement(mut self, engagement: EmailEngagement) -> Self {
        self.emails.push(engagement);
        self
    }

    /// Adds a form it filled in; it needs its time.
    #[must_use]
    pub fn submission(mut self, submission: FormSubmission) -> Self {
        self.submissions.push(submission);
        self
    }
}

/// What a flow did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncedContact {
    /// The contact.
    pub id: RecordId,
    /// Whether it was made just now.
    pub created: bool,
    /// Properties written to one that was there.
    pub changed: Vec<String>,
    /// Records it was tied to just now.
    pub associated: usize,
    /// Engagements told just now.
    pub told: usize,
    /// Forms submitted just now.
    pub submitted: usize,
}

/// Keeps contacts in step.
#[derive(Clone, Debug)]
pub struct ContactSync {
    client: HubSpot,
    telling: Option<Telling>,
    secure_forms: bool,
    schema: Option<EntitySchema>,
}

impl ContactSync {
    /// A flow that tells no engagements yet, and submits forms with the token.
    pub fn new(client: &HubSpot) -> Self {
        Self { client: client.clone(), telling: None, secure_forms: true, schema: None }
    }

    /// How engagements are told.
    #[must_use]
    pub fn telling(mut self, telling: Telling) -> Self {
        self.telling = Some(telling);
        self
    }

    /// Submits forms with the token (default), or as any visitor would.
    #[must_use]
    pub fn secure_forms(mut self, secure: bool) -> Self {
        self.secure_forms = secure;
        self
    }

    /// The description of contacts ([`describe`](crate::adapter::CrmAdapter::describe)): with it, read-only properties are refused
    /// and dates checked before anything is sent.
    #[must_use]
    pub fn schema(mut self, schema: EntitySchema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Brings one contact up. One read; one write if something differs; for each kind of record it belongs to one read, and one
    /// write for each that is new; one write for each engagement; one or more reads for each form, and one write if it is new.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`crate::error::ErrorKind::Config`] for engagements without [`ContactSync::telling`], before anything is
    /// sent. What was done before an error stays; safe to repeat, but for a contact whose create
    /// [may have been applied](Error::may_have_applied), which is found by its email then.
    pub async fn sync(&self, contact: &MarketingContact) -> Result<SyncedContact> {
        let mut fields = contact.fields.clone();
        fields.remove("email");
        self.check(contact, &mut fields)?;
        let mut done = self.contact(contact, &fields).await?;
        if !done.created {
            done.associated = self.associate(&done.id, &contact.about).await?;
        }
        if let Some(telling) = &self.telling {
            for engagement in &contact.emails {
                done.told += usize::from(telling.tell(&self.client, &done.id, engagement).await?);
            }
        }
        for submission in &contact.submissions {
            done.submitted += usize::from(self.client.submit_once(submission, self.secure_forms).await?);
        }
        Ok(done)
    }

    fn check(&self, contact: &MarketingContact, fields: &mut Fields) -> Result<()> {
        if contact.email.trim().is_empty() {
            return Err(Error::config("a contact is known by its email; this one has none").on(&CONTACTS));
        }
        if self.telling.is_none() && !contact.emails.is_empty() {
            return Err(Error::config("the flow was not told how to tell engagements").on(&CONTACTS));
        }
        let Some(schema) = &self.schema else { return Ok(()) };
        check_dates(fields, schema).map_err(|error| error.on(&CONTACTS))?;
        match fields.names().find(|name| schema.field(name).is_some_and(|field| !field.updatable)) {
            Some(name) => Err(Error::config(format!("the property {name} is read-only; take it out of the mapping")).on(&CONTACTS)),
            None => Ok(()),
        }
    }

    async fn contact(&self, contact: &MarketingContact, fields: &Fields) -> Result<SyncedContact> {
        let done = |id: RecordId, created: bool, changed: Vec<String>| SyncedContact {
            id,
            created,
            changed,
            associated: if created { contact.about.len() } else { 0 },
            told: 0,
            submitted: 0,
        };
        if let Some(row) = self.by_email(&contact.email, fields).await? {
            let id = RecordId::new(row.id.as_str());
            let changed = self.change(&id, &row, fields).await?;
            return Ok(done(id, false, changed));
        }
        let mut whole = fields.clone();
        whole.insert("email", contact.email.trim());
        let ties = contact.about.iter().map(|(entity, id)| NewAssociation::plain(&CONTACTS, entity, id.clone()));
        // Ties to custom objects are made afterwards, as their types are the account's own.
        let (ties, later): (Vec<_>, Vec<_>) = ties.zip(&contact.about).partition(|(tie, _)| tie.is_ok());
        let ties = ties.into_iter().map(|(tie, _)| tie).collect::<Result<Vec<_>>>()?;
        match self.client.create_associated(&CONTACTS, &whole, &ties).await {
            Ok(row) => {
                let id = RecordId::new(row.id);
                for (_, (entity, other)) in later {
                    self.client.associate_default((&CONTACTS, &id), (entity, other)).await?;
                }
                Ok(done(id, true, Vec::new()))
            }
            Err(error) => match in_the_way(&error) {
                // Somebody was faster.
                Some(id) => {
                    let names = ReadOptions::new().properties(fields.names());
                    let row = self.client.read(&CONTACTS, id.as_str(), &names).await?;
                    let row = row.ok_or_else(|| error.echo())?;
                    let changed = self.change(id, &row, fields).await?;
                    Ok(done(id.clone(), false, changed))
                }
                None => Err(error),
            },
        }
    }

    /// By email, which also finds it by its other addresses, and at once: a search would lag.
    async fn by_email(&self, email: &str, fields: &Fields) -> Result<Option<HubSpotRecord>> {
        let options = ReadOptions::new().properties(fields.names().chain(["email"])).id_property("email");
        self.client.read(&CONTACTS, email.trim(), &options).await
    }

    async fn change(&self, id: &RecordId, row: &HubSpotRecord, fields: &Fields) -> Result<Vec<String>> {
        let mut different = fields.clone();
        different.retain(|name, value| {
            let there = row.properties.get(name).unwrap_or(&Value::Null);
            comparable(name, value) != comparable(name, there)
        });
        if different.is_empty() {
            return Ok(Vec::new());
        }
        self.client.update(&CONTACTS, None, id.as_str(), &different).await?;
        Ok(different.names().map(ToOwned::to_owned).collect())
    }

    async fn associate(&self, id: &RecordId, about: &[(Entity, RecordId)]) -> Result<usize> {
        let mut kinds: Vec<&Entity> = Vec::new();
        about.iter().map(|(kind, _)| kind).for_each(|kind| {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        });
        let mut made = 0;
        for kind in kinds {
            let there = self.client.associated(&CONTACTS, id, kind).await?;
            for (_, other) in about.iter().filter(|(of, other)| of == kind && !there.iter().any(|known| known.id == *other)) {
                self.client.associate_default((&CONTACTS, id), (kind, other)).await?;
                made += 1;
            }
        }
        Ok(made)
    }
}
