//! Host to CRM, from JSON text to JSON text, without a tree in between.
//!
//! One pass over the text notes where the values stand that the mapping reads ([`scan`](crate::mapping::scan)); a value that
//! goes through unchanged is copied from text to text. Whatever is not plain (a formula that is no text, a value that is
//! blank, refused or changed) takes the way of [`Mapping::outbound`], field by field, so that both ways write the same bytes.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::error::{Error, ErrorKind};
use crate::mapping::cell::Cell;
use crate::mapping::email;
use crate::mapping::encode::Profile;
use crate::mapping::field::Direction;
use crate::mapping::formula::Val;
use crate::mapping::outbound::Sending;
use crate::mapping::plan::{Mapping, NameSource, Plan, Program, Rule, Slot};
use crate::mapping::record::{Lookup, MappingError, Mode, Problem};
use crate::mapping::scan::{Layout, Scanned, Spot, Stop};
use crate::model::{FieldType, Fields};

/// What came up besides the record that [`Mapping::outbound_json`] wrote.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct JsonMapped {
    /// References that somebody has to resolve before the record can be written.
    pub lookups: Vec<Lookup>,
    /// What was changed on the way: cut texts, rounded numbers, dropped values.
    pub warnings: Vec<Problem>,
}

/// A record that [`Mapping::outbound_json`] cannot map. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// The input is not a JSON object in UTF-8.
    Invalid {
        /// The byte where it stops being one, from 0.
        offset: usize,
        /// What is wrong there; never the text itself.
        reason: String,
    },
    /// The record has problems.
    Record(MappingError),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { offset, reason } => write!(f, "the record is not a JSON object: {reason} at byte {offset}"),
            Self::Record(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid { .. } => None,
            Self::Record(error) => Some(error),
        }
    }
}

impl From<MappingError> for JsonError {
    fn from(error: MappingError) -> Self {
        Self::Record(error)
    }
}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Record(error) => error.into(),
            invalid @ JsonError::Invalid { .. } => Self::new(ErrorKind::Decode, invalid.to_string()).with_source(invalid),
        }
    }
}

impl Mapping {
    /// Appends the CRM's record for one of the host's to `out`, both as JSON, for a create. The bytes are those of
    /// [`outbound`](Self::outbound)'s fields, serialised; no tree is built, and memory does not grow with the number of
    /// records. One object is read, blanks around it are allowed; nothing is written after it.
    ///
    /// # Errors
    /// [`JsonError::Invalid`] with the byte if `input` is no JSON object, [`JsonError::Record`] with all problems of the
    /// record. `out` is as it was then.
    pub fn outbound_json(&self, input: &[u8], out: &mut Vec<u8>) -> Result<JsonMapped, JsonError> {
        self.send_json(input, out, Mode::Create, None)
    }

    /// [`outbound_json`](Self::outbound_json) for either kind of write, with the time that formulas see.
    ///
    /// # Errors
    /// As there.
    pub fn outbound_json_at(&self, input: &[u8], out: &mut Vec<u8>, mode: Mode, now: Timestamp) -> Result<JsonMapped, JsonError> {
        self.send_json(input, out, mode, Some(now))
    }

    fn send_json(&self, input: &[u8], out: &mut Vec<u8>, mode: Mode, now: Option<Timestamp>) -> Result<JsonMapped, JsonError> {
        let text = std::str::from_utf8(input)
            .map_err(|error| JsonError::Invalid { offset: error.valid_up_to(), reason: "the text is not UTF-8".to_owned() })?;
        match self.layout.scan(text) {
            Ok(record) => self.send_scanned(&record, out, mode, now),
            Err(Stop::Invalid(offset, reason)) => Err(JsonError::Invalid { offset, reason: reason.to_owned() }),
            Err(Stop::Tree) => self.send_tree(text, out, mode, now),
        }
    }

    /// By way of a tree, for keys that are written with escapes or stand twice.
    fn send_tree(&self, text: &str, out: &mut Vec<u8>, mode: Mode, now: Option<Timestamp>) -> Result<JsonMapped, JsonError> {
        let record: Fields = serde_json::from_str(text).map_err(|error| {
            let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            JsonError::Invalid { offset: before + error.column().saturating_sub(1), reason: format!("a {:?} error", error.classify()) }
        })?;
        let mapped = self.send(&record, mode, now)?;
        let start = out.len();
        if serde_json::to_writer(&mut *out, &mapped.fields).is_err() {
            // Writing to memory does not fail, and the keys are texts.
            out.truncate(start);
        }
        Ok(JsonMapped { lookups: mapped.lookups, warnings: mapped.warnings })
    }

