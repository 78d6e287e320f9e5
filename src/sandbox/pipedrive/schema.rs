//! The fields of each entity: those Pipedrive brings, and those the company has added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A choice of an option field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// A number for custom fields and labels, a text for most built-in fields.
    pub(crate) id: Value,
    pub(crate) label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) color: Option<String>,
    pub(crate) at: String,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Field {
    /// The number v1 knows it by.
    pub(crate) id: i64,
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) choices: Vec<Choice>,
    pub(crate) custom: bool,
    /// Only shown when asked for by `include_fields`.
    #[serde(default)]
    pub(crate) optional: bool,
    #[serde(default)]
    pub(crate) mandatory: bool,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) at: String,
}

impl Field {
    pub(crate) fn has_choices(&self) -> bool {
        matches!(self.kind.as_str(), "enum" | "set" | "visible_to")
    }

    pub(crate) fn choice(&self, id: i64) -> Option<&Choice> {
        self.choices.iter().find(|choice| choice.id.as_i64() == Some(id))
    }

    /// Whether search looks into it.
    pub(crate) fn is_searchable(&self) -> bool {
        matches!(self.kind.as_str(), "address" | "varchar" | "text" | "varchar_auto" | "double" | "monetary" | "phone")
    }
}

/// The types a field can be made with.
pub(crate) const KINDS: &[&str] = &[
    "varchar",
    "text",
    "double",
    "phone",
    "date",
    "daterange",
    "time",
    "timerange",
    "set",
    "enum",
    "varchar_auto",
    "address",
    "monetary",
    "org",
    "people",
    "user",
];

/// All fields, by entity. Leads have those of deals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Schema {
    seed: u64,
    made: u64,
    next_id: i64,
    next_choice: i64,
    entities: BTreeMap<String, Vec<Field>>,
}

