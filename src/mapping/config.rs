//! Mapping files: which host field goes to which CRM field, and how.
//!
//! ```yaml
//! salesforce:                 # the CRM, as the host calls it
//!   lead:                     # the entity, as the host calls it
//!     email: Email            # shorthand for { field: Email }
//!     company: { field: Company, default: "[not provided]" }
//!     fullName: { field: Full_Name__c, formula: "CONCAT(firstName, ' ', lastName)" }
//!     leadSource:
//!       type: picklist
//!       mapping: { google: Google Ads, organic: Web }
//! ```
//!
//! The keys of the long form, all optional:
//!
//! | key | values | meaning |
//! |---|---|---|
//! | `field` | a name | the CRM field (Pipedrive: its label will do) |
//! | `type` | `direct` `computed` `picklist` `constant` `lookup` `split` `join` `compound` | told by the keys below if left out |
//! | `formula` | see [`formula`](crate::mapping::formula) | of a computed field |
//! | `value` | any | of a constant |
//! | `mapping`, `aliases`, `preferred`, `case`, `unmapped` | see [`PicklistConfig`](crate::mapping::PicklistConfig) | of a picklist |
//! | `into`, `at` | two CRM fields; `first blank` or `last blank` | of a split |
//! | `from`, `separator`, `split` | host fields; a text; as `at` | of a join |
//! | `entity`, `by` | names | of a lookup |
//! | `direction` | `out` `in` `both` | which way |
//! | `default`, `required` | a value; `true` | on create, when the host has no value |
//! | `when` | a formula | the field is left out unless it is true |
//! | `blank`, `on_null` | `clear` `keep` `skip`; `clear` `skip` | blank texts, null |
//! | `max`, `on_too_long` | characters; `error` `truncate` | long texts |
//! | `lenient` | `true` | texts are read as numbers and booleans |
//! | `format`, `zone` | `%d.%m.%Y`, `epoch_s`, `epoch_ms`; `UTC`, `+02:00` | dates spelt otherwise, civil times |
//! | `currency`, `append` | `EUR`; `true` | Pipedrive's amounts, HubSpot's multi-selects |
//! | `on_error` | `error` `null` `default` `skip_record` | values that cannot be mapped |
//! | `owner` | `ours` `theirs` `latest` | who wins a conflict |
//!
//! How values look on the wire goes by the CRM's name, see [`Profile`](crate::mapping::Profile).

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::document::diagnostic::Diagnostics;
use crate::document::node::{Key, Kind, Node};
use crate::document::read;
use crate::document::source::{Source, Span};
use crate::document::suggest::did_you_mean;
use crate::mapping::code;
use crate::mapping::encode::Profile;
use crate::mapping::field::FieldConfig;
use crate::mapping::long_form::{self, unique};

const FILE_HELP: &str = "name the CRM, below it the entity, below that each field: salesforce: { lead: { email: Email } }";
const CRM_HELP: &str = "name the entity, below it each field: lead: { email: Email }";
const ENTITY_HELP: &str = "name each field and the CRM's: email: Email";

/// All mappings of a file, by CRM and entity.
#[derive(Clone, Debug, Default)]
pub struct MappingSet {
    list: Vec<MappingConfig>,
}

