//! Associations as they are kept: both directions of a pair, each with its set of types.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::sandbox::hubspot::errors::{Refusal, id_of, object, only};
use crate::sandbox::hubspot::state::{HubSpot, Kind, row};
use crate::sandbox::store::Row;

/// A type of an association in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkType {
    pub(crate) category: String,
    pub(crate) id: u64,
    pub(crate) inverse: u64,
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) most: Option<u64>,
}

impl LinkType {
    fn of(row: &Row) -> Self {
        let number = |name: &str| row.fields.get(name).and_then(Value::as_u64);
        Self {
            category: row.text("category").unwrap_or_default().to_owned(),
            id: number("typeId").unwrap_or(0),
            inverse: number("inverse").unwrap_or(0),
            name: row.text("name").unwrap_or_default().to_owned(),
            label: row.text("label").map(str::to_owned),
            most: number("max"),
        }
    }

    pub(crate) fn value(&self) -> Value {
        json!({"category": self.category, "typeId": self.id, "label": self.label})
    }

    /// The one company a record belongs to first.
    fn is_primary(&self) -> bool {
        self.category == "HUBSPOT_DEFINED" && matches!(self.id, 1 | 5 | 26)
    }
}

fn table(from: &str, to: &str) -> String {
    format!("l/{from}/{to}")
}

fn pairs(kind: &Kind, id: &str) -> String {
    format!("a/{}/{id}", kind.id)
}

impl HubSpot {
    /// Adds a type in both directions.
    pub(crate) fn add_association_type(
        &mut self,
        category: &str,
        (from, to): (&str, &str),
        (id, inverse): (u64, u64),
        name: &str,
        label: Option<&str>,
        inverse_label: Option<&str>,
    ) {
        let mirrored = match name.split_once("_to_") {
            Some((left, right)) => {
                let (right, rest) = right.split_once("_unlabeled").map_or((right, ""), |(right, _)| (right, "_unlabeled"));
                format!("{right}_to_{left}{rest}")
            }
            None => name.to_owned(),
        };
        let other = inverse_label.or(label);
        let entry = |id: u64, inverse: u64, name: &str, label: Option<&str>| {
            row(json!({"category": category, "typeId": id, "inverse": inverse, "name": name, "label": label}))
        };
        if id != inverse || from != to {
            self.tables.put(&table(to, from), &inverse.to_string(), Some(entry(inverse, id, &mirrored, other)));
        }
        self.tables.put(&table(from, to), &id.to_string(), Some(entry(id, inverse, name, label)));
    }

    /// The types between two object types, the unlabelled one first.
    pub(crate) fn link_types(&self, from: &Kind, to: &Kind) -> Vec<LinkType> {
        let mut all: Vec<LinkType> = self.tables.rows(&table(&from.id, &to.id)).map(|(_, row)| LinkType::of(row)).collect();
        all.sort_by_key(|one| (one.label.is_some(), one.id));
        all
    }

    pub(crate) fn link_type(&self, from: &Kind, to: &Kind, category: Option<&str>, id: u64) -> Option<LinkType> {
        let row = self.tables.live(&table(&from.id, &to.id), &id.to_string())?;
        Some(LinkType::of(row)).filter(|found| category.is_none_or(|category| category == found.category))
    }

    pub(crate) fn set_link_type(&mut self, from: &Kind, to: &Kind, id: u64, change: impl FnOnce(&mut Row)) {
        let name = table(&from.id, &to.id);
        if let Some(mut row) = self.tables.live(&name, &id.to_string()).cloned() {
            change(&mut row);
            self.tables.put(&name, &id.to_string(), Some(row));
        }
    }

    pub(crate) fn drop_link_type(&mut self, from: &Kind, to: &Kind, id: u64) {
        self.tables.put(&table(&from.id, &to.id), &id.to_string(), None);
    }

    pub(crate) fn unlabelled(&self, from: &Kind, to: &Kind) -> Result<LinkType, Refusal> {
        self.link_types(from, to)
            .into_iter()
            .find(|one| one.label.is_none())
            .ok_or_else(|| Refusal::bad(format!("No association type is defined between {} and {}", from.singular, to.singular)))
    }