type BuiltIn = (&'static str, &'static str, &'static str);

const PERSON: &[BuiltIn] = &[
    ("name", "Name", "varchar"),
    ("first_name", "First name", "varchar"),
    ("last_name", "Last name", "varchar"),
    ("label_ids", "Labels", "set"),
    ("phones", "Phone", "phone"),
    ("emails", "Email", "varchar"),
    ("owner_id", "Owner", "user"),
    ("org_id", "Organization", "org"),
    ("add_time", "Person created", "date"),
    ("update_time", "Update time", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("picture_id", "Profile picture", "picture"),
    ("id", "ID", "int"),
];

const ORGANIZATION: &[BuiltIn] = &[
    ("name", "Name", "varchar"),
    ("label_ids", "Labels", "set"),
    ("owner_id", "Owner", "user"),
    ("address", "Address", "address"),
    ("industry", "Industry", "enum"),
    ("website", "Website", "varchar"),
    ("linkedin", "LinkedIn profile", "varchar"),
    ("annual_revenue", "Annual revenue", "double"),
    ("employee_count", "Number of employees", "int"),
    ("add_time", "Organization created", "date"),
    ("update_time", "Update time", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("id", "ID", "int"),
];

const DEAL: &[BuiltIn] = &[
    ("title", "Title", "varchar"),
    ("creator_user_id", "Creator", "user"),
    ("owner_id", "Owner", "user"),
    ("value", "Value", "monetary"),
    ("currency", "Currency of Value", "varchar"),
    ("person_id", "Contact person", "people"),
    ("org_id", "Organization", "org"),
    ("pipeline_id", "Pipeline", "int"),
    ("stage_id", "Stage", "stage"),
    ("label_ids", "Labels", "set"),
    ("status", "Status", "enum"),
    ("probability", "Probability", "int"),
    ("lost_reason", "Lost reason", "varchar"),
    ("expected_close_date", "Expected close date", "date"),
    ("add_time", "Deal created", "date"),
    ("update_time", "Update time", "date"),
    ("won_time", "Won time", "date"),
    ("lost_time", "Lost time", "date"),
    ("close_time", "Deal closed on", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("channel_id", "Source channel ID", "varchar"),
    ("id", "ID", "int"),
];

const PRODUCT: &[BuiltIn] = &[
    ("name", "Name", "varchar"),
    ("code", "Product code", "varchar"),
    ("description", "Description", "text"),
    ("unit", "Unit", "varchar"),
    ("tax", "Tax", "double"),
    ("category", "Category", "enum"),
    ("owner_id", "Owner", "user"),
    ("visible_to", "Visible to", "visible_to"),
    ("is_linkable", "Active", "boolean"),
    ("id", "ID", "int"),
];

const ACTIVITY: &[BuiltIn] = &[
    ("subject", "Subject", "varchar"),
    ("type", "Type", "enum"),
    ("due_date", "Due date", "date"),
    ("due_time", "Due time", "time"),
    ("duration", "Duration", "time"),
    ("owner_id", "Assigned to user", "user"),
    ("deal_id", "Deal", "deal"),
    ("person_id", "Contact person", "people"),
    ("org_id", "Organization", "org"),
    ("note", "Note", "text"),
    ("public_description", "Public description", "text"),
    ("priority", "Priority", "enum"),
    ("done", "Done", "boolean"),
    ("busy", "Free/busy", "boolean"),
    ("id", "ID", "int"),
];

fn numbered(start: &mut i64, labels: &[(&str, &str)], at: &str) -> Vec<Choice> {
    labels
        .iter()
        .map(|(label, color)| {
            *start += 1;
            let color = (!color.is_empty()).then(|| (*color).to_owned());
            Choice { id: json!(*start), label: (*label).to_owned(), color, at: at.to_owned() }
        })
        .collect()
}

impl Schema {
    pub(crate) fn new(seed: u64, at: &str) -> Self {
        let mut schema = Self { seed, made: 0, next_id: 0, next_choice: 0, entities: BTreeMap::new() };
        let contacts = [("Customer", "green"), ("Hot lead", "red"), ("Warm lead", "yellow"), ("Cold lead", "blue")];
        let all = [("person", PERSON), ("organization", ORGANIZATION), ("deal", DEAL), ("product", PRODUCT), ("activity", ACTIVITY)];
        for (entity, list) in all {
            let mut fields = Vec::new();
            for (code, name, kind) in list {
                schema.next_id += 1;
                let next = &mut schema.next_choice;
                let choices = match (entity, *code) {
                    ("person" | "organization", "label_ids") => numbered(next, &contacts, at),
                    ("deal", "label_ids") => numbered(next, &[("Hot", "red"), ("Warm", "yellow"), ("Cold", "blue")], at),
                    (_, "industry") => numbered(next, &[("IT Services", ""), ("Manufacturing", ""), ("Retail", "")], at),
                    (_, "priority") => numbered(next, &[("High", ""), ("Medium", ""), ("Low", "")], at),
                    (_, "category") => numbered(next, &[("Goods", ""), ("Services", "")], at),
                    (_, "status") => texts(&[("open", "Open"), ("won", "Won"), ("lost", "Lost"), ("deleted", "Deleted")], at),
                    (_, "visible_to") => texts(
                        &[
                            ("1", "Owner only"),
                            ("3", "Owner's visibility group"),
                            ("5", "Owner's visibility group and sub-groups"),
                            ("7", "Entire company"),
                        ],
                        at,
                    ),
                    _ => Vec::new(),
                };
                fields.push(Field {
                    id: schema.next_id,
                    code: (*code).to_owned(),
                    name: (*name).to_owned(),
                    kind: (*kind).to_owned(),
                    choices,
                    custom: false,
                    optional: false,
                    mandatory: matches!(*code, "name" | "title" | "subject"),
                    description: None,
                    at: at.to_owned(),
                });
            }
            schema.entities.insert(entity.to_owned(), fields);
        }
        schema
    }

    fn own(entity: &str) -> &str {
        if entity == "lead" { "deal" } else { entity }
    }

    pub(crate) fn fields(&self, entity: &str) -> &[Field] {
        self.entities.get(Self::own(entity)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn field(&self, entity: &str, code: &str) -> Option<&Field> {
        self.fields(entity).iter().find(|field| field.code == code)
    }

    pub(crate) fn by_id(&self, entity: &str, id: i64) -> Option<&Field> {
        self.fields(entity).iter().find(|field| field.id == id)
    }

    pub(crate) fn custom(&self, entity: &str) -> impl Iterator<Item = &Field> {
        self.fields(entity).iter().filter(|field| field.custom)
    }

    pub(crate) fn change(&mut self, entity: &str, code: &str) -> Option<&mut Field> {
        self.entities.get_mut(Self::own(entity))?.iter_mut().find(|field| field.code == code)
    }

    /// A new custom field; its key is this account's own.
    pub(crate) fn add(&mut self, entity: &str, name: &str, kind: &str, labels: &[String], at: &str) -> Field {
        self.made += 1;
        self.next_id += 1;
        let digest = Sha256::digest(format!("pipedrive field:{}:{}", self.seed, self.made));
        let code: String = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        let mut field = Field {
            id: self.next_id,
            code,
            name: name.to_owned(),
            kind: kind.to_owned(),
            choices: Vec::new(),
            custom: true,
            optional: false,
            mandatory: false,
            description: None,
            at: at.to_owned(),
        };
        for label in labels {
            field.choices.push(self.choice(label, at));
        }
        self.entities.entry(entity.to_owned()).or_default().push(field.clone());
        field
    }

    /// A choice with the next number, still without a place.
    pub(crate) fn choice(&mut self, label: &str, at: &str) -> Choice {
        self.next_choice += 1;
        Choice { id: json!(self.next_choice), label: label.to_owned(), color: None, at: at.to_owned() }
    }

    pub(crate) fn remove(&mut self, entity: &str, code: &str) -> Option<Field> {
        let fields = self.entities.get_mut(entity)?;
        let at = fields.iter().position(|field| field.code == code && field.custom)?;
        Some(fields.remove(at))
    }
}

fn texts(list: &[(&str, &str)], at: &str) -> Vec<Choice> {
    list.iter().map(|(id, label)| Choice { id: json!(id), label: (*label).to_owned(), color: None, at: at.to_owned() }).collect()
}