    fn send_scanned(&self, record: &Scanned<'_>, out: &mut Vec<u8>, mode: Mode, now: Option<Timestamp>) -> Result<JsonMapped, JsonError> {
        let mut sending = Sending::new(self, mode, now);
        // Pairs of values are looked at as values.
        let quick = self.dependent.is_empty();
        if quick {
            sending.cells = vec![Cell::Empty; self.targets.len()];
        }
        for plan in &self.plans {
            if plan.direction == Direction::In {
                continue;
            }
            if let Some(when) = &plan.when
                && !sending.holds(plan, when, record)
            {
                continue;
            }
            if !(quick && sending.quick(plan, record)) {
                sending.make(plan, record);
            }
        }
        sending.dependent();
        if !sending.problems.is_empty() {
            return Err(MappingError::new(sending.problems, !sending.fatal).into());
        }
        self.write(&sending, out);
        Ok(JsonMapped { lookups: sending.lookups, warnings: sending.warnings })
    }

    fn write(&self, sending: &Sending<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(b'{');
        for (target, key) in &self.keys {
            let value = sending.values.get(*target).and_then(Option::as_ref);
            let cell = sending.cells.get(*target).unwrap_or(&Cell::Empty);
            if value.is_none() && matches!(cell, Cell::Empty) {
                continue;
            }
            if out.len() > start + 1 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            match (cell, value) {
                (Cell::Ready(json), _) => out.extend_from_slice(json),
                (Cell::Plain(json), _) => out.extend_from_slice(json.as_bytes()),
                (Cell::Text(text), _) => {
                    out.push(b'"');
                    out.extend_from_slice(text.as_bytes());
                    out.push(b'"');
                }
                (Cell::Made(range), _) => out.extend_from_slice(sending.scratch.get(range.clone()).unwrap_or_default()),
                (Cell::Empty, Some(value)) => {
                    // Writing to memory does not fail, and the keys of values are texts.
                    let _ = serde_json::to_writer(&mut *out, value);
                }
                (Cell::Empty, None) => {}
            }
        }
        out.push(b'}');
    }
}

impl Plan {
    /// Gives each path its place in the pass, and makes the JSON that no record changes.
    pub(crate) fn prepare(&mut self, layout: &mut Layout) {
        if self.direction == Direction::In {
            return;
        }
        layout.add(&mut self.path);
        let programs = [self.when.as_mut(), if let Rule::Computed(program) = &mut self.rule { Some(program.as_mut()) } else { None }];
        for program in programs.into_iter().flatten() {
            program.sources.iter_mut().for_each(|source| {
                if let NameSource::Record(path) = source {
                    layout.add(path);
                }
            });
        }
        if let Rule::Join(paths, ..) = &mut self.rule {
            paths.iter_mut().for_each(|path| layout.add(path));
        }
        let Some(slot) = self.slots.first() else { return };
        match &self.rule {
            Rule::Constant(value) => self.ready.constant = Some(value.to_string().into_bytes()),
            Rule::Picklist(list) => {
                for (ours, theirs) in list.plain_entries() {
                    let blank = theirs.is_null() || theirs.as_str().is_some_and(|text| text.trim().is_empty());
                    if !blank
                        && let Ok((value, None)) = slot.encoder.encode(theirs)
                        && !value.is_null()
                    {
                        self.ready.choices.insert(ours.to_owned(), value.to_string().into_bytes());
                    }
                }
            }
            _ => {}
        }
    }
}

impl<'a> Sending<'a> {
    /// Makes the plan's value from text to text if it is plain; false if it is not, and nothing was done.
    fn quick(&mut self, plan: &'a Plan, record: &Scanned<'a>) -> bool {
        let [slot] = plan.slots.as_slice() else { return false };
        let writable = self.mapping.targets.get(slot.target).is_some_and(|target| match self.mode {
            Mode::Create => target.creatable,
            Mode::Update => target.updatable,
        });
        if !writable {
            return false;
        }
        let cell = match &plan.rule {
            Rule::Constant(_) => plan.ready.constant.as_deref().map(Cell::Ready),
            Rule::Direct => record.spot(&plan.path).and_then(|spot| direct(slot, spot)),
            Rule::Picklist(_) => match record.spot(&plan.path) {
                Some(Spot::Text(text)) => plan.ready.choices.get(text.trim()).map(|json| Cell::Ready(json)),
                _ => None,
            },
            Rule::Computed(program) => return self.quick_formula(plan, slot, program, record),
            _ => None,
        };
        match (cell, self.cells.get_mut(slot.target)) {
            (Some(cell), Some(place)) => {
                *place = cell;
                true
            }
            _ => false,
        }
    }

