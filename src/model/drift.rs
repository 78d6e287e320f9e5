//! What changed between two descriptions of an entity.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::schema::{EntitySchema, FieldSchema, Picklist};
use crate::model::value::FieldType;

/// One difference of a field. The names are API names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldDrift {
    /// The field is new, or this user sees it now.
    Added {
        /// The field.
        field: String,
        /// A create fails without it.
        required: bool,
    },
    /// The field is gone, or this user no longer sees it: the two look the same in a description.
    Removed {
        /// The field.
        field: String,
    },
    /// Its values mean something else.
    Type {
        /// The field.
        field: String,
        /// What they meant.
        from: FieldType,
        /// What they mean.
        to: FieldType,
    },
    /// Its picklist has other values, or refuses others than before.
    Values {
        /// The field.
        field: String,
        /// Values that can be chosen now and could not be before.
        added: Vec<String>,
        /// Values that could be chosen before: removed or inactive.
        removed: Vec<String>,
        /// Values not in the list are refused now, and were taken before.
        now_restricted: bool,
        /// Values that go with other values of the controlling field than before.
        depends_otherwise: Vec<String>,
    },
    /// Texts or numbers that were taken may now be refused, or the other way round.
    Limits {
        /// The field.
        field: String,
        /// True if something that fitted may no longer fit.
        tighter: bool,
    },
    /// What may be done with it is different.
    Access {
        /// The field.
        field: String,
        /// A create fails without it now, and did not before.
        now_required: bool,
        /// It could be set on create or update, and cannot be now.
        now_read_only: bool,
        /// It may no longer be emptied.
        no_longer_nullable: bool,
    },
}

impl FieldDrift {
    /// The field.
    pub fn field(&self) -> &str {
        match self {
            Self::Added { field, .. }
            | Self::Removed { field }
            | Self::Type { field, .. }
            | Self::Values { field, .. }
            | Self::Limits { field, .. }
            | Self::Access { field, .. } => field,
        }
    }

    /// True if writes that were taken before may be refused now.
    pub fn is_breaking(&self) -> bool {
        match self {
            Self::Added { required, .. } => *required,
            Self::Removed { .. } | Self::Type { .. } => true,
            Self::Values { removed, now_restricted, depends_otherwise, .. } => {
                !removed.is_empty() || *now_restricted || !depends_otherwise.is_empty()
            }
            Self::Limits { tighter, .. } => *tighter,
            Self::Access { now_required, now_read_only, no_longer_nullable, .. } => *now_required || *now_read_only || *no_longer_nullable,
        }
    }
}

impl fmt::Display for FieldDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { field, required } => write!(f, "{field}: new{}", if *required { ", and a create fails without it" } else { "" }),
            Self::Removed { field } => write!(f, "{field}: gone, or hidden from this user"),
            Self::Type { field, from, to } => write!(f, "{field}: was {from:?}, is {to:?}"),
            Self::Values { field, added, removed, now_restricted, depends_otherwise } => {
                write!(f, "{field}:")?;
                let mut parts = Vec::new();
                for (what, values) in [("new values", added), ("values gone", removed), ("values that depend on others", depends_otherwise)]
                {
                    if !values.is_empty() {
                        parts.push(format!("{what} {}", values.join(", ")));
                    }
                }
                if *now_restricted {
                    parts.push("other values are refused now".to_owned());
                }
                if parts.is_empty() {
                    parts.push("other values are taken now".to_owned());
                }
                write!(f, " {}", parts.join("; "))
            }
            Self::Limits { field, tighter } => {
                write!(f, "{field}: {}", if *tighter { "takes less than before" } else { "takes more than before" })
            }
            Self::Access { field, now_required, now_read_only, no_longer_nullable } => {
                let mut parts = Vec::new();
                for (is, what) in [
                    (*now_required, "a create fails without it now"),
                    (*now_read_only, "can no longer be written"),
                    (*no_longer_nullable, "can no longer be emptied"),
                ] {
                    if is {
                        parts.push(what);
                    }
                }
                if parts.is_empty() {
                    parts.push("more may be done with it than before");
                }
                write!(f, "{field}: {}", parts.join("; "))
            }
        }
    }
}

/// What changed between two descriptions of one entity, in the order of the newer one, removed fields last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SchemaDrift {
    /// The differences.
    pub fields: Vec<FieldDrift>,
}

