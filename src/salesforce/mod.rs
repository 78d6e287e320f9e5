//! Salesforce: a typed client, and the adapter over it.
//!
//! [`Salesforce`] is the connection. It speaks REST: rows, upserts by external id, queries page by page, collections of 200,
//! descriptions, limits, and [`Salesforce::call`] for everything else. It is a [`CrmAdapter`](crate::adapter::CrmAdapter), so
//! that the pipelines can use it without knowing its name.
//!
//! Errors are told apart by Salesforce's code, then by the status; see [`SalesforceDialect`]. Statements are written by
//! [`Soql`], which escapes every value and checks every name; the pieces are in [`soql`].
//!
//! # Limits worth knowing
//! 16,384 bytes for request line and headers, so queries with long IN lists are split
//! ([`Soql::split`], by itself in searches of the adapter); 200 rows for
//! each collection; 2,000 rows for each page of a query; a rolling 24 h allowance of requests ([`Salesforce::usage`]).

mod adapter;
pub mod bulk;
mod capabilities;
mod changes;
mod chunk;
mod client;
pub mod codegen;
mod collections;
pub mod composite;
mod condition;
mod conditions;
mod config;
mod dates;
mod describe;
mod dialect;
pub mod entity;
pub mod flows;
pub mod ids;
mod limits;
mod precondition;
mod query;
mod record;
mod related;
mod replication;
mod route;
mod rows;
mod schema;
mod select;
pub mod soql;
pub mod sosl;
pub mod types;
mod version;

pub use client::{Salesforce, Upserted};
pub use collections::SavedRow;
pub use conditions::Conditional;
pub use config::{AutoAssign, DuplicateRule, SalesforceConfig};
pub use dates::{DateLiteral, DateUnit};
pub use describe::{LayoutMapping, RecordTypePicklist};
pub use dialect::SalesforceDialect;
pub use limits::{ApiUsage, COLLECTION_LIMIT, Limit, Limits, UserInfo, VersionInfo};
pub use precondition::Precondition;
pub use query::QueryPage;
pub use related::Related;
pub use replication::{DeletedRecords, UpdatedRecords};
pub use rows::{QueryCursor, QueryRows};
pub use schema::{ChildRelationship, DependentPicklist, GlobalDescribe, Lookup, ObjectDetail, ObjectInfo, RecordType};
pub use select::{FieldSet, Soql};
pub use version::ApiVersion;
