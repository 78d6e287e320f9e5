//! What an org's own rules do to a record on its way in: validation rules, normalisers, triggers.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::automation::AutomationKind;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::schema::{FieldDef, ObjectDef};
use crate::sandbox::salesforce::soql;
use crate::sandbox::salesforce::soql::day;
use crate::sandbox::salesforce::validate::coerce;
use crate::sandbox::salesforce::write::Write;
use crate::sandbox::store::Row;

impl Salesforce {
    /// Whether a condition, as it stands behind WHERE, holds for a record that may not be stored yet.
    pub(crate) fn fits(&self, object: &ObjectDef, when: Option<&str>, row: &Row, now: Timestamp) -> Result<bool, ApiError> {
        let Some(when) = when else { return Ok(true) };
        let text = format!("SELECT Id FROM {} WHERE {when}", object.name);
        let query = soql::parse(&text)?;
        let scope = self.scope("v68.0", day(now));
        let plan = soql::plan(&query, &text, &scope)?;
        Ok(plan.filter.as_ref().is_none_or(|filter| scope.passes(row, filter, &[])))
    }

    /// Runs the org's rules on a record before it is saved.
    pub(crate) fn automate(&self, write: &Write, object: &ObjectDef, old: Option<&Row>, row: &mut Row) -> Result<(), ApiError> {
        for rule in self.options.automations.iter().filter(|rule| rule.entity.eq_ignore_ascii_case(&object.name)) {
            if (rule.updates_only && old.is_none()) || !self.fits(object, rule.when.as_deref(), row, write.now)? {
                continue;
            }
            match &rule.kind {
                AutomationKind::Refuse { message, fields } => {
                    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                    return Err(ApiError::field("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, &fields));
                }
                AutomationKind::Break { message } => {
                    return Err(ApiError::field("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]));
                }
                AutomationKind::Set { field, value } => store(known(object, field)?, row, value)?,
                AutomationKind::Lower { field } => reform(known(object, field)?, row, |text| text.to_lowercase())?,
                AutomationKind::Upper { field } => reform(known(object, field)?, row, |text| text.to_uppercase())?,
                AutomationKind::Digits { field } => reform(known(object, field)?, row, digits)?,
                AutomationKind::Flap { field, values } => {
                    let field = known(object, field)?;
                    let now = row.fields.get(&field.name).cloned().unwrap_or(Value::Null);
                    let at = values.iter().position(|value| coerce(field, value).is_ok_and(|value| value.unwrap_or(Value::Null) == now));
                    let next = values.get(at.map_or(0, |at| at + 1)).or_else(|| values.first());
                    if let Some(next) = next {
                        store(field, row, next)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn digits(text: &str) -> String {
    let plus = if text.trim_start().starts_with('+') { "+" } else { "" };
    format!("{plus}{}", text.chars().filter(char::is_ascii_digit).collect::<String>())
}

fn known<'a>(object: &'a ObjectDef, name: &str) -> Result<&'a FieldDef, ApiError> {
    let missing = || ApiError::bad("INVALID_FIELD", format!("an automation names the field '{name}', which {} has not", object.name));
    object.field(name).ok_or_else(missing)
}

fn store(field: &FieldDef, row: &mut Row, value: &Value) -> Result<(), ApiError> {
    match coerce(field, value)? {
        Some(value) => _ = row.fields.insert(field.name.clone(), value),
        None => _ = row.fields.remove(&field.name),
    }
    Ok(())
}

fn reform(field: &FieldDef, row: &mut Row, form: impl Fn(&str) -> String) -> Result<(), ApiError> {
    match row.text(&field.name).map(form) {
        Some(text) => store(field, row, &json!(text)),
        None => Ok(()),
    }
}
