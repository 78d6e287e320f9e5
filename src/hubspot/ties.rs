//! Many associations at once, labels as definitions, and the ids of HubSpot's own types.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::associations::{Associated, AssociationType};
use crate::hubspot::client::HubSpot;
use crate::hubspot::dialect::{Complaint, plain};
use crate::hubspot::entity::canonical;
use crate::hubspot::limits::BATCH_LIMIT;
use crate::hubspot::paths::segment;
use crate::hubspot::record::Paging;
use crate::model::{Entity, RecordId};
use crate::rest::Call;

/// From, to, the plain type and the primary one ("Association type ID values" of the developer guide).
const STANDARD: &[(&str, &str, u64, Option<u64>)] = &[
    ("contacts", "companies", 279, Some(1)),
    ("companies", "contacts", 280, Some(2)),
    ("deals", "companies", 341, Some(5)),
    ("companies", "deals", 342, Some(6)),
    ("deals", "contacts", 3, None),
    ("contacts", "deals", 4, None),
    ("contacts", "tickets", 15, None),
    ("tickets", "contacts", 16, None),
    ("tickets", "companies", 339, Some(26)),
    ("companies", "tickets", 340, Some(25)),
    ("deals", "tickets", 27, None),
    ("tickets", "deals", 28, None),
    ("deals", "line_items", 19, None),
    ("line_items", "deals", 20, None),
    ("contacts", "contacts", 449, None),
    ("companies", "companies", 450, None),
    ("deals", "deals", 451, None),
    ("tickets", "tickets", 452, None),
];

/// From an activity; the other way round is one less.
const ACTIVITIES: &[(&str, [(&str, u64); 4])] = &[
    ("notes", [("contacts", 202), ("companies", 190), ("deals", 214), ("tickets", 228)]),
    ("tasks", [("contacts", 204), ("companies", 192), ("deals", 216), ("tickets", 230)]),
    ("calls", [("contacts", 194), ("companies", 182), ("deals", 206), ("tickets", 220)]),
    ("emails", [("contacts", 198), ("companies", 186), ("deals", 210), ("tickets", 224)]),
    ("meetings", [("contacts", 200), ("companies", 188), ("deals", 212), ("tickets", 226)]),
];

impl AssociationType {
    /// The plain type between two standard objects; `None` for custom objects, whose types are the account's own
    /// ([`HubSpot::association_types`]).
    pub fn plain(from: &Entity, to: &Entity) -> Option<Self> {
        let (from, to) = (canonical(from.as_str()), canonical(to.as_str()));
        let (from, to) = (from.as_str(), to.as_str());
        if let Some((.., id, _)) = STANDARD.iter().find(|(one, other, ..)| (*one, *other) == (from, to)) {
            return Some(Self::hubspot(*id));
        }
        let id = |activity: &str, other: &str| {
            let (_, row) = ACTIVITIES.iter().find(|(name, _)| *name == activity)?;
            row.iter().find(|(name, _)| *name == other).map(|(_, id)| *id)
        };
        id(from, to).or_else(|| id(to, from).map(|id| id - 1)).map(Self::hubspot)
    }

    /// The type that names the one primary company of a contact, deal or ticket, in either direction.
    pub fn primary(from: &Entity, to: &Entity) -> Option<Self> {
        let (from, to) = (canonical(from.as_str()), canonical(to.as_str()));
        let row = STANDARD.iter().find(|(one, other, ..)| (*one, *other) == (from.as_str(), to.as_str()))?;
        row.3.map(Self::hubspot)
    }
}

/// One labelled tie.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tie {
    /// From.
    pub from: RecordId,
    /// To.
    pub to: RecordId,
    /// How; at least one.
    pub types: Vec<AssociationType>,
}

impl Tie {
    /// A tie.
    pub fn new(from: impl Into<RecordId>, to: impl Into<RecordId>, types: Vec<AssociationType>) -> Self {
        Self { from: from.into(), to: to.into(), types }
    }

