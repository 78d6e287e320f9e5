//! Host to CRM.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::document::suggest::squash;
use crate::mapping::cell::Cell;
use crate::mapping::encode::{Note, Refused};
use crate::mapping::field::{Blank, Direction, OnError, OnNull, SplitAt};
use crate::mapping::formula::{Env, FormulaError, Input, Val};
use crate::mapping::path::{Path, Source};
use crate::mapping::picklist;
use crate::mapping::plan::{Dependent, Mapping, NameSource, Plan, Program, Rule, Slot, Target};
use crate::mapping::record::{Lookup, Mapped, MappingError, Mode, Problem};
use crate::model::Fields;

/// A record on its way out.
pub(crate) struct Sending<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) mode: Mode,
    pub(crate) now: Option<Timestamp>,
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) problems: Vec<Problem>,
    /// True if a problem is of a field that does not say `on_error: skip_record`.
    pub(crate) fatal: bool,
    /// Values that are JSON already, when a record is mapped from text to text.
    pub(crate) cells: Vec<Cell<'a>>,
    /// JSON made on the way.
    pub(crate) scratch: Vec<u8>,
}

impl Program {
    /// The values of the names; `None` if there are names and all of them are absent.
    pub(crate) fn inputs<'a>(&'a self, record: &'a impl Source, made: impl Fn(usize) -> Input<'a>) -> Option<Vec<Input<'a>>> {
        let values: Vec<_> = self
            .sources
            .iter()
            .map(|source| match source {
                NameSource::Record(path) => Input::from(record.value(path)),
                NameSource::Target(at) => made(*at),
            })
            .collect();
        (values.is_empty() || values.iter().any(|value| !matches!(value, Input::Absent))).then_some(values)
    }

    pub(crate) fn nothing<'a>(&self) -> Vec<Input<'a>> {
        vec![Input::Absent; self.sources.len()]
    }

    pub(crate) fn env<'a>(&'a self, inputs: &'a [Input<'a>], now: Option<Timestamp>, inbound: bool) -> Env<'a> {
        Env { inputs, tables: &self.tables, now, inbound }
    }
}

pub(crate) fn formula_code(error: &FormulaError) -> &'static str {
    use crate::mapping::formula::FormulaErrorKind;
    match error.kind() {
        FormulaErrorKind::Limit => "formula_limit",
        FormulaErrorKind::Type => "formula_type",
        _ => "formula_domain",
    }
}

pub(crate) fn is_blank(value: &Value) -> bool {
    // Most texts begin with a letter or a digit, and are not looked at further.
    value.as_str().is_some_and(|text| !text.as_bytes().first().is_some_and(u8::is_ascii_graphic) && text.trim().is_empty())
}

/// A name in two at its first or last blank; one word is the second part (a last name).
pub(crate) fn split_text(text: &str, at: SplitAt) -> (Option<&str>, &str) {
    let text = text.trim();
    let cut = match at {
        SplitAt::FirstBlank => text.find(char::is_whitespace),
        SplitAt::LastBlank => text.rfind(char::is_whitespace),
    };
    match cut.map(|cut| text.split_at(cut)) {
        Some((first, second)) => (Some(first.trim()), second.trim()),
        None => (None, text),
    }
}

impl Mapping {
    pub(crate) fn send(&self, source: &Fields, mode: Mode, now: Option<Timestamp>) -> Result<Mapped, MappingError> {
        let mut sending = Sending::new(self, mode, now);
        for plan in &self.plans {
            if plan.direction != Direction::In {
                sending.plan(plan, source);
            }
        }
        sending.sent()
    }

    /// As [`Mapping::send`]. A value that nothing else reads moves over, and is not copied.
    pub(crate) fn send_whole(&self, mut source: Fields, mode: Mode, now: Option<Timestamp>) -> Result<Mapped, MappingError> {
        let mut sending = Sending::new(self, mode, now);
        for plan in &self.plans {
            if plan.direction == Direction::In {
                continue;
            }
            match (plan.slots.first(), plan.straight) {
                (Some(slot), Some(target)) => match plan.path.take(&mut source) {
                    Some(value) if !value.is_null() && !is_blank(&value) => sending.set(target, value),
                    value => sending.fill(plan, slot, value.map(Cow::Owned)),
                },
                (Some(slot), None) if plan.moves => {
                    if plan.when.as_ref().is_none_or(|when| sending.holds(plan, when, &source)) {
                        let value = plan.path.take(&mut source);
                        sending.fill(plan, slot, value.map(Cow::Owned));
                    }
                }
                _ => sending.plan(plan, &source),
            }
        }
        sending.sent()
    }
}

