//! A composite request from typed parts.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::{Entity, ExternalKey, Fields, RecordId};
use crate::rest::percent_encode;
use crate::salesforce::client::{RowBody, segment};
use crate::salesforce::composite::pointer::{Pointer, no_references};
use crate::salesforce::soql::identifier;

/// Subrequests of a composite (REST API Developer Guide, "Composite").
const MAX_PARTS: usize = 25;
/// Those of them that may be queries or collections.
const MAX_QUERIES: usize = 5;

/// Nodes over all graphs of one request (REST API Developer Guide, "Composite Graph Limits").
pub(super) const MAX_NODES: usize = 500;

/// Which record a part of a composite is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// By id.
    Id(RecordId),
    /// By external id.
    Key(ExternalKey),
    /// The one an earlier part makes or finds.
    Ref(Pointer),
}

impl From<&RecordId> for Target {
    fn from(id: &RecordId) -> Self {
        Self::Id(id.clone())
    }
}

impl From<&ExternalKey> for Target {
    fn from(key: &ExternalKey) -> Self {
        Self::Key(key.clone())
    }
}

impl From<&Pointer> for Target {
    fn from(pointer: &Pointer) -> Self {
        Self::Ref(pointer.clone())
    }
}

/// One part, without the root of the API version.
#[derive(Clone, Debug)]
pub(super) struct Subrequest {
    pub(super) method: Method,
    pub(super) tail: String,
    pub(super) reference: String,
    pub(super) body: Option<Value>,
    /// The longest chain of references that ends here, itself included.
    pub(super) depth: usize,
    pub(super) query: bool,
}

/// Up to 25 requests in one, carried out one after the other. Each gets a name, and whoever comes later may use what it answered.
///
/// ```
/// use crm_sync::model::Fields;
/// use crm_sync::salesforce::composite::Composite;
/// use crm_sync::salesforce::entity::{ACCOUNT, CONTACT};
///
/// let mut composite = Composite::new().all_or_none(true);
/// let account = composite.create("acc", &ACCOUNT, &[("Name", "Acme")].into_iter().collect(), &[])?;
/// composite.create("con", &CONTACT, &[("LastName", "Ng")].into_iter().collect(), &[("AccountId", account)])?;
/// assert_eq!(composite.len(), 2);
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Composite {
    pub(super) parts: Vec<Subrequest>,
    pub(super) all_or_none: bool,
    pub(super) collate: Option<bool>,
    depths: BTreeMap<String, usize>,
}

impl Composite {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether one failure undoes everything. Default: no; parts that refer to a failed one fail either way.
    #[must_use]
    pub fn all_or_none(mut self, all_or_none: bool) -> Self {
        self.all_or_none = all_or_none;
        self
    }

    /// Whether Salesforce may save parts that do not depend on each other together (API 49.0 and later; its default is yes).
    #[must_use]
    pub fn collate(mut self, collate: bool) -> Self {
        self.collate = Some(collate);
        self
    }

    /// How many parts it has.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Makes a record; `links` are fields whose values earlier parts answer. The result stands for the new record's id.
    ///
    /// # Errors
    /// Of this and the other methods that add a part: [`crate::error::ErrorKind::Config`] for a name that is taken or is none
    /// (letters, digits, underscores), a reference to a part of another composite, or more than 500 parts;
    /// [`crate::error::ErrorKind::Validation`] for data Salesforce would read as a reference (`@{`).
    pub fn create(&mut self, reference: &str, entity: &Entity, fields: &Fields, links: &[(&str, Pointer)]) -> Result<Pointer> {
        let tail = format!("/sobjects/{}", identifier(entity.as_str())?);
        self.write(Method::POST, reference, tail, None, fields, None, links)?;
        Ok(Pointer::new(reference, "id"))
    }

    /// Changes a record.
    ///
    /// # Errors
    /// As [`Composite::create`].
    pub fn update(
        &mut self,
        reference: &str,
        entity: &Entity,
        target: impl Into<Target>,
        fields: &Fields,
        links: &[(&str, Pointer)],
    ) -> Result<()> {
        let target = target.into();
        let tail = tail(entity, &target)?;
        let key = if let Target::Key(key) = &target { Some(key.field.as_str()) } else { None };
        self.write(Method::PATCH, reference, tail, Some(&target), fields, key, links)
    }

