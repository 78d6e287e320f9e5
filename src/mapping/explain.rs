//! How each value came to be: for the person who asks why a field is empty.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::mapping::field::Direction;
use crate::mapping::outbound::{Sending, is_blank};
use crate::mapping::plan::{Mapping, NameSource, Plan, Rule};
use crate::mapping::record::{Mode, Problem};
use crate::model::Fields;

/// The story of one CRM field.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// The host field.
    pub host: String,
    /// The CRM field.
    pub field: String,
    /// What was done, in order: `firstName is a text`, `CONCAT(...) over FirstName, LastName`, `written`.
    pub steps: Vec<String>,
    /// What is written; `None` if the field is left out.
    pub value: Option<Value>,
    /// What went wrong or was changed.
    pub problems: Vec<Problem>,
}

/// Without the value.
impl fmt::Debug for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Explained");
        out.field("host", &self.host).field("field", &self.field).field("steps", &self.steps).field("problems", &self.problems);
        out.finish_non_exhaustive()
    }
}

impl Mapping {
    /// Maps a record for a create and tells how each value came to be. Never fails: problems are part of the story.
    pub fn explain(&self, source: &Fields) -> Vec<Explained> {
        self.tell(source, Mode::Create, None)
    }

    /// [`explain`](Self::explain) for either kind of write, with the time that formulas see.
    pub fn explain_at(&self, source: &Fields, mode: Mode, now: Timestamp) -> Vec<Explained> {
        self.tell(source, mode, Some(now))
    }

    fn tell(&self, source: &Fields, mode: Mode, now: Option<Timestamp>) -> Vec<Explained> {
        let mut sending = Sending::new(self, mode, now);
        let mut told = Vec::new();
        for plan in self.plans.iter().filter(|plan| plan.direction != Direction::In) {
            let (problems, warnings, lookups) = (sending.problems.len(), sending.warnings.len(), sending.lookups.len());
            let held = plan.when.as_ref().is_none_or(|when| sending.holds(plan, when, source));
            if held {
                sending.make(plan, source);
            }
            for slot in &plan.slots {
                let Some(target) = self.targets.get(slot.target) else { continue };
                let mut steps = vec![state(plan, source)];
                steps.extend(self.rule(plan));
                if !held {
                    steps.push("`when` does not hold: left out".to_owned());
                }
                let value = sending.values.get(slot.target).cloned().flatten();
                let found = sending.problems.iter().skip(problems).chain(sending.warnings.iter().skip(warnings));
                let found: Vec<Problem> = found.filter(|problem| problem.field == target.name).cloned().collect();
                let is_default = value.is_some() && value == slot.default;
                steps.push(match &value {
                    _ if sending.lookups.len() > lookups => "the id is looked up by the pipeline".to_owned(),
                    _ if found.iter().any(|problem| sending.problems.contains(problem)) => "refused".to_owned(),
                    None => "left out".to_owned(),
                    Some(Value::Null) => "emptied".to_owned(),
                    Some(cleared) if *cleared == slot.encoder.cleared() => "emptied".to_owned(),
                    Some(_) if is_default => "the default is written".to_owned(),
                    Some(_) => format!("written as {}", name_of(&target.kind)),
                });
                told.push(Explained { host: plan.host.clone(), field: target.name.clone(), steps, value, problems: found });
            }
        }
        told
    }

    fn rule(&self, plan: &Plan) -> Option<String> {
        match &plan.rule {
            Rule::Direct => None,
            Rule::Constant(_) => Some("a constant".to_owned()),
            Rule::Picklist(_) => Some("translated by the picklist's table".to_owned()),
            Rule::Join(..) => Some("joined".to_owned()),
            Rule::Split(_) => Some("cut in two".to_owned()),
            Rule::Compound(..) => Some("a part of the object".to_owned()),
            Rule::Lookup(..) => Some("names another record".to_owned()),
            Rule::Computed(program) => {
                let names: Vec<String> = program
                    .formula
                    .names()
                    .iter()
                    .zip(&program.sources)
                    .map(|(name, source)| match source {
                        NameSource::Record(_) => name.text.clone(),
                        NameSource::Target(_) => format!("{} (already mapped)", name.text),
                    })
                    .collect();
                let over = if names.is_empty() { String::new() } else { format!(" over {}", names.join(", ")) };
                Some(format!("{}{over}", program.formula.text()))
            }
        }
    }
}

fn state(plan: &Plan, source: &Fields) -> String {
    let what = match plan.path.get(source).as_deref() {
        None => "absent",
        Some(Value::Null) => "null",
        Some(value) if is_blank(value) => "blank",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    };
    format!("{} is {what}", plan.host)
}

fn name_of(kind: &crate::model::FieldType) -> String {
    // The serialised name is the stable one.
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
        _ => "any".to_owned(),
    }
}