    /// The type ids of a pair.
    pub(crate) fn links(&self, from: &Kind, id: &str, to: &Kind, other: &str) -> BTreeSet<u64> {
        let row = self.tables.live(&pairs(from, id), &format!("{}/{other}", to.id));
        let types = row.and_then(|row| row.fields.get("types")).and_then(Value::as_array);
        types.into_iter().flatten().filter_map(Value::as_u64).collect()
    }

    /// The live records a record is associated with, by their ids, with the types.
    pub(crate) fn linked(&self, from: &Kind, id: &str, to: &Kind) -> Vec<(String, Vec<LinkType>)> {
        let prefix = format!("{}/", to.id);
        let table = pairs(from, id);
        let rows = self.tables.rows(&table).filter_map(|(key, row)| Some((key.strip_prefix(&prefix)?, row)));
        rows.filter(|(other, _)| self.tables.live(&to.table(), other).is_some())
            .map(|(other, row)| {
                let types = row.fields.get("types").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64);
                (other.to_owned(), types.filter_map(|id| self.link_type(from, to, None, id)).collect())
            })
            .collect()
    }

    fn put_links(&mut self, from: &Kind, id: &str, to: &Kind, other: &str, types: &BTreeSet<u64>) {
        let mirror: BTreeSet<u64> = types.iter().filter_map(|id| self.link_type(from, to, None, *id)).map(|one| one.inverse).collect();
        let entry = |types: &BTreeSet<u64>| (!types.is_empty()).then(|| row(json!({"types": types})));
        self.tables.put(&pairs(from, id), &format!("{}/{other}", to.id), entry(types));
        self.tables.put(&pairs(to, other), &format!("{}/{id}", from.id), entry(&mirror));
    }

    /// Adds types to a pair; a label implies the unlabelled type. A new primary company takes the place of the old one.
    pub(crate) fn link(&mut self, from: &Kind, id: &str, to: &Kind, other: &str, types: &[LinkType], replace: bool) -> Result<(), Refusal> {
        let mut all = if replace { BTreeSet::new() } else { self.links(from, id, to, other) };
        all.insert(self.unlabelled(from, to)?.id);
        for one in types {
            all.insert(one.id);
            if let Some(most) = one.most {
                let used = self
                    .linked(from, id, to)
                    .iter()
                    .filter(|(known, types)| known != other && types.iter().any(|known| known.id == one.id))
                    .count();
                if u64::try_from(used).unwrap_or(u64::MAX) >= most {
                    let message = format!(
                        "{} {id} already has the {most} {} associations of type {} it may have",
                        from.singular, to.singular, one.id
                    );
                    return Err(Refusal::bad(message).sub("crm.associations.ASSOCIATION_LIMIT_EXCEEDED"));
                }
            }
            // The primary one is told apart from the side that has only one of them.
            let (from, id, to, other, primary) = match one.is_primary() {
                true => (from, id, to, other, one.id),
                false if matches!((one.category.as_str(), one.inverse), ("HUBSPOT_DEFINED", 1 | 5 | 26)) => {
                    (to, other, from, id, one.inverse)
                }
                false => continue,
            };
            for (old, types) in self.linked(from, id, to) {
                if old != other && types.iter().any(|known| known.id == primary) {
                    let rest = types.iter().map(|known| known.id).filter(|known| *known != primary).collect();
                    self.put_links(from, id, to, &old, &rest);
                }
            }
        }
        self.put_links(from, id, to, other, &all);
        Ok(())
    }

    /// Takes types from a pair, or all of them; without the unlabelled one nothing is left.
    pub(crate) fn unlink(&mut self, from: &Kind, id: &str, to: &Kind, other: &str, types: Option<&[u64]>) {
        let mut all = self.links(from, id, to, other);
        if all.is_empty() {
            return;
        }
        match types {
            None => all.clear(),
            Some(types) => all.retain(|known| !types.contains(known)),
        }
        if !self.unlabelled(from, to).is_ok_and(|one| all.contains(&one.id)) {
            all.clear();
        }
        self.put_links(from, id, to, other, &all);
    }

    /// `[{"associationCategory","associationTypeId"}]` as types that exist.
    pub(crate) fn specs(&self, from: &Kind, to: &Kind, list: Option<&Value>) -> Result<Vec<LinkType>, Refusal> {
        let list = list.and_then(Value::as_array).ok_or_else(|| Refusal::bad("some of required attributes are not set [types]"))?;
        if list.is_empty() {
            return Err(Refusal::bad("At least one association type is required"));
        }
        list.iter()
            .map(|spec| {
                let spec = object(spec)?;
                only(spec, &["associationCategory", "associationTypeId"])?;
                let category = crate::sandbox::hubspot::errors::text(spec, "associationCategory")?;
                let id = spec.get("associationTypeId").and_then(Value::as_u64);
                let id = id.ok_or_else(|| Refusal::bad("some of required attributes are not set [associationTypeId]"))?;
                self.link_type(from, to, Some(category), id).ok_or_else(|| {
                    let message = format!("{category} association type {id} doesn't exist between {} and {}", from.id, to.id);
                    Refusal::bad(message).sub("crm.associations.INVALID_ASSOCIATION_TYPE")
                })
            })
            .collect()
    }

    /// The `associations` of a new record. The type says what the other record is.
    pub(crate) fn associate_new(&mut self, kind: &Kind, id: &str, list: Option<&Value>) -> Result<(), Refusal> {
        let list = match list {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(Refusal::bad("Invalid input JSON on line 1, column 1: associations must be a list")),
        };
        for one in list {
            let one = object(one)?;
            only(one, &["to", "types"])?;
            let other = id_of(one.get("to").and_then(|to| to.get("id")))
                .ok_or_else(|| Refusal::bad("some of required attributes are not set [to]"))?;
            let first = one.get("types").and_then(|types| types.get(0));
            let wanted =
                first.and_then(|spec| Some((spec.get("associationCategory")?.as_str()?, spec.get("associationTypeId")?.as_u64()?)));
            let (category, type_id) = wanted.ok_or_else(|| Refusal::bad("some of required attributes are not set [types]"))?;
            let to = self.target(kind, category, type_id).ok_or_else(|| {
                Refusal::bad(format!("{category} association type {type_id} doesn't exist for {}", kind.singular))
                    .sub("crm.associations.INVALID_ASSOCIATION_TYPE")
            })?;
            let types = self.specs(kind, &to, one.get("types"))?;
            let other = self.resolve(&to, &other, true).ok_or_else(|| {
                Refusal::bad(format!("The {} {other} to associate does not exist", to.singular)).sub("crm.associations.INVALID_OBJECT_ID")
            })?;
            self.link(kind, id, &to, &other, &types, false)?;
        }
        Ok(())
    }

    /// The object type that a type id leads to.
    fn target(&self, from: &Kind, category: &str, id: u64) -> Option<Kind> {
        let kinds: Vec<String> = self.tables.rows("o").filter(|(_, row)| !row.deleted).map(|(id, _)| id.to_owned()).collect();
        kinds.iter().filter_map(|to| self.kind(to)).find(|to| self.link_type(from, to, Some(category), id).is_some())
    }

    fn all_links(&self, kind: &Kind, id: &str) -> Vec<(Kind, String, BTreeSet<u64>)> {
        let keys: Vec<String> = self.tables.rows(&pairs(kind, id)).map(|(key, _)| key.to_owned()).collect();
        keys.iter()
            .filter_map(|key| {
                let (to, other) = key.split_once('/')?;
                let to = self.kind(to)?;
                let types = self.links(kind, id, &to, other);
                Some((to, other.to_owned(), types))
            })
            .collect()
    }

    /// What a record was associated with goes to another one.
    pub(crate) fn move_associations(&mut self, kind: &Kind, from: &str, to: &str) {
        for (other_kind, other, mut types) in self.all_links(kind, from) {
            self.unlink(kind, from, &other_kind, &other, None);
            if other_kind == *kind && other == to {
                continue;
            }
            types.extend(self.links(kind, to, &other_kind, &other));
            let taken =
                self.linked(kind, to, &other_kind).iter().any(|(known, all)| *known != other && all.iter().any(LinkType::is_primary));
            let primary = |id: &u64| self.link_type(kind, &other_kind, None, *id).is_some_and(|one| one.is_primary());
            if taken {
                types.retain(|id| !primary(id));
            }
            self.put_links(kind, to, &other_kind, &other, &types);
        }
    }

    pub(crate) fn drop_associations(&mut self, kind: &Kind, id: &str) {
        for (other_kind, other, _) in self.all_links(kind, id) {
            self.unlink(kind, id, &other_kind, &other, None);
        }
    }
}
