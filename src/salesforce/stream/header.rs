//! The header every change event carries (Change Data Capture Developer Guide, "Change Event Header Fields").

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::{ChangeKind, Origin};
use crate::salesforce::stream::event::Commit;

/// The id of an event that stands for no record.
const NOBODY: &str = "000000000000000";

/// The header. Salesforce adds members from time to time, so all are optional but the three that make it one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeHeader {
    pub(super) entity_name: String,
    pub(super) record_ids: Vec<String>,
    pub(super) change_type: String,
    #[serde(default)]
    change_origin: Option<String>,
    #[serde(default)]
    transaction_key: Option<String>,
    #[serde(default)]
    sequence_number: Option<u64>,
    #[serde(default)]
    commit_timestamp: Option<i64>,
    #[serde(default)]
    commit_number: Option<i64>,
    #[serde(default)]
    commit_user: Option<String>,
    /// Names, with a dot between a compound and its component.
    #[serde(default)]
    pub(super) changed_fields: Option<Vec<String>>,
    #[serde(default)]
    pub(super) nulled_fields: Option<Vec<String>>,
    #[serde(default)]
    pub(super) diff_fields: Option<Vec<String>>,
}

/// What the event's type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Change(ChangeKind),
    Gap(Option<ChangeKind>),
    Overflow,
    Unknown,
}

impl ChangeHeader {
    pub(super) fn kind(&self) -> Type {
        let text = self.change_type.as_str();
        if text == "GAP_OVERFLOW" {
            return Type::Overflow;
        }
        if let Some(operation) = text.strip_prefix("GAP_") {
            return Type::Gap(operation_kind(operation));
        }
        operation_kind(text).map_or(Type::Unknown, Type::Change)
    }

    pub(super) fn origin(&self) -> Origin {
        let mut origin = Origin::default();
        let client = self.change_origin.as_deref().and_then(|text| text.split(';').find_map(|part| part.trim().strip_prefix("client=")));
        origin.client = client.filter(|client| !client.is_empty()).map(ToOwned::to_owned);
        origin.user = self.commit_user.clone().filter(|user| !user.is_empty());
        origin
    }

    pub(super) fn commit(&self) -> Commit {
        Commit {
            transaction: self.transaction_key.clone().filter(|key| !key.is_empty()),
            sequence: self.sequence_number,
            number: self.commit_number,
            at: self.commit_timestamp.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        }
    }

    /// Whether the ids stand for all records of the entity.
    pub(super) fn is_wildcard(&self) -> bool {
        self.record_ids.iter().any(|id| id.contains('*'))
    }

    /// The ids that are ones.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.record_ids.iter().map(String::as_str).filter(|id| !id.is_empty() && !id.contains('*') && !id.starts_with(NOBODY))
    }
}

fn operation_kind(operation: &str) -> Option<ChangeKind> {
    Some(match operation {
        "CREATE" => ChangeKind::Created,
        "UPDATE" => ChangeKind::Updated,
        "DELETE" => ChangeKind::Deleted,
        "UNDELETE" => ChangeKind::Restored,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(more: &str) -> ChangeHeader {
        serde_json::from_str(&format!(r#"{{"entityName":"Lead","recordIds":["00Q000000000001"]{more}}}"#)).unwrap()
    }

    #[test]
    fn types() {
        for (text, kind) in [
            ("CREATE", Type::Change(ChangeKind::Created)),
            ("UNDELETE", Type::Change(ChangeKind::Restored)),
            ("GAP_DELETE", Type::Gap(Some(ChangeKind::Deleted))),
            ("GAP_SOMETHING", Type::Gap(None)),
            ("GAP_OVERFLOW", Type::Overflow),
            ("SNAPSHOT", Type::Unknown),
        ] {
            assert_eq!(header(&format!(r#","changeType":"{text}""#)).kind(), kind, "{text}");
        }
    }

    #[test]
    fn who_did_it() {
        let of = |origin: &str| header(&format!(r#","changeType":"UPDATE","changeOrigin":"{origin}","commitUser":"005x""#)).origin();
        let full = of("com/salesforce/api/rest/68.0;client=crm-sync/1.0");
        assert_eq!((full.client.as_deref(), full.user.as_deref()), (Some("crm-sync/1.0"), Some("005x")));
        assert_eq!(of("com/salesforce/api/soap/60.0").client, None);
        assert_eq!(of("").client, None);
        assert_eq!(header(r#","changeType":"UPDATE","changeOrigin":null"#).origin(), Origin::default());
    }
}
