//! What forms ask for.
//!
//! Definitions exist under v3 only; the dated versions have them as beta.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::forms::FormSubmission;
use crate::hubspot::paths::segment;
use crate::hubspot::record::Paging;
use crate::query::{Cursor, Page};
use crate::rest::Call;

const FORMS: &str = "/marketing/v3/forms";

/// One question of a form.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct FormField {
    /// The object whose property it fills, by type id.
    pub object_type_id: String,
    /// The property.
    pub name: String,
    /// What people see.
    pub label: String,
    /// `email`, `single_line_text`, `dropdown` and others.
    pub field_type: String,
    /// Must be filled in.
    pub required: bool,
    /// Not shown.
    pub hidden: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct FieldGroup {
    fields: Vec<FormField>,
}

/// A form's definition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct FormDefinition {
    /// Its GUID.
    pub id: String,
    /// What people in the account see.
    pub name: String,
    /// `hubspot`, `captured`, `flow` or `blog_comment`. Only the first kind takes submissions through the API.
    pub form_type: String,
    /// Deleted.
    pub archived: bool,
    field_groups: Vec<FieldGroup>,
    /// The rest, as HubSpot has it: `recaptchaEnabled` among others.
    pub configuration: Value,
    /// Which consent it asks for; `type` is `none` if none.
    pub legal_consent_options: Value,
}

impl FormDefinition {
    /// Its questions, in their order.
    pub fn fields(&self) -> impl Iterator<Item = &FormField> {
        self.field_groups.iter().flat_map(|group| &group.fields)
    }

    /// What HubSpot would refuse of a submission by this definition, before it is sent: questions it does not have, and required
    /// ones that are not answered.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] naming the first such field.
    pub fn check(&self, submission: &FormSubmission) -> Result<()> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Validation, what).during("submit"));
        if self.form_type != "hubspot" {
            return refuse(format!("a form of the kind {:?} takes no submissions through the API", self.form_type));
        }
        if self.configuration.get("recaptchaEnabled") == Some(&Value::Bool(true)) {
            return refuse("the form asks for a captcha, so it takes no submissions through the API".to_owned());
        }
        let knows = |object: &str, name: &str| self.fields().any(|field| field.name == name && field.object_type_id == object);
        if let Some((_, name, _)) = submission.fields.iter().find(|(object, name, _)| !knows(object, name)) {
            return refuse(format!("the form has no field {name}"));
        }
        let answered = |field: &FormField| {
            let mut given = submission.fields.iter();
            given.any(|(object, name, value)| *object == field.object_type_id && *name == field.name && !value.is_empty())
        };
        match self.fields().find(|field| field.required && !answered(field)) {
            Some(field) => refuse(format!("the form asks for {}, which the submission lacks", field.name)),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Forms {
    #[serde(default = "Vec::new")]
    results: Vec<FormDefinition>,
    #[serde(default)]
    paging: Option<Paging>,
}

impl HubSpot {
    /// A page of the account's forms that take submissions, up to 100. Needs the scope `forms`.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn forms(&self, after: Option<&str>) -> Result<Page<FormDefinition>> {
        let mut path = format!("{FORMS}?limit=100&formTypes=hubspot");
        if let Some(after) = after {
            path = format!("{path}&after={}", segment(after));
        }
        let forms: Forms = self.send(&Call::get("forms", path)).await?.json()?;
        let next = Paging::after(forms.paging.as_ref()).filter(|next| Some(next.as_str()) != after).map(Cursor::new);
        Ok(Page::new(forms.results, next, None))
    }

    /// One form, or `None`.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn form(&self, id: &str) -> Result<Option<FormDefinition>> {
        match self.send(&Call::get("forms", format!("{FORMS}/{}", segment(id)))).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a form from HubSpot's own JSON of a definition (`name`, `fieldGroups`, `configuration`, `displayOptions`,
    /// `legalConsentOptions`). Not repeatable: a second one of the same name is another form.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Config`] for a definition that is no object or has no name.
    pub async fn create_form(&self, definition: &Value) -> Result<FormDefinition> {
        let mut body = definition.as_object().filter(|body| body.get("name").is_some_and(Value::is_string)).cloned();
        let body = body.as_mut().ok_or_else(|| Error::config("a form's definition is an object with a name").during("forms"))?;
        body.insert("formType".to_owned(), json!("hubspot"));
        self.send(&Call::post("forms", FORMS).json(body)?).await?.json()
    }

    /// Changes the given members of a form's definition; lists are replaced whole.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn update_form(&self, id: &str, changes: &Value) -> Result<FormDefinition> {
        self.send(&Call::patch("forms", format!("{FORMS}/{}", segment(id))).json(changes)?).await?.json()
    }

    /// Archives a form. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn delete_form(&self, id: &str) -> Result<()> {
        match self.send(&Call::delete("forms", format!("{FORMS}/{}", segment(id)))).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_checked_by_the_definition() {
        let form: FormDefinition = serde_json::from_value(json!({"id": "g", "name": "Contact us", "formType": "hubspot",
            "fieldGroups": [{"groupType": "default_group", "richTextType": "text", "fields": [
                {"objectTypeId": "0-1", "name": "email", "label": "Email", "fieldType": "email", "required": true, "hidden": false},
                {"objectTypeId": "0-1", "name": "city", "label": "City", "fieldType": "single_line_text"}]}]}))
        .unwrap();
        let good = FormSubmission::new("g").field("email", "a@b.test");
        form.check(&good).unwrap();
        assert!(form.check(&good.clone().field("phone", "1")).unwrap_err().to_string().contains("phone"));
        assert!(form.check(&FormSubmission::new("g").field("city", "Oslo")).unwrap_err().to_string().contains("email"));
        let captured = FormDefinition { form_type: "captured".to_owned(), ..form.clone() };
        assert_eq!(captured.check(&good).unwrap_err().kind(), ErrorKind::Validation);
        let guarded = FormDefinition { configuration: json!({"recaptchaEnabled": true}), ..form };
        assert!(guarded.check(&good).is_err());
    }
}