/// Marks the plans whose value no later one reads.
pub(crate) fn mark_moves(plans: &mut [Plan], targets: &[Target]) {
    let mut read: HashSet<String> = HashSet::new();
    for plan in plans.iter_mut().rev().filter(|plan| plan.direction != Direction::In) {
        let simple = matches!(plan.rule, Rule::Direct) && plan.path.is_plain() && plan.slots.len() == 1;
        plan.moves = simple && !read.contains(&plan.path.root);
        let slot = plan.slots.first().filter(|slot| plan.moves && plan.when.is_none() && slot.encoder.is_copy());
        let any_write = |target: &Target| target.creatable && target.updatable;
        plan.straight = slot.map(|slot| slot.target).filter(|target| targets.get(*target).is_none_or(any_write));
        let programs = plan.when.iter().chain(match &plan.rule {
            Rule::Computed(program) => Some(&**program),
            _ => None,
        });
        let named = programs.flat_map(|program| &program.sources).filter_map(|source| match source {
            NameSource::Record(path) => Some(path),
            NameSource::Target(_) => None,
        });
        let joined: &[Path] = if let Rule::Join(paths, ..) = &plan.rule { paths } else { &[] };
        for path in named.chain(joined).chain([&plan.path]) {
            read.insert(path.root.clone());
            read.extend(path.whole().map(ToOwned::to_owned));
        }
    }
}

impl Sending<'_> {
    fn sent(mut self) -> Result<Mapped, MappingError> {
        self.dependent();
        if !self.problems.is_empty() {
            return Err(MappingError::new(self.problems, !self.fatal));
        }
        let fields = Fields::from_values(Arc::clone(&self.mapping.shape), self.values);
        Ok(Mapped { fields, lookups: self.lookups, warnings: self.warnings })
    }
}

impl<'a> Sending<'a> {
    pub(crate) fn new(mapping: &'a Mapping, mode: Mode, now: Option<Timestamp>) -> Self {
        let mut values = Vec::with_capacity(mapping.targets.len());
        values.resize_with(mapping.targets.len(), || None);
        Self {
            mapping,
            mode,
            now,
            values,
            lookups: Vec::new(),
            warnings: Vec::new(),
            problems: Vec::new(),
            fatal: false,
            cells: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn plan(&mut self, plan: &Plan, source: &impl Source) {
        if let Some(when) = &plan.when
            && !self.holds(plan, when, source)
        {
            return;
        }
        self.make(plan, source);
    }

    /// Refuses pairs of values that a dependent picklist does not allow.
    pub(crate) fn dependent(&mut self) {
        for Dependent { target, controller, valid_for } in &self.mapping.dependent {
            let value = |at: usize| self.values.get(at).and_then(Option::as_ref).and_then(picklist::key);
            let (Some(value), Some(controlling)) = (value(*target), value(*controller)) else { continue };
            let Some((_, goes_with)) = valid_for.iter().find(|(known, _)| *known == value) else { continue };
            if goes_with.contains(&controlling) {
                continue;
            }
            let name = |at: usize| self.mapping.targets.get(at).map_or_else(String::new, |target| target.name.clone());
            let host = self.mapping.targets.get(*target).map_or_else(String::new, |target| target.host.clone());
            let reason = format!("the value does not go with the value of {}, which controls this list", name(*controller));
            self.fatal = true;
            self.problems.push(Problem { host, field: name(*target), code: "picklist_value", reason });
        }
    }

    /// Makes the values of a plan whose `when` holds.
    pub(crate) fn make(&mut self, plan: &Plan, source: &impl Source) {
        let Some(first) = plan.slots.first() else { return };
        match &plan.rule {
            Rule::Direct => self.fill(plan, first, source.value(&plan.path)),
            Rule::Constant(value) => self.put(first, Some(value.clone())),
            Rule::Picklist(list) => {
                let value = source.value(&plan.path);
                match value {
                    Some(value) if !is_blank(&value) => match list.out(&value) {
                        picklist::Entry::Is(mapped) => self.fill(plan, first, Some(Cow::Owned(mapped))),
                        picklist::Entry::Drop => self.warn(plan, first, "dropped", "the value is not in the table and was left out"),
                        picklist::Entry::Unmapped => {
                            let reason = "the value is not in the picklist's `mapping`; add it, or set `unmapped:`";
                            self.fail(plan, first, "picklist_unmapped", reason.to_owned());
                        }
                    },
                    other => self.fill(plan, first, other),
                }
            }
            Rule::Computed(program) => {
                let result = {
                    let Some(inputs) = self.inputs(program, source) else { return };
                    program.formula.run(&program.env(&inputs, self.now, false)).map(Val::into_value)
                };
                self.computed(plan, first, result);
            }
            Rule::Join(paths, separator, _) => {
                let joined = join(paths, separator, source);
                self.fill(plan, first, joined.map(Cow::Owned));
            }
            Rule::Split(at) => {
                let value = source.value(&plan.path);
                let (a, b) = match value.as_deref() {
                    None => (None, None),
                    Some(Value::String(text)) if !text.trim().is_empty() => {
                        let (a, b) = split_text(text, *at);
                        (Some(a.map_or(Value::Null, Value::from)), Some(Value::from(b)))
                    }
                    Some(_) => (Some(Value::Null), Some(Value::Null)),
                };
                for (slot, part) in plan.slots.iter().zip([a, b]) {
                    self.fill(plan, slot, part.map(Cow::Owned));
                }
            }
            Rule::Compound(_, keys) => {
                let Some(value) = source.value(&plan.path) else { return };
                for (slot, key) in plan.slots.iter().zip(keys) {
                    let part = match value.as_ref() {
                        Value::Object(map) => map.iter().find(|(name, _)| squash(name) == squash(key)).map(|(_, part)| part.clone()),
                        _ => Some(Value::Null),
                    };
                    self.fill(plan, slot, part.map(Cow::Owned));
                }
                if !value.is_object() && !value.is_null() {
                    self.fail(plan, first, "wrong_type", "an address must be an object of its parts".to_owned());
                }
            }
            Rule::Lookup(entity, by) => match source.value(&plan.path) {
                Some(value) if !value.is_null() && !is_blank(&value) => {
                    let field = self.name(first).to_owned();
                    let lookup =
                        Lookup { host: plan.host.clone(), field, entity: entity.clone(), by: by.clone(), value: value.into_owned() };
                    self.lookups.push(lookup);
                }
                other => self.fill(plan, first, other),
            },
        }
    }

    /// What the formula reads; `None` if the field is to be left alone.
    pub(crate) fn inputs<'b>(&'b self, program: &'b Program, source: &'b impl Source) -> Option<Vec<Input<'b>>> {
        match program.inputs(source, |at| self.made(at)) {
            Some(inputs) => Some(inputs),
            // A create writes what the formula makes of nothing; an update leaves alone what it was told nothing about.
            None => (self.mode == Mode::Create).then(|| program.nothing()),
        }
    }

