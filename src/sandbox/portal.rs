//! The HubSpot face of the sandbox as its user sees it.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use serde::Serialize;

use crate::error::Result;
use crate::http::HttpTransport;
use crate::model::{Fields, RecordId};
use crate::sandbox::api::Sandbox;
use crate::sandbox::hubspot::{HubSpotDelivery, HubSpotOptions};

/// A receiver of webhooks must answer within this (Webhooks guide).
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client needs to talk to the HubSpot face. The values belong to the seed.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct HubSpotAccess {
    /// Where `/crm/...`, `/oauth/...` and `/submissions/...` are reached: API, app and forms host in one.
    pub base_url: String,
    /// The token of the private app.
    pub access_token: String,
    /// The OAuth app's client id.
    pub client_id: String,
    /// The OAuth app's secret, with which webhooks are signed too.
    pub client_secret: String,
    /// The refresh token of the account's installation of the OAuth app.
    pub refresh_token: String,
    /// The developer API key, for webhook settings and timeline templates.
    pub developer_api_key: String,
    /// The app's id.
    pub app_id: u64,
    /// The account's id, also called hub id.
    pub portal_id: u64,
    /// The form every account has.
    pub form_id: String,
}

/// Not the credentials.
impl fmt::Debug for HubSpotAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSpotAccess").field("base_url", &self.base_url).field("portal_id", &self.portal_id).finish_non_exhaustive()
    }
}

fn members(fields: &Fields) -> serde_json::Map<String, serde_json::Value> {
    fields.iter().filter_map(|(name, value)| Some((name.to_owned(), serde_json::to_value(value).ok()?))).collect()
}

impl Sandbox {
    /// How to reach the HubSpot face at `base_url`, e.g. `http://127.0.0.1:4000`.
    pub fn hubspot(&self, base_url: &str) -> HubSpotAccess {
        let world = self.world();
        let hubspot = &world.hubspot;
        let auth = &hubspot.auth;
        HubSpotAccess {
            base_url: base_url.trim_end_matches('/').to_owned(),
            access_token: auth.private_token.clone(),
            client_id: auth.client_id.clone(),
            client_secret: auth.client_secret.clone(),
            refresh_token: auth.refresh_token.clone(),
            developer_api_key: auth.developer_key.clone(),
            app_id: hubspot.app,
            portal_id: hubspot.portal,
            form_id: hubspot.tables.rows("form").next().map(|(id, _)| id.to_owned()).unwrap_or_default(),
        }
    }

    /// The HubSpot account's settings.
    pub fn hubspot_options(&self) -> HubSpotOptions {
        self.world().hubspot.options.clone()
    }

    /// Changes the HubSpot account's settings.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if they cannot be kept.
    pub fn set_hubspot_options(&self, change: impl FnOnce(&mut HubSpotOptions)) -> Result<()> {
        let mut world = self.world();
        change(&mut world.hubspot.options);
        world.commit()
    }

    /// The live records of a HubSpot object (`contacts`, `0-1`, `p_thing`) in the order of their ids, with all properties: texts,
    /// or null.
    pub fn hubspot_records(&self, object: &str) -> Vec<Fields> {
        self.world().hubspot.records(object)
    }

    /// Creates a record as a person in the HubSpot account. Unknown and read-only properties are refused.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Validation`] if the account refuses it; `Config` for an unknown object; `Store` if it cannot be kept.
    pub fn hubspot_create(&self, object: &str, properties: &Fields) -> Result<RecordId> {
        let mut world = self.world();
        let id = world.hubspot.edit_create(self.host().now(), object, &members(properties))?;
        world.commit()?;
        Ok(RecordId::new(id))
    }

    /// Changes a record as a person in the HubSpot account; see [`Sandbox::hubspot_create`].
    ///
    /// # Errors
    /// As [`Sandbox::hubspot_create`].
    pub fn hubspot_update(&self, object: &str, id: &RecordId, properties: &Fields) -> Result<()> {
        let mut world = self.world();
        world.hubspot.edit_update(self.host().now(), object, id.as_str(), &members(properties))?;
        world.commit()
    }

    /// Deletes a record as a person in the HubSpot account; see [`Sandbox::hubspot_create`].
    ///
    /// # Errors
    /// As [`Sandbox::hubspot_create`].
    pub fn hubspot_delete(&self, object: &str, id: &RecordId) -> Result<()> {
        let mut world = self.world();
        world.hubspot.edit_delete(self.host().now(), object, id.as_str())?;
        world.commit()
    }

    /// Ends every OAuth access token of the HubSpot account at once; refresh tokens and the private app's token stay good.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if that cannot be kept.
    pub fn expire_hubspot_tokens(&self) -> Result<()> {
        let mut world = self.world();
        world.hubspot.auth.expire_all(self.host().now());
        world.commit()
    }

    /// The webhook requests that are due now, at most 100 events each. They stay in the queue until
    /// [`Sandbox::hubspot_delivered`] settles them.
    pub fn hubspot_deliveries(&self) -> Vec<HubSpotDelivery> {
        self.world().hubspot.next_webhooks(self.host().now())
    }

    /// Settles a webhook request by the receiver's status: 2xx is accepted, anything else is tried ten times more within a day.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the queue cannot be kept.
    pub fn hubspot_delivered(&self, delivery: &HubSpotDelivery, status: u16) -> Result<bool> {
        let accepted = (200..300).contains(&status);
        let mut world = self.world();
        world.hubspot.settle_webhooks(delivery, accepted, self.host().now());
        world.commit().map(|()| accepted)
    }

    /// Sends the webhook requests that are due through `transport`, and returns how many were accepted within five seconds. When
    /// dropped, the request on its way stays in the queue and is sent again.
    ///
    /// # Errors
    /// As [`Sandbox::hubspot_delivered`]. A receiver that cannot be reached is no error.
    pub async fn send_webhooks(&self, transport: &dyn HttpTransport) -> Result<usize> {
        let mut accepted = 0;
        for delivery in self.hubspot_deliveries() {
            let mut request = http::Request::post(delivery.url.as_str());
            for (name, value) in &delivery.headers {
                request = request.header(name.as_str(), value.as_str());
            }
            let mut status = 0;
            if let Ok(request) = request.body(Bytes::from(delivery.body.clone())) {
                let (sent, late) = (pin!(transport.send(request)), pin!(self.host().sleep(PATIENCE)));
                let answer = select(sent, late).await;
                if let Either::Left((Ok(response), _)) = answer {
                    status = response.status().as_u16();
                }
            }
            accepted += usize::from(self.hubspot_delivered(&delivery, status)?);
        }
        Ok(accepted)
    }
}
