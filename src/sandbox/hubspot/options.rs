//! What can be set about the pretend account.

use serde::{Deserialize, Serialize};

/// Which hash the `X-HubSpot-Signature` header of outgoing webhooks carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HubSpotSignature {
    /// Secret and body, as CRM webhooks have it.
    #[default]
    V1,
    /// Secret, method, URI and body, as workflow webhooks have it.
    V2,
}

/// Settings of the pretend HubSpot account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HubSpotOptions {
    /// Calls in ten seconds of the private app.
    pub burst_limit: usize,
    /// Calls in ten seconds of the OAuth app.
    pub oauth_burst_limit: usize,
    /// Association calls in ten seconds.
    pub association_burst_limit: usize,
    /// Calls of the private app until midnight of the account.
    pub daily_limit: u64,
    /// Searches in a second, of all apps together.
    pub search_per_second: usize,
    /// Public form submissions in ten seconds.
    pub form_burst_limit: usize,
    /// Milliseconds until a write shows in searches.
    pub search_lag_millis: u64,
    /// Results of one query that can be paged through.
    pub search_ceiling: usize,
    /// Batch results come in another order than the inputs.
    pub shuffle: bool,
    /// Errors of a batch stand in a plain 200 or 201 instead of a 207; by the path's version if absent (from 2026-09 on).
    pub partial_as_success: Option<bool>,
    /// Errors of a batch do not say which input they mean.
    pub unattributed: bool,
    /// A merge makes a record with a new id.
    pub merge_new_id: bool,
    /// An upsert by `email` may leave out values an existing contact has.
    pub partial_email_upsert: bool,
    /// Seconds an OAuth access token lives.
    pub token_seconds: u64,
    /// Where users may be sent back to; anywhere if empty.
    pub redirect_uris: Vec<String>,
    /// The user says no to whoever asks for authorization.
    pub deny_authorization: bool,
    /// The scopes of the private app; all if absent.
    pub private_scopes: Option<Vec<String>>,
    /// The account's time zone, as account info names it.
    pub time_zone: String,
    /// Its distance from UTC, in minutes.
    pub utc_offset_minutes: i32,
    /// The hash of outgoing webhooks.
    pub webhook_signature: HubSpotSignature,
    /// Outgoing webhooks carry `X-HubSpot-Signature-v3` too.
    pub webhook_v3: bool,
    /// Outgoing webhooks come in another order than the changes.
    pub webhook_shuffle: bool,
    /// Every n-th webhook event is sent twice; none if 0.
    pub webhook_duplicate_every: u64,
}

impl Default for HubSpotOptions {
    fn default() -> Self {
        Self {
            burst_limit: 190,
            oauth_burst_limit: 110,
            association_burst_limit: 150,
            daily_limit: 625_000,
            search_per_second: 5,
            form_burst_limit: 50,
            search_lag_millis: 500,
            search_ceiling: 10_000,
            shuffle: true,
            partial_as_success: None,
            unattributed: false,
            merge_new_id: true,
            partial_email_upsert: false,
            token_seconds: 1_800,
            redirect_uris: Vec::new(),
            deny_authorization: false,
            private_scopes: None,
            time_zone: "US/Eastern".to_owned(),
            utc_offset_minutes: -300,
            webhook_signature: HubSpotSignature::V1,
            webhook_v3: true,
            webhook_shuffle: true,
            webhook_duplicate_every: 0,
        }
    }
}