    /// Makes or changes the record with this external id. The result stands for its id.
    ///
    /// # Errors
    /// As [`Composite::create`].
    pub fn upsert(
        &mut self,
        reference: &str,
        entity: &Entity,
        key: &ExternalKey,
        fields: &Fields,
        links: &[(&str, Pointer)],
    ) -> Result<Pointer> {
        self.update(reference, entity, key, fields, links)?;
        Ok(Pointer::new(reference, "id"))
    }

    /// Reads a record; an empty `select` asks for every field. The result stands for its id, and [`Pointer::at`] for its fields.
    ///
    /// # Errors
    /// As [`Composite::create`].
    pub fn get<S: AsRef<str>>(&mut self, reference: &str, entity: &Entity, target: impl Into<Target>, select: &[S]) -> Result<Pointer> {
        let target = target.into();
        let mut tail = tail(entity, &target)?;
        for (at, field) in select.iter().enumerate() {
            tail.push_str(if at == 0 { "?fields=" } else { "," });
            tail.push_str(identifier(field.as_ref())?);
        }
        let depth = self.depth_of(target_pointer(&target).into_iter())?;
        self.add(Method::GET, reference, tail, None, depth, false)?;
        Ok(Pointer::new(reference, "Id"))
    }

    /// Deletes a record.
    ///
    /// # Errors
    /// As [`Composite::create`].
    pub fn delete(&mut self, reference: &str, entity: &Entity, target: impl Into<Target>) -> Result<()> {
        let target = target.into();
        let tail = tail(entity, &target)?;
        let depth = self.depth_of(target_pointer(&target).into_iter())?;
        self.add(Method::DELETE, reference, tail, None, depth, false)
    }

