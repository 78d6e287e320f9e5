//! Values in the form that all CRMs share; see the neighbours for what each does differently.

use jiff::tz::Offset;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

use super::list::Choices;
use super::pattern::Pattern;
use super::profile::Profile;
use super::refused::{Encoded, Note, ROUNDED, Refused, refused, wrong};
use crate::mapping::email;
use crate::mapping::field::OnTooLong;
use crate::mapping::formula::{boolean, decimal_to_value, value_to_decimal};
use crate::model::FieldType;

fn bad_email<T>(fault: &str) -> Result<T, Refused> {
    refused("wrong_format", format!("this is no e-mail address: {fault}; correct it at its source"))
}

/// How one CRM field takes its values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) profile: Profile,
    pub(crate) kind: FieldType,
    /// The field's name: Pipedrive's custom fields are told by it.
    pub(crate) name: String,
    pub(crate) max: Option<u32>,
    pub(super) max_bytes: Option<u32>,
    pub(super) max_digits: Option<u32>,
    pub(crate) on_too_long: OnTooLong,
    pub(crate) lenient: bool,
    pub(crate) zone: Option<Offset>,
    pub(crate) pattern: Option<Pattern>,
    /// The currency of amounts that come without one.
    pub(crate) currency: Option<String>,
    /// True if the members of a multi-select are added to those the CRM has.
    pub(crate) append: bool,
    pub(super) choices: Choices,
    pub(super) references: Vec<String>,
}

impl Encoder {
    /// True if every value goes through as it is.
    pub(crate) fn is_copy(&self) -> bool {
        self.kind == FieldType::Any && self.max.is_none() && self.profile != Profile::Hubspot && self.pattern.is_none()
    }

    /// True if a text of this many bytes goes through as it is: no list, no pattern, no limit it could break.
    pub(crate) fn takes_text(&self, bytes: usize) -> bool {
        matches!(self.kind, FieldType::Text | FieldType::Any) && self.pattern.is_none() && self.fits(bytes)
    }

