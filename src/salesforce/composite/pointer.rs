//! References to results of earlier requests: `@{account.id}`.

use serde_json::Value;

use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::model::Fields;

/// A value that an earlier request of the same composite will answer. Made by [`Composite`](super::Composite), so that it names
/// a request that exists and comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    pub(super) reference: String,
    pub(super) path: String,
}

impl Pointer {
    pub(super) fn new(reference: &str, path: &str) -> Self {
        Self { reference: reference.to_owned(), path: path.to_owned() }
    }

    /// Another member of the same answer: `Id` or any field of a record that was read, `records[0].Id` of a query. The id of a
    /// record that was made is `id`, in lower case.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is no path of names and positions.
    pub fn at(&self, path: &str) -> Result<Self> {
        let name = |part: &str| {
            let (name, position) = part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
            let named = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let counted = position.is_none_or(|rest| {
                rest.strip_suffix(']').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
            });
            named && counted
        };
        if path.split('.').all(name) {
            Ok(Self::new(&self.reference, path))
        } else {
            Err(Error::config("a reference is a path like id, Owner.Email or records[0].Id"))
        }
    }

    /// As Salesforce reads it.
    pub(super) fn text(&self) -> String {
        format!("@{{{}.{}}}", self.reference, self.path)
    }
}

/// Refuses data that Salesforce would read as a reference: there is no way to escape it.
pub(super) fn no_references(fields: &Fields) -> Result<()> {
    fn holds(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains("@{"),
            Value::Array(values) => values.iter().any(holds),
            Value::Object(map) => map.iter().any(|(name, value)| name.contains("@{") || holds(value)),
            _ => false,
        }
    }
    match fields.iter().find(|(_, value)| holds(value)) {
        Some((name, _)) => {
            let message = "the text @{ in a composite request would be read as a reference; send this record by itself";
            Err(Error::new(ErrorKind::Validation, message).with_fields(vec![FieldError::new(name, None)]))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let id = Pointer::new("acc", "id");
        assert_eq!(id.text(), "@{acc.id}");
        assert_eq!(id.at("records[0].Owner.Email").unwrap().text(), "@{acc.records[0].Owner.Email}");
        for bad in ["", "a b", "a}", "a.", "[0]", "a[x]", "a[1", "@{b.id}"] {
            assert!(id.at(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn data_never_becomes_a_reference(before in "\\PC{0,8}", after in "\\PC{0,8}", deep in any::<bool>()) {
            let text = format!("{before}@{{{after}");
            let value = if deep { json!({"A": {"B": [text]}}) } else { json!({"A": text}) };
            prop_assert!(no_references(&Fields::from_value(value).unwrap()).is_err());
        }
    }
}
