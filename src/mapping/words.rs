//! Names and conditions of the host in the CRM's words.

use jiff::Timestamp;
use serde_json::Value;

use crate::document::suggest::did_you_mean;
use crate::error::{Error, Result};
use crate::mapping::field::Direction;
use crate::mapping::plan::{Mapping, NameSource, Plan, Rule};
use crate::mapping::record::Mode;
use crate::model::{EntitySchema, FieldSchema, FieldType, Fields};
use crate::query::{Criteria, Operator};

impl Mapping {
    /// The CRM fields that hold what these host fields are read from; all that can be read, if none is named.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for a field that is not mapped, or goes to the CRM only.
    pub fn fields_for(&self, hosts: &[String]) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        let mut add = |plan: &Plan| {
            for name in self.sources(plan) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        };
        if hosts.is_empty() {
            self.plans.iter().filter(|plan| self.is_readable(plan)).for_each(add);
            return Ok(names);
        }
        for host in hosts {
            let plan = self.plan(host)?;
            if !self.is_readable(plan) {
                return Err(Error::config(format!("the field {host} is written to the CRM and cannot be read back")));
            }
            add(plan);
        }
        Ok(names)
    }

    /// The one CRM field that holds a host field as it is; `None` if it is computed, looked up, joined or split.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for a field that is not mapped.
    pub fn field_for(&self, host: &str) -> Result<Option<&str>> {
        let plan = self.plan(host)?;
        Ok(match (&plan.rule, plan.slots.as_slice()) {
            (Rule::Direct | Rule::Picklist(_), [slot]) => self.targets.get(slot.target).map(|target| target.name.as_str()),
            _ => None,
        })
    }

    /// The CRM field of a reference of the host's, looked up or not.
    pub(crate) fn relation(&self, host: &str) -> Option<&str> {
        let slot = self.plans.iter().find(|plan| plan.host == host)?.slots.first()?;
        self.targets.get(slot.target).map(|target| target.name.as_str())
    }

    /// True if a mapped field, a formula or a join reads this member of the host's records.
    pub(crate) fn reads(&self, root: &str) -> bool {
        let programs = |plan: &Plan| -> bool {
            let of = |program: &crate::mapping::plan::Program| {
                program.sources.iter().any(|source| matches!(source, NameSource::Record(path) if path.root == root))
            };
            let rule = match &plan.rule {
                Rule::Computed(program) => of(program),
                Rule::Join(paths, ..) => paths.iter().any(|path| path.root == root),
                _ => false,
            };
            rule || plan.path.root == root || plan.when.as_ref().is_some_and(of)
        };
        self.plans.iter().any(programs)
    }

    /// The host field that a CRM field belongs to.
    pub fn host_for(&self, field: &str) -> Option<&str> {
        self.targets.iter().find(|target| target.name == field).map(|target| target.host.as_str())
    }

    /// A condition over the host's fields as one over the CRM's; `now` is the time that formulas see.
    ///
    /// A field that goes over as it is (with its date, number or phone form) may be compared in every way; one with a picklist
    /// table, a formula with a way back, or a split by `=`, `!=`, IN and null alone. Names in `same` mean the same to both.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for a field that is not mapped, [`crate::error::ErrorKind::Unsupported`] for a
    /// comparison that cannot be said, and [`crate::error::ErrorKind::Mapping`] for a value that cannot be mapped.
    pub fn criteria(&self, criteria: &Criteria, same: &[&str], now: Option<Timestamp>) -> Result<Criteria> {
        let all = |parts: &[Criteria]| parts.iter().map(|part| self.criteria(part, same, now)).collect::<Result<Vec<_>>>();
        Ok(match criteria {
            Criteria::All(parts) => Criteria::All(all(parts)?),
            Criteria::Any(parts) => Criteria::Any(all(parts)?),
            Criteria::Not(part) => Criteria::Not(Box::new(self.criteria(part, same, now)?)),
            Criteria::Compare { field, .. }
            | Criteria::Contains { field, .. }
            | Criteria::In { field, .. }
            | Criteria::IsNull { field }
            | Criteria::StartsWith { field, .. }
                if same.contains(&field.as_str()) && self.plan(field).is_err() =>
            {
                criteria.clone()
            }
            Criteria::Compare { field, op, value } => self.compared(self.plan(field)?, *op, value, now)?,
            Criteria::In { field, values } => self.listed(self.plan(field)?, values, now)?,
            Criteria::IsNull { field } => {
                let plan = self.plan(field)?;
                joined(self.comparable(plan)?.into_iter().map(|name| Criteria::IsNull { field: name }).collect())
            }
            Criteria::Contains { field, text } => Criteria::Contains { field: self.text(field)?, text: text.clone() },
            Criteria::StartsWith { field, text } => Criteria::StartsWith { field: self.text(field)?, text: text.clone() },
        })
    }

    /// The CRM's description in the host's words: a field per host field.
    pub fn described(&self, schema: &EntitySchema) -> Vec<FieldSchema> {
        let mut fields: Vec<FieldSchema> = Vec::new();
        for plan in &self.plans {
            if fields.iter().any(|field| field.name == plan.host) {
                continue;
            }
            let target = self.field_for(&plan.host).ok().flatten().and_then(|name| schema.field(name));
            let mut field = match target {
                Some(known) => FieldSchema { name: plan.host.clone(), ..known.clone() },
                None => FieldSchema::new(plan.host.clone(), FieldType::Any),
            };
            if matches!(plan.rule, Rule::Picklist(_)) {
                // The CRM's values are not the host's.
                field.picklist = None;
            }
            if plan.direction == Direction::In {
                (field.creatable, field.updatable, field.required) = (false, false, false);
            }
            fields.push(field);
        }
        fields
    }

    fn plan(&self, host: &str) -> Result<&Plan> {
        self.plans.iter().find(|plan| plan.host == host).ok_or_else(|| {
            let help = did_you_mean(host, self.host_fields()).map_or_else(String::new, |help| format!(" ({help})"));
            Error::config(format!("the mapping of {} knows no field {host}{help}", self.entity))
        })
    }

    fn is_readable(&self, plan: &Plan) -> bool {
        plan.direction == Direction::In || !self.one_way().contains(&plan.host.as_str())
    }

    /// What has to be read for a host field.
    fn sources(&self, plan: &Plan) -> Vec<String> {
        let mut names: Vec<String> =
            plan.slots.iter().filter_map(|slot| self.targets.get(slot.target)).map(|target| target.name.clone()).collect();
        if let (Rule::Computed(program), Direction::In) = (&plan.rule, plan.direction) {
            names.extend(program.sources.iter().filter_map(|source| match source {
                NameSource::Record(path) => Some(path.root.clone()),
                NameSource::Target(at) => self.targets.get(*at).map(|target| target.name.clone()),
            }));
        }
        names
    }

    /// The CRM fields that are compared for a host field.
    fn comparable(&self, plan: &Plan) -> Result<Vec<String>> {
        let fits = match &plan.rule {
            Rule::Direct | Rule::Picklist(_) | Rule::Split(_) | Rule::Compound(..) => true,
            Rule::Computed(program) => program.inverse.is_some(),
            _ => false,
        };
        if fits { Ok(self.sources(plan)) } else { Err(cannot(plan, "it stands for no single value of the CRM's")) }
    }

    fn text(&self, host: &str) -> Result<String> {
        let plan = self.plan(host)?;
        match (&plan.rule, plan.slots.first().and_then(|slot| self.targets.get(slot.target))) {
            (Rule::Direct, Some(target)) => Ok(target.name.clone()),
            _ => Err(cannot(plan, "a part of it is no part of the CRM's value")),
        }
    }

    fn compared(&self, plan: &Plan, op: Operator, value: &Value, now: Option<Timestamp>) -> Result<Criteria> {
        let parts = self.encoded(plan, value, now)?;
        match op {
            Operator::Eq => Ok(joined(parts.into_iter().map(|(name, value)| Criteria::eq(name, value)).collect())),
            Operator::Ne => {
                let mut parts: Vec<Criteria> = parts.into_iter().map(|(name, value)| Criteria::ne(name, value)).collect();
                Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Criteria::Any(parts) })
            }
            op => match (&plan.rule, <[_; 1]>::try_from(parts)) {
                (Rule::Direct, Ok([(field, value)])) => Ok(Criteria::Compare { field, op, value }),
                _ => Err(cannot(plan, "its order is not that of the CRM's values")),
            },
        }
    }

    fn listed(&self, plan: &Plan, values: &[Value], now: Option<Timestamp>) -> Result<Criteria> {
        let mut single: Vec<Value> = Vec::new();
        let mut field = None;
        let mut several = Vec::new();
        for value in values {
            match <[_; 1]>::try_from(self.encoded(plan, value, now)?) {
                Ok([(name, value)]) => {
                    field = Some(name);
                    single.push(value);
                }
                Err(parts) => several.push(joined(parts.into_iter().map(|(name, value)| Criteria::eq(name, value)).collect())),
            }
        }
        Ok(match field {
            Some(field) => Criteria::In { field, values: single },
            None => Criteria::Any(several),
        })
    }

    /// A host value as the CRM's, per CRM field.
    fn encoded(&self, plan: &Plan, value: &Value, now: Option<Timestamp>) -> Result<Vec<(String, Value)>> {
        let names = self.comparable(plan)?;
        if plan.direction == Direction::In {
            return Ok(names.into_iter().map(|name| (name, value.clone())).collect());
        }
        let mut record = Fields::new();
        plan.path.set(&mut record, value.clone());
        let mapped = self.send(&record, Mode::Update, now)?;
        let direct = matches!(plan.rule, Rule::Direct);
        names
            .into_iter()
            .map(|name| match mapped.fields.get(&name) {
                Some(value) => Ok((name, value.clone())),
                // A field that is not written is still read.
                None if direct => Ok((name, value.clone())),
                None => Err(cannot(plan, "this value is not written to the CRM")),
            })
            .collect()
    }
}

