//! What the CRM's description of the entity says against a mapping: values, required fields, constants.

use serde_json::Value;

use crate::document::source::Span;
use crate::document::suggest::did_you_mean;
use crate::mapping::code;
use crate::mapping::compile::Compiler;
use crate::mapping::encode::Profile;
use crate::mapping::field::{Direction, FieldConfig, OnTooLong, PicklistConfig, Transform, Unmapped};
use crate::mapping::picklist;
use crate::mapping::plan::{Dependent, Slot};
use crate::model::PicklistValue;

impl Compiler<'_> {
    pub(super) fn picklist_values(&mut self, field: &FieldConfig, config: &PicklistConfig, target: Option<&str>) {
        let Some(list) = target.and_then(|name| self.schema?.field(name)).and_then(|field| field.picklist.as_ref()) else { return };
        let mut wanted: Vec<(&Value, &Span)> =
            config.mapping.iter().map(|(_, value)| value).zip(config.spans.iter().chain(std::iter::repeat(&None))).collect();
        if let Unmapped::Default(value) = &config.unmapped {
            wanted.push((value, field.span_of("unmapped")));
        }
        let restricted = list.restricted;
        let mut found = Vec::new();
        for (value, span) in wanted {
            let Some(text) = picklist::key(value) else { continue };
            let labels = self.config.profile() == Profile::Pipedrive;
            let is_it = |known: &PicklistValue| known.active && (known.value == text || (labels && known.label == text));
            if text.is_empty() || list.values.iter().any(is_it) {
                continue;
            }
            let span = if span.is_none() { field.span_of("mapping") } else { span };
            let known = list.values.iter().filter(|known| known.active).map(|known| known.value.as_str());
            let help = if let Some(hit) = list.values.iter().find(|known| known.label == text && known.value != text) {
                Some(format!("that is the label; the value is {:?}", hit.value))
            } else if list.values.iter().any(|known| !known.active && known.value == text) {
                Some("the value exists and is not active".to_owned())
            } else {
                did_you_mean(&text, known.clone()).or_else(|| {
                    let some: Vec<&str> = known.take(8).collect();
                    Some(format!("its values: {}", some.join(", ")))
                })
            };
            found.push((text, span.clone(), help));
        }
        let target = target.unwrap_or_default();
        for (text, span, help) in found {
            if restricted {
                self.problems.error(
                    code::PICKLIST_VALUE,
                    &span,
                    format!("{text:?} is not a value of the restricted picklist {target:?}"),
                    help,
                );
            } else {
                self.problems.warning(
                    code::PICKLIST_NEW_VALUE,
                    &span,
                    format!("{text:?} is not a value of the picklist {target:?} yet"),
                    help,
                );
            }
        }
        if restricted && config.unmapped == Unmapped::Pass {
            let message =
                format!("`unmapped: pass` on the restricted picklist {target:?}: the CRM refuses the whole record for an unknown value");
            self.problems.warning(code::PICKLIST_NEW_VALUE, field.span_of("unmapped"), message, None);
        }
    }

    /// Encodes a value of the mapping file once. Its texts are read leniently: YAML has no other dates, for example.
    pub(super) fn constant(&mut self, field: &FieldConfig, slot: Option<&Slot>, value: &Value, key: &str) -> Value {
        let Some(slot) = slot else { return value.clone() };
        if value.is_null() {
            return Value::Null;
        }
        let mut encoder = slot.encoder.clone();
        encoder.lenient = true;
        // `format:` is about the values of records; the file writes dates as every file does.
        encoder.pattern = None;
        encoder.on_too_long = OnTooLong::Error;
        match encoder.encode(value) {
            Ok((value, _)) => value,
            Err(refused) => {
                let message = format!("the `{key}` of field {:?} does not fit: {}", field.host, refused.reason);
                self.problems.error(code::BAD_CONSTANT, field.span_of(key), message, None);
                Value::Null
            }
        }
    }

    pub(super) fn required(&mut self) {
        let Some(schema) = self.schema else { return };
        for field in schema.required_on_create() {
            if field.creatable && !self.targets.iter().any(|target| target.name == field.name && target.direction != Direction::In) {
                let message = format!("{} requires {:?}, and nothing fills it", self.place(), field.name);
                let help = "map it, or give it a constant; a create without it fails";
                self.problems.warning(code::REQUIRED_NOT_MAPPED, &None, message, Some(help.to_owned()));
            }
        }
    }

    /// The dependent picklists whose controlling field is written as well. Tables that can never give a pair the CRM takes are
    /// reported here, single records when they are mapped.
    pub(super) fn dependent(&mut self) -> Vec<Dependent> {
        let Some(schema) = self.schema else { return Vec::new() };
        let written = |name: &str| self.targets.iter().position(|target| target.name == name && target.direction != Direction::In);
        let mut found = Vec::new();
        for (target, entry) in self.targets.iter().enumerate().filter(|(_, entry)| entry.direction != Direction::In) {
            let Some(field) = schema.field(&entry.name) else { continue };
            let (Some(list), Some(controller)) = (&field.picklist, field.controller.as_deref().and_then(written)) else { continue };
            let valid_for = list.values.iter().map(|value| (value.value.clone(), value.valid_for.clone())).collect();
            found.push(Dependent { target, controller, valid_for });
        }
        let constants = |target: usize| {
            let name = self.targets.get(target).map(|target| target.name.as_str());
            self.config.fields.iter().find(|field| field.field.as_deref() == name).and_then(|field| match &field.transform {
                Transform::Constant { value } => Some((field, vec![value.clone()])),
                Transform::Picklist(config) if matches!(config.unmapped, Unmapped::Error | Unmapped::Drop | Unmapped::Null) => {
                    Some((field, config.mapping.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()))
                }
                _ => None,
            })
        };
        let mut problems = Vec::new();
        for Dependent { target, controller, valid_for } in &found {
            let (Some((field, values)), Some((_, controlling))) = (constants(*target), constants(*controller)) else { continue };
            let controlling: Vec<String> = controlling.iter().filter_map(picklist::key).collect();
            for value in values.iter().filter_map(picklist::key) {
                let goes_with = valid_for.iter().find(|(known, _)| *known == value).map(|(_, with)| with);
                if goes_with.is_some_and(|with| !with.iter().any(|one| controlling.contains(one))) {
                    let name = |at: usize| self.targets.get(at).map_or("", |target| target.name.as_str());
                    let message = format!(
                        "{value:?} of {:?} goes with no value that this mapping gives the controlling field {:?}",
                        name(*target),
                        name(*controller)
                    );
                    problems.push((field.span_of("mapping").clone(), message, goes_with.map(|with| with.join(", "))));
                }
            }
        }
        for (span, message, with) in problems {
            let help = with.filter(|with| !with.is_empty()).map(|with| format!("it goes with: {with}"));
            self.problems.warning(code::DEPENDENT_VALUE, &span, message, help);
        }
        found
    }
}
