//! The one place where paths are built.

use serde::Deserialize;

pub(super) use crate::rest::percent_encode as segment;

/// A version of HubSpot's API. `v3` and `v4` are the same choice: objects are v3, associations v4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum ApiVersion {
    /// The dated version of March 2026.
    #[default]
    #[serde(rename = "2026-03")]
    V2026_03,
    /// The dated version of September 2026: batch answers carry their errors in the plain 200 or 201.
    #[serde(rename = "2026-09")]
    V2026_09,
    /// The numbered versions, supported until 2027.
    #[serde(rename = "v3", alias = "v4")]
    V3,
}

impl ApiVersion {
    /// As it stands in a path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2026_03 => "2026-03",
            Self::V2026_09 => "2026-09",
            Self::V3 => "v3",
        }
    }

    pub(super) fn objects(self, kind: &str) -> String {
        match self {
            Self::V3 => format!("/crm/v3/objects/{}", segment(kind)),
            dated => format!("/crm/objects/{}/{}", dated.as_str(), segment(kind)),
        }
    }

    /// Associations of one record, below which the other kind of record follows.
    pub(super) fn linked(self, kind: &str, id: &str) -> String {
        match self {
            Self::V3 => format!("/crm/v4/objects/{}/{}/associations", segment(kind), segment(id)),
            dated => format!("/crm/objects/{}/{}/{}/associations", dated.as_str(), segment(kind), segment(id)),
        }
    }

    /// Batches and labels of associations between two kinds of record.
    pub(super) fn associations(self, from: &str, to: &str) -> String {
        let version = if self == Self::V3 { "v4" } else { self.as_str() };
        let pair = format!("{}/{}", segment(from), segment(to));
        if self == Self::V3 { format!("/crm/{version}/associations/{pair}") } else { format!("/crm/associations/{version}/{pair}") }
    }

    pub(super) fn properties(self, kind: &str) -> String {
        match self {
            Self::V3 => format!("/crm/v3/properties/{}", segment(kind)),
            dated => format!("/crm/properties/{}/{}", dated.as_str(), segment(kind)),
        }
    }

    pub(super) fn pipelines(self, kind: &str) -> String {
        match self {
            Self::V3 => format!("/crm/v3/pipelines/{}", segment(kind)),
            dated => format!("/crm/pipelines/{}/{}", dated.as_str(), segment(kind)),
        }
    }

    pub(super) fn owners(self) -> String {
        match self {
            Self::V3 => "/crm/v3/owners".to_owned(),
            dated => format!("/crm/owners/{}", dated.as_str()),
        }
    }

    pub(super) fn schemas(self) -> String {
        format!("/crm-object-schemas/{}/schemas", self.as_str())
    }

    /// One room of the webhooks journal: `journal`, `journal-local`, `subscriptions` or `snapshots`.
    pub(super) fn journal(self, room: &str) -> String {
        let version = if self == Self::V3 { "v4" } else { self.as_str() };
        format!("/webhooks-journal/{room}/{version}")
    }

    /// App events, which exist under one dated path alone.
    pub(super) fn app_events(self) -> &'static str {
        "/integrators/timeline/2026-03/events"
    }

    pub(super) fn account(self) -> String {
        format!("/account-info/{}/details", self.as_str())
    }

    pub(super) fn token(self) -> String {
        format!("/oauth/{}/token", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_paths() {
        assert_eq!(ApiVersion::default().objects("contacts"), "/crm/objects/2026-03/contacts");
        assert_eq!(ApiVersion::V2026_09.properties("deals"), "/crm/properties/2026-09/deals");
        assert_eq!(ApiVersion::V3.objects("p1_x y"), "/crm/v3/objects/p1_x%20y");
        assert_eq!(ApiVersion::V3.associations("contacts", "companies"), "/crm/v4/associations/contacts/companies");
        assert_eq!(ApiVersion::V2026_03.associations("a", "b"), "/crm/associations/2026-03/a/b");
        assert_eq!(ApiVersion::V3.linked("contacts", "7"), "/crm/v4/objects/contacts/7/associations");
        assert_eq!(ApiVersion::V3.journal("journal"), "/webhooks-journal/journal/v4");
        assert_eq!(ApiVersion::V2026_09.owners(), "/crm/owners/2026-09");
        assert_eq!(ApiVersion::V2026_03.schemas(), "/crm-object-schemas/2026-03/schemas");
        assert_eq!(segment("a/b?c@d"), "a%2Fb%3Fc%40d");
    }
}