    /// Runs a query; at most 5 of the parts may be queries. The result stands for the id of the first row.
    ///
    /// # Errors
    /// As [`Composite::create`].
    pub fn query(&mut self, reference: &str, soql: &str) -> Result<Pointer> {
        if soql.contains("@{") {
            return Err(Error::config("the text @{ in a composite's query would be read as a reference"));
        }
        self.add(Method::GET, reference, format!("/query?q={}", percent_encode(soql)), None, 1, true)?;
        Ok(Pointer::new(reference, "records[0].Id"))
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.parts.is_empty() {
            return Err(Error::config("a composite request needs at least one part"));
        }
        if self.parts.len() > MAX_PARTS {
            return Err(Error::config(format!("a composite request takes at most {MAX_PARTS} parts; use graphs for up to 500")));
        }
        if self.parts.iter().filter(|part| part.query).count() > MAX_QUERIES {
            return Err(Error::config(format!("a composite request takes at most {MAX_QUERIES} queries")));
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the members of one request")]
    fn write(
        &mut self,
        method: Method,
        reference: &str,
        tail: String,
        target: Option<&Target>,
        fields: &Fields,
        without: Option<&str>,
        links: &[(&str, Pointer)],
    ) -> Result<()> {
        no_references(fields)?;
        let body = RowBody::new(fields, without)?;
        let mut map: Map<String, Value> = body.entries().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        for (field, pointer) in links {
            map.insert(identifier(field)?.to_owned(), Value::String(pointer.text()));
        }
        let pointers = links.iter().map(|(_, pointer)| pointer).chain(target.and_then(target_pointer));
        let depth = self.depth_of(pointers)?;
        self.add(method, reference, tail, Some(Value::Object(map)), depth, false)
    }

    fn depth_of<'a>(&self, pointers: impl Iterator<Item = &'a Pointer>) -> Result<usize> {
        let mut depth = 1;
        for pointer in pointers {
            let before = self.depths.get(&pointer.reference);
            let before = before.ok_or_else(|| Error::config("a composite's part refers to one that does not come before it"))?;
            depth = depth.max(before + 1);
        }
        Ok(depth)
    }

    fn add(&mut self, method: Method, reference: &str, tail: String, body: Option<Value>, depth: usize, query: bool) -> Result<()> {
        let named = reference.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !named {
            return Err(Error::config("the name of a composite's part is made of letters, digits and underscores"));
        }
        if self.parts.len() >= MAX_NODES {
            return Err(Error::config("a composite request has too many parts; split it"));
        }
        if self.depths.insert(reference.to_owned(), depth).is_some() {
            return Err(Error::config(format!("two parts of a composite are called {reference}")));
        }
        self.parts.push(Subrequest { method, tail, reference: reference.to_owned(), body, depth, query });
        Ok(())
    }
}

fn target_pointer(target: &Target) -> Option<&Pointer> {
    if let Target::Ref(pointer) = target { Some(pointer) } else { None }
}

fn tail(entity: &Entity, target: &Target) -> Result<String> {
    let entity = identifier(entity.as_str())?;
    Ok(match target {
        Target::Id(id) => format!("/sobjects/{entity}/{}", segment(id.as_str())?),
        Target::Key(key) => format!("/sobjects/{entity}/{}/{}", identifier(&key.field)?, segment(&key.value)?),
        Target::Ref(pointer) => format!("/sobjects/{entity}/{}", pointer.text()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salesforce::entity::{ACCOUNT, CONTACT};
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    #[test]
    fn parts_know_what_comes_before_them() {
        let mut composite = Composite::new();
        let account = composite.create("acc", &ACCOUNT, &fields(json!({"Name": "A", "Id": "x"})), &[]).unwrap();
        let contact = composite.create("con", &CONTACT, &fields(json!({"LastName": "B"})), &[("AccountId", account.clone())]).unwrap();
        composite.update("fix", &CONTACT, &contact, &fields(json!({"Title": "CTO"})), &[]).unwrap();
        let read = composite.get("read", &ACCOUNT, &account, &["Id", "Name"]).unwrap();
        assert_eq!(read.at("Name").unwrap().text(), "@{read.Name}");
        let tails: Vec<_> = composite.parts.iter().map(|part| (part.tail.as_str(), part.depth)).collect();
        assert_eq!(
            tails,
            [
                ("/sobjects/Account", 1),
                ("/sobjects/Contact", 2),
                ("/sobjects/Contact/@{con.id}", 3),
                ("/sobjects/Account/@{acc.id}?fields=Id,Name", 2)
            ]
        );
        assert_eq!(composite.parts[1].body, Some(json!({"LastName": "B", "AccountId": "@{acc.id}"})));
        assert_eq!(composite.parts[0].body, Some(json!({"Name": "A"})));
    }

    #[test]
    fn what_cannot_work_is_told_at_once() {
        let mut other = Composite::new();
        let foreign = other.create("x", &ACCOUNT, &Fields::new(), &[]).unwrap();
        let mut composite = Composite::new();
        assert!(composite.create("a", &ACCOUNT, &Fields::new(), &[("ParentId", foreign)]).is_err());
        assert!(composite.create("a b", &ACCOUNT, &Fields::new(), &[]).is_err());
        assert!(composite.create("", &ACCOUNT, &Fields::new(), &[]).is_err());
        assert!(composite.create("a", &ACCOUNT, &fields(json!({"Name": "@{b.id}"})), &[]).is_err());
        assert!(composite.check().is_err(), "empty");
        composite.create("a", &ACCOUNT, &Fields::new(), &[]).unwrap();
        assert!(composite.create("a", &ACCOUNT, &Fields::new(), &[]).is_err(), "the name is taken");
        for n in 0..6 {
            composite.query(&format!("q{n}"), "SELECT Id FROM Lead").unwrap();
        }
        assert!(composite.check().unwrap_err().to_string().contains("5 queries"));
        for n in 0..20 {
            other.create(&format!("n{n}"), &ACCOUNT, &Fields::new(), &[]).unwrap();
        }
        other.check().unwrap();
        for n in 20..30 {
            other.create(&format!("n{n}"), &ACCOUNT, &Fields::new(), &[]).unwrap();
        }
        assert!(other.check().is_err());
    }
}
