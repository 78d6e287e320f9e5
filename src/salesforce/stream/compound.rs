//! Events nest the components of compound fields; records name them flat.
//!
//! `Name{FirstName}` is `FirstName`, `BillingAddress{City}` is `BillingCity`, `Address{City}` is `City`, `Spot__c{Latitude}` is
//! `Spot__Latitude__s` (Object Reference, "Compound Fields"; Change Data Capture Developer Guide, "Change Event Body Fields").

use std::borrow::Cow;

/// The record's name of a component.
pub(super) fn flat<'a>(parent: &str, component: &'a str) -> Cow<'a, str> {
    if let Some(custom) = parent.strip_suffix("__c") {
        return Cow::Owned(format!("{custom}__{component}__s"));
    }
    match parent.strip_suffix("Address") {
        Some("") => Cow::Borrowed(component),
        Some(prefix) => Cow::Owned(format!("{prefix}{component}")),
        None => Cow::Borrowed(component),
    }
}

/// A name out of `changedFields`: `BillingAddress.City` is `BillingCity`.
pub(super) fn flat_path(path: &str) -> Cow<'_, str> {
    match path.split_once('.') {
        Some((parent, component)) => flat(parent, component),
        None => Cow::Borrowed(path),
    }
}

/// Whether a null of this name, on an object with components, stands for several fields. Which ones, the event does not say.
pub(super) fn is_compound(name: &str) -> bool {
    name == "Address" || (name.ends_with("Address") && !name.ends_with("EmailAddress") && !name.ends_with("IpAddress"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_get_the_records_names() {
        assert_eq!(flat("Name", "FirstName"), "FirstName");
        assert_eq!(flat("Address", "PostalCode"), "PostalCode");
        assert_eq!(flat("MailingAddress", "Street"), "MailingStreet");
        assert_eq!(flat("Spot__c", "Latitude"), "Spot__Latitude__s");
        assert_eq!(flat_path("BillingAddress.City"), "BillingCity");
        assert_eq!(flat_path("Status"), "Status");
        assert!(is_compound("BillingAddress") && is_compound("Address"));
        assert!(!is_compound("EmailAddress") && !is_compound("Name"));
    }
}