    /// A CRM field that was made before.
    fn made(&self, at: usize) -> Input<'_> {
        match self.cells.get(at) {
            None | Some(Cell::Empty) => {}
            Some(Cell::Text(text)) => return Input::Text(text),
            Some(cell) => return Input::from(cell.to_value(&self.scratch).map(Cow::Owned)),
        }
        Input::from(self.values.get(at).and_then(Option::as_ref).map(Cow::Borrowed))
    }

    pub(crate) fn computed(&mut self, plan: &Plan, slot: &Slot, result: Result<Value, FormulaError>) {
        match result {
            Ok(value) => self.fill(plan, slot, Some(Cow::Owned(value))),
            Err(error) => match plan.on_error {
                OnError::Null => self.fill(plan, slot, Some(Cow::Owned(Value::Null))),
                OnError::Default if slot.default.is_some() => self.put(slot, slot.default.clone()),
                _ => self.fail(plan, slot, formula_code(&error), format!("the formula failed: {error}")),
            },
        }
    }

    pub(crate) fn holds(&mut self, plan: &Plan, when: &Program, source: &impl Source) -> bool {
        let result = {
            let inputs = when.inputs(source, |at| self.made(at)).unwrap_or_else(|| when.nothing());
            when.formula.holds(&when.env(&inputs, self.now, false))
        };
        match result {
            Ok(holds) => holds,
            Err(error) => {
                if let Some(slot) = plan.slots.first() {
                    self.fail(plan, slot, formula_code(&error), format!("`when` failed: {error}"));
                }
                false
            }
        }
    }

    /// Applies the rules for absent, null and blank, and encodes.
    pub(crate) fn fill(&mut self, plan: &Plan, slot: &Slot, value: Option<Cow<'_, Value>>) {
        let value = match value {
            Some(value) if is_blank(&value) => match slot.blank {
                Blank::Keep => {
                    self.put(slot, Some(value.into_owned()));
                    return;
                }
                Blank::Clear => Some(Cow::Owned(Value::Null)),
                Blank::Skip => None,
            },
            other => other,
        };
        let value = match value {
            Some(value) if value.is_null() && slot.on_null == OnNull::Skip => None,
            other => other,
        };
        match value {
            None => self.absent(plan, slot),
            Some(value) if value.is_null() => self.clear(plan, slot),
            Some(value) if slot.encoder.is_copy() => self.write(plan, slot, value.into_owned(), None),
            Some(value) => match slot.encoder.encode(&value) {
                Ok((Value::Null, _)) => self.clear(plan, slot),
                Ok((value, note)) => self.write(plan, slot, value, note),
                Err(Refused { code, reason }) => self.fail(plan, slot, code, reason),
            },
        }
    }

    fn absent(&mut self, plan: &Plan, slot: &Slot) {
        if self.mode != Mode::Create {
            return;
        }
        if slot.default.is_some() {
            self.put(slot, slot.default.clone());
        } else if slot.required {
            let reason = "a create needs a value, and the record has none; add it or set `default:`";
            self.fail(plan, slot, "required", reason.to_owned());
        }
    }

    fn clear(&mut self, plan: &Plan, slot: &Slot) {
        if self.mode == Mode::Create {
            self.absent(plan, slot);
            return;
        }
        let nullable = self.mapping.targets.get(slot.target).is_none_or(|target| target.nullable) && !slot.required;
        if nullable {
            self.put(slot, Some(slot.encoder.cleared()));
        } else if slot.default.is_some() {
            self.put(slot, slot.default.clone());
        } else {
            self.fail(plan, slot, "not_nullable", "the field cannot be emptied; set `default:`, or `on_null: skip`".to_owned());
        }
    }

    fn write(&mut self, plan: &Plan, slot: &Slot, value: Value, note: Option<Note>) {
        if !self.writable(slot) {
            self.warn(plan, slot, "not_writable", "the CRM does not let this field be set by this kind of write; it was left out");
            return;
        }
        if let Some(Note { code, reason }) = note {
            self.warn(plan, slot, code, reason);
        }
        self.set(slot.target, value);
    }

    fn set(&mut self, target: usize, value: Value) {
        if let Some(place) = self.values.get_mut(target) {
            *place = Some(value);
        }
    }

    fn writable(&self, slot: &Slot) -> bool {
        self.mapping.targets.get(slot.target).is_none_or(|target| match self.mode {
            Mode::Create => target.creatable,
            Mode::Update => target.updatable,
        })
    }

    fn put(&mut self, slot: &Slot, value: Option<Value>) {
        let writable = self.writable(slot);
        if let Some(place) = self.values.get_mut(slot.target)
            && writable
        {
            *place = value;
        }
    }

    fn name(&self, slot: &Slot) -> &str {
        self.mapping.targets.get(slot.target).map_or("", |target| &target.name)
    }

    fn warn(&mut self, plan: &Plan, slot: &Slot, code: &'static str, reason: &str) {
        let field = self.name(slot).to_owned();
        self.warnings.push(Problem { host: plan.host.clone(), field, code, reason: reason.to_owned() });
    }

    fn fail(&mut self, plan: &Plan, slot: &Slot, code: &'static str, reason: String) {
        let field = self.name(slot).to_owned();
        self.fatal |= plan.on_error != OnError::SkipRecord;
        self.problems.push(Problem { host: plan.host.clone(), field, code, reason });
    }
}

