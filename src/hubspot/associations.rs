//! Ties between records: default, labelled and primary ones.
//!
//! A write of labels replaces those of the pair, so the labels there are read first and kept. The primary company is moved on
//! request only.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapter::Association;
use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::dialect::{Complaint, plain};
use crate::hubspot::limits::BATCH_LIMIT;
use crate::hubspot::paths::segment;
use crate::hubspot::record::Paging;
use crate::model::{Entity, RecordId};
use crate::rest::{Answer, Call};

/// A type of association.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AssociationType {
    /// `HUBSPOT_DEFINED`, `USER_DEFINED` or another.
    pub category: String,
    /// Its id; unique with the category.
    pub type_id: u64,
    /// Its label; `None` for the plain association.
    #[serde(default)]
    pub label: Option<String>,
}

impl AssociationType {
    /// A type of HubSpot's own, e.g. 279 for a contact's company.
    pub fn hubspot(type_id: u64) -> Self {
        Self { category: "HUBSPOT_DEFINED".to_owned(), type_id, label: None }
    }

    /// A label that the account made.
    pub fn user(type_id: u64) -> Self {
        Self { category: "USER_DEFINED".to_owned(), type_id, label: None }
    }

    /// True for the types that name the one primary company.
    pub fn is_primary(&self) -> bool {
        self.category == "HUBSPOT_DEFINED" && matches!(self.type_id, 1 | 2 | 5 | 6 | 25 | 26)
    }

    pub(super) fn body(&self) -> Value {
        json!({ "associationCategory": self.category, "associationTypeId": self.type_id })
    }

    fn same(&self, other: &Self) -> bool {
        self.type_id == other.type_id && self.category == other.category
    }
}

/// An associated record, once with all its types.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Associated {
    /// The other record.
    pub id: RecordId,
    /// How it is associated.
    pub types: Vec<AssociationType>,
}

/// An association that a record is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewAssociation {
    /// The other record.
    pub to: RecordId,
    /// How; at least one.
    pub types: Vec<AssociationType>,
}

impl NewAssociation {
    /// With these types.
    pub fn new(to: impl Into<RecordId>, types: Vec<AssociationType>) -> Self {
        Self { to: to.into(), types }
    }

    /// With the plain type between two standard objects.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if one is a custom object: its types are the account's own, see [`HubSpot::association_types`].
    pub fn plain(from: &Entity, to: &Entity, id: impl Into<RecordId>) -> Result<Self> {
        let kind = AssociationType::plain(from, to)
            .ok_or_else(|| Error::config(format!("hubspot has no type of its own between {from} and {to}; read the account's")))?;
        Ok(Self::new(id, vec![kind]))
    }

    pub(super) fn body(&self) -> Result<Value> {
        if self.types.is_empty() {
            return Err(Error::config("an association needs a type"));
        }
        let types: Vec<Value> = self.types.iter().map(AssociationType::body).collect();
        Ok(json!({ "to": { "id": self.to.as_str() }, "types": types }))
    }
}

