//! Rust types for the objects of an org, from their descriptions.
//!
//! The output is source text, formatted as rustfmt does with its defaults, so that a program can keep it under version control and
//! compare. The same description always gives the same text.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::error::Result;
use crate::model::{EntitySchema, FieldSchema, FieldType, Picklist};
use crate::rest::decode_error;
use crate::salesforce::schema::ObjectDescribe;

/// A module with a type for each schema, in order, and an enum for each of their picklists.
///
/// Members have the field's API name for serde and are all `Option`, so that a row that selects a part of the fields decodes too;
/// their comments say what may be null. Numbers with decimals are `f64`, dates and instants are
/// texts as Salesforce writes them, picklists are enums with a variant for values the description does not know, and what no
/// member names is in `other`.
pub fn module(schemas: &[EntitySchema]) -> String {
    let mut out = String::from("// Generated from the org's descriptions; changes will be lost.\n\nuse serde::{Deserialize, Serialize};\n");
    let mut taken = BTreeSet::new();
    for schema in schemas {
        let name = unique(&mut taken, type_name(schema.entity.as_str()));
        object(&mut out, &mut taken, schema, &name);
    }
    out
}

/// The schema in the body of `GET /sobjects/{entity}/describe`, for programs that keep descriptions as files.
///
/// # Errors
/// [`crate::error::ErrorKind::Decode`] if it is no description.
pub fn schema(describe: &[u8]) -> Result<EntitySchema> {
    let described: ObjectDescribe = serde_json::from_slice(describe).map_err(|error| decode_error(describe, &error))?;
    Ok(described.into_parts().0)
}

fn object(out: &mut String, taken: &mut BTreeSet<String>, schema: &EntitySchema, name: &str) {
    let mut members = BTreeSet::from(["other".to_owned()]);
    let mut enums = String::new();
    let _ = write!(out, "\n/// {} (`{}`).\n", doc(&schema.label), schema.entity);
    out.push_str("#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]\n#[serde(default)]\n");
    let _ = writeln!(out, "pub struct {name} {{");
    for field in &schema.fields {
        let member = unique(&mut members, member_name(&field.name));
        let kind = match (&field.kind, &field.picklist) {
            (FieldType::Picklist, Some(picklist)) if !picklist.values.is_empty() => {
                let kind = unique(taken, format!("{name}{}", type_name(&field.name)));
                picklist_enum(&mut enums, &kind, field, picklist);
                kind
            }
            _ => rust_type(&field.kind).to_owned(),
        };
        for line in notes(field) {
            let _ = writeln!(out, "    /// {line}");
        }
        attribute(out, &field.name);
        // A raw name keeps its meaning for serde by the rename above.
        let member = if KEYWORDS.contains(&member.as_str()) { format!("{member}_") } else { member };
        let _ = writeln!(out, "    pub {member}: Option<{kind}>,");
    }
    out.push_str("    /// Whatever no member names.\n    #[serde(flatten)]\n");
    out.push_str("    pub other: std::collections::BTreeMap<String, serde_json::Value>,\n}\n");
    out.push_str(&enums);
}

/// rustfmt breaks an attribute whose arguments take more than 70 columns.
fn attribute(out: &mut String, name: &str) {
    let arguments = [format!("rename = \"{name}\""), "skip_serializing_if = \"Option::is_none\"".to_owned()];
    let one = arguments.join(", ");
    if one.len() <= 70 {
        let _ = writeln!(out, "    #[serde({one})]");
    } else {
        let _ = write!(out, "    #[serde(\n        {}\n    )]\n", arguments.join(",\n        "));
    }
}

