//! The org's allowances: the header of each answer, and the resource that lists all of them.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::salesforce::version::ApiVersion;

/// Rows of one collections request (REST API Developer Guide, "sObject Collections").
pub const COLLECTION_LIMIT: usize = 200;

/// Used and allowed API requests within the rolling 24 hours, as `Sforce-Limit-Info` told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiUsage {
    /// Requests used.
    pub used: u64,
    /// Requests allowed; a soft limit that may be exceeded for a while.
    pub max: u64,
}

impl ApiUsage {
    /// Requests left.
    pub fn remaining(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }

    /// The header's figures; `None` if it is absent or tells nothing of API usage. Other directives are ignored.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("sforce-limit-info")?.to_str().ok()?;
        text.split([';', ',']).find_map(|directive| {
            let (name, value) = directive.split_once('=')?;
            if name.trim() != "api-usage" {
                return None;
            }
            let (used, max) = value.split_once('/')?;
            Some(Self { used: used.trim().parse().ok()?, max: max.trim().parse().ok()? })
        })
    }
}

/// One allowance of `GET /limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Limit {
    /// What is allowed.
    pub max: i64,
    /// What is left; accurate to five minutes.
    pub remaining: i64,
}

/// Allowances by name, e.g. `DailyApiRequests`. Entries without the two figures, and figures nested in an entry, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<String, Limit>);

impl Limits {
    /// One allowance.
    pub fn get(&self, name: &str) -> Option<Limit> {
        self.0.get(name).copied()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Limit)> {
        self.0.iter().map(|(name, limit)| (name.as_str(), *limit))
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Entry {
            Figures(Limit),
            Other(IgnoredAny),
        }
        let entries = BTreeMap::<String, Entry>::deserialize(deserializer)?;
        let figures = entries.into_iter().filter_map(|(name, entry)| match entry {
            Entry::Figures(limit) => Some((name, limit)),
            Entry::Other(_) => None,
        });
        Ok(Self(figures.collect()))
    }
}

/// One entry of the list of API versions.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct VersionInfo {
    /// The release, e.g. `Winter '27`.
    pub label: String,
    /// Its root, e.g. `/services/data/v68.0`.
    pub url: String,
    /// Its number, e.g. `68.0`.
    pub version: ApiVersion,
}

/// Who the token acts for, as `/services/oauth2/userinfo` answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct UserInfo {
    /// The user's id.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The org's id.
    #[serde(default)]
    pub organization_id: Option<String>,
    /// The login name.
    #[serde(default)]
    pub preferred_username: Option<String>,
    /// The person's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Whatever else was answered.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str) -> Option<ApiUsage> {
        ApiUsage::from_headers(&HeaderMap::from_iter([(http::HeaderName::from_static("sforce-limit-info"), text.parse().unwrap())]))
    }

    #[test]
    fn the_header() {
        let expected = Some(ApiUsage { used: 10_018, max: 100_000 });
        for text in [
            "api-usage=10018/100000",
            "api-usage=10018/100000; api-bursts=1/750",
            "per-app-api-usage=17/250(appName=sample-app); api-usage=10018/100000",
            "future=x, api-usage = 10018/100000",
        ] {
            assert_eq!(usage(text), expected, "{text}");
        }
        for text in ["", "api-bursts=1/750", "api-usage=x/y", "per-app-api-usage=17/250(appName=x)"] {
            assert_eq!(usage(text), None, "{text}");
        }
        assert_eq!(usage("api-usage=101/100").unwrap().remaining(), 0);
    }

    #[test]
    fn the_resource() {
        let text = r#"{"DailyApiRequests":{"Max":100,"Remaining":98},"PermissionSets":{"Max":15,"Remaining":14,"CreateCustom":{"Max":1,"Remaining":0}},"Odd":{"x":1},"N":3}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!(limits.get("DailyApiRequests"), Some(Limit { max: 100, remaining: 98 }));
        assert_eq!(limits.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["DailyApiRequests", "PermissionSets"]);
    }
}