/// The parts that are not blank; absent if all are absent, null if all are blank.
fn join(paths: &[Path], separator: &str, source: &impl Source) -> Option<Value> {
    let parts: Vec<_> = paths.iter().map(|path| source.value(path)).collect();
    if parts.iter().all(Option::is_none) {
        return None;
    }
    let texts: Vec<String> = parts.iter().flatten().filter(|part| !is_blank(part)).filter_map(|part| picklist::key(part)).collect();
    Some(if texts.is_empty() { Value::Null } else { Value::String(texts.join(separator)) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::config::MappingSet;

    #[test]
    fn a_record_given_away_becomes_what_a_lent_one_does() {
        let text = json!({"crm": {"Lead": {
            "email": "Email",
            "company": "Company",
            "name": {"field": "Name", "when": "company = 'x'"},
            "shout": {"field": "Shout__c", "formula": "UPPER(company)"},
            "both": {"type": "join", "from": ["email", "name"], "separator": " ", "field": "Both__c"},
            "utm.source": "Source__c",
            "utm": "Utm__c",
            "missing": {"field": "Missing__c", "default": "none"},
        }}});
        let set = MappingSet::from_json(&text.to_string(), "m.json").unwrap_or_else(|problems| panic!("{problems}"));
        let mapping = Mapping::compile(set.iter().next().unwrap(), None).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(mapping.plans.iter().any(|plan| plan.moves) && mapping.plans.iter().any(|plan| !plan.moves));
        for record in [
            json!({"email": "a@b.c", "company": "x", "name": "n", "utm": {"source": "s"}, "utm.source": "t"}),
            json!({"email": " ", "company": null, "name": "n", "utm": {"source": null}}),
            json!({"company": ["x"], "utm": 7}),
            json!({}),
        ] {
            let record = Fields::from_value(record).unwrap();
            for mode in [Mode::Create, Mode::Update] {
                let lent = mapping.outbound(&record, mode);
                assert_eq!(format!("{:?}", mapping.outbound_from(record.clone(), mode)), format!("{lent:?}"));
                let values = |mapped: Result<Mapped, _>| mapped.map(|mapped| mapped.fields.to_value()).ok();
                assert_eq!(values(mapping.outbound_from(record.clone(), mode)), values(lent));
            }
        }
    }
}