fn picklist_enum(out: &mut String, kind: &str, field: &FieldSchema, picklist: &Picklist) {
    let mut variants = BTreeSet::from(["Other".to_owned()]);
    let _ = write!(out, "\n/// The values of `{}`.\n", field.name);
    let derives = "#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]\n#[serde(from = \"String\", into = \"String\")]\n";
    out.push_str(derives);
    let _ = writeln!(out, "pub enum {kind} {{");
    let mut known = Vec::new();
    for value in &picklist.values {
        if known.iter().any(|(wire, _): &(String, String)| *wire == value.value) {
            continue;
        }
        let variant = unique(&mut variants, variant_name(&value.value));
        let inactive = if value.active { "" } else { "; inactive" };
        let _ = write!(out, "    /// {}{inactive}.\n    {variant},\n", doc(&value.label));
        known.push((value.value.clone(), variant));
    }
    let catch = if picklist.restricted { "A value the description does not know" } else { "Any other value" };
    let _ = write!(out, "    /// {catch}.\n    Other(String),\n}}\n");
    let _ = write!(out, "\nimpl From<String> for {kind} {{\n    fn from(text: String) -> Self {{\n        match text.as_str() {{\n");
    for (wire, variant) in &known {
        arm(out, &format!("{wire:?}"), &format!("Self::{variant}"));
    }
    out.push_str("            _ => Self::Other(text),\n        }\n    }\n}\n");
    let _ = write!(out, "\nimpl From<{kind}> for String {{\n    fn from(value: {kind}) -> Self {{\n        match value {{\n");
    for (wire, variant) in &known {
        arm(out, &format!("{kind}::{variant}"), &format!("{wire:?}.to_owned()"));
    }
    let _ = write!(out, "            {kind}::Other(text) => text,\n        }}\n    }}\n}}\n");
}

/// One arm of a match; rustfmt moves the value into a block if the line would pass column 100.
fn arm(out: &mut String, pattern: &str, value: &str) {
    let one = format!("            {pattern} => {value},");
    if one.chars().count() <= 100 {
        out.push_str(&one);
        out.push('\n');
    } else {
        let _ = write!(out, "            {pattern} => {{\n                {value}\n            }}\n");
    }
}

fn rust_type(kind: &FieldType) -> &'static str {
    match kind {
        FieldType::Boolean => "bool",
        FieldType::Integer => "i64",
        FieldType::Decimal { scale: Some(0) } => "f64",
        FieldType::Decimal { .. } => "f64",
        FieldType::Any | FieldType::Address => "serde_json::Value",
        _ => "String",
    }
}

fn notes(field: &FieldSchema) -> Vec<String> {
    let mut lines = vec![format!("{}.", doc(&field.label))];
    let mut facts: Vec<String> = Vec::new();
    if field.required {
        facts.push("required".to_owned());
    }
    if !field.creatable && !field.updatable {
        facts.push("read only".to_owned());
    } else if !field.updatable {
        facts.push("set on create only".to_owned());
    } else if !field.nullable {
        facts.push("never null".to_owned());
    }
    if let Some(length) = field.max_length.filter(|_| rust_type(&field.kind) == "String") {
        facts.push(format!("at most {length} characters"));
    }
    if field.unique {
        facts.push("unique".to_owned());
    }
    if field.external_id {
        facts.push("external id".to_owned());
    }
    if !field.references.is_empty() {
        facts.push(format!("refers to {}", field.references.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ")));
    }
    if let Some(compound) = &field.compound {
        facts.push(format!("part of `{compound}`"));
    }
    match field.kind {
        FieldType::Date => facts.push("a day, `2026-01-31`".to_owned()),
        FieldType::DateTime { .. } => facts.push("an instant, `2026-01-31T10:00:00.000+0000`".to_owned()),
        FieldType::MultiPicklist => facts.push("values joined by semicolons".to_owned()),
        _ => {}
    }
    if let Some((first, rest)) = facts.split_first() {
        let mut text = first.clone();
        if let Some(initial) = text.get(..1).map(str::to_uppercase) {
            text.replace_range(..1, &initial);
        }
        for fact in rest {
            text.push_str("; ");
            text.push_str(fact);
        }
        lines.push(format!("{text}."));
    }
    lines
}

/// A label as one line of documentation that means nothing to Markdown or HTML.
fn doc(text: &str) -> String {
    let mut out = String::new();
    for character in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if "\\`*_[]<>#|~".contains(character) {
            out.push('\\');
        }
        if !character.is_control() {
            out.push(character);
        }
    }
    let out = out.trim_end_matches('.').to_owned();
    if out.is_empty() { "No label".to_owned() } else { out }
}

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum", "extern",
    "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv",
    "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// `UTM_Source__c` as `utm_source`, `AnnualRevenue` as `annual_revenue`.
fn member_name(field: &str) -> String {
    let bare = field.strip_suffix("__c").or_else(|| field.strip_suffix("__pc")).unwrap_or(field);
    let mut out = String::new();
    let chars: Vec<char> = bare.chars().collect();
    for (at, character) in chars.iter().enumerate() {
        let lower_before = at > 0 && chars.get(at - 1).is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit());
        let word_begins =
            at > 0 && chars.get(at - 1).is_some_and(char::is_ascii_uppercase) && chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if character.is_ascii_uppercase() && (lower_before || word_begins) && !out.ends_with('_') {
            out.push('_');
        }
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    let out = out.trim_matches('_').to_owned();
    if out.is_empty() || out.starts_with(|first: char| first.is_ascii_digit()) { format!("field_{out}") } else { out }
}

fn type_name(name: &str) -> String {
    let bare = name.strip_suffix("__c").unwrap_or(name);
    camel(bare, "Type")
}

fn variant_name(value: &str) -> String {
    camel(&deunicode::deunicode(value), "Value")
}

fn camel(text: &str, prefix: &str) -> String {
    let mut out = String::new();
    for word in text.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut chars = word.chars();
        if let Some(first) = chars.next() {
            out.push(first.to_ascii_uppercase());
            out.push_str(chars.as_str());
        }
    }
    let unfit = out.is_empty() || out == "Self" || out.starts_with(|first: char| first.is_ascii_digit());
    if unfit { format!("{prefix}{out}") } else { out }
}

