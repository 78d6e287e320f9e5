//! As much of JSON Schema as the schemas of this crate use. A keyword that is not known stops the test.

#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

use serde_json::Value;

/// Where and why `value` does not fit; `None` if it does.
pub(crate) fn misfit(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let rules = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("{at}: not allowed")),
        schema => schema.as_object().unwrap(),
    };
    let wrong = |why: &str| Some(format!("{at}: {why}"));
    for (keyword, rule) in rules {
        let problem = match keyword.as_str() {
            "$ref" => misfit(root, root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(), value, at),
            "type" => {
                let types: Vec<&str> = rule
                    .as_array()
                    .map_or_else(|| vec![rule.as_str().unwrap()], |all| all.iter().map(|one| one.as_str().unwrap()).collect());
                let fits = types.iter().any(|kind| match *kind {
                    "array" => value.is_array(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "null" => value.is_null(),
                    "number" => value.is_number(),
                    "object" => value.is_object(),
                    "string" => value.is_string(),
                    other => panic!("the type {other}"),
                });
                if fits { None } else { wrong(&format!("{types:?} expected")) }
            }
            "enum" => {
                if rule.as_array().unwrap().contains(value) {
                    None
                } else {
                    wrong("none of the values")
                }
            }
            "const" => {
                if rule == value {
                    None
                } else {
                    wrong("another value")
                }
            }
            "minimum" => {
                if value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()) {
                    None
                } else {
                    wrong("too small")
                }
            }
            "maximum" => {
                if value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()) {
                    None
                } else {
                    wrong("too large")
                }
            }
            "minItems" => {
                if value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()) {
                    None
                } else {
                    wrong("too few")
                }
            }
            "maxItems" => {
                if value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()) {
                    None
                } else {
                    wrong("too many")
                }
            }
            "required" => value.as_object().and_then(|members| {
                let missing = rule.as_array().unwrap().iter().find(|name| !members.contains_key(name.as_str().unwrap()))?;
                wrong(&format!("{missing} is missing"))
            }),
            "properties" => {
                rule.as_object().unwrap().iter().find_map(|(name, rule)| misfit(root, rule, value.get(name)?, &format!("{at}/{name}")))
            }
            "propertyNames" => value.as_object().and_then(|members| {
                members.keys().find_map(|name| misfit(root, rule, &Value::String(name.clone()), &format!("{at}/{name}")))
            }),
            "additionalProperties" => value.as_object().and_then(|members| {
                let known = |name: &str| rules.get("properties").is_some_and(|known| known.get(name).is_some());
                members.iter().filter(|(name, _)| !known(name)).find_map(|(name, value)| misfit(root, rule, value, &format!("{at}/{name}")))
            }),
            "items" => value
                .as_array()
                .and_then(|items| items.iter().enumerate().find_map(|(n, item)| misfit(root, rule, item, &format!("{at}/{n}")))),
            "prefixItems" => value.as_array().and_then(|items| {
                items
                    .iter()
                    .zip(rule.as_array().unwrap())
                    .enumerate()
                    .find_map(|(n, (item, rule))| misfit(root, rule, item, &format!("{at}/{n}")))
            }),
            "allOf" => rule.as_array().unwrap().iter().find_map(|rule| misfit(root, rule, value, at)),
            "anyOf" | "oneOf" => {
                let found: Vec<Option<String>> = rule.as_array().unwrap().iter().map(|rule| misfit(root, rule, value, at)).collect();
                let fitting = found.iter().filter(|problem| problem.is_none()).count();
                let fits = if keyword == "oneOf" { fitting == 1 } else { fitting > 0 };
                if fits { None } else { Some(format!("{at}: {fitting} alternatives fit: {found:?}")) }
            }
            "$defs" | "$schema" | "default" | "description" | "format" | "title" | "writeOnly" => None,
            other => panic!("the keyword {other} at {at}"),
        };
        if problem.is_some() {
            return problem;
        }
    }
    None
}
