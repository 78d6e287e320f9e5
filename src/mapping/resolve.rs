//! The names in formulas: whose they are, in which order the fields are made, and where a message about one points.

use std::sync::Arc;

use crate::document::diagnostic::{Diagnostic, Severity};
use crate::document::source::Span;
use crate::document::suggest::did_you_mean;
use crate::mapping::code;
use crate::mapping::compile::{Compiler, Draft};
use crate::mapping::encode::Profile;
use crate::mapping::field::{Direction, FieldConfig, Transform};
use crate::mapping::formula::{Formula, FormulaError, FormulaErrorKind, Type};
use crate::mapping::picklist::Picklist;
use crate::mapping::plan::{NameSource, Plan, Program, Rule};
use crate::model::FieldType;

impl<'a> Compiler<'a> {
    pub(super) fn formula(&mut self, text: &str, field: &FieldConfig, key: &str) -> Option<Formula> {
        match Formula::parse(text) {
            Ok(formula) => Some(formula),
            Err(error) => {
                self.formula_error(text, field.span_of(key), &error);
                None
            }
        }
    }

    pub(super) fn formula_error(&mut self, text: &str, span: &Span, error: &FormulaError) {
        let code = match error.kind() {
            FormulaErrorKind::UnknownFunction => code::UNKNOWN_FUNCTION,
            FormulaErrorKind::ArgumentCount => code::ARGUMENT_COUNT,
            FormulaErrorKind::Type => code::FORMULA_TYPE,
            _ => code::FORMULA_SYNTAX,
        };
        let (span, own) = self.inside(text, span, error.position());
        let mut problem = Diagnostic::new(Severity::Error, code, error.message(), self.problems.source(), span);
        problem.help.extend(error.help().map(str::to_owned));
        problem.formula = own;
        self.problems.push(problem);
    }

    /// The place of a position in a formula: in the file if the formula stands there as it is, else in the formula alone.
    pub(super) fn inside(&self, text: &str, span: &Span, position: usize) -> (Span, Option<(String, usize)>) {
        let source = self.problems.source();
        if let Some(range) = span
            && let Some(at) = source.slice(range).find(text)
        {
            let start = range.start + at + position;
            let rest = source.text.get(start..).unwrap_or_default();
            let word = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum::<usize>();
            let length = if position >= text.len() { 0 } else { word.max(rest.chars().next().map_or(0, char::len_utf8)) };
            return (Some(start..start + length), None);
        }
        (span.clone(), Some((text.to_owned(), position)))
    }

    /// Resolves names and sorts the plans so that what is read is made first.
    pub(super) fn finish(&mut self) -> Vec<Plan> {
        let drafts = std::mem::take(&mut self.drafts);
        let mut plans = Vec::new();
        let mut needs: Vec<Vec<usize>> = Vec::new();
        for draft in drafts {
            let Draft { field, mut plan, formula, when } = draft;
            if let Some(formula) = formula {
                plan.rule = Rule::Computed(Box::new(self.resolve(formula, field, "formula")));
            }
            plan.when = when.map(|when| self.resolve(when, field, "when"));
            let programs = [&plan.when, &None].into_iter().flatten().chain(match &plan.rule {
                Rule::Computed(program) => Some(program.as_ref()),
                _ => None,
            });
            let wanted = programs.flat_map(|program| &program.sources).filter_map(|source| match source {
                NameSource::Target(at) => Some(*at),
                NameSource::Record(_) => None,
            });
            needs.push(wanted.collect());
            plans.push(plan);
        }
        self.order(plans, needs)
    }

