//! Variables that stand for each other.

use std::collections::BTreeMap;

use crate::custom::template::{Names, Template};

/// The variables with what they stand for, variables in variables included.
///
/// # Errors
/// The name of one that stands for itself in the end, and why.
pub(in crate::custom) fn resolve(variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, (String, String)> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut open: BTreeMap<&String, Template> = BTreeMap::new();
    for (name, text) in variables {
        open.insert(name, Template::parse(text).map_err(|reason| (name.clone(), reason))?);
    }
    while !open.is_empty() {
        let before = open.len();
        let mut unknown = None;
        open.retain(|name, template| {
            let names = Names { of: known.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() };
            match template.plain(&names) {
                Ok(text) => {
                    known.insert((*name).clone(), text);
                    false
                }
                Err(missing) => {
                    unknown = Some(((*name).clone(), missing));
                    true
                }
            }
        });
        if open.len() == before {
            let (name, missing) = unknown.unwrap_or_default();
            let reason = if variables.contains_key(&missing) {
                format!("the variables {name:?} and {missing:?} need each other")
            } else {
                format!("the variable {name:?} needs {missing:?}, which is not one")
            };
            return Err((name, reason));
        }
    }
    Ok(known)
}
