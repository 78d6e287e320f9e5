//! From configuration to plan, with every problem reported at once.

use std::sync::Arc;

use sha2::Digest;

use crate::document::diagnostic::Diagnostics;
use crate::document::suggest::{did_you_mean, nearest, squash};
use crate::mapping::code;
use crate::mapping::config::MappingConfig;
use crate::mapping::encode::{Encoder, Pattern, Profile};
use crate::mapping::field::{Blank, Direction, FieldConfig, OnNull, Transform};
use crate::mapping::formula::{Formula, parse_zone};
use crate::mapping::inbound::component_key;
use crate::mapping::outbound::mark_moves;
use crate::mapping::path::Path;
use crate::mapping::picklist::Picklist;
use crate::mapping::plan::{Mapping, Plan, Ready, Rule, Slot, Target};
use crate::mapping::scan::Layout;
use crate::model::{EntitySchema, FieldSchema, FieldType, Shape, Value};

impl Mapping {
    /// Compiles a mapping, against the CRM's description of the entity if there is one.
    ///
    /// Without a schema the names of CRM fields are taken as they are, values are copied, and a picklist or formula
    /// without `field:` goes to the field of the host's name (for the CRM `salesforce`: with its first letter in upper case).
    ///
    /// # Errors
    /// Every problem at once: formulas that cannot be read, fields the CRM does not have or lets nobody write, picklist values
    /// outside of a restricted list, two host fields for one CRM field, constants that do not fit. What compiles and may still
    /// not do what was meant is in [`warnings`](Self::warnings).
    pub fn compile(config: &MappingConfig, schema: Option<&EntitySchema>) -> Result<Self, Diagnostics> {
        let mut compiler =
            Compiler { config, schema, problems: Diagnostics::new(Arc::clone(&config.source)), targets: Vec::new(), drafts: Vec::new() };
        for field in &config.fields {
            compiler.field(field);
        }
        let mut plans = compiler.finish();
        compiler.required();
        let version = compiler.version();
        let dependent = compiler.dependent();
        let Compiler { problems, targets, .. } = compiler;
        let warnings = problems.verdict()?;
        let hosts: Vec<String> = config.fields.iter().map(|field| field.host.clone()).collect();
        let inbound = plans.iter().filter(|plan| plan.direction != Direction::Out).map(|plan| plan.path.root.as_str());
        let inbound_shape = Shape::new(inbound);
        let shape = Shape::new(targets.iter().map(|target| target.name.as_str()));
        let mut layout = Layout::default();
        mark_moves(&mut plans, &targets);
        for plan in &mut plans {
            plan.prepare(&mut layout);
        }
        let keys = shape.by_name().map(|(at, name)| {
            let mut key = Value::from(name).to_string().into_bytes();
            key.push(b':');
            (at, key)
        });
        let keys = keys.collect();
        Ok(Self {
            layout,
            keys,
            crm: config.crm.clone(),
            entity: config.entity.clone(),
            version,
            targets,
            shape,
            inbound_shape,
            plans,
            hosts,
            warnings,
            dependent,
        })
    }
}

pub(super) struct Compiler<'a> {
    pub(super) config: &'a MappingConfig,
    pub(super) schema: Option<&'a EntitySchema>,
    pub(super) problems: Diagnostics,
    pub(super) targets: Vec<Target>,
    pub(super) drafts: Vec<Draft<'a>>,
}

/// A plan whose formulas are not resolved yet: they may name fields further down.
pub(super) struct Draft<'a> {
    pub(super) field: &'a FieldConfig,
    pub(super) plan: Plan,
    pub(super) formula: Option<Formula>,
    pub(super) when: Option<Formula>,
}

/// What a field without a CRM field may be.
enum Found<'a> {
    /// This one; `None` without a schema.
    Field(String, Option<&'a FieldSchema>),
    /// Nothing, and that was said.
    Nothing,
}

impl<'a> Compiler<'a> {
    pub(super) fn place(&self) -> String {
        self.schema.map_or_else(
            || format!("{} {}", self.config.crm, self.config.entity),
            |schema| format!("{} {}", self.config.crm, schema.entity),
        )
    }