    /// The formula runs once; a text goes straight to JSON, anything else to the encoder.
    fn quick_formula(&mut self, plan: &Plan, slot: &Slot, program: &Program, record: &Scanned<'_>) -> bool {
        let made = {
            // An update leaves alone what it was told nothing about.
            let Some(inputs) = self.inputs(program, record) else { return true };
            match program.formula.run(&program.env(&inputs, self.now, false)) {
                Ok(Val::Text(text)) if slot.encoder.takes_text(text.len()) && !text.trim().is_empty() => Ok(text.into_owned()),
                other => Err(other.map(Val::into_value)),
            }
        };
        match made {
            Err(result) => self.computed(plan, slot, result),
            Ok(text) => {
                let start = self.scratch.len();
                // Writing to memory does not fail.
                let _ = serde_json::to_writer(&mut self.scratch, &text);
                let range = start..self.scratch.len();
                if let Some(place) = self.cells.get_mut(slot.target) {
                    *place = Cell::Made(range);
                }
            }
        }
        true
    }
}

/// A value that its field takes as it stands.
fn direct<'a>(slot: &Slot, spot: Spot<'a>) -> Option<Cell<'a>> {
    let encoder = &slot.encoder;
    match spot {
        Spot::Text(text) => {
            let trimmed = text.trim();
            if trimmed.is_empty() || encoder.pattern.is_some() {
                return None;
            }
            match &encoder.kind {
                FieldType::Text | FieldType::Any => encoder.fits(text.len()).then_some(Cell::Text(text)),
                FieldType::Email => (encoder.fits(trimmed.len()) && email::fault(trimmed).is_none()).then_some(Cell::Text(trimmed)),
                FieldType::Phone | FieldType::Url => encoder.fits(trimmed.len()).then_some(Cell::Text(trimmed)),
                FieldType::Date => is_day(trimmed).then_some(Cell::Text(trimmed)),
                _ => None,
            }
        }
        Spot::Number(text) => match encoder.plain_number() {
            Some(scale) => decimal(text, scale).map(Cell::Plain),
            None => (encoder.is_copy() && is_small_integer(text)).then_some(Cell::Plain(text)),
        },
        Spot::Bool(value) if encoder.is_copy() || (encoder.kind == FieldType::Boolean && encoder.profile != Profile::Hubspot) => {
            Some(Cell::Plain(if value { "true" } else { "false" }))
        }
        _ => None,
    }
}

/// `2026-01-31`, in the years that CRMs keep.
fn is_day(text: &str) -> bool {
    let number = |range| {
        text.get(range).filter(|part: &&str| part.bytes().all(|byte| byte.is_ascii_digit())).and_then(|part| part.parse::<i16>().ok())
    };
    let dashes = text.len() == 10 && text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
    let (Some(year), Some(month), Some(day), true) = (number(0..4), number(5..7), number(8..10), dashes) else { return false };
    let small = i8::try_from(month).ok().zip(i8::try_from(day).ok());
    (1700..=4000).contains(&year) && small.is_some_and(|(month, day)| Date::new(year, month, day).is_ok())
}

/// A whole number that is printed as it is read.
fn is_small_integer(text: &str) -> bool {
    text.len() <= 15 && text != "-0" && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// A decimal of up to 15 digits as it is printed, if it has no more than `scale` decimals; not in the form with an exponent.
fn decimal(text: &str, scale: Option<u32>) -> Option<&str> {
    if text.len() > 15 {
        return None;
    }
    let Some((whole, fraction)) = text.split_once('.') else { return is_small_integer(text).then_some(text) };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let kept = fraction.trim_end_matches('0');
    if kept.is_empty() {
        return is_small_integer(whole).then_some(whole);
    }
    let scale = scale.map_or(usize::MAX, |scale| usize::try_from(scale).unwrap_or(usize::MAX));
    // Small ones would be printed with an exponent.
    let printed = kept.len() <= scale && (whole.trim_start_matches('-') != "0" || !kept.starts_with("0000"));
    if printed { text.get(..whole.len() + 1 + kept.len()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_they_are_printed() {
        for (text, wanted) in [
            ("12", Some("12")),
            ("-12.50", Some("-12.5")),
            ("12.00", Some("12")),
            ("0.001", Some("0.001")),
            ("0.00001", None),
            ("1e3", None),
            ("-0", None),
            ("-0.0", None),
            ("1.2345", None),
            ("1234567890123456", None),
        ] {
            assert_eq!(decimal(text, Some(3)), wanted, "{text}");
        }
    }
}
