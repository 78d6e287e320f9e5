//! What can be set about the pretend org.

use serde::{Deserialize, Serialize};

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
    /// The duplicate rules, in order.
    pub duplicate_rules: Vec<DuplicateRule>,
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
            duplicate_rules: Vec::new(),
        }
    }
}