    fn field(&mut self, field: &'a FieldConfig) {
        let path = match Path::parse(&field.host) {
            Ok(path) => path,
            // A key that is no path is a key.
            Err(_) => Path::key(&field.host),
        };
        let formula = match &field.transform {
            Transform::Computed { formula } => {
                let parsed = self.formula(formula, field, "formula");
                if parsed.is_none() {
                    return;
                }
                parsed
            }
            _ => None,
        };
        let when = field.when.as_ref().and_then(|when| self.formula(when, field, "when"));
        let mut plan = Plan {
            host: field.host.clone(),
            path,
            rule: Rule::Direct,
            slots: Vec::new(),
            direction: field.direction,
            when: None,
            on_error: field.on_error,
            ready: Ready::default(),
            moves: false,
            straight: None,
        };
        if let Some(zone) = &field.zone
            && parse_zone(zone).is_none()
        {
            let help = "a zone is UTC or an offset such as +02:00; rules of places need a database, which the mapping has not";
            self.problems.error(
                code::BAD_VALUE,
                field.span_of("zone"),
                format!("unknown zone {zone:?} of field {:?}", field.host),
                Some(help.into()),
            );
        }
        if plan.direction != Direction::Out
            && !plan.path.is_writable()
            && !matches!(field.transform, Transform::Constant { .. } | Transform::Computed { .. })
        {
            // A path with an index can be read and not be made.
            plan.direction = Direction::Out;
        }
        match &field.transform {
            Transform::Split { into, .. } => {
                for name in into {
                    if let Found::Field(name, schema) = self.explicit(field, name, "into", field.direction) {
                        self.slot(&mut plan, field, &name, schema, "into");
                    }
                }
            }
            _ if matches!(field.transform, Transform::Computed { .. }) && field.direction == Direction::In => {
                // The host field itself is the target: nothing on the CRM's side is written.
                plan.slots.push(self.nowhere());
            }
            _ => {
                let found = match &field.field {
                    Some(name) => self.explicit(field, name, "field", field.direction),
                    None => self.by_name(field),
                };
                let Found::Field(name, schema) = found else { return };
                let components = self.components(&name, schema);
                if components.is_empty() {
                    self.slot(&mut plan, field, &name, schema, "field");
                } else {
                    let keys = components.iter().map(|component| component_key(&component.name, &name)).collect();
                    for component in components {
                        self.slot(&mut plan, field, &component.name, Some(component), "field");
                    }
                    plan.rule = Rule::Compound(name, keys);
                    self.drafts.push(Draft { field, plan, formula: None, when });
                    return;
                }
            }
        }
        let Some(rule) = self.rule(field, &mut plan) else { return };
        plan.rule = rule;
        self.drafts.push(Draft { field, plan, formula, when });
    }

    fn rule(&mut self, field: &'a FieldConfig, plan: &mut Plan) -> Option<Rule> {
        Some(match &field.transform {
            Transform::Direct => Rule::Direct,
            Transform::Compound => {
                let message = format!("field {:?} is of type compound, and the CRM field is none", field.host);
                let help =
                    if self.schema.is_none() { "a compound needs the CRM's schema to compile against" } else { "map its parts one by one" };
                self.problems.error(code::BAD_VALUE, field.span_of("field"), message, Some(help.to_owned()));
                return None;
            }
            // Resolved in `finish`.
            Transform::Computed { .. } => Rule::Direct,
            Transform::Constant { value } => {
                let encoded = self.constant(field, plan.slots.first(), value, "value");
                Rule::Constant(encoded)
            }
            Transform::Picklist(config) => {
                let target = plan.slots.first().and_then(|slot| self.targets.get(slot.target)).map(|target| target.name.clone());
                self.picklist_values(field, config, target.as_deref());
                let list = Picklist::new(config);
                for (theirs, ours) in &list.ambiguous {
                    let message = format!(
                        "{} host values stand for {theirs:?}; inbound it is read as {:?}",
                        ours.len(),
                        ours.first().map_or("", String::as_str)
                    );
                    let help = format!("name the one to read: preferred: {{ {theirs:?}: ... }}");
                    if field.direction != Direction::Out {
                        self.problems.warning(code::AMBIGUOUS_INVERSE, field.span_of("mapping"), message, Some(help));
                    }
                }
                Rule::Picklist(Arc::new(list))
            }
            Transform::Lookup { entity, by } => Rule::Lookup(entity.clone(), by.clone()),
            Transform::Join { from, separator, split } => {
                let mut paths = Vec::new();
                for name in from {
                    match Path::parse(name) {
                        Ok(path) => paths.push(path),
                        Err(message) => self.problems.error(code::BAD_VALUE, field.span_of("from"), format!("{name:?}: {message}"), None),
                    }
                }
                if split.is_some() && paths.len() != 2 {
                    let message = format!("`split` of field {:?} cuts in two, and `from` names {}", field.host, paths.len());
                    self.problems.error(code::BAD_VALUE, field.span_of("split"), message, None);
                }
                Rule::Join(paths, separator.clone(), *split)
            }
            Transform::Split { at, .. } => {
                if plan.slots.len() != 2 {
                    return None;
                }
                Rule::Split(*at)
            }
        })
    }