    pub(super) fn order(&mut self, plans: Vec<Plan>, needs: Vec<Vec<usize>>) -> Vec<Plan> {
        let mut waiting: Vec<(Plan, Vec<usize>)> = plans.into_iter().zip(needs).collect();
        let mut sorted: Vec<Plan> = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let open: Vec<usize> = waiting
                .iter()
                .filter(|(plan, _)| plan.direction != Direction::In)
                .flat_map(|(plan, _)| plan.slots.iter().map(|slot| slot.target))
                .collect();
            let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, needs)| !needs.iter().any(|need| open.contains(need)));
            if ready.is_empty() {
                let names: Vec<String> = rest.iter().map(|(plan, _)| format!("{:?}", plan.host)).collect();
                let span = rest
                    .first()
                    .and_then(|(plan, _)| self.config.fields.iter().find(|field| field.host == plan.host))
                    .map(|field| field.span.clone());
                let message = format!("the formulas of {} need each other's results", names.join(", "));
                self.problems.error(code::CYCLE, &span.flatten(), message, None);
                return sorted;
            }
            sorted.extend(ready.into_iter().map(|(plan, _)| plan));
            waiting = rest;
        }
        sorted
    }

    /// A name is a host field; if the mapping has none of that name, a CRM field that it fills; else a host field it does not
    /// map.
    pub(super) fn resolve(&mut self, formula: Formula, field: &FieldConfig, key: &str) -> Program {
        let mut sources = Vec::with_capacity(formula.names.len());
        for name in &formula.names {
            let plain = name.path.root.as_str();
            if field.direction == Direction::In {
                sources.push(NameSource::Record(name.path.clone()));
                continue;
            }
            let host = self.config.fields.iter().any(|other| other.host == name.text || (other.host == plain && other.host != field.host));
            let target = self
                .targets
                .iter()
                .position(|target| target.name == plain && target.direction != Direction::In)
                .filter(|_| name.path.is_plain());
            let (span, own) = self.inside(&formula.text, field.span_of(key), name.position);
            match target {
                Some(_) if host => {
                    let message = format!("{plain:?} is a host field and a CRM field; the formula reads the host field");
                    if !self.config.fields.iter().any(|other| other.host == plain && other.field.as_deref() == Some(plain)) {
                        self.problems.warning(code::AMBIGUOUS_NAME, &span, message, None);
                    }
                    sources.push(NameSource::Record(name.path.clone()));
                }
                Some(at) => sources.push(NameSource::Target(at)),
                None => {
                    if !host && name.path.is_plain() {
                        let known = self
                            .config
                            .fields
                            .iter()
                            .map(|field| field.host.as_str())
                            .chain(self.targets.iter().map(|target| target.name.as_str()));
                        if let Some(help) = did_you_mean(plain, known) {
                            let message = format!("the formula reads the host field {plain:?}, which this mapping does not know");
                            let mut problem =
                                Diagnostic::new(Severity::Warning, code::SUSPICIOUS_NAME, message, self.problems.source(), span);
                            problem.help.push(help);
                            problem.formula = own;
                            self.problems.push(problem);
                        }
                    }
                    sources.push(NameSource::Record(name.path.clone()));
                }
            }
        }
        let inverse =
            (field.direction == Direction::Both && key == "formula").then(|| formula.inverse()).flatten().and_then(|inverse| match sources
                .get(inverse.name)
            {
                // The inverse writes a host field, unless a line of its own already does.
                Some(NameSource::Record(path)) if path.is_writable() => {
                    let taken = self.config.fields.iter().any(|other| other.host == path.root && other.host != field.host);
                    (!taken).then(|| (inverse, path.clone()))
                }
                _ => None,
            });
        let tables = self.tables(&formula, field, key);
        let program = Program { formula, sources, tables, inverse };
        self.types(&program, field, key);
        program
    }

    /// The picklists of this mapping that a formula names, by the host's name or the CRM's.
    fn tables(&mut self, formula: &Formula, field: &FieldConfig, key: &str) -> Vec<Arc<Picklist>> {
        let mut tables = Vec::new();
        for (name, position) in &formula.tables {
            let lists = self.config.fields.iter().filter_map(|other| match &other.transform {
                Transform::Picklist(config) => Some((other, config)),
                _ => None,
            });
            let hit = lists.clone().find(|(other, _)| other.host == *name || other.field.as_deref() == Some(name));
            if let Some((_, config)) = hit {
                tables.push(Arc::new(Picklist::new(config)));
                continue;
            }
            let known: Vec<&str> = lists.map(|(other, _)| other.host.as_str()).collect();
            let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
                if known.is_empty() { "add a field of `type: picklist`".to_owned() } else { format!("its picklists: {}", known.join(", ")) }
            });
            let (span, own) = self.inside(&formula.text, field.span_of(key), *position);
            let message = format!("the formula looks up in {name:?}, which is no picklist of this mapping");
            let mut problem = Diagnostic::new(Severity::Error, code::UNKNOWN_TABLE, message, self.problems.source(), span);
            problem.help.push(help);
            problem.formula = own;
            self.problems.push(problem);
        }
        tables
    }

    /// What fails for every record, and a result that its field cannot take.
    fn types(&mut self, program: &Program, field: &FieldConfig, key: &str) {
        let profile = self.config.profile();
        let (result, mut errors) = program.formula.types(&|index| match program.sources.get(index) {
            Some(NameSource::Target(at)) => self.targets.get(*at).map_or(Type::Any, |target| type_of(&target.kind, profile)),
            _ => Type::Any,
        });
        let target = match &field.field {
            Some(name) if key == "formula" && field.direction != Direction::In && field.format.is_none() => {
                self.targets.iter().find(|target| target.name == *name).map(|target| &target.kind)
            }
            _ => None,
        };
        let clash = match (key, target) {
            ("when", _) => (!matches!(result, Type::Any | Type::Null | Type::Boolean)).then_some("a condition must be a boolean"),
            (_, Some(kind)) => misfit(kind, result, field.lenient),
            _ => None,
        };
        if let (Some(words), true) = (clash, errors.is_empty()) {
            errors.push(FormulaError::new(
                FormulaErrorKind::Type,
                program.formula.root.at,
                format!("{words}, and the result is {}", result.what()),
            ));
        }
        for error in &errors {
            self.formula_error(&program.formula.text, field.span_of(key), error);
        }
    }
}

