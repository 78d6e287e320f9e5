//! The sandbox as its user sees it.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::host::Host;
use crate::model::{Fields, RecordId};
use crate::sandbox::fault::Fault;
use crate::sandbox::log::Log;
use crate::sandbox::requests::RequestRecord;
use crate::sandbox::salesforce::{Conversion, Converted, EventScript, FieldDef, ObjectDef, Options};
use crate::sandbox::world::World;

/// How often a long poll looks whether its session still holds.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// A world of pretend CRMs. Clones share it.
#[derive(Clone)]
pub struct Sandbox {
    host: Host,
    world: Arc<Mutex<World>>,
}

/// What a client needs to talk to the Salesforce face. The values belong to the seed.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct SalesforceAccess {
    /// Where `/services/data/...` is reached; also the login host of `/services/oauth2/...`.
    pub instance_url: String,
    /// The first access token.
    pub access_token: String,
    /// The connected app's consumer key.
    pub client_id: String,
    /// The connected app's secret.
    pub client_secret: String,
    /// The first refresh token.
    pub refresh_token: String,
    /// Where the Pub/Sub API is reached, if it is: `https://localhost:4001`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pubsub_url: Option<String>,
    /// The certificate authority that the Pub/Sub API's certificate is from, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pubsub_ca_pem: Option<String>,
    /// The org's id, which Pub/Sub calls carry as `tenantid`.
    pub organization_id: String,
}