impl MappingSet {
    /// Reads YAML; `origin` names the text in messages, usually the file.
    ///
    /// # Errors
    /// Every problem of the text that can be told without the CRM's schema, at once.
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        Self::read(text, origin, read::yaml)
    }

    /// Reads JSON of the same shape.
    ///
    /// # Errors
    /// See [`from_path_text`](Self::from_path_text).
    pub fn from_json(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        Self::read(text, origin, read::json)
    }

    /// Reads TOML of the same shape.
    ///
    /// # Errors
    /// See [`from_path_text`](Self::from_path_text).
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        Self::read(text, origin, read::toml)
    }

    /// Reads `text` in the format that the extension of `origin` names: `.json`, `.toml` (feature `toml`), `.yaml` or `.yml`
    /// (feature `yaml`).
    ///
    /// # Errors
    /// Every problem of the text that can be told without the CRM's schema; an extension that is not known or not compiled in.
    pub fn from_path_text(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        let extension = origin.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "json" => Self::from_json(text, origin),
            #[cfg(feature = "toml")]
            "toml" => Self::from_toml(text, origin),
            #[cfg(feature = "yaml")]
            "yaml" | "yml" => Self::from_yaml(text, origin),
            other => {
                let mut problems = Diagnostics::new(Arc::new(Source::new(origin, text)));
                let message = format!("mapping files end in .yaml, .yml, .json or .toml, and this one in {other:?}");
                let help = "if it is one of these, switch on the crate feature `yaml` or `toml`".to_owned();
                problems.error(code::SYNTAX, &None, message, Some(help));
                Err(problems)
            }
        }
    }

    fn read(text: &str, origin: &str, reader: fn(&mut Diagnostics) -> Option<Node>) -> Result<Self, Diagnostics> {
        let source = Arc::new(Source::new(origin, text.strip_prefix('\u{feff}').unwrap_or(text)));
        let mut problems = Diagnostics::new(Arc::clone(&source));
        let mut set = Self::default();
        if let Some(mut node) = reader(&mut problems) {
            if matches!(&node.kind, Kind::Scalar(scalar) if scalar.value.is_null()) {
                // Nothing stands nowhere; the file begins at its beginning.
                node.span = Some(0..0);
            }
            set.fill(&node, &source, &mut problems);
        }
        problems.verdict()?;
        Ok(set)
    }

    fn fill(&mut self, node: &Node, source: &Arc<Source>, problems: &mut Diagnostics) {
        for (crm_key, node) in pairs(node, "the file", "CRMs", FILE_HELP, problems) {
            let crm = crm_key.text.as_str();
            for (entity, node) in pairs(node, &format!("CRM {crm:?}"), "entities", CRM_HELP, problems) {
                let entity = entity.text.as_str();
                let mut config = MappingConfig {
                    crm: crm.to_owned(),
                    entity: entity.to_owned(),
                    fields: Vec::new(),
                    source: Arc::clone(source),
                    crm_span: crm_key.span.clone(),
                    profile: None,
                };
                if let Kind::Map(pairs) = &node.kind {
                    unique(pairs, problems);
                    for (key, node) in pairs {
                        if let Some(field) = long_form::read(&key.text, &key.span, node, problems) {
                            config.fields.push(field);
                        }
                    }
                } else {
                    expected_map(node, &format!("entity {entity:?}"), "fields", ENTITY_HELP, problems);
                }
                self.list.push(config);
            }
        }
    }

    /// The mapping of an entity; both names as the file has them. If none is spelt exactly so, upper and lower case are
    /// not told apart.
    pub fn entity(&self, crm: &str, entity: &str) -> Option<&MappingConfig> {
        self.list
            .iter()
            .find(|config| config.crm == crm && config.entity == entity)
            .or_else(|| self.list.iter().find(|config| config.crm.eq_ignore_ascii_case(crm) && config.entity.eq_ignore_ascii_case(entity)))
    }

    /// [`entity`](Self::entity), or a problem that says what the file has instead.
    ///
    /// # Errors
    /// [`code::UNKNOWN_ENTITY`] if there is no such section.
    pub fn require(&self, crm: &str, entity: &str) -> Result<&MappingConfig, Diagnostics> {
        if let Some(config) = self.entity(crm, entity) {
            return Ok(config);
        }
        let source = self.list.first().map(|config| Arc::clone(&config.source)).unwrap_or_default();
        let mut problems = Diagnostics::new(source);
        let entities: Vec<&str> =
            self.list.iter().filter(|config| config.crm.eq_ignore_ascii_case(crm)).map(|config| config.entity.as_str()).collect();
        let (span, message, help) = if entities.is_empty() {
            let message = format!("the mapping has no section for the CRM {crm:?}");
            let help = did_you_mean(crm, self.crms())
                .unwrap_or_else(|| format!("it is for {}; add `{crm}:` with `{entity}:` in it", self.crms().join(", ")));
            (self.list.first().and_then(|config| config.crm_span.clone()), message, help)
        } else {
            let message = format!("the mapping has no entity {entity:?} for the CRM {crm:?}");
            let help = did_you_mean(entity, entities.iter().copied())
                .unwrap_or_else(|| format!("it has {}; add `{entity}:` below `{crm}:`", entities.join(", ")));
            let first = self.list.iter().find(|config| config.crm.eq_ignore_ascii_case(crm));
            (first.and_then(|config| config.crm_span.clone()), message, help)
        };
        problems.error(code::UNKNOWN_ENTITY, &span, message, Some(help));
        Err(problems)
    }

    /// The CRMs, in the order of the file.
    pub fn crms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for config in &self.list {
            if !names.contains(&config.crm.as_str()) {
                names.push(&config.crm);
            }
        }
        names
    }

    /// All mappings, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &MappingConfig> {
        self.list.iter()
    }

    /// Adds a mapping built in code.
    pub fn push(&mut self, config: MappingConfig) {
        self.list.push(config);
    }
}

