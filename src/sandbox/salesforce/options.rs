//! What can be set about the pretend org.

use serde::{Deserialize, Serialize};

use crate::sandbox::salesforce::automation::Automation;

/// What a duplicate rule does with a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleAction {
    /// Refuses, unless the request carries `Sforce-Duplicate-Rule-Header: allowSave=true`.
    #[default]
    Alert,
    /// Always refuses.
    Block,
    /// Saves without a word.
    Report,
}

/// A duplicate rule: records that are alike in all of `fields`, letters compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateRule {
    /// Its developer name.
    pub name: String,
    /// The object that is written.
    pub entity: String,
    /// The object that is searched; the written one if absent.
    #[serde(default)]
    pub match_entity: Option<String>,
    /// The fields that must agree; a record with one of them empty matches nothing.
    pub fields: Vec<String>,
    /// What happens on a match.
    #[serde(default)]
    pub action: RuleAction,
    /// What the user is told.
    #[serde(default = "alert")]
    pub message: String,
}

impl DuplicateRule {
    /// A rule that alerts.
    pub fn new(name: impl Into<String>, entity: impl Into<String>, fields: &[&str]) -> Self {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Self { name: name.into(), entity: entity.into(), match_entity: None, fields, action: RuleAction::Alert, message: alert() }
    }
}

fn alert() -> String {
    "Use one of these records?".to_owned()
}

/// An entry of an assignment rule: whom the records it fits go to. The first entry that fits wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentEntry {
    /// The rule's name, as the `AssignmentRule` record has it.
    pub rule: String,
    /// A SOQL condition on the record, such as `Country = 'Germany'`; every record if absent.
    #[serde(default)]
    pub when: Option<String>,
    /// The id of the new owner.
    pub owner: String,
}

impl AssignmentEntry {
    /// An entry that fits every record.
    pub fn new(rule: impl Into<String>, owner: impl Into<String>) -> Self {
        Self { rule: rule.into(), when: None, owner: owner.into() }
    }
}

/// How Bulk API 2.0 behaves. With the times at their default of zero a job is done when it is next looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BulkOptions {
    /// Milliseconds a job waits before anybody works on it.
    pub queue_millis: u64,
    /// Milliseconds an internal batch takes.
    pub batch_millis: u64,
    /// Up to so many milliseconds more, by the seed.
    pub jitter_millis: u64,
    /// Rows of an internal batch.
    pub batch_rows: usize,
    /// At most this many rows on a page of query results, whatever the client asks for.
    pub page_rows: usize,
    /// Results come in another order than the upload, by the seed.
    pub shuffle: bool,
    /// Rows of every upload, from 0, that fail with `UNABLE_TO_LOCK_ROW`.
    pub locked_rows: Vec<usize>,
    /// Every ingest job fails for good after so many rows; the rest is unprocessed.
    pub fail_after: Option<usize>,
    /// The user may delete without the recycle bin.
    pub hard_delete: bool,
    /// Internal batches in 24 hours.
    pub daily_batches: u64,
    /// Query jobs in 24 hours.
    pub daily_query_jobs: u64,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self {
            queue_millis: 0,
            batch_millis: 0,
            jitter_millis: 0,
            batch_rows: 10_000,
            page_rows: 100_000,
            shuffle: true,
            locked_rows: Vec::new(),
            fail_after: None,
            hard_delete: true,
            daily_batches: 15_000,
            daily_query_jobs: 10_000,
        }
    }
}

/// Settings of the org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Options {
    /// API calls in 24 hours; the next one is answered 403 `REQUEST_LIMIT_EXCEEDED`.
    pub daily_limit: u64,
    /// Every refresh gives a new refresh token and ends the old one; an old one shown again ends the whole family.
    pub rotate_refresh_tokens: bool,
    /// The client secret must be shown at the token endpoint.
    pub require_secret: bool,
    /// Seconds an access token lives; for ever if absent.
    pub token_lifetime: Option<u64>,
    /// From the next token answer on, `instance_url` is this.
    pub instance_url: Option<String>,
    /// At most this many rows on a page of a query, whatever the client asks for.
    pub page_rows: Option<usize>,
    /// Seconds a query locator lives.
    pub locator_lifetime: u64,
    /// A request sent to another host than `instance_url` finds no session there.
    pub strict_instance: bool,
    /// The duplicate rules, in order.
    pub duplicate_rules: Vec<DuplicateRule>,
    /// Validation rules, normalisers and triggers, in the order they run.
    pub automations: Vec<Automation>,
    /// What assignment rules do.
    pub assignment: Vec<AssignmentEntry>,
    /// Records another transaction holds: writes fail with `UNABLE_TO_LOCK_ROW`.
    pub locked_records: Vec<String>,
    /// Records an approval process holds: writes fail with `ENTITY_IS_LOCKED`.
    pub approval_locks: Vec<String>,
    /// The running user is a Marketing User, without which campaigns cannot be created.
    pub marketing_user: bool,
    /// The public key or certificate, as PEM, that assertions of the JWT bearer grant are verified with.
    pub jwt_key: Option<String>,
    /// Bulk API 2.0.
    pub bulk: BulkOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            daily_limit: 100_000,
            rotate_refresh_tokens: false,
            require_secret: true,
            token_lifetime: None,
            instance_url: None,
            page_rows: None,
            locator_lifetime: 2 * 24 * 3600,
            strict_instance: false,
            duplicate_rules: Vec::new(),
            automations: Vec::new(),
            assignment: Vec::new(),
            locked_records: Vec::new(),
            approval_locks: Vec::new(),
            marketing_user: true,
            jwt_key: None,
            bulk: BulkOptions::default(),
        }
    }
}
