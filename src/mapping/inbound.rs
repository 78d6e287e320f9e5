//! CRM to host.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::mapping::field::{Direction, OnError};
use crate::mapping::formula::{Input, Val};
use crate::mapping::outbound::{formula_code, split_text};
use crate::mapping::path::Path;
use crate::mapping::picklist;
use crate::mapping::plan::{Mapping, Plan, Rule, Slot, Target};
use crate::mapping::record::{Mapped, MappingError, Problem};
use crate::model::{Fields, same};

/// A record on its way in.
struct Receiving<'a> {
    mapping: &'a Mapping,
    remote: &'a Fields,
    now: Option<Timestamp>,
    fields: Fields,
    warnings: Vec<Problem>,
    problems: Vec<Problem>,
    /// True if a problem is of a field that does not say `on_error: skip_record`.
    fatal: bool,
}

impl Mapping {
    pub(crate) fn receive(&self, remote: &Fields, now: Option<Timestamp>) -> Result<Mapped, MappingError> {
        let fields = Fields::with_shape(Arc::clone(&self.inbound_shape));
        let mut receiving = Receiving { mapping: self, remote, now, fields, warnings: Vec::new(), problems: Vec::new(), fatal: false };
        for plan in &self.plans {
            if plan.direction != Direction::Out {
                receiving.plan(plan);
            }
        }
        if !receiving.problems.is_empty() {
            return Err(MappingError::new(receiving.problems, !receiving.fatal));
        }
        Ok(Mapped { fields: receiving.fields, lookups: Vec::new(), warnings: receiving.warnings })
    }
}

impl<'a> Receiving<'a> {
    fn target(&self, slot: &Slot) -> Option<&'a Target> {
        self.mapping.targets.get(slot.target)
    }

    fn value(&self, slot: &Slot) -> Option<&'a Value> {
        self.remote.get(&self.target(slot)?.name)
    }

    fn decoded(&mut self, plan: &Plan, slot: &Slot) -> Option<Value> {
        let value = self.value(slot)?;
        if slot.encoder.is_copy() {
            return Some(value.clone());
        }
        let (value, note) = slot.encoder.decode(value);
        if let Some(note) = note {
            let problem = self.problem(plan, slot, note.code, note.reason.to_owned());
            self.warnings.push(problem);
        }
        Some(value)
    }

    /// True if the value is what a create puts there when the host has nothing to say.
    fn is_default(&self, slot: &Slot, value: &Value) -> bool {
        let kind = self.target(slot).map(|target| target.kind.clone()).unwrap_or_default();
        slot.default.as_ref().is_some_and(|default| same(default, value, &kind))
    }

    fn problem(&self, plan: &Plan, slot: &Slot, code: &'static str, reason: String) -> Problem {
        let field = self.target(slot).map_or_else(String::new, |target| target.name.clone());
        Problem { host: plan.host.clone(), field, code, reason }
    }

    fn plan(&mut self, plan: &Plan) {
        let Some(first) = plan.slots.first() else { return };
        match &plan.rule {
            Rule::Direct => {
                if self.value(first).is_some_and(|value| self.is_default(first, value)) {
                    return;
                }
                if let Some(value) = self.decoded(plan, first) {
                    self.put(&plan.path, value);
                }
            }
            Rule::Picklist(list) => {
                let Some(value) = self.decoded(plan, first) else { return };
                if self.is_default(first, &value) && list.back(&value) == picklist::Entry::Unmapped {
                    return;
                }
                match list.back(&value) {
                    picklist::Entry::Is(value) => self.put(&plan.path, value),
                    picklist::Entry::Drop => {
                        let problem = self.problem(plan, first, "dropped", "the value is not in the table and was left out".to_owned());
                        self.warnings.push(problem);
                    }
                    picklist::Entry::Unmapped => {
                        let reason =
                            "no host value stands for the CRM's in the picklist's `mapping`; add it, or set `unmapped: { in: ... }`";
                        let problem = self.problem(plan, first, "picklist_unmapped", reason.to_owned());
                        self.fail(plan, problem);
                    }
                }
            }
            Rule::Split(_) => {
                let parts: Vec<&Value> = plan.slots.iter().filter_map(|slot| self.value(slot)).collect();
                // Half a name is not a name: both parts must have been asked for.
                if parts.len() == plan.slots.len() {
                    let texts: Vec<&str> = parts.iter().filter_map(|part| part.as_str()).filter(|text| !text.trim().is_empty()).collect();
                    let value = if texts.is_empty() { Value::Null } else { Value::String(texts.join(" ")) };
                    self.put(&plan.path, value);
                }
            }
            Rule::Join(paths, _, Some(at)) => {
                let Some(value) = self.value(first) else { return };
                let [a, b] = paths.as_slice() else { return };
                let (first, second) = match value.as_str() {
                    Some(text) if !text.trim().is_empty() => {
                        let (first, second) = split_text(text, *at);
                        (first.map_or(Value::Null, Value::from), Value::from(second))
                    }
                    _ => (Value::Null, Value::Null),
                };
                self.put(a, first);
                self.put(b, second);
            }
            Rule::Compound(compound, keys) => {
                let value = match self.remote.get(compound) {
                    Some(value) => Some(value.clone()),
                    None => {
                        let parts: serde_json::Map<String, Value> =
                            plan.slots.iter().zip(keys).filter_map(|(slot, key)| Some((key.clone(), self.value(slot)?.clone()))).collect();
                        (!parts.is_empty()).then_some(Value::Object(parts))
                    }
                };
                if let Some(value) = value {
                    self.put(&plan.path, value);
                }
            }
            Rule::Computed(program) if plan.direction == Direction::In => {
                let Some(inputs) = program.inputs(self.remote, |_| Input::Absent) else { return };
                match program.formula.run(&program.env(&inputs, self.now, true)).map(Val::into_value) {
                    Ok(value) => self.put(&plan.path, value),
                    Err(_) if plan.on_error == OnError::Null => self.put(&plan.path, Value::Null),
                    Err(error) => {
                        let problem = Problem {
                            host: plan.host.clone(),
                            field: String::new(),
                            code: formula_code(&error),
                            reason: format!("the formula failed: {error}"),
                        };
                        self.fail(plan, problem);
                    }
                }
            }
            Rule::Computed(program) => {
                let Some((inverse, path)) = &program.inverse else { return };
                if self.value(first).is_some_and(|value| self.is_default(first, value)) {
                    return;
                }
                if let Some(value) = self.decoded(plan, first).and_then(|value| inverse.run(&value, &program.tables)) {
                    self.put(path, value);
                }
            }
            Rule::Constant(_) | Rule::Join(_, _, None) | Rule::Lookup(..) => {}
        }
    }

    fn fail(&mut self, plan: &Plan, problem: Problem) {
        self.fatal |= plan.on_error != OnError::SkipRecord;
        self.problems.push(problem);
    }

    fn put(&mut self, path: &Path, value: Value) {
        if path.is_writable() {
            path.set(&mut self.fields, value);
        }
    }
}

/// The key of a component in the host's object: `MailingPostalCode` of `MailingAddress` is `postalCode`.
pub(crate) fn component_key(component: &str, compound: &str) -> String {
    let prefix = compound.strip_suffix("Address").unwrap_or(compound);
    let rest = component.strip_prefix(prefix).filter(|rest| !rest.is_empty()).unwrap_or(component);
    let mut chars = rest.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