/// As part of the host's own configuration; problems have no places then.
impl<'de> Deserialize<'de> for MappingSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Node::deserialize(deserializer)?;
        let source = Arc::new(Source::default());
        let mut problems = Diagnostics::new(Arc::clone(&source));
        let mut set = Self::default();
        set.fill(&node, &source, &mut problems);
        problems.verdict().map_err(serde::de::Error::custom)?;
        Ok(set)
    }
}

fn expected_map(node: &Node, what: &str, of: &str, help: &str, problems: &mut Diagnostics) {
    let message = format!("{what} must be a map of {of}, and is {}", node.what());
    problems.error(code::BAD_VALUE, &node.span, message, Some(help.to_owned()));
}

fn pairs<'a>(node: &'a Node, what: &str, of: &str, help: &str, problems: &mut Diagnostics) -> Vec<(&'a Key, &'a Node)> {
    let Kind::Map(pairs) = &node.kind else {
        expected_map(node, what, of, help, problems);
        return Vec::new();
    };
    unique(pairs, problems);
    pairs.iter().map(|(key, node)| (key, node)).collect()
}

/// The mapping of one entity of one CRM.
#[derive(Clone, Debug, Default)]
pub struct MappingConfig {
    pub(crate) crm: String,
    pub(crate) entity: String,
    pub(crate) fields: Vec<FieldConfig>,
    pub(crate) source: Arc<Source>,
    /// Where the CRM's key stood.
    crm_span: Span,
    profile: Option<Profile>,
}

impl MappingConfig {
    /// An empty mapping, to be filled in code.
    pub fn new(crm: impl Into<String>, entity: impl Into<String>) -> Self {
        Self { crm: crm.into(), entity: entity.into(), ..Self::default() }
    }

    /// Adds the host field `ours`, copied to the CRM field `theirs`.
    #[must_use]
    pub fn field(self, ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        self.with(FieldConfig { field: Some(theirs.into()), ..FieldConfig::new(ours) })
    }

    /// Adds a field in the long form.
    #[must_use]
    pub fn with(mut self, field: FieldConfig) -> Self {
        self.fields.push(field);
        self
    }

    /// The wire forms of the CRM, where its name does not tell (`crm_eu` that is HubSpot).
    #[must_use]
    pub fn speaking(mut self, profile: Profile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// The wire forms of the CRM: as [`speaking`](Self::speaking) says, else [by its name](Profile::by_name).
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_else(|| Profile::by_name(&self.crm))
    }

    /// The CRM, as the host calls it.
    pub fn crm(&self) -> &str {
        &self.crm
    }

    /// The entity, as the host calls it.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// The fields, in the order of the file.
    pub fn fields(&self) -> &[FieldConfig] {
        &self.fields
    }
}