    fn body(&self) -> Value {
        let types: Vec<Value> = self.types.iter().map(AssociationType::body).collect();
        json!({ "from": { "id": self.from.as_str() }, "to": { "id": self.to.as_str() }, "types": types })
    }
}

#[derive(Deserialize)]
struct Batch {
    #[serde(default = "Vec::new")]
    results: Vec<Group>,
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Id {
    id: Value,
}

#[derive(Deserialize)]
struct Group {
    from: Id,
    #[serde(default = "Vec::new")]
    to: Vec<Other>,
    #[serde(default)]
    paging: Option<Paging>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Other {
    to_object_id: Value,
    #[serde(default)]
    association_types: Vec<AssociationType>,
}

impl HubSpot {
    /// The records of `to` associated with each of `ids`; ids without any are left out. One request for each 100 ids, and more
    /// for those with over 500.
    ///
    /// # Errors
    /// See [`HubSpot`]; the first error inside an answer, unless it says that there are none.
    pub async fn associated_many(&self, from: &Entity, ids: &[RecordId], to: &Entity) -> Result<HashMap<RecordId, Vec<Associated>>> {
        let path = format!("{}/batch/read", self.config.api_version.associations(from.as_str(), to.as_str()));
        let mut found: HashMap<RecordId, Vec<Associated>> = HashMap::new();
        let mut work: Vec<(String, Option<String>)> = ids.iter().map(|id| (id.to_string(), None)).collect();
        while !work.is_empty() {
            let now = work.split_off(work.len().saturating_sub(BATCH_LIMIT));
            let inputs: Vec<Value> = now
                .iter()
                .map(|(id, after)| match after {
                    Some(after) => json!({ "id": id, "after": after }),
                    None => json!({ "id": id }),
                })
                .collect();
            let call = Call::post("associations", path.clone()).read_only().json(&json!({ "inputs": inputs }))?;
            let batch: Batch = self.send(&call).await.and_then(|answer| answer.json()).map_err(|error| error.on(from))?;
            let mut errors = batch.errors.iter().filter(|complaint| !complaint.says_none_associated()).map(|error| error.error(None));
            if let Some(error) = errors.find(|error| error.kind() != ErrorKind::NotFound) {
                return Err(error.during("associations").on(from));
            }
            for group in batch.results {
                let Some(id) = plain(&group.from.id) else { continue };
                if let Some(after) = Paging::after(group.paging.as_ref()) {
                    // A server that names the same place again would keep us here for ever.
                    if !now.contains(&(id.clone(), Some(after.clone()))) {
                        work.push((id.clone(), Some(after)));
                    }
                }
                let known = found.entry(RecordId::new(id)).or_default();
                for other in group.to {
                    let Some(id) = plain(&other.to_object_id).map(RecordId::new) else { continue };
                    match known.iter_mut().find(|known| known.id == id) {
                        Some(known) => known.types.extend(other.association_types),
                        None => known.push(Associated { id, types: other.association_types }),
                    }
                }
            }
        }
        Ok(found)
    }

    /// Adds labelled ties, 100 for each request. Repeatable. Labels of the pairs that are not named stay: a batch adds.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Config`] for a tie without a type, or one that would move a primary company: use
    /// [`HubSpot::add_labels`] for that. The first error inside an answer, after which later requests were not sent.
    pub async fn tie_all(&self, from: &Entity, to: &Entity, ties: &[Tie]) -> Result<()> {
        if ties.iter().any(|tie| tie.types.is_empty()) {
            return Err(Error::config("a tie needs a type of association").during("associate").on(from));
        }
        if ties.iter().any(|tie| tie.types.iter().any(AssociationType::is_primary)) {
            let message = "this type of association moves the primary company; ask for that pair by pair, or use the plain type";
            return Err(Error::config(message).during("associate").on(from));
        }
        self.tie_batches(from, to, "batch/create", ties).await
    }

