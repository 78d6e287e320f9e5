//! The Pipedrive face as the sandbox's user sees it.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::http::HttpTransport;
use crate::model::RecordId;
use crate::sandbox::api::Sandbox;
use crate::sandbox::pipedrive::{PipedriveOptions, WebhookDelivery};

/// What a client needs to talk to the Pipedrive face. The values belong to the seed.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct PipedriveAccess {
    /// Where `/api/v2`, `/v1` and `/api/v1` are reached: an origin, as token answers give it.
    pub api_domain: String,
    /// The same: the account's host.
    pub base_url: String,
    /// The OAuth server's base; `/oauth/authorize`, `/oauth/token` and `/oauth/revoke` are below it.
    pub oauth_url: String,
    /// The user's API token, for `x-api-token`.
    pub api_token: String,
    /// The app's client id.
    pub client_id: String,
    /// The app's secret.
    pub client_secret: String,
    /// The first access token; it lives an hour.
    pub access_token: String,
    /// The first refresh token.
    pub refresh_token: String,
    /// The company's number.
    pub company_id: i64,
    /// The company's subdomain.
    pub company_domain: String,
    /// The user whom the tokens belong to.
    pub user_id: i64,
}

/// Not the credentials.
impl fmt::Debug for PipedriveAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipedriveAccess")
            .field("api_domain", &self.api_domain)
            .field("company_id", &self.company_id)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// How to reach the Pipedrive face at `base_url`, e.g. `http://127.0.0.1:4000`. Everything also answers below `/pipedrive`.
    pub fn pipedrive(&self, base_url: &str) -> PipedriveAccess {
        let world = self.world();
        let pipedrive = &world.pipedrive;
        let base = base_url.trim_end_matches('/').to_owned();
        PipedriveAccess {
            api_domain: base.clone(),
            oauth_url: base.clone(),
            base_url: base,
            api_token: pipedrive.auth.api_token.clone(),
            client_id: pipedrive.auth.client_id.clone(),
            client_secret: pipedrive.auth.client_secret.clone(),
            access_token: pipedrive.auth.access_token.clone(),
            refresh_token: pipedrive.auth.refresh_token.clone(),
            company_id: pipedrive.company,
            company_domain: pipedrive.domain.clone(),
            user_id: pipedrive.user,
        }
    }

    /// The company's settings.
    pub fn pipedrive_options(&self) -> PipedriveOptions {
        self.world().pipedrive.options.clone()
    }

    /// Changes the company's settings.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if they cannot be kept.
    pub fn set_pipedrive_options(&self, change: impl FnOnce(&mut PipedriveOptions)) -> Result<()> {
        let mut world = self.world();
        change(&mut world.pipedrive.options);
        world.commit()
    }

    /// The live records of `person`, `organization`, `deal`, `activity`, `product`, `pipeline` or `stage` in the shape of v2, of
    /// `lead`, `note` and `user` in that of v1, in the order of their ids.
    pub fn pipedrive_records(&self, entity: &str) -> Vec<Value> {
        self.world().pipedrive.edit_list(entity)
    }

    /// Creates a record as another user of the company, in the app; see [`Sandbox::pipedrive_records`] for the shapes.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Validation`] with Pipedrive's words as code; `Config` for an unknown entity; `Store` if it
    /// cannot be kept.
    pub fn pipedrive_create(&self, entity: &str, body: &Value) -> Result<RecordId> {
        let mut world = self.world();
        let id = world.pipedrive.edit_create(self.host().now(), entity, body)?;
        world.commit()?;
        Ok(RecordId::new(id))
    }

    /// Changes a record as another user of the company; see [`Sandbox::pipedrive_create`].
    ///
    /// # Errors
    /// As [`Sandbox::pipedrive_create`].
    pub fn pipedrive_update(&self, entity: &str, id: &RecordId, body: &Value) -> Result<()> {
        let mut world = self.world();
        world.pipedrive.edit_update(self.host().now(), entity, id.as_str(), body)?;
        world.commit()
    }

    /// Deletes a record as another user of the company; see [`Sandbox::pipedrive_create`].
    ///
    /// # Errors
    /// As [`Sandbox::pipedrive_create`].
    pub fn pipedrive_delete(&self, entity: &str, id: &RecordId) -> Result<()> {
        let mut world = self.world();
        world.pipedrive.edit_delete(self.host().now(), entity, id.as_str())?;
        world.commit()
    }

    /// Merges two persons, organizations or deals as another user of the company; `kept` survives.
    ///
    /// # Errors
    /// As [`Sandbox::pipedrive_create`].
    pub fn pipedrive_merge(&self, entity: &str, gone: i64, kept: i64) -> Result<()> {
        let mut world = self.world();
        world.pipedrive.edit_merge(self.host().now(), entity, gone, kept)?;
        world.commit()
    }

    /// The webhook requests that are due. They stay in the queue until [`Sandbox::pipedrive_delivered`] settles them.
    pub fn pipedrive_deliveries(&self) -> Vec<WebhookDelivery> {
        self.world().pipedrive.webhooks_due(self.host().now())
    }

    /// Settles a delivery by the receiver's status (0: nobody answered within ten seconds), and tells whether it arrived. What
    /// failed is tried again after 3, 30 and 150 seconds; ten first attempts that failed ban the webhook for half an hour, and
    /// three days without a success delete it.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if that cannot be kept.
    pub fn pipedrive_delivered(&self, delivery: &WebhookDelivery, status: u16) -> Result<bool> {
        let mut world = self.world();
        let arrived = world.pipedrive.webhook_delivered(delivery.id, status, self.host().now());
        world.commit().map(|()| arrived)
    }

    /// Sends the webhooks that are due through `transport`, whose timeout decides when nobody has answered, and returns how many
    /// arrived. When dropped, the one on its way stays in the queue and is sent again.
    ///
    /// # Errors
    /// As [`Sandbox::pipedrive_delivered`]. A receiver that cannot be reached is no error.
    pub async fn send_pipedrive_webhooks(&self, transport: &dyn HttpTransport) -> Result<usize> {
        let mut arrived = 0;
        for delivery in self.pipedrive_deliveries() {
            let mut request = http::Request::post(delivery.url.as_str()).header("content-type", "application/json");
            if let Some(value) = &delivery.authorization {
                request = request.header("authorization", value.as_str());
            }
            let mut status = 0;
            if let Ok(request) = request.body(Bytes::from(delivery.body.clone()))
                && let Ok(response) = transport.send(request).await
            {
                status = response.status().as_u16();
            }
            arrived += usize::from(self.pipedrive_delivered(&delivery, status)?);
        }
        Ok(arrived)
    }
}
