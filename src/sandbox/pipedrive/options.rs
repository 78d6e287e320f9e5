//! What can be set about the pretend Pipedrive company.

use serde::{Deserialize, Serialize};

/// A plan; it decides the burst limit and the daily token budget (Pipedrive docs, Rate limiting).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PipedrivePlan {
    /// 20 requests in two seconds for an API token, 80 for an OAuth app; 30,000 tokens a day and seat.
    Lite,
    /// Twice as much of each.
    Growth,
    /// 100 and 400 requests, 150,000 tokens.
    #[default]
    Premium,
    /// 120 and 480 requests, 210,000 tokens.
    Ultimate,
}

impl PipedrivePlan {
    pub(crate) fn burst(self, oauth: bool) -> usize {
        let token = match self {
            Self::Lite => 20,
            Self::Growth => 40,
            Self::Premium => 100,
            Self::Ultimate => 120,
        };
        if oauth { token * 4 } else { token }
    }

    pub(crate) fn daily(self) -> u64 {
        let multiplier = match self {
            Self::Lite => 1,
            Self::Growth => 2,
            Self::Premium => 5,
            Self::Ultimate => 7,
        };
        30_000 * multiplier
    }
}

/// Settings of the company. Where the documents say too little, the default is the stricter reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PipedriveOptions {
    /// The plan.
    pub plan: PipedrivePlan,
    /// Paid users; each adds to the daily budget.
    pub seats: u64,
    /// Requests in two seconds and token, instead of the plan's.
    pub burst: Option<usize>,
    /// Searches in two seconds and token.
    pub search_burst: usize,
    /// Tokens a day for the company, instead of what plan and seats make.
    pub daily_budget: Option<u64>,
    /// So many 429s in a row to one API token, without one request let through, and it is answered 403 with a page.
    pub block_after: u32,
    /// Seconds such a block lasts.
    pub block_seconds: u64,
    /// `?api_token=` is taken as well as the header. It is no longer documented.
    pub query_token: bool,
    /// Milliseconds until search finds what was written; until then it finds what was there before.
    pub search_lag_millis: u64,
    /// Contact sync was set up: persons have `notes`, `im`, `birthday`, `job_title` and `postal_address`.
    pub contact_sync: bool,
    /// Organizations may have `website`, `linkedin`, `industry`, `annual_revenue` and `employee_count` written.
    pub organization_details: bool,
    /// `custom_fields: {}` in a PATCH clears every custom field, as one user reports.
    pub empty_custom_fields_clear: bool,
    /// A deleted record is still shown by its id, with `is_deleted`, for 30 days.
    pub deleted_readable: bool,
    /// The v1 endpoints that have a v2 twin still answer; otherwise they are gone (410).
    pub deprecated_v1: bool,
    /// The client came by the generic host: leads, lead labels, lead sources, goals and the mailbox have no `/api/v1` path.
    pub generic_host: bool,
    /// Every refresh gives a new refresh token and ends the old one. Today's Pipedrive gives the same again.
    pub rotate_refresh_tokens: bool,
    /// Seconds an access token lives.
    pub token_lifetime: u64,
    /// The scopes that new access tokens get, comma-separated; all if absent.
    pub scopes: Option<String>,
    /// `api_domain` of token answers, instead of the origin the client came by.
    pub api_domain: Option<String>,
    /// Token answers leave `api_domain` out.
    pub omit_api_domain: bool,
    /// The user refuses the app: `authorize` redirects with `error=user_denied`.
    pub deny_consent: bool,
    /// Open deals the plan allows; the next one is refused with 403.
    pub open_deals_limit: Option<usize>,
    /// Conversions of leads and deals take so many milliseconds.
    pub conversion_millis: u64,
}

impl Default for PipedriveOptions {
    fn default() -> Self {
        Self {
            plan: PipedrivePlan::default(),
            seats: 1,
            burst: None,
            search_burst: 10,
            daily_budget: None,
            block_after: 10,
            block_seconds: 60,
            query_token: true,
            search_lag_millis: 0,
            contact_sync: false,
            organization_details: true,
            empty_custom_fields_clear: true,
            deleted_readable: true,
            deprecated_v1: false,
            generic_host: false,
            rotate_refresh_tokens: false,
            token_lifetime: 3600,
            scopes: None,
            api_domain: None,
            omit_api_domain: false,
            deny_consent: false,
            open_deals_limit: None,
            conversion_millis: 0,
        }
    }
}

impl PipedriveOptions {
    pub(crate) fn daily(&self) -> u64 {
        self.daily_budget.unwrap_or_else(|| self.plan.daily().saturating_mul(self.seats))
    }
}
