//! Rows of both versions as records: custom fields beside the others, under every name they were asked for.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::{Fields, Record, RecordId, Version, parse_datetime};
use crate::pipedrive::builtin::builtin;
use crate::pipedrive::client::{Pipedrive, id_of};
use crate::pipedrive::custom::{CustomValue, is_key};
use crate::pipedrive::field_map::FieldMap;
use crate::pipedrive::list::is_deleted;
use crate::pipedrive::resource::{ApiVersion, Kind};

impl Pipedrive {
    /// True if `names`, or the host's own names, need the account's description.
    pub(crate) async fn names(&self, kind: Kind, names: impl IntoIterator<Item = &str>) -> Result<std::sync::Arc<FieldMap>> {
        let settings = &self.config.settings.custom_fields;
        let told = [kind.path(), kind.singular()].iter().any(|word| settings.contains_key(*word));
        let told = told || (kind == Kind::Lead && settings.contains_key("deal"));
        // v2 answers keys in the form records have; leads are flat, and only the description tells what belongs together.
        let needed = kind.has_custom_fields()
            && (told || kind == Kind::Lead || names.into_iter().any(|name| Self::is_custom(kind, name) && !is_key(name)));
        if needed { self.fields(kind).await } else { Ok(std::sync::Arc::default()) }
    }
}

/// Every field of a row: built-in ones as they came, custom ones by key and by the host's names.
pub(crate) fn all_fields(kind: Kind, row: &Map<String, Value>, map: &FieldMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in row {
        // The list of webhooks answers their passwords.
        if kind == Kind::Webhook && name == "http_auth_password" {
            continue;
        }
        let custom = name == "custom_fields" || (kind.version() == ApiVersion::V1 && name.get(..40).is_some_and(is_key));
        if !custom {
            fields.insert(name, value.clone());
        }
    }
    if let Some(Value::Object(custom)) = row.get("custom_fields") {
        for (key, value) in custom {
            // Keys that nobody knows stay as they are.
            let value = map.by_key(key).map_or_else(|| value.clone(), |info| CustomValue::from_v2(&info.kind, value).to_v2());
            fields.insert(key, value);
        }
    }
    if kind == Kind::Lead {
        for info in map.fields().iter().filter(|info| info.custom && row.contains_key(&info.key)) {
            fields.insert(&info.key, CustomValue::from_flat(&info.kind, &info.key, row).to_v2());
        }
    }
    for info in map.fields().iter().filter(|info| info.custom) {
        let value = fields.get(&info.key).cloned().unwrap_or_default();
        for alias in map.aliases_of(info) {
            fields.insert(alias, value.clone());
        }
    }
    fields
}

/// The fields of a row that were asked for; empty asks for all. What the row does not hold is null.
pub(crate) fn chosen(kind: Kind, all: &Fields, select: &[String], map: &FieldMap) -> Fields {
    if select.is_empty() {
        return all.clone();
    }
    let value = |name: &str| {
        let direct = all.get(name).cloned();
        direct.or_else(|| if builtin(kind, name).is_some() { None } else { all.get(&map.find(name).ok()?.key).cloned() })
    };
    select.iter().map(|name| (name.as_str(), value(name).unwrap_or_default())).collect()
}

/// A row as a record.
pub(crate) fn record(kind: Kind, row: &Map<String, Value>, select: &[String], map: &FieldMap) -> Result<Record> {
    let head = Head::of(kind, |name| row.get(name))?;
    let all = all_fields(kind, row, map);
    Ok(head.record(kind, chosen(kind, &all, select, map), is_deleted(kind, row)))
}

/// What stands around the fields of a record.
pub(crate) struct Head {
    id: RecordId,
    stamp: Option<String>,
}

impl Head {
    /// Of a row in whatever form; `member` gives its members.
    pub(crate) fn of<'v>(kind: Kind, member: impl Fn(&str) -> Option<&'v Value>) -> Result<Self> {
        let id = member("id").and_then(id_of).ok_or_else(|| Error::decode("a row came without its id").on(&kind.entity()))?;
        // A record that never changed may have no time of change.
        let stamp = ["update_time", "modified", "add_time"].iter().find_map(|name| member(name)?.as_str()).map(str::to_owned);
        Ok(Self { id, stamp })
    }

    pub(crate) fn record(self, kind: Kind, fields: Fields, deleted: bool) -> Record {
        let mut record = Record::new(kind.entity(), self.id, fields);
        record.modified_at = self.stamp.as_deref().and_then(parse_datetime);
        record.version = self.stamp.map(Version::new);
        record.deleted = deleted;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipedrive::field_map::FieldInfo;
    use serde_json::json;

    const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

    fn map() -> FieldMap {
        let field = json!({"field_name": "Budget", "field_code": KEY, "field_type": "monetary", "is_custom_field": true});
        FieldMap::new(vec![FieldInfo::read(field.as_object().unwrap()).unwrap()], [("budget".to_owned(), "Budget".to_owned())])
    }

    fn read(kind: Kind, row: &Value, select: &[&str]) -> Record {
        let select: Vec<String> = select.iter().map(|name| (*name).to_owned()).collect();
        record(kind, row.as_object().unwrap(), &select, &map()).unwrap()
    }

    #[test]
    fn nested_and_flat_are_the_same_record() {
        let wanted = json!({"value": 10, "currency": "EUR"});
        let deal = read(
            Kind::Deal,
            &json!({"id": 1, "title": "x", "update_time": "2026-01-01T00:00:00Z", "custom_fields": {KEY: wanted, "unknown": 7}}),
            &[],
        );
        let lead = read(
            Kind::Lead,
            &json!({"id": "u", "title": "x", "update_time": "2026-01-01T00:00:00.000Z", KEY: 10, format!("{KEY}_currency"): "EUR"}),
            &[],
        );
        for record in [&deal, &lead] {
            assert_eq!((record.fields.get(KEY), record.fields.get("budget")), (Some(&wanted), Some(&wanted)));
            assert!(!record.fields.contains("custom_fields") && record.modified_at.is_some());
        }
        assert!(!lead.fields.contains(&format!("{KEY}_currency")));
        assert_eq!(deal.fields.get("unknown"), Some(&json!(7)));
    }

    #[test]
    fn only_what_was_asked_for() {
        let record =
            read(Kind::Deal, &json!({"id": 1, "title": "x", "is_deleted": true, "custom_fields": null}), &["title", "Budget", "org_id"]);
        let names: Vec<&str> = record.fields.names().collect();
        assert_eq!(names, ["Budget", "org_id", "title"]);
        assert!(record.fields.get("Budget").unwrap().is_null() && record.deleted);
    }
}