/// What a formula sees of a CRM field that was made before it: the encoded value.
fn type_of(kind: &FieldType, profile: Profile) -> Type {
    match (kind, profile) {
        (FieldType::Any, _) | (FieldType::Picklist | FieldType::MultiPicklist | FieldType::Reference, Profile::Pipedrive) => Type::Any,
        (FieldType::Integer | FieldType::Decimal { .. }, Profile::Salesforce | Profile::Pipedrive | Profile::Custom) => Type::Number,
        (FieldType::Boolean, Profile::Salesforce | Profile::Pipedrive | Profile::Custom) => Type::Boolean,
        (FieldType::Text | FieldType::Email | FieldType::Phone | FieldType::Url | FieldType::Picklist | FieldType::Date, _) => Type::Text,
        _ => Type::Any,
    }
}

/// Why a result of this type never fits the field.
fn misfit(kind: &FieldType, result: Type, lenient: bool) -> Option<&'static str> {
    let unfit = match kind {
        FieldType::Integer | FieldType::Decimal { .. } => {
            matches!(result, Type::Boolean | Type::Date | Type::Instant | Type::List) || (result == Type::Text && !lenient)
        }
        FieldType::Boolean => {
            matches!(result, Type::Date | Type::Instant | Type::List) || (matches!(result, Type::Text | Type::Number) && !lenient)
        }
        FieldType::Date | FieldType::DateTime { .. } => matches!(result, Type::Boolean | Type::List),
        FieldType::Text | FieldType::Email | FieldType::Phone | FieldType::Url | FieldType::Picklist => result == Type::List,
        _ => false,
    };
    let words = match kind {
        FieldType::Boolean => "the field takes true or false",
        FieldType::Date | FieldType::DateTime { .. } => "the field takes a date",
        FieldType::Integer | FieldType::Decimal { .. } => "the field takes a number",
        _ => "the field takes a text",
    };
    unfit.then_some(words)
}
