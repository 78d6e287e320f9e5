//! Tables of values, both ways.

use std::collections::HashMap;

use serde_json::Value;

use crate::mapping::field::{PicklistConfig, Unmapped};

/// A compiled table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picklist {
    out: HashMap<String, Value>,
    back: HashMap<String, String>,
    /// What null becomes, if `~` is a key.
    null: Option<Value>,
    rest: Option<Value>,
    unmapped: Unmapped,
    unmapped_in: Unmapped,
    ignore_case: bool,
    /// CRM values that several host values stand for.
    pub(crate) ambiguous: Vec<(String, Vec<String>)>,
}

/// What the table says about a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// This value.
    Is(Value),
    /// Leave the field out.
    Drop,
    /// The policy is to refuse.
    Unmapped,
}

/// A scalar as the text that a table is keyed by.
pub(crate) fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

impl Picklist {
    pub(crate) fn new(config: &PicklistConfig) -> Self {
        let mut list = Self {
            unmapped: config.unmapped.clone(),
            unmapped_in: config.unmapped_in.clone(),
            ignore_case: config.ignore_case,
            ..Self::default()
        };
        let mut sources: Vec<(String, Vec<String>)> = Vec::new();
        for (ours, theirs) in &config.mapping {
            match ours.as_str() {
                "*" => {
                    list.rest = Some(theirs.clone());
                    continue;
                }
                "~" | "" => list.null = Some(theirs.clone()),
                ours => {
                    list.out.insert(list.fold(ours), theirs.clone());
                }
            }
            let Some(theirs) = key(theirs) else { continue };
            let preferred = config.preferred.iter().find(|(name, _)| *name == theirs).map(|(_, ours)| ours.clone());
            let folded = list.fold(&theirs);
            match sources.iter_mut().find(|(name, _)| *name == theirs) {
                Some((_, known)) => known.push(ours.clone()),
                None => sources.push((theirs, vec![ours.clone()])),
            }
            // The first host value in the file stands for it, unless another is preferred.
            list.back.entry(folded).or_insert_with(|| preferred.unwrap_or_else(|| ours.clone()));
        }
        for (theirs, old) in &config.aliases {
            if let Some(ours) = list.back.get(&list.fold(theirs)).cloned() {
                for spelling in old {
                    let folded = list.fold(spelling);
                    list.back.entry(folded).or_insert_with(|| ours.clone());
                }
            }
        }
        let known = |theirs: &str| config.preferred.iter().any(|(name, _)| name == theirs);
        list.ambiguous = sources.into_iter().filter(|(theirs, ours)| ours.len() > 1 && !known(theirs)).collect();
        list
    }

    /// The entries that a text finds by itself, if upper and lower case are told apart.
    pub(crate) fn plain_entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.out.iter().filter(|_| !self.ignore_case).map(|(ours, theirs)| (ours.as_str(), theirs))
    }

    fn fold(&self, text: &str) -> String {
        if self.ignore_case { text.trim().to_lowercase() } else { text.trim().to_owned() }
    }

    /// The CRM's value for one of the host's. A list is mapped item by item.
    pub(crate) fn out(&self, value: &Value) -> Entry {
        if value.is_null() {
            return Entry::Is(self.null.clone().unwrap_or(Value::Null));
        }
        if let Value::Array(items) = value {
            return each(items, |item| self.out(item));
        }
        let hit = match value {
            Value::String(text) if !self.ignore_case => self.out.get(text.trim()),
            _ => key(value).and_then(|text| self.out.get(&self.fold(&text))),
        };
        match hit.or(self.rest.as_ref()) {
            Some(theirs) => Entry::Is(theirs.clone()),
            None => policy(&self.unmapped, value),
        }
    }

    /// True if the table itself has the host's value, or its `*` catches it.
    pub(crate) fn knows_out(&self, value: &Value) -> bool {
        self.rest.is_some() || key(value).is_some_and(|text| self.out.contains_key(&self.fold(&text)))
    }

    /// True if the table itself has the CRM's value.
    pub(crate) fn knows_back(&self, value: &Value) -> bool {
        key(value).is_some_and(|text| self.back.contains_key(&self.fold(&text)))
    }

    /// The host's value for one of the CRM's. A list is mapped item by item.
    pub(crate) fn back(&self, value: &Value) -> Entry {
        if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Entry::Is(Value::Null);
        }
        if let Value::Array(items) = value {
            return each(items, |item| self.back(item));
        }
        match key(value).and_then(|text| self.back.get(&self.fold(&text)).cloned()) {
            Some(ours) if ours == "~" || ours.is_empty() => Entry::Is(Value::Null),
            Some(ours) => Entry::Is(Value::String(ours)),
            None => policy(&self.unmapped_in, value),
        }
    }
}

