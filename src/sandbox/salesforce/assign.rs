//! Assignment rules: who owns a lead that comes in.

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::schema::ObjectDef;
use crate::sandbox::salesforce::write::{Assign, Write};
use crate::sandbox::store::Row;

impl Salesforce {
    /// Gives the record to the owner its assignment rule names.
    pub(crate) fn assign(&self, write: &Write, object: &ObjectDef, row: &mut Row) -> Result<(), ApiError> {
        if !matches!(object.name.as_str(), "Lead" | "Case") || write.system {
            return Ok(());
        }
        let of_object = |rule: &&Row| rule.text("SobjectType") == Some(&object.name);
        let rule =
            match &write.assign {
                Assign::Off => return Ok(()),
                Assign::Active => {
                    let rules = self.tables.rows("AssignmentRule").map(|(_, rule)| rule);
                    match rules.filter(|rule| !rule.deleted && rule.is_true("Active")).find(of_object) {
                        Some(rule) => rule,
                        None => return Ok(()),
                    }
                }
                Assign::Rule(id) => self.tables.live("AssignmentRule", id).filter(of_object).ok_or_else(|| {
                    ApiError::bad("INVALID_ASSIGNMENT_RULE", format!("{id} is not an assignment rule for {}", object.name))
                })?,
            };
        let name = rule.text("Name").unwrap_or_default();
        for entry in self.options.assignment.iter().filter(|entry| entry.rule == name) {
            if self.fits(object, entry.when.as_deref(), row, write.now)? {
                row.fields.insert("OwnerId".to_owned(), entry.owner.clone().into());
                return Ok(());
            }
        }
        Ok(())
    }
}