fn cannot(plan: &Plan, why: &str) -> Error {
    Error::unsupported(format!("the field {} cannot be compared like this: {why}", plan.host))
}

fn joined(mut parts: Vec<Criteria>) -> Criteria {
    if parts.len() == 1 { parts.swap_remove(0) } else { Criteria::All(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::mapping::MappingSet;

    fn mapping() -> Mapping {
        let set = MappingSet::from_json(
            r#"{"x": {"lead": {
                "name": {"into": ["First", "Last"]},
                "email": "Email",
                "stage": {"type": "picklist", "field": "Status", "mapping": {"new": "Open", "old": "Closed"}},
                "cents": "Cents"
            }}}"#,
            "m.json",
        );
        let set = set.unwrap_or_else(|problems| panic!("{problems}"));
        Mapping::compile(set.entity("x", "lead").unwrap(), None).unwrap()
    }

    fn said(text: &str) -> Result<Criteria> {
        mapping().criteria(&Criteria::parse(text).unwrap(), &["Id"], None)
    }

    #[test]
    fn conditions_change_their_words() {
        let crm = |text: &str| Criteria::parse(text).unwrap();
        assert_eq!(said("email = 'a@b.co' AND cents >= 5").unwrap(), crm("Email = 'a@b.co' AND Cents >= 5"));
        assert_eq!(said("name = 'Ada Lovelace'").unwrap(), crm("First = 'Ada' AND Last = 'Lovelace'"));
        assert_eq!(said("stage IN ('new', 'old')").unwrap(), crm("Status IN ('Open', 'Closed')"));
        assert_eq!(said("NOT email LIKE 'a%'").unwrap(), crm("NOT Email LIKE 'a%'"));
        assert_eq!(said("Id = '7' OR email = null").unwrap(), crm("Id = '7' OR Email = null"));
        for (text, kind) in
            [("stage > 'new'", ErrorKind::Unsupported), ("stage LIKE 'n%'", ErrorKind::Unsupported), ("emial = 'x'", ErrorKind::Config)]
        {
            assert_eq!(said(text).unwrap_err().kind(), kind, "{text}");
        }
        assert!(said("emial = 'x'").unwrap_err().message().contains("did you mean \"email\"?"));
    }
}
