//! Custom fields that must be there: made if they are not, so that a new account needs no hand work.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::custom::CustomType;
use crate::pipedrive::field_map::FieldInfo;
use crate::pipedrive::resource::{ApiVersion, Kind};
use crate::rest::Call;

/// A write of the field lists of v2.
const WRITE: u32 = 5;

impl Pipedrive {
    /// The custom field of this name, key or host's name, made if there is none; `word` is Pipedrive's type (`varchar`, `enum`,
    /// `monetary`, …), which can never change. Options that a choice lacks are added, none is taken away. Repeatable: the account
    /// is read first, so that a second call, or one after an answer that was lost, makes nothing. Two callers at once may both
    /// make it: provision from one place. Leads share the fields of deals. Price: 10 to look, 5 for each write, 10 to read again.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`ErrorKind::Config`] if the field is there with another type, or several have the name;
    /// [`ErrorKind::Permission`] if the user is no admin.
    pub async fn ensure_field(&self, kind: Kind, name: &str, word: &str, options: &[&str]) -> Result<FieldInfo> {
        let named = |error: Error| error.during("provision").on(&kind.entity());
        let Some(path) = kind.fields_path().filter(|_| kind.has_custom_fields()) else {
            return Err(named(Error::unsupported("records of this kind have no custom fields")));
        };
        if let CustomType::Other(_) = CustomType::of(word) {
            return Err(named(Error::config("the type of the field is not one of Pipedrive's")));
        }
        let labels = |missing: &[&str]| Value::Array(missing.iter().map(|label| json!({"label": label})).collect());
        let (at, body) = match self.known_field(kind, name).await.map_err(named)? {
            Some(field) if field.kind != CustomType::of(word) => {
                return Err(named(Error::config(format!("the field {} exists with another type, which cannot be changed", field.key))));
            }
            Some(field) => {
                let has = |label: &str| field.options.iter().any(|option| option.label == label);
                let missing: Vec<&str> = options.iter().copied().filter(|label| !has(label)).collect();
                if missing.is_empty() {
                    return Ok(field);
                }
                (format!("/{}/options", field.key), labels(&missing))
            }
            None => {
                let mut body = json!({"field_name": name, "field_type": word});
                if let (false, Some(map)) = (options.is_empty(), body.as_object_mut()) {
                    map.insert("options".to_owned(), labels(options));
                }
                (String::new(), body)
            }
        };
        let call = Call::post("provision", self.path(ApiVersion::V2, path, &at, &[])).json(&body)?;
        self.send(&call, WRITE).await.map_err(named)?;
        let found = self.known_field(kind, name).await.map_err(named)?;
        found.ok_or_else(|| named(Error::decode("pipedrive made the field and does not list it").ambiguous()))
    }

    /// The field as the account has it now.
    async fn known_field(&self, kind: Kind, name: &str) -> Result<Option<FieldInfo>> {
        let map = self.fields_not_older(kind, Duration::ZERO).await?;
        match map.find(name) {
            Ok(field) => Ok(Some(field.clone())),
            Err(_) if !map.fields().iter().any(|field| field.custom && field.name == name) => Ok(None),
            Err(error) => Err(Error::new(ErrorKind::Config, error.to_string())),
        }
    }
}
