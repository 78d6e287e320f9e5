//! Trees: nested records, made together or not at all.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::{Entity, Fields};
use crate::salesforce::client::RowBody;
use crate::salesforce::soql::identifier;

/// Records, levels and kinds of one tree (REST API Developer Guide, "sObject Tree").
const MAX_RECORDS: usize = 200;
const MAX_LEVELS: usize = 5;
const MAX_KINDS: usize = 5;

/// A new record with its children.
#[derive(Clone, Debug)]
pub struct TreeNode {
    entity: Entity,
    reference: String,
    fields: Fields,
    children: Vec<(String, Vec<TreeNode>)>,
}

impl TreeNode {
    /// A record of `fields`; `reference` tells its outcome apart and is unique in the tree.
    pub fn new(entity: &Entity, reference: impl Into<String>, fields: Fields) -> Self {
        Self { entity: entity.clone(), reference: reference.into(), fields, children: Vec::new() }
    }

    /// Adds a child by the name of the relationship (`Contacts`).
    #[must_use]
    pub fn child(mut self, relationship: &str, child: Self) -> Self {
        match self.children.iter_mut().find(|(name, _)| name == relationship) {
            Some((_, children)) => children.push(child),
            None => self.children.push((relationship.to_owned(), vec![child])),
        }
        self
    }
}

/// Up to 200 new records of up to 5 levels and 5 kinds. The roots are of one kind.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) entity: Entity,
    pub(super) body: Value,
    pub(super) references: Vec<String>,
}

impl Tree {
    /// A tree with these roots.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is empty or larger than Salesforce takes, if the roots are of several kinds, or
    /// if a reference is no name or stands twice; [`crate::error::ErrorKind::Validation`] for a field that cannot be written.
    pub fn new(roots: &[TreeNode]) -> Result<Self> {
        let Some(first) = roots.first() else {
            return Err(Error::config("a tree needs at least one record"));
        };
        if roots.iter().any(|root| root.entity != first.entity) {
            return Err(Error::config("the roots of a tree are of one kind"));
        }
        let mut walk = Walk::default();
        let records = roots.iter().map(|root| walk.record(root, 1)).collect::<Result<Vec<_>>>()?;
        if walk.references.len() > MAX_RECORDS {
            return Err(Error::config(format!("a tree takes at most {MAX_RECORDS} records; split it")));
        }
        if walk.kinds.len() > MAX_KINDS {
            return Err(Error::config(format!("a tree takes at most {MAX_KINDS} kinds of records")));
        }
        Ok(Self { entity: first.entity.clone(), body: json!({ "records": records }), references: walk.references })
    }
}

#[derive(Default)]
struct Walk {
    references: Vec<String>,
    known: HashSet<String>,
    kinds: BTreeSet<String>,
}

impl Walk {
    fn record(&mut self, node: &TreeNode, level: usize) -> Result<Value> {
        if level > MAX_LEVELS {
            return Err(Error::config(format!("a tree has at most {MAX_LEVELS} levels")));
        }
        let kind = identifier(node.entity.as_str())?;
        let reference = node.reference.as_str();
        if reference.is_empty() || !reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return Err(Error::config("the reference of a tree's record is made of letters, digits, underscores and hyphens"));
        }
        if !self.known.insert(reference.to_owned()) {
            return Err(Error::config(format!("two records of a tree are called {reference}")));
        }
        self.references.push(reference.to_owned());
        self.kinds.insert(kind.to_owned());
        let mut map = Map::new();
        map.insert("attributes".to_owned(), json!({"type": kind, "referenceId": reference}));
        for (name, value) in RowBody::new(&node.fields, None)?.entries() {
            map.insert(name.to_owned(), value.clone());
        }
        for (relationship, children) in &node.children {
            let children = children.iter().map(|child| self.record(child, level + 1)).collect::<Result<Vec<_>>>()?;
            map.insert(identifier(relationship)?.to_owned(), json!({ "records": children }));
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salesforce::entity::{ACCOUNT, CONTACT};

    fn node(entity: &Entity, reference: &str) -> TreeNode {
        TreeNode::new(entity, reference, [("Name", "x")].into_iter().collect())
    }

    #[test]
    fn nested() {
        let root = node(&ACCOUNT, "r1").child("Contacts", node(&CONTACT, "r2")).child("Contacts", node(&CONTACT, "r3"));
        let tree = Tree::new(&[root]).unwrap();
        assert_eq!(tree.references, ["r1", "r2", "r3"]);
        let contact = |reference: &str| json!({"attributes": {"type": "Contact", "referenceId": reference}, "Name": "x"});
        let expected = json!({"records": [{
            "attributes": {"type": "Account", "referenceId": "r1"}, "Name": "x",
            "Contacts": {"records": [contact("r2"), contact("r3")]}
        }]});
        assert_eq!(tree.body, expected);
    }

    #[test]
    fn limits() {
        assert!(Tree::new(&[]).is_err());
        assert!(Tree::new(&[node(&ACCOUNT, "a"), node(&CONTACT, "b")]).is_err());
        assert!(Tree::new(&[node(&ACCOUNT, "a"), node(&ACCOUNT, "a")]).is_err());
        assert!(Tree::new(&[node(&ACCOUNT, "a b")]).is_err());
        let many: Vec<_> = (0..201).map(|n| node(&ACCOUNT, &format!("r{n}"))).collect();
        assert!(Tree::new(&many).is_err());
        assert!(Tree::new(&many[..200]).is_ok());
        let mut deep = node(&ACCOUNT, "d0");
        for n in 1..6 {
            deep = node(&ACCOUNT, &format!("d{n}")).child("ChildAccounts", deep);
        }
        assert!(Tree::new(&[deep]).is_err());
    }
}
