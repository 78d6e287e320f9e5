//! Owners: `hubspot_owner_id` takes the owner's id, not the user's.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::paths::segment;
use crate::hubspot::record::Paging;
use crate::rest::Call;

/// Somebody, or a queue, who can own records.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Owner {
    /// What `hubspot_owner_id` takes.
    pub id: String,
    /// The address.
    pub email: Option<String>,
    /// `PERSON` or `QUEUE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// The user's id, for people who can log in; not an owner id.
    pub user_id: Option<u64>,
    /// Deactivated.
    pub archived: bool,
    /// Teams, as HubSpot answers them.
    pub teams: Vec<Value>,
}

#[derive(Deserialize)]
struct Owners {
    #[serde(default = "Vec::new")]
    results: Vec<Owner>,
    #[serde(default)]
    paging: Option<Paging>,
}

impl HubSpot {
    /// All owners, or those of an address. One request for each 100.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn owners(&self, email: Option<&str>, archived: bool) -> Result<Vec<Owner>> {
        let mut base = format!("{}?limit=100", self.config.api_version.owners());
        if let Some(email) = email {
            base = format!("{base}&email={}", segment(email));
        }
        if archived {
            base.push_str("&archived=true");
        }
        let mut owners = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let path = after.as_ref().map_or_else(|| base.clone(), |after| format!("{base}&after={}", segment(after)));
            let page: Owners = self.send(&Call::get("owners", path)).await?.json()?;
            owners.extend(page.results);
            let next = Paging::after(page.paging.as_ref());
            if next.is_none() || next == after {
                return Ok(owners);
            }
            after = next;
        }
    }

    /// The owner who is this user; `None` if nobody is.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn owner_of_user(&self, user: u64) -> Result<Option<Owner>> {
        let path = format!("{}/{user}?idProperty=userId", self.config.api_version.owners());
        match self.send(&Call::get("owners", path)).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
