//! Any other CRM: a REST API described as data.
//!
//! A [`Definition`] (YAML, JSON or TOML, see [`Definition::from_yaml`]) says where records are, how they are searched, paged and
//! written, what errors mean and how one logs in; [`Custom`] is the adapter that follows it. The definition is checked as a whole
//! when it is read: each problem has a line, a column and a remedy. Secrets never stand in it: it names them, and the host gives
//! them to [`CustomBuilder::secret`].
//!
//! Where data does not reach, [`Hooks`] is code of the host's: a header, an encoding, a reading of errors.
//!
//! ```
//! use crm_sync::custom::Definition;
//!
//! let text = r#"{
//!   "name": "custom",
//!   "base_url": "https://crm.example/api",
//!   "auth": {"type": "bearer", "secret": "api_key"},
//!   "check": {"path": "/auth/validate"},
//!   "defaults": {
//!     "search": {"method": "POST", "path": "/{entity}/search",
//!                "filter": {"style": "json", "operators": {"eq": {"{field}": "{value}"}}, "and": "merge"}},
//!     "create": {"path": "/{entity}"},
//!     "update": {"method": "PUT", "path": "/{entity}/{id}"}
//!   }
//! }"#;
//! let definition = Definition::from_json(text, "custom.json")?;
//! assert!(definition.entity("leads").is_some());
//! # Ok::<(), crm_sync::error::Error>(())
//! ```

mod adapter;
mod auth;
mod batch;
mod build;
mod changes;
mod codec;
mod connection;
mod definition;
mod describe;
mod dialect;
mod exchange;
mod filter;
mod hooks;
mod jwt;
mod limits;
mod listing;
mod load;
mod operation;
mod paging;
mod pointer;
mod reading;
mod related;
mod relation;
mod request;
mod shared;
mod single;
mod template;
mod validate;
mod webhook;
mod wire;
mod writing;

pub use auth::{AuthSpec, Expiry, Inject, Placement, TokenAnswer, TokenGrant, TokenRequest};
pub use build::CustomBuilder;
pub use connection::Custom;
pub use definition::{
    Check, Definition, EntitySpec, ErrorBody, ErrorClass, ErrorRule, FieldErrors, FieldSpec, IdParts, IdType, SchemaSpec, StatusMatch,
    TombstoneSpec, ValueType, VersionSpec, Wait, WebhookSpec,
};
pub use filter::{Combine, FilterSpec, FilterStyle, FilterTarget, OperatorName};
pub use hooks::Hooks;
pub use jwt::{JwtAlgorithm, JwtSpec};
pub use limits::{LimitSpec, PriceSpec, RateSpec};
pub use operation::{
    BatchMatch, BatchSpec, BodyEncoding, ChangesSpec, ReadOp, RemovedSpec, SearchOp, SelectSpec, SortSpec, WriteOp, WriteStyle,
};
pub use paging::{NextFrom, PageTarget, Paging};
pub use pointer::Paths;
pub use relation::RelatedSpec;
pub use wire::{DateObject, WireFormat};