    /// True if a text of this many bytes is within the limits, however many characters it has.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let fits = |limit: Option<u32>| limit.is_none_or(|limit| usize::try_from(limit).is_ok_and(|limit| bytes <= limit));
        fits(self.max) && fits(self.max_bytes)
    }

    /// True if a number is written as a JSON number with at most this many decimals (all, if `Some(None)`).
    pub(crate) fn plain_number(&self) -> Option<Option<u32>> {
        if self.profile == Profile::Hubspot || self.max_digits.is_some() || self.pattern.is_some() {
            return None;
        }
        match &self.kind {
            FieldType::Integer => Some(Some(0)),
            FieldType::Decimal { scale } => Some(scale.map(u32::from)),
            _ => None,
        }
    }

    /// What empties the field: null, but HubSpot's API wants a text.
    pub(crate) fn cleared(&self) -> Value {
        match (self.profile, &self.kind) {
            (Profile::Hubspot, _) => Value::String(String::new()),
            // A list that is emptied comes back as an empty list.
            (Profile::Pipedrive, FieldType::ContactPoints) => Value::Array(Vec::new()),
            _ => Value::Null,
        }
    }

    /// The forms of plain JSON.
    pub(super) fn plain(&self, value: &Value) -> Result<Encoded, Refused> {
        match &self.kind {
            FieldType::Text => self.text(value, false),
            FieldType::Email => self.email(value),
            FieldType::Phone | FieldType::Url => self.text(value, true),
            FieldType::Picklist => self.picklist(value),
            FieldType::MultiPicklist => {
                let members = self.members(value)?;
                Ok((if members.is_empty() { Value::Null } else { Value::String(members.join(";")) }, None))
            }
            FieldType::Boolean => self.boolean(value).map(|value| (Value::Bool(value), None)),
            FieldType::Integer | FieldType::Decimal { .. } => {
                let (number, rounded) = self.number(value)?;
                let (encoded, exact) = decimal_to_value(number);
                Ok((encoded, (!exact || rounded).then_some(ROUNDED)))
            }
            FieldType::Date => self.date(value),
            FieldType::DateTime { whole_seconds } => self.datetime(value, *whole_seconds),
            FieldType::Id | FieldType::Reference => match value {
                Value::String(text) => Ok((Value::String(text.trim().to_owned()), None)),
                Value::Number(_) => Ok((value.clone(), None)),
                other => wrong("the id of a record", other),
            },
            FieldType::Time => self.time(value).map(|_| (Value::String(value.as_str().unwrap_or_default().trim().to_owned()), None)),
            _ => match value {
                Value::String(_) => self.limit(value.clone()),
                _ => Ok((value.clone(), None)),
            },
        }
    }

    pub(super) fn limit(&self, value: Value) -> Result<Encoded, Refused> {
        let Value::String(text) = &value else { return Ok((value, None)) };
        let size = |limit: Option<u32>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (max, max_bytes) = (size(self.max), size(self.max_bytes));
        // A text has at most as many characters as bytes: the count is rarely needed.
        if text.len() <= max.min(max_bytes) {
            return Ok((value, None));
        }
        let by_characters = text.char_indices().nth(max).map_or(text.len(), |(at, _)| at);
        let by_bytes = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= max_bytes).last().unwrap_or(0);
        let cut = by_characters.min(if text.len() <= max_bytes { text.len() } else { by_bytes });
        if cut == text.len() {
            return Ok((value, None));
        }
        match self.on_too_long {
            OnTooLong::Error => {
                let (limit, unit, length) =
                    if by_characters < text.len() { (max, "characters", text.chars().count()) } else { (max_bytes, "bytes", text.len()) };
                refused(
                    "too_long",
                    format!("the field takes {limit} {unit}, and this has {length}; shorten it or set `on_too_long: truncate`"),
                )
            }
            OnTooLong::Truncate => {
                let cut = text.get(..cut).unwrap_or_default().to_owned();
                Ok((Value::String(cut), Some(Note { code: "truncated", reason: "the text was cut to the length of the field" })))
            }
        }
    }

    pub(super) fn text(&self, value: &Value, trim: bool) -> Result<Encoded, Refused> {
        match value {
            Value::String(text) if trim => self.limit(Value::String(text.trim().to_owned())),
            Value::String(_) => self.limit(value.clone()),
            Value::Number(number) => self.limit(Value::String(number.to_string())),
            Value::Bool(value) if !trim => self.limit(Value::String(value.to_string())),
            other => wrong("a text", other),
        }
    }

    /// A cut address may be another one or none: what is left must be one still.
    pub(super) fn email(&self, value: &Value) -> Result<Encoded, Refused> {
        let Value::String(text) = value else { return wrong("an e-mail address", value) };
        let text = text.trim();
        let encoded = self.limit(Value::String(text.to_owned()))?;
        // Blank texts are for `blank:` to judge.
        let fault = if text.is_empty() { None } else { email::fault(text) };
        let cut = || encoded.1.and(encoded.0.as_str()).and_then(email::fault);
        match fault.or_else(cut) {
            Some(fault) => bad_email(fault),
            None => Ok(encoded),
        }
    }

    fn picklist(&self, value: &Value) -> Result<Encoded, Refused> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            other => return wrong("one value of a list", other),
        };
        self.choices.member(&text)?;
        self.limit(Value::String(text))
    }

    /// The members of a multi-select: each once, in the CRM's order, so that the same members always give the same text.
    /// Members that the list does not know keep their order at the end.
    pub(super) fn members(&self, value: &Value) -> Result<Vec<String>, Refused> {
        let mut members = members(value)?;
        for member in &members {
            self.choices.member(member)?;
        }
        members.sort_by_key(|member| self.choices.position(member).unwrap_or(usize::MAX));
        let mut seen = std::collections::HashSet::new();
        members.retain(|member| seen.insert(member.clone()));
        Ok(members)
    }

    pub(super) fn boolean(&self, value: &Value) -> Result<bool, Refused> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if self.lenient => match boolean(text) {
                Some(value) => Ok(value),
                None => refused("wrong_type", "the text is none of true/false, yes/no, y/n, 1/0, on/off"),
            },
            Value::Number(number) if self.lenient => match number.as_i64() {
                Some(0) => Ok(false),
                Some(1) => Ok(true),
                _ => wrong("true or false", value),
            },
            Value::String(_) => wrong("true or false (`lenient: true` reads texts)", value),
            other => wrong("true or false", other),
        }
    }

    /// The number, to the field's decimals, and whether some were lost.
    pub(super) fn number(&self, value: &Value) -> Result<(Decimal, bool), Refused> {
        let number = match value {
            Value::Number(_) => value_to_decimal(value),
            Value::String(text) if self.lenient => {
                let text = text.trim();
                text.parse::<Decimal>().ok().or_else(|| Decimal::from_scientific(text).ok())
            }
            Value::String(_) => return wrong("a number (`lenient: true` reads texts)", value),
            other => return wrong("a number", other),
        };
        let Some(number) = number else { return refused("wrong_type", "the value is not a number of up to 28 digits") };
        let scale = match &self.kind {
            FieldType::Integer => Some(0),
            FieldType::Decimal { scale } => scale.map(u32::from),
            _ => None,
        };
        // Half away from zero, as Salesforce does.
        let rounded = scale.map_or(number, |scale| number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero));
        if let Some(digits) = self.max_digits {
            let before_point = digits.saturating_sub(scale.unwrap_or(0));
            let whole = rounded.trunc().abs().normalize().to_string();
            if whole.len() > usize::try_from(before_point).unwrap_or(usize::MAX) && whole != "0" {
                return refused(
                    "out_of_range",
                    format!("the field takes numbers of up to {before_point} digits before the point, and this has {}", whole.len()),
                );
            }
        }
        Ok((rounded, rounded != number))
    }
}

/// The members of a list, or of a text such as `A;B`.
pub(super) fn members(value: &Value) -> Result<Vec<String>, Refused> {
    let mut members = Vec::new();
    match value {
        Value::String(text) => members.extend(text.split(';').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty())),
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(text) if text.contains(';') => {
                        return refused("picklist_value", "a value of a multi-select must not contain `;`");
                    }
                    Value::String(text) if text.trim().is_empty() => {}
                    Value::String(text) => members.push(text.trim().to_owned()),
                    Value::Number(number) => members.push(number.to_string()),
                    Value::Null => {}
                    other => return wrong("a list of texts", other),
                }
            }
        }
        Value::Number(number) => members.push(number.to_string()),
        other => return wrong("a list of values", other),
    }
    Ok(members)
}