fn unique(taken: &mut BTreeSet<String>, wanted: impl Into<String>) -> String {
    let wanted = wanted.into();
    let mut name = wanted.clone();
    let mut count = 2;
    while !taken.insert(name.clone()) {
        name = format!("{wanted}{count}");
        count += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entity;

    #[test]
    fn names() {
        for (field, member) in [
            ("AnnualRevenue", "annual_revenue"),
            ("UTM_Source__c", "utm_source"),
            ("HTMLBody", "html_body"),
            ("IsWon", "is_won"),
            ("Id", "id"),
            ("ns__Field__c", "ns_field"),
            ("X1st__c", "x1st"),
        ] {
            assert_eq!(member_name(field), member);
        }
        assert_eq!(type_name("Marketing_Score__c"), "MarketingScore");
        assert_eq!(variant_name("Open - Not Contacted"), "OpenNotContacted");
        assert_eq!(variant_name("50%"), "Value50");
        assert_eq!(variant_name("Größe"), "Grosse");
        assert_eq!(variant_name("中"), "Zhong");
        assert_eq!(variant_name("%"), "Value");
    }

    #[test]
    fn hostile_labels_and_clashing_names_stay_source_text() {
        let mut field = FieldSchema::new("Type", FieldType::Picklist);
        field.label = "evil\n} fn main() { <b>".to_owned();
        let values = ["a b", "a-b", "quote\"s", "Other", "Self"];
        field.picklist = Some(Picklist::of(false, values));
        let fields = vec![field, FieldSchema::new("type__c", FieldType::Text), FieldSchema::new("other", FieldType::Text)];
        let text = module(&[EntitySchema::new(Entity::from_static("Thing__c"), "Thing", fields)]);
        assert!(text.contains("/// evil } fn main() { \\<b\\>.\n"), "{text}");
        assert!(text.contains("pub type_: Option<ThingType>,") && text.contains("pub type2: Option<String>,"), "{text}");
        assert!(text.contains("pub other2: Option<String>,"));
        for variant in ["    AB,", "    AB2,", "    QuoteS,", "    Other2,", "    ValueSelf,", "    Other(String),"] {
            assert!(text.contains(variant), "{variant} in {text}");
        }
        assert!(text.contains("\"quote\\\"s\" => Self::QuoteS,"));
    }
}