    /// Takes types off pairs, 100 for each request. Taking off the plain type ends the association with all its labels.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Config`] for a tie without a type.
    pub async fn remove_labels(&self, from: &Entity, to: &Entity, ties: &[Tie]) -> Result<()> {
        if ties.iter().any(|tie| tie.types.is_empty()) {
            return Err(Error::config("name the types to take off").during("dissociate").on(from));
        }
        self.tie_batches(from, to, "batch/labels/archive", ties).await
    }

    async fn tie_batches(&self, from: &Entity, to: &Entity, verb: &str, ties: &[Tie]) -> Result<()> {
        let path = format!("{}/{verb}", self.config.api_version.associations(from.as_str(), to.as_str()));
        for chunk in ties.chunks(BATCH_LIMIT) {
            let inputs: Vec<Value> = chunk.iter().map(Tie::body).collect();
            let call = Call::post("associate", path.clone()).json(&json!({ "inputs": inputs }))?;
            let answer = self.send(&call).await.map_err(|error| error.on(from))?;
            crate::hubspot::associations::inside(&answer, from)?;
        }
        Ok(())
    }

    /// Makes a label between two kinds of record unless there is one of this text; its type, seen from `from`. `name` is its
    /// internal name: letters, digits and `_`, not beginning with a digit. One or two requests; repeatable.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Config`] for a name that HubSpot refuses.
    pub async fn ensure_label(
        &self,
        from: &Entity,
        to: &Entity,
        label: &str,
        name: &str,
        inverse: Option<&str>,
    ) -> Result<AssociationType> {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
        if label.is_empty() || name.is_empty() || !plain {
            let message = "a label needs a text, and a name of letters, digits and _ that does not begin with a digit";
            return Err(Error::config(message).during("provision").on(from));
        }
        let find = |types: Vec<AssociationType>| {
            types.into_iter().find(|kind| kind.label.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(label)))
        };
        if let Some(kind) = find(self.association_types(from, to).await?) {
            return Ok(kind);
        }
        let mut body = json!({ "label": label, "name": name });
        if let (Some(inverse), Some(object)) = (inverse, body.as_object_mut()) {
            object.insert("inverseLabel".to_owned(), json!(inverse));
        }
        let path = format!("{}/labels", self.config.api_version.associations(from.as_str(), to.as_str()));
        self.send(&Call::post("provision", path).json(&body)?).await.map_err(|error| error.on(from))?;
        // The answer has both directions; the list has ours.
        find(self.association_types(from, to).await?)
            .ok_or_else(|| Error::decode("hubspot made the label and does not list it").during("provision").on(from))
    }

    /// Deletes a label for all pairs that have it. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn delete_label(&self, from: &Entity, to: &Entity, type_id: u64) -> Result<()> {
        let base = self.config.api_version.associations(from.as_str(), to.as_str());
        match self.send(&Call::delete("provision", format!("{base}/labels/{}", segment(&type_id.to_string())))).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hubspot::entity::{COMPANIES, CONTACTS, DEALS, NOTES, TICKETS};

    #[test]
    fn standard_types_have_their_documented_ids() {
        let id = |from: &Entity, to: &Entity| AssociationType::plain(from, to).map(|kind| kind.type_id);
        assert_eq!((id(&CONTACTS, &COMPANIES), id(&COMPANIES, &CONTACTS)), (Some(279), Some(280)));
        assert_eq!((id(&DEALS, &COMPANIES), id(&COMPANIES, &DEALS)), (Some(341), Some(342)));
        assert_eq!((id(&NOTES, &CONTACTS), id(&CONTACTS, &NOTES)), (Some(202), Some(201)));
        assert_eq!((id(&NOTES, &TICKETS), id(&Entity::new("0-46"), &Entity::new("company"))), (Some(228), Some(190)));
        assert_eq!(id(&CONTACTS, &Entity::new("2-77")), None);
        assert!(AssociationType::primary(&CONTACTS, &COMPANIES).unwrap().is_primary());
        assert!(!AssociationType::plain(&CONTACTS, &COMPANIES).unwrap().is_primary());
    }
}
