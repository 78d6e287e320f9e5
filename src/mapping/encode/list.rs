//! The values of a picklist as the encoder knows them.

use crate::model::FieldSchema;

use super::refused::{Refused, refused};

/// The active values of a list, their labels, and which controlling values each goes with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// Value and label.
    pub(super) values: Vec<(String, String)>,
    pub(super) restricted: bool,
}

impl Choices {
    pub(super) fn of(field: &FieldSchema) -> Self {
        let Some(list) = &field.picklist else { return Self::default() };
        let active = list.values.iter().filter(|value| value.active);
        Self { values: active.map(|value| (value.value.clone(), value.label.clone())).collect(), restricted: list.restricted }
    }

    pub(super) fn position(&self, text: &str) -> Option<usize> {
        self.values.iter().position(|(value, _)| value == text)
    }

    /// Refuses what a restricted list does not have.
    pub(super) fn member(&self, text: &str) -> Result<(), Refused> {
        if !self.restricted || self.position(text).is_some() {
            return Ok(());
        }
        refused("picklist_value", format!("the value is not in the CRM's restricted list{}", self.hint(text)))
    }

    /// The value for a text that may also be a label; a value wins over a label.
    pub(super) fn value_of(&self, text: &str) -> Option<&str> {
        let by_value = self.values.iter().find(|(value, _)| value == text);
        by_value.or_else(|| self.values.iter().find(|(_, label)| label == text)).map(|(value, _)| value.as_str())
    }

    /// The label of a value.
    pub(super) fn label_of(&self, value: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == value).map(|(_, label)| label.as_str())
    }

    /// What may have been meant. Names of the list are the CRM's, not the record's: they may be shown.
    pub(super) fn hint(&self, text: &str) -> String {
        if let Some((value, label)) = self.values.iter().find(|(value, label)| label == text && value != text) {
            return format!("; {label:?} is the label, the value is {value:?}");
        }
        let near = self.values.iter().find(|(value, label)| value.eq_ignore_ascii_case(text) || label.eq_ignore_ascii_case(text));
        near.map_or_else(String::new, |(near, label)| {
            format!("; the list spells it {:?}", if near.eq_ignore_ascii_case(text) { near } else { label })
        })
    }
}
