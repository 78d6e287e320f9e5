//! Graphs: larger composites, each saved as a whole and independent of the others.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::salesforce::composite::build::{Composite, MAX_NODES};

/// Graphs of one request (REST API Developer Guide, "Composite Graph Limits").
const MAX_GRAPHS: usize = 75;
/// The longest chain of references.
const MAX_DEPTH: usize = 15;

/// Up to 75 graphs of together at most 500 nodes. A graph is a [`Composite`] without queries; it is saved whole or not at all.
/// After 14 failed graphs Salesforce does not try the rest.
#[derive(Clone, Debug, Default)]
pub struct Graphs {
    pub(super) graphs: Vec<(String, Composite)>,
    names: HashSet<String>,
}

impl Graphs {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a graph. Its name is unique, shorter than 40 characters, begins with a letter or digit and has no dots.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for a name that does not fit, a query, an empty graph, a chain of references longer
    /// than 15, or more than Salesforce takes in one request: send what is there and begin anew.
    pub fn add(&mut self, name: &str, graph: Composite) -> Result<()> {
        let named = name.len() < 40
            && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
        if !named {
            return Err(Error::config("a graph's name has less than 40 characters, begins with a letter or digit and has no dots"));
        }
        if graph.is_empty() || graph.parts.iter().any(|part| part.query) {
            return Err(Error::config("a graph needs nodes, and they read and write single records; queries have no place in it"));
        }
        if graph.parts.iter().any(|part| part.depth > MAX_DEPTH) {
            return Err(Error::config(format!("a graph's chain of references is longer than {MAX_DEPTH}")));
        }
        if self.graphs.len() >= MAX_GRAPHS || self.nodes() + graph.len() > MAX_NODES {
            return Err(Error::config(format!("one request takes at most {MAX_GRAPHS} graphs and {MAX_NODES} nodes; split it")));
        }
        if !self.names.insert(name.to_owned()) {
            return Err(Error::config("two graphs have the same name"));
        }
        self.graphs.push((name.to_owned(), graph));
        Ok(())
    }

    /// The nodes of all graphs.
    pub fn nodes(&self) -> usize {
        self.graphs.iter().map(|(_, graph)| graph.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fields;
    use crate::salesforce::entity::ACCOUNT;

    fn graph(nodes: usize) -> Composite {
        let mut graph = Composite::new();
        for n in 0..nodes {
            graph.create(&format!("n{n}"), &ACCOUNT, &Fields::new(), &[]).unwrap();
        }
        graph
    }

    #[test]
    fn limits() {
        let mut graphs = Graphs::new();
        graphs.add("1", graph(499)).unwrap();
        assert!(graphs.add("2", graph(2)).is_err());
        assert!(graphs.add("1", graph(1)).is_err());
        graphs.add("2", graph(1)).unwrap();
        assert_eq!(graphs.nodes(), 500);
        for bad in ["", "-a", "a.b", &"x".repeat(40)] {
            assert!(Graphs::new().add(bad, graph(1)).is_err(), "{bad}");
        }
        assert!(Graphs::new().add("1", graph(0)).is_err());
        let mut chain = Composite::new();
        let mut last = chain.create("n0", &ACCOUNT, &Fields::new(), &[]).unwrap();
        for n in 1..16 {
            last = chain.create(&format!("n{n}"), &ACCOUNT, &Fields::new(), &[("ParentId", last)]).unwrap();
        }
        assert!(Graphs::new().add("1", chain).is_err());
        let mut query = Composite::new();
        query.query("q", "SELECT Id FROM Lead").unwrap();
        assert!(Graphs::new().add("1", query).is_err());
    }
}
