//! Several requests in one: composite (25, one after the other, later ones may use results of earlier ones), graph (500 nodes,
//! each graph as a whole), batch (25, independent) and tree (200 nested records).
//!
//! A 200 says nothing about the parts: each has an outcome of its own, judged by the same rules as a request by itself. In a
//! composite with `all_or_none`, in a graph and in a tree one failure undoes the rest, even what the answer still calls a success;
//! such parts come back as [`Cancelled`](crate::error::ErrorKind::Cancelled) and may be sent again without the one that failed.

mod answer;
mod batch;
mod build;
mod graph;
mod pointer;
mod send;
mod tree;

pub use answer::{GraphOutcome, Part};
pub use batch::Batch;
pub use build::{Composite, Target};
pub use graph::Graphs;
pub use pointer::Pointer;
pub use tree::{Tree, TreeNode};