impl SchemaDrift {
    /// True if nothing changed that a mapping could notice.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// True if writes that were taken before may be refused now.
    pub fn is_breaking(&self) -> bool {
        self.fields.iter().any(FieldDrift::is_breaking)
    }

    /// The differences that concern a mapping whose targets are `names`: those of its fields, and new fields that a create
    /// needs. A mapping it concerns is to be compiled again with the newer schema, which names the places in the file.
    pub fn concerning<'a>(&'a self, names: &[&str]) -> impl Iterator<Item = &'a FieldDrift> + use<'a> {
        let names: BTreeSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self.fields.iter().filter(move |drift| {
            names.contains(&drift.field().to_ascii_lowercase()) || matches!(drift, FieldDrift::Added { required: true, .. })
        })
    }
}

/// One line for each difference; breaking ones are marked with `!`.
impl fmt::Display for SchemaDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, drift) in self.fields.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{} {drift}", if drift.is_breaking() { '!' } else { ' ' })?;
        }
        Ok(())
    }
}

impl EntitySchema {
    /// A hash of everything a mapping is checked against: equal for descriptions without drift. Labels and the order of fields
    /// do not count.
    pub fn fingerprint(&self) -> String {
        let mut fields: Vec<FieldSchema> = self.fields.clone();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        for field in &mut fields {
            field.label.clear();
            for value in field.picklist.iter_mut().flat_map(|list| &mut list.values) {
                value.label.clear();
            }
        }
        let mut hash = Sha256::new();
        hash.update(self.entity.as_str());
        // Serialising plain data to memory cannot fail; were it to, the hash would differ, which only costs a check.
        hash.update(serde_json::to_vec(&fields).unwrap_or_default());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What changed from this description to `newer`. Names that differ only in case are the same field, labels do not count.
    pub fn drift_to(&self, newer: &Self) -> SchemaDrift {
        let mut fields = Vec::new();
        for new in &newer.fields {
            match self.field(&new.name) {
                None => fields.push(FieldDrift::Added { field: new.name.clone(), required: new.required }),
                Some(old) => compare(old, new, &mut fields),
            }
        }
        let gone = self.fields.iter().filter(|old| newer.field(&old.name).is_none());
        fields.extend(gone.map(|old| FieldDrift::Removed { field: old.name.clone() }));
        SchemaDrift { fields }
    }
}

fn compare(old: &FieldSchema, new: &FieldSchema, found: &mut Vec<FieldDrift>) {
    let field = || new.name.clone();
    if old.kind != new.kind || old.references != new.references {
        found.push(FieldDrift::Type { field: field(), from: old.kind.clone(), to: new.kind.clone() });
    }
    if let Some(drift) = values(old, new) {
        found.push(drift);
    }
    let sizes = |field: &FieldSchema| [field.max_length, field.max_bytes, field.max_digits.map(u32::from)];
    if sizes(old) != sizes(new) {
        let size = |limit: Option<u32>| limit.unwrap_or(u32::MAX);
        let tighter = sizes(old).into_iter().zip(sizes(new)).any(|(old, new)| size(new) < size(old));
        found.push(FieldDrift::Limits { field: field(), tighter });
    }
    let access = |field: &FieldSchema| (field.required, field.creatable, field.updatable, field.nullable);
    if access(old) != access(new) {
        found.push(FieldDrift::Access {
            field: field(),
            now_required: new.required && !old.required,
            now_read_only: (old.creatable && !new.creatable) || (old.updatable && !new.updatable),
            no_longer_nullable: old.nullable && !new.nullable,
        });
    }
}

fn values(old: &FieldSchema, new: &FieldSchema) -> Option<FieldDrift> {
    let empty = Picklist::default();
    let (before, after) = (old.picklist.as_ref().unwrap_or(&empty), new.picklist.as_ref().unwrap_or(&empty));
    let chosen = |list: &Picklist| -> BTreeSet<String> {
        list.values.iter().filter(|value| value.active).map(|value| value.value.clone()).collect()
    };
    let (had, has) = (chosen(before), chosen(after));
    let added: Vec<String> = has.difference(&had).cloned().collect();
    let removed: Vec<String> = had.difference(&has).cloned().collect();
    let depends_otherwise: Vec<String> = after
        .values
        .iter()
        .filter(|value| {
            let old_value = before.values.iter().find(|old| old.value == value.value);
            value.active && old_value.is_some_and(|old_value| old_value.valid_for != value.valid_for || old.controller != new.controller)
        })
        .map(|value| value.value.clone())
        .collect();
    let nothing = added.is_empty() && removed.is_empty() && depends_otherwise.is_empty() && before.restricted == after.restricted;
    (!nothing).then(|| FieldDrift::Values {
        field: new.name.clone(),
        added,
        removed,
        now_restricted: after.restricted && !before.restricted,
        depends_otherwise,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entity::Entity;

    fn schema(fields: Vec<FieldSchema>) -> EntitySchema {
        EntitySchema::new(Entity::from_static("Lead"), "Lead", fields)
    }

    fn text(name: &str, length: u32) -> FieldSchema {
        let mut field = FieldSchema::new(name, FieldType::Text);
        field.max_length = Some(length);
        field
    }

    fn list(name: &str, restricted: bool, values: &[&str]) -> FieldSchema {
        let mut field = FieldSchema::new(name, FieldType::Picklist);
        field.picklist = Some(Picklist::of(restricted, values.iter().copied()));
        field
    }

    fn lines(old: Vec<FieldSchema>, new: Vec<FieldSchema>) -> String {
        schema(old).drift_to(&schema(new)).to_string()
    }

    #[test]
    fn every_kind_of_drift_is_told_and_the_breaking_ones_are_marked() {
        let mut needed = text("Region__c", 10);
        needed.required = true;
        let mut locked = text("Locked", 10);
        locked.updatable = false;
        let old =
            vec![text("A", 80), text("B", 40), list("Status", false, &["New", "Old"]), text("Gone", 5), text("Locked", 10), text("T", 9)];
        let mut typed = text("T", 9);
        typed.kind = FieldType::Date;
        let new = vec![text("A", 40), text("B", 80), list("Status", true, &["New", "Won"]), needed, text("Free", 5), locked, typed];
        assert_eq!(
            lines(old, new),
            "! A: takes less than before\n  B: takes more than before\n! Status: new values Won; values gone Old; other values are refused now\n\
             ! Region__c: new, and a create fails without it\n  Free: new\n! Locked: can no longer be written\n! T: was Text, is Date\n\
             ! Gone: gone, or hidden from this user"
        );
    }

    #[test]
    fn labels_order_and_case_are_no_drift() {
        let mut relabelled = text("name", 80);
        relabelled.label = "Full name".to_owned();
        let (old, new) = (schema(vec![text("Name", 80), text("B", 1)]), schema(vec![text("B", 1), relabelled.clone()]));
        assert!(old.drift_to(&new).is_empty());
        relabelled.name = "Name".to_owned();
        assert_eq!(old.fingerprint(), schema(vec![text("B", 1), relabelled]).fingerprint());
        assert_ne!(old.fingerprint(), schema(vec![text("B", 2), text("Name", 80)]).fingerprint());
    }

    #[test]
    fn a_value_that_is_switched_off_or_depends_on_another_is_drift() {
        let on = list("S", true, &["A", "B"]);
        let mut off = on.clone();
        off.picklist.as_mut().unwrap().values[1].active = false;
        assert_eq!(lines(vec![on.clone()], vec![off]), "! S: values gone B");
        let mut depends = on.clone();
        depends.controller = Some("Country".to_owned());
        for value in &mut depends.picklist.as_mut().unwrap().values {
            value.valid_for = vec!["DE".to_owned()];
        }
        assert_eq!(lines(vec![on], vec![depends]), "! S: values that depend on others A, B");
    }

    #[test]
    fn a_mapping_hears_of_its_own_fields_and_of_what_a_create_needs() {
        let mut needed = text("Region__c", 10);
        needed.required = true;
        let drift = schema(vec![text("A", 80), text("B", 40)]).drift_to(&schema(vec![text("A", 40), text("B", 20), needed, text("C", 1)]));
        let concerned: Vec<&str> = drift.concerning(&["a"]).map(FieldDrift::field).collect();
        assert_eq!(concerned, ["A", "Region__c"]);
        assert!(drift.is_breaking());
    }
}
