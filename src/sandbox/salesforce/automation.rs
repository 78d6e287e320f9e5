//! The rules an org may have: validation rules, normalisers, triggers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an automation does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutomationKind {
    /// A validation rule: `FIELD_CUSTOM_VALIDATION_EXCEPTION`.
    Refuse {
        /// What the administrator wrote.
        message: String,
        /// The fields it names.
        #[serde(default)]
        fields: Vec<String>,
    },
    /// A trigger that breaks: `CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY`.
    Break {
        /// The text of the exception.
        message: String,
    },
    /// A trigger that sets a field, whatever was sent.
    Set {
        /// The field.
        field: String,
        /// Its new value.
        value: Value,
    },
    /// A text in lower case.
    Lower {
        /// The field.
        field: String,
    },
    /// A text in upper case.
    Upper {
        /// The field.
        field: String,
    },
    /// Digits only, and a plus sign at the front.
    Digits {
        /// The field.
        field: String,
    },
    /// A field that never comes to rest: each save gives it the next of these values.
    Flap {
        /// The field.
        field: String,
        /// The values, in turn.
        values: Vec<Value>,
    },
}

/// A rule of the org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automation {
    /// The object whose records it sees.
    pub entity: String,
    /// A SOQL condition on the record as it is about to be saved; every record if absent.
    #[serde(default)]
    pub when: Option<String>,
    /// On updates only.
    #[serde(default)]
    pub updates_only: bool,
    /// What it does.
    #[serde(flatten)]
    pub kind: AutomationKind,
}

impl Automation {
    /// A rule for every record of `entity`.
    pub fn new(entity: impl Into<String>, kind: AutomationKind) -> Self {
        Self { entity: entity.into(), when: None, updates_only: false, kind }
    }

    /// Only for records that `condition` holds for, e.g. `Email = null`.
    #[must_use]
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.when = Some(condition.into());
        self
    }
}