/// Finds an error inside an answer that calls itself a success.
pub(super) fn inside(answer: &Answer, from: &Entity) -> Result<()> {
    if answer.bytes().is_empty() {
        return Ok(());
    }
    match answer.json::<Errors>()?.errors.first() {
        Some(complaint) => Err(complaint.error(None).during("associate").on(from)),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    to_object_id: Value,
    #[serde(default)]
    association_types: Vec<AssociationType>,
}

#[derive(Deserialize)]
struct Rows {
    #[serde(default = "Vec::new")]
    results: Vec<Row>,
    #[serde(default)]
    paging: Option<Paging>,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    results: Vec<AssociationType>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<Complaint>,
}

impl HubSpot {
    /// The records of `to` associated with this one. One request for each 500.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn associated(&self, from: &Entity, id: &RecordId, to: &Entity) -> Result<Vec<Associated>> {
        let base = format!("{}/{}", self.config.api_version.linked(from.as_str(), id.as_str()), segment(to.as_str()));
        let mut found: Vec<Associated> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut path = format!("{base}?limit=500");
            if let Some(after) = &after {
                path = format!("{path}&after={}", segment(after));
            }
            let rows: Rows =
                self.send(&Call::get("associations", path)).await.and_then(|answer| answer.json()).map_err(|error| error.on(from))?;
            for row in rows.results {
                let Some(id) = plain(&row.to_object_id).map(RecordId::new) else { continue };
                match found.iter_mut().find(|known| known.id == id) {
                    Some(known) => known.types.extend(row.association_types),
                    None => found.push(Associated { id, types: row.association_types }),
                }
            }
            let next = Paging::after(rows.paging.as_ref());
            if next.is_none() || next == after {
                return Ok(found);
            }
            after = next;
        }
    }

    /// The types of association between two kinds of record, with their labels.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn association_types(&self, from: &Entity, to: &Entity) -> Result<Vec<AssociationType>> {
        let path = format!("{}/labels", self.config.api_version.associations(from.as_str(), to.as_str()));
        let labels: Labels =
            self.send(&Call::get("associations", path)).await.and_then(|answer| answer.json()).map_err(|error| error.on(from))?;
        Ok(labels.results)
    }

    fn pair_path(&self, (from, id): (&Entity, &RecordId), to: (&Entity, &RecordId), default: &str) -> String {
        let base = self.config.api_version.linked(from.as_str(), id.as_str());
        format!("{base}{default}/{}/{}", segment(to.0.as_str()), segment(to.1.as_str()))
    }

    /// The plain association, both ways. Repeatable; labels stay.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn associate_default(&self, from: (&Entity, &RecordId), to: (&Entity, &RecordId)) -> Result<()> {
        let call = Call::new("associate", http::Method::PUT, self.pair_path(from, to, "/default"));
        self.send(&call).await.map(|_| ()).map_err(|error| error.on(from.0))
    }

    /// The plain association of many pairs, 100 for each request. Repeatable.
    ///
    /// # Errors
    /// See [`HubSpot`]; the first error inside an answer, after which later pairs of other requests were not sent.
    pub async fn associate_all(&self, from: &Entity, to: &Entity, pairs: &[(RecordId, RecordId)]) -> Result<()> {
        let path = format!("{}/batch/associate/default", self.config.api_version.associations(from.as_str(), to.as_str()));
        for chunk in pairs.chunks(BATCH_LIMIT) {
            let inputs: Vec<Value> =
                chunk.iter().map(|(one, other)| json!({ "from": { "id": one.as_str() }, "to": { "id": other.as_str() } })).collect();
            let call = Call::post("associate", path.clone()).json(&json!({ "inputs": inputs }))?;
            let answer = self.send(&call).await.map_err(|error| error.on(from))?;
            inside(&answer, from)?;
        }
        Ok(())
    }

    /// Adds types to a pair and keeps those there are. A primary type moves the primary company: it is refused unless
    /// `move_primary` says so. True if something was written. Two requests or more; repeatable.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a primary type without `move_primary`; see [`HubSpot`].
    pub async fn add_labels(
        &self,
        from: (&Entity, &RecordId),
        to: (&Entity, &RecordId),
        types: &[AssociationType],
        move_primary: bool,
    ) -> Result<bool> {
        if !move_primary && types.iter().any(AssociationType::is_primary) {
            let error = Error::config(
                "this type of association moves the primary company; ask for that, or use the plain type (279, 280, 341, 342)",
            );
            return Err(error.during("associate").on(from.0));
        }
        let known = self.associated(from.0, from.1, to.0).await?;
        let mut all = known.into_iter().find(|known| known.id == *to.1).map(|known| known.types).unwrap_or_default();
        let before = all.len();
        for wanted in types {
            if !all.iter().any(|known| known.same(wanted)) {
                all.push(wanted.clone());
            }
        }
        if all.len() == before {
            return Ok(false);
        }
        let body: Vec<Value> = all.iter().map(AssociationType::body).collect();
        let call = Call::new("associate", http::Method::PUT, self.pair_path(from, to, "")).json(&body)?;
        self.send(&call).await.map(|_| true).map_err(|error| error.on(from.0))
    }

    /// Ends every association of a pair. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn dissociate(&self, from: (&Entity, &RecordId), to: (&Entity, &RecordId)) -> Result<()> {
        match self.send(&Call::delete("dissociate", self.pair_path(from, to, ""))).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(from.0)),
        }
    }

    /// `relation`: empty or `default`, `primary`, a type id, or a label.
    pub(super) async fn tie(&self, link: &Association) -> Result<()> {
        let (from, to) = ((&link.from.0, &link.from.1), (&link.to.0, &link.to.1));
        let relation = link.relation.trim();
        if relation.is_empty() || relation.eq_ignore_ascii_case("default") {
            return self.associate_default(from, to).await;
        }
        let types = self.association_types(from.0, to.0).await?;
        let primary = relation.eq_ignore_ascii_case("primary");
        let number: Option<u64> = relation.parse().ok();
        let found = types.into_iter().find(|kind| match number {
            Some(number) => kind.type_id == number,
            None if primary => kind.is_primary(),
            None => kind.label.as_deref().is_some_and(|label| label.eq_ignore_ascii_case(relation)),
        });
        let Some(kind) = found else {
            return Err(Error::config(
                "the account has no such type of association between these objects; use default, primary, a type id or a label",
            )
            .on(from.0));
        };
        // A plain type by its id asks for nothing but the default.
        self.add_labels(from, to, &[kind], primary).await.map(|_| ())
    }
}
