//! The smallest update.

use serde_json::Value;

use crate::mapping::plan::Mapping;
use crate::model::{EntitySchema, FieldType, Fields, same};

/// What the types of fields are known by.
pub trait FieldTypes {
    /// The type of a CRM field; [`FieldType::Any`] if it is not known.
    fn field_type(&self, field: &str) -> FieldType;
}

impl FieldTypes for EntitySchema {
    fn field_type(&self, field: &str) -> FieldType {
        Self::field_type(self, field)
    }
}

impl FieldTypes for Mapping {
    fn field_type(&self, field: &str) -> FieldType {
        Self::field_type(self, field)
    }
}

/// Without one, values are compared as JSON.
impl<T: FieldTypes> FieldTypes for Option<&T> {
    fn field_type(&self, field: &str) -> FieldType {
        self.map_or(FieldType::Any, |types| types.field_type(field))
    }
}

/// The fields of `after` whose values are not [the same](same) as those of `before`, by the type of each field.
///
/// A null or blank value is no change against an absent one, and a field that `after` does not have is not touched.
pub fn diff(before: &Fields, after: &Fields, types: &(impl FieldTypes + ?Sized)) -> Fields {
    let mut changed = Fields::new();
    for (name, new) in after {
        let old = before.get(name).unwrap_or(&Value::Null);
        if old != new && !same(old, new, &types.field_type(name)) && !holds_already(old, new) {
            changed.insert(name, new.clone());
        }
    }
    changed
}

/// HubSpot's `;A;B` adds members: nothing to do if all of them are there.
fn holds_already(old: &Value, new: &Value) -> bool {
    let Some(added) = new.as_str().and_then(|text| text.strip_prefix(';')) else { return false };
    let Some(old) = old.as_str() else { return false };
    added.split(';').all(|member| old.split(';').any(|known| known.trim() == member.trim()))
}

impl Mapping {
    /// The smallest update that turns `before` into `after`; see [`diff`](crate::mapping::diff).
    pub fn diff(&self, before: &Fields, after: &Fields) -> Fields {
        diff(before, after, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entity, FieldSchema};
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    #[test]
    fn only_what_means_something_else() {
        let types = EntitySchema::new(
            Entity::from_static("Lead"),
            "Lead",
            vec![
                FieldSchema::new("Amount", FieldType::Decimal { scale: Some(2) }),
                FieldSchema::new("Tags", FieldType::MultiPicklist),
                FieldSchema::new("At", FieldType::DateTime { whole_seconds: true }),
                FieldSchema::new("Name", FieldType::Text),
            ],
        );
        let before = fields(json!({"Amount": "10.00", "Tags": "B;A", "At": "2026-01-02T03:04:05.000+0000", "Name": "Ann", "Old": "x"}));
        let same =
            fields(json!({"Amount": 10, "Tags": ["A", "B"], "At": "2026-01-02T03:04:05Z", "Name": " Ann ", "New": null, "Blank": ""}));
        assert!(diff(&before, &same, &types).is_empty());
        let other = fields(json!({"Amount": 10.01, "Tags": "A", "Name": null, "New": 0, "Old": "x"}));
        assert_eq!(diff(&before, &other, &types).to_value(), json!({"Amount": 10.01, "Tags": "A", "Name": null, "New": 0}));
    }

    #[test]
    fn members_that_are_there_need_no_adding() {
        let types = EntitySchema::new(Entity::from_static("c"), "c", vec![FieldSchema::new("tags", FieldType::MultiPicklist)]);
        let before = fields(json!({"tags": "A;B"}));
        assert!(diff(&before, &fields(json!({"tags": ";B"})), &types).is_empty());
        assert_eq!(diff(&before, &fields(json!({"tags": ";B;C"})), &types).to_value(), json!({"tags": ";B;C"}));
    }

    proptest::proptest! {
        #[test]
        fn nothing_changes_nothing(names in proptest::collection::vec(("[a-d]", 0i32..4), 0..8)) {
            let record: Fields = names.into_iter().collect();
            proptest::prop_assert!(diff(&record, &record, &None::<&EntitySchema>).is_empty());
        }
    }
}