    fn nowhere(&self) -> Slot {
        Slot {
            target: usize::MAX,
            encoder: Encoder::default(),
            default: None,
            required: false,
            blank: Blank::default(),
            on_null: OnNull::default(),
        }
    }

    /// A field named in the mapping.
    fn explicit(&mut self, field: &FieldConfig, name: &str, key: &str, direction: Direction) -> Found<'a> {
        let Some(schema) = self.schema else { return Found::Field(name.to_owned(), None) };
        let by_label = || {
            // Pipedrive's custom fields are named by a key that is another one in each account: the label is what people know.
            let mut hits = schema.fields.iter().filter(|field| field.label.eq_ignore_ascii_case(name));
            hits.next().filter(|_| self.config.profile() == Profile::Pipedrive && hits.next().is_none())
        };
        let Some(found) = schema.field(name).or_else(by_label) else {
            let known = schema.fields.iter().map(|field| field.name.as_str());
            let by_label = schema.fields.iter().find(|field| field.label.eq_ignore_ascii_case(name)).map(|field| field.name.as_str());
            let help = match by_label {
                Some(hit) => Some(format!("that is the label; the name is {hit:?}")),
                None => did_you_mean(name, known),
            };
            let help = help.unwrap_or_else(|| "the field does not exist, or the user of the integration may not see it".to_owned());
            let message = format!("unknown field {name:?} on {}", self.place());
            self.problems.error(code::UNKNOWN_FIELD, field.span_of(key), message, Some(help));
            return Found::Nothing;
        };
        let compound = schema.fields.iter().any(|part| part.compound.as_deref() == Some(found.name.as_str()));
        let written = direction != Direction::In && !(compound && found.kind == FieldType::Address);
        if written && !found.creatable && !found.updatable {
            let message = format!("field {:?} of {} cannot be written: the CRM sets it itself", found.name, self.place());
            let help = "set `direction: in` to read it only, or map another field";
            self.problems.error(code::READ_ONLY, field.span_of(key), message, Some(help.to_owned()));
            return Found::Nothing;
        }
        Found::Field(found.name.clone(), Some(found))
    }

    /// Keys that mean nothing to this CRM.
    fn only_here(&mut self, field: &FieldConfig) {
        let profile = self.config.profile();
        for (key, set, crm, wanted) in
            [("append", field.append, "HubSpot", Profile::Hubspot), ("currency", field.currency.is_some(), "Pipedrive", Profile::Pipedrive)]
        {
            if set && profile != wanted {
                let message = format!("`{key}` of field {:?} works for {crm} only", field.host);
                self.problems.error(code::BAD_VALUE, field.span_of(key), message, Some("remove it".to_owned()));
            }
        }
    }

    /// The field that a picklist or formula without `field:` must mean.
    fn by_name(&mut self, field: &FieldConfig) -> Found<'a> {
        let computed = matches!(field.transform, Transform::Computed { .. });
        let wanted = squash(&field.host);
        let Some(schema) = self.schema else {
            let salesforce = self.config.crm.eq_ignore_ascii_case("salesforce");
            // Salesforce makes the full name itself, and no standard object has a field of that name.
            if salesforce && computed && matches!(wanted.as_str(), "fullname" | "name") {
                self.not_written(field);
                return Found::Nothing;
            }
            let mut chars = field.host.chars();
            let name = match chars.next() {
                Some(first) if salesforce => first.to_uppercase().chain(chars).collect(),
                _ => field.host.clone(),
            };
            return Found::Field(name, None);
        };
        let mut hits =
            schema.fields.iter().filter(|candidate| squash(&candidate.name) == wanted && (candidate.creatable || candidate.updatable));
        if let Some(hit) = hits.next() {
            return Found::Field(hit.name.clone(), Some(hit));
        }
        if computed {
            self.not_written(field);
            return Found::Nothing;
        }
        let near = nearest(&field.host, schema.fields.iter().map(|field| field.name.as_str()));
        let help = if near.is_empty() { String::new() } else { format!("; near names are {}", near.join(", ")) };
        let message = format!("field {:?} names no CRM field, and {} has none of that name", field.host, self.place());
        self.problems.error(code::NO_TARGET, &field.span, message, Some(format!("add `field: <name>`{help}")));
        Found::Nothing
    }

    fn not_written(&mut self, field: &FieldConfig) {
        let message = format!("computed field {:?} is not written: {} has no writable field of that name", field.host, self.place());
        let help = "name the field it goes to: `field: <name>`, or remove it";
        self.problems.warning(code::NOT_WRITTEN, &field.span, message, Some(help.to_owned()));
    }

    fn components(&self, name: &str, field: Option<&FieldSchema>) -> Vec<&'a FieldSchema> {
        match (self.schema, field) {
            (Some(schema), Some(field)) if field.kind == FieldType::Address => {
                schema.fields.iter().filter(|part| part.compound.as_deref() == Some(name) && (part.creatable || part.updatable)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn slot(&mut self, plan: &mut Plan, field: &FieldConfig, name: &str, schema: Option<&FieldSchema>, key: &str) {
        let known =
            self.targets.iter().find(|target| target.name == name && target.direction != Direction::In).map(|target| target.host.clone());
        if let Some(other) = known
            && field.direction != Direction::In
        {
            let message = format!("{:?} and {other:?} both write {name:?}", field.host);
            let help = "keep one of them, or give one `direction: in`";
            self.problems.error(code::TARGET_TWICE, field.span_of(key), message, Some(help.to_owned()));
            return;
        }
        let mut encoder = Encoder::new(self.config.profile(), name, schema);
        encoder.max = match (encoder.max, field.max) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        encoder.on_too_long = field.on_too_long;
        encoder.lenient = field.lenient;
        encoder.zone = field.zone.as_deref().and_then(parse_zone);
        encoder.currency.clone_from(&field.currency);
        encoder.append = field.append;
        if let Some(format) = &field.format {
            match Pattern::parse(format) {
                Ok(pattern) => encoder.pattern = Some(pattern),
                Err(message) => {
                    let message = format!("`format` of field {:?} is no format of dates: {message}", field.host);
                    let help = "for other values use a formula, for example TO_TEXT(x, '0.00')";
                    self.problems.error(code::BAD_VALUE, field.span_of("format"), message, Some(help.to_owned()));
                }
            }
        }
        self.only_here(field);
        // A name twice among the targets would leave a hole in the row; inbound-only fields share the entry.
        let target = match self.targets.iter().position(|target| target.name == name) {
            Some(at) => at,
            None => {
                self.targets.push(Target {
                    name: name.to_owned(),
                    kind: encoder.kind.clone(),
                    host: field.host.clone(),
                    direction: field.direction,
                    owner: field.owner,
                    creatable: schema.is_none_or(|schema| schema.creatable),
                    updatable: schema.is_none_or(|schema| schema.updatable),
                    nullable: schema.is_none_or(|schema| schema.nullable),
                });
                self.targets.len() - 1
            }
        };
        if field.direction != Direction::In
            && let Some(entry) = self.targets.get_mut(target)
            && entry.direction == Direction::In
        {
            entry.direction = field.direction;
            entry.host.clone_from(&field.host);
        }
        let mut slot = Slot {
            target,
            encoder,
            default: None,
            required: field.required || schema.is_some_and(|schema| schema.required),
            blank: field.blank,
            on_null: field.on_null,
        };
        if let Some(default) = &field.default {
            slot.default = Some(self.constant(field, Some(&slot), default, "default")).filter(|value| !value.is_null());
        }
        plan.slots.push(slot);
    }

    fn version(&self) -> String {
        let mut fields: Vec<FieldConfig> = self.config.fields.clone();
        for field in &mut fields {
            field.span = None;
            field.spans.clear();
            if let Transform::Picklist(list) = &mut field.transform {
                list.spans.clear();
            }
        }
        // The order of the file means nothing.
        fields.sort_by(|a, b| a.host.cmp(&b.host));
        let mut hash = sha2::Sha256::new();
        hash.update(format!("{}\0{}\0{fields:?}", self.config.crm, self.config.entity));
        for target in &self.targets {
            let schema = self.schema.and_then(|schema| schema.field(&target.name));
            hash.update(serde_json::to_vec(&schema).unwrap_or_default());
        }
        let digest = hash.finalize();
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}