/// Not the credentials.
impl fmt::Debug for SalesforceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SalesforceAccess").field("instance_url", &self.instance_url).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// The origin to use with [`Sandbox::transport`]; any other works as well.
    pub const IN_PROCESS_URL: &'static str = "http://localhost";

    /// A fresh world in memory. The same seed and the same requests make the same ids and answers; times come from `host`.
    pub fn new(host: Host, seed: u64) -> Self {
        let world = World::new(seed, host.now());
        Self { host, world: Arc::new(Mutex::new(world)) }
    }

    /// The world kept in `dir`, or a fresh one if there is none. Rows, tokens, options and added fields come back; faults,
    /// requests and query locators do not. One process at a time may have the directory open.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the directory cannot be used or its log was damaged.
    pub fn open(host: Host, seed: u64, dir: &Path) -> Result<Self> {
        let (log, lines) = Log::open(dir)?;
        let world = World::reopen(seed, host.now(), log, lines)?;
        Ok(Self { host, world: Arc::new(Mutex::new(world)) })
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, with everything done that is due by now.
    pub(super) fn advanced(&self) -> MutexGuard<'_, World> {
        let mut world = self.world();
        // What the log refuses is undone, and shows as not done.
        let _ = world.advance(self.host.now());
        world
    }

    /// How to reach the Salesforce face at `base_url`, e.g. `http://127.0.0.1:4000`.
    pub fn salesforce(&self, base_url: &str) -> SalesforceAccess {
        let world = self.world();
        let auth = &world.salesforce.auth;
        let pubsub = world.salesforce.events.pubsub.clone();
        SalesforceAccess {
            instance_url: base_url.trim_end_matches('/').to_owned(),
            access_token: auth.access_token.clone(),
            client_id: auth.client_id.clone(),
            client_secret: auth.client_secret.clone(),
            refresh_token: auth.refresh_token.clone(),
            pubsub_url: pubsub.as_ref().map(|(url, _)| url.clone()),
            pubsub_ca_pem: pubsub.map(|(_, pem)| pem),
            organization_id: world.salesforce.org.clone(),
        }
    }

    /// Adds a fault to the script. Several wait in the order they were added.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.add(fault);
    }

    /// The faults still to come.
    pub fn faults(&self) -> Vec<Fault> {
        self.world().faults.pending().to_vec()
    }

    /// Forgets the script.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// The requests so far, oldest first, at most the last 100,000. Those below `/_sandbox/` are not among them.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.world().requests.iter().cloned().collect()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.world().requests.clear();
    }

    /// The live rows of a Salesforce object, with all their fields, in the order of their ids.
    pub fn records(&self, entity: &str) -> Vec<Fields> {
        self.advanced().salesforce.records(entity)
    }

    /// Creates a row as another user of the org. Read-only fields can be set; validation and uniqueness hold.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Validation`] with Salesforce's code; `Config` for an unknown object; `Store` if it cannot be kept.
    pub fn create(&self, entity: &str, fields: &Fields) -> Result<RecordId> {
        let fields = fields.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let mut world = self.world();
        let id = world.salesforce.edit_create(self.host.now(), entity, &fields)?;
        world.commit()?;
        Ok(RecordId::new(id))
    }

    /// Changes a row as another user of the org; see [`Sandbox::create`].
    ///
    /// # Errors
    /// As [`Sandbox::create`].
    pub fn update(&self, entity: &str, id: &RecordId, fields: &Fields) -> Result<()> {
        let fields = fields.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let mut world = self.world();
        world.salesforce.edit_update(self.host.now(), entity, id.as_str(), &fields)?;
        world.commit()
    }

    /// Deletes a row as another user of the org; see [`Sandbox::create`].
    ///
    /// # Errors
    /// As [`Sandbox::create`].
    pub fn delete(&self, entity: &str, id: &RecordId) -> Result<()> {
        let mut world = self.world();
        world.salesforce.edit_delete(self.host.now(), entity, id.as_str())?;
        world.commit()
    }

    /// Takes a row out of the recycle bin; see [`Sandbox::create`].
    ///
    /// # Errors
    /// As [`Sandbox::create`].
    pub fn undelete(&self, entity: &str, id: &RecordId) -> Result<()> {
        let mut world = self.world();
        world.salesforce.edit_undelete(self.host.now(), entity, id.as_str())?;
        world.commit()
    }

    /// Converts a lead as another user of the org, as `convertLead()` does: account, contact and opportunity, and the lead closed.
    ///
    /// # Errors
    /// As [`Sandbox::create`].
    pub fn convert_lead(&self, conversion: &Conversion) -> Result<Converted> {
        let mut world = self.world();
        let converted = world.salesforce.edit_convert(self.host.now(), conversion)?;
        world.commit()?;
        Ok(converted)
    }

    /// Adds a field to a Salesforce object, or replaces the one of that name.
    ///
    /// # Errors
    /// `Config` for an unknown object; `Store` if it cannot be kept.
    pub fn add_field(&self, entity: &str, field: FieldDef) -> Result<()> {
        let mut world = self.world();
        world.salesforce.add_field(self.host.now(), entity, field)?;
        world.commit()
    }

    /// Adds an object to the Salesforce org.
    ///
    /// # Errors
    /// `Config` if its name or prefix is taken; `Store` if it cannot be kept.
    pub fn add_object(&self, object: ObjectDef) -> Result<()> {
        let mut world = self.world();
        world.salesforce.add_object(self.host.now(), object)?;
        world.commit()
    }

    /// The org's settings.
    pub fn options(&self) -> Options {
        self.world().salesforce.options.clone()
    }

    /// Changes the org's settings.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if they cannot be kept.
    pub fn set_options(&self, change: impl FnOnce(&mut Options)) -> Result<()> {
        let mut world = self.world();
        change(&mut world.salesforce.options);
        world.commit()
    }

    /// Does something to the event bus, as `POST /_sandbox/events` does.
    ///
    /// # Errors
    /// `Config` if the script names something the org does not have; `Store` if it cannot be kept.
    pub fn script(&self, script: EventScript) -> Result<()> {
        let mut world = self.world();
        world.salesforce.script(self.host.now(), script)?;
        world.commit()
    }

    /// Ends every session at once; refresh tokens stay good.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if that cannot be kept.
    pub fn expire_tokens(&self) -> Result<()> {
        let mut world = self.world();
        world.salesforce.auth.expire_all();
        world.commit()
    }

    /// The world as it was at the beginning, its tokens too.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if that cannot be kept.
    pub fn reset(&self) -> Result<()> {
        self.world().reset(self.host.now())
    }
}
