//! Forms of values on the wire.

use serde::{Deserialize, Serialize};

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WireFormat {
    /// `2026-11-24`.
    Date,
    /// Thousandths of seconds since 1970.
    EpochMilliseconds,
    /// Seconds since 1970.
    EpochSeconds,
    /// `2026-11-24T10:00:00.123Z`.
    Rfc3339,
    /// `2026-11-24T10:00:00Z`; fractions are not kept.
    #[default]
    Rfc3339Seconds,
    /// `2026-11-24 10:00:00`, in UTC.
    Sql,
}