fn each(items: &[Value], map: impl Fn(&Value) -> Entry) -> Entry {
    let mut mapped = Vec::with_capacity(items.len());
    for item in items {
        match map(item) {
            Entry::Is(value) => mapped.push(value),
            Entry::Drop => {}
            Entry::Unmapped => return Entry::Unmapped,
        }
    }
    Entry::Is(Value::Array(mapped))
}

fn policy(policy: &Unmapped, value: &Value) -> Entry {
    match policy {
        Unmapped::Default(value) => Entry::Is(value.clone()),
        Unmapped::Drop => Entry::Drop,
        Unmapped::Error => Entry::Unmapped,
        Unmapped::Null => Entry::Is(Value::Null),
        Unmapped::Pass => Entry::Is(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(config: &PicklistConfig) -> Picklist {
        Picklist::new(config)
    }

    fn table(pairs: &[(&str, &str)]) -> PicklistConfig {
        PicklistConfig { mapping: pairs.iter().map(|(a, b)| ((*a).to_owned(), json!(b))).collect(), ..PicklistConfig::default() }
    }

    #[test]
    fn both_ways_and_the_policies() {
        let config = table(&[("google", "Google Ads"), ("organic", "Web")]);
        let plain = list(&config);
        assert_eq!(plain.out(&json!("google")), Entry::Is(json!("Google Ads")));
        assert_eq!(plain.out(&json!(" google ")), Entry::Is(json!("Google Ads")));
        assert_eq!(plain.out(&json!("Google")), Entry::Unmapped);
        assert_eq!(plain.out(&Value::Null), Entry::Is(Value::Null));
        assert_eq!(plain.back(&json!("Web")), Entry::Is(json!("organic")));
        assert_eq!(plain.back(&json!("Other")), Entry::Unmapped);
        assert_eq!(plain.out(&json!(["google", "organic"])), Entry::Is(json!(["Google Ads", "Web"])));
        let insensitive = list(&PicklistConfig { ignore_case: true, ..config.clone() });
        assert_eq!(insensitive.out(&json!("GOOGLE")), Entry::Is(json!("Google Ads")));
        for (unmapped, wanted) in [
            (Unmapped::Pass, Entry::Is(json!("bing"))),
            (Unmapped::Drop, Entry::Drop),
            (Unmapped::Null, Entry::Is(Value::Null)),
            (Unmapped::Default(json!("Web")), Entry::Is(json!("Web"))),
            (Unmapped::Error, Entry::Unmapped),
        ] {
            assert_eq!(list(&PicklistConfig { unmapped, ..config.clone() }).out(&json!("bing")), wanted);
        }
    }

    #[test]
    fn several_for_one_and_old_spellings() {
        let mut config = table(&[("a", "X"), ("b", "X"), ("*", "Y")]);
        config.aliases = vec![("X".into(), vec!["Ex".into()])];
        let first = list(&config);
        assert_eq!(first.back(&json!("X")), Entry::Is(json!("a")));
        assert_eq!(first.back(&json!("Ex")), Entry::Is(json!("a")));
        assert_eq!(first.out(&json!("whatever")), Entry::Is(json!("Y")));
        assert_eq!(first.ambiguous, [("X".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
        config.preferred = vec![("X".into(), "b".into())];
        let preferred = list(&config);
        assert_eq!(preferred.back(&json!("X")), Entry::Is(json!("b")));
        assert!(preferred.ambiguous.is_empty());
    }
}
