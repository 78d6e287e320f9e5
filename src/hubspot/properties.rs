//! Properties of an object, and what they say about its fields.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::paths::segment;
use crate::model::{Entity, EntitySchema, FieldSchema, FieldType, Picklist, PicklistValue};
use crate::rest::Call;

/// One choice of an enumeration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct PropertyOption {
    /// What people see.
    pub label: String,
    /// What is stored.
    pub value: String,
    /// Its place; -1 at the end.
    pub display_order: i64,
    /// Not offered any more.
    pub hidden: bool,
}

/// A property's definition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Property {
    /// Its internal name: lower case letters, digits and `_`, beginning with a letter.
    pub name: String,
    /// What people see.
    pub label: String,
    /// `string`, `number`, `bool`, `enumeration`, `date`, `datetime` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it is shown: `text`, `select`, `checkbox` and others; each type has its own.
    pub field_type: String,
    /// The group it is listed in; required, but for the properties a custom object is made with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_name: String,
    /// The choices of an enumeration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<PropertyOption>,
    /// Two records cannot hold the same value. Fixed at creation.
    pub has_unique_value: bool,
    #[serde(skip_serializing)]
    calculated: bool,
    #[serde(skip_serializing)]
    modification_metadata: Option<Value>,
}

impl Property {
    /// A definition.
    pub fn new(
        name: impl Into<String>,
        label: impl Into<String>,
        kind: impl Into<String>,
        field_type: impl Into<String>,
        group: impl Into<String>,
    ) -> Self {
        let (name, label, kind) = (name.into(), label.into(), kind.into());
        Self { name, label, kind, field_type: field_type.into(), group_name: group.into(), ..Self::default() }
    }

    /// Adds a choice.
    #[must_use]
    pub fn option(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        let display_order = i64::try_from(self.options.len()).unwrap_or(-1);
        self.options.push(PropertyOption { label: label.into(), value: value.into(), display_order, hidden: false });
        self
    }

    /// Sets [`Property::has_unique_value`].
    #[must_use]
    pub fn unique(mut self, unique: bool) -> Self {
        self.has_unique_value = unique;
        self
    }

    /// What HubSpot would refuse, before it is asked.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming property and fault.
    pub fn check(&self) -> Result<()> {
        let fault = |what: &str| Err(Error::config(format!("the property {:?} {what}", self.name)));
        let plain = self.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !plain || !self.name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return fault("needs a name of lower case letters, digits and _, beginning with a letter");
        }
        if self.label.is_empty() {
            return fault("needs a label");
        }
        let allowed: &[&str] = match self.kind.as_str() {
            "bool" => &["booleancheckbox", "calculation_equation"],
            "enumeration" => &["booleancheckbox", "checkbox", "radio", "select", "calculation_equation"],
            "date" | "datetime" => &["date"],
            "string" => &["text", "textarea", "html", "file", "phonenumber", "calculation_equation"],
            "number" => &["number", "calculation_equation"],
            "phone_number" => &["phonenumber"],
            _ => return fault("has a type that cannot be created"),
        };
        if !allowed.contains(&self.field_type.as_str()) {
            return fault(&format!("needs a fieldType that its type takes: {}", allowed.join(", ")));
        }
        if self.options.iter().any(|option| option.label.is_empty() || option.value.is_empty()) {
            return fault("has an option without label or value");
        }
        if self.kind == "enumeration" && self.options.is_empty() && self.field_type != "calculation_equation" {
            return fault("is an enumeration without options");
        }
        Ok(())
    }

    fn schema(self) -> FieldSchema {
        let kind = match (self.kind.as_str(), self.field_type.as_str()) {
            _ if self.name == "hs_object_id" => FieldType::Id,
            ("bool", _) => FieldType::Boolean,
            ("number", _) => FieldType::Decimal { scale: None },
            ("date", _) => FieldType::Date,
            ("datetime", _) => FieldType::DateTime { whole_seconds: false },
            ("enumeration", "checkbox") => FieldType::MultiPicklist,
            ("enumeration", _) => FieldType::Picklist,
            ("phone_number", _) | (_, "phonenumber") => FieldType::Phone,
            _ if self.name == "email" => FieldType::Email,
            ("string", _) => FieldType::Text,
            _ => FieldType::Any,
        };
        let flag = |name: &str| self.modification_metadata.as_ref().and_then(|data| data.get(name)).and_then(Value::as_bool);
        let writable = !self.calculated && flag("readOnlyValue") != Some(true);
        let mut field = FieldSchema::new(self.name, kind);
        field.label = self.label;
        (field.creatable, field.updatable, field.unique, field.external_id) =
            (writable, writable, self.has_unique_value, self.has_unique_value);
        if self.kind == "string" {
            field.max_length = Some(65_536);
        }
        if !self.options.is_empty() {
            let mut list = Picklist::of(true, Vec::<String>::new());
            list.values = self
                .options
                .into_iter()
                .map(|option| {
                    let mut value = PicklistValue::new(option.value);
                    (value.label, value.active) = (option.label, !option.hidden);
                    value
                })
                .collect();
            field.picklist = Some(list);
        }
        field
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Property>,
}

impl HubSpot {
    /// Every property of an object.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn properties(&self, entity: &Entity) -> Result<Vec<Property>> {
        let call = Call::get("describe", self.config.api_version.properties(entity.as_str()));
        let answer: Answer = self.send(&call).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))?;
        Ok(answer.results)
    }

    /// Makes the property unless it exists; an existing enumeration gets the options it lacks and keeps its own (HubSpot
    /// replaces the list as a whole). True if something changed. Up to three requests; repeatable.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a definition that cannot work or an existing property of another type; see [`HubSpot`].
    pub async fn ensure_property(&self, entity: &Entity, wanted: &Property) -> Result<bool> {
        wanted.check().map_err(|error| error.during("provision").on(entity))?;
        let path = format!("{}/{}", self.config.api_version.properties(entity.as_str()), segment(&wanted.name));
        let known = match self.send(&Call::get("provision", path)).await {
            Ok(answer) => Some(answer.json::<Property>()?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.on(entity)),
        };
        self.bring_up(entity, wanted, known.as_ref()).await
    }

    /// Makes a property that is not `known`, or gives it the options it lacks.
    pub(super) async fn bring_up(&self, entity: &Entity, wanted: &Property, known: Option<&Property>) -> Result<bool> {
        let base = self.config.api_version.properties(entity.as_str());
        let path = format!("{base}/{}", segment(&wanted.name));
        let raced: Property;
        let existing = match known {
            Some(known) => known,
            None => {
                if wanted.group_name.is_empty() {
                    let message = format!("the property {:?} needs a group", wanted.name);
                    return Err(Error::config(message).during("provision").on(entity));
                }
                match self.send(&Call::post("provision", base).json(wanted)?).await {
                    Ok(_) => return Ok(true),
                    // Somebody else was faster.
                    Err(error) if error.kind() == ErrorKind::Duplicate => {
                        raced = self.send(&Call::get("provision", path.clone())).await?.json()?;
                        &raced
                    }
                    Err(error) => return Err(error.on(entity)),
                }
            }
        };
        if existing.kind != wanted.kind || existing.has_unique_value != wanted.has_unique_value {
            let message = format!("the property {:?} exists with another type or uniqueness, which cannot be changed", wanted.name);
            return Err(Error::config(message).during("provision").on(entity));
        }
        let mut options = existing.options.clone();
        let new = wanted.options.iter().filter(|option| !existing.options.iter().any(|known| known.value == option.value));
        options.extend(new.cloned());
        if options.len() == existing.options.len() {
            return Ok(false);
        }
        self.send(&Call::patch("provision", path).json(&serde_json::json!({ "options": options }))?)
            .await
            .map_err(|error| error.on(entity))?;
        Ok(true)
    }

    /// Changes label or group of a property.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn update_property(&self, entity: &Entity, name: &str, label: Option<&str>, group: Option<&str>) -> Result<Property> {
        let path = format!("{}/{}", self.config.api_version.properties(entity.as_str()), segment(name));
        let mut body = serde_json::Map::new();
        for (key, value) in [("label", label), ("groupName", group)] {
            if let Some(value) = value {
                body.insert(key.to_owned(), Value::from(value));
            }
        }
        self.send(&Call::patch("provision", path).json(&body)?).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))
    }

    /// Archives a property. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn delete_property(&self, entity: &Entity, name: &str) -> Result<()> {
        let path = format!("{}/{}", self.config.api_version.properties(entity.as_str()), segment(name));
        match self.send(&Call::delete("provision", path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(entity)),
        }
    }

    /// Makes a group of properties unless it exists. True if it is new. One or two requests; repeatable.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn ensure_property_group(&self, entity: &Entity, name: &str, label: &str) -> Result<bool> {
        let base = format!("{}/groups", self.config.api_version.properties(entity.as_str()));
        match self.send(&Call::get("provision", format!("{base}/{}", segment(name)))).await {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.on(entity)),
        }
        let body = serde_json::json!({ "name": name, "label": label, "displayOrder": -1 });
        match self.send(&Call::post("provision", base).json(&body)?).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Duplicate => Ok(false),
            Err(error) => Err(error.on(entity)),
        }
    }

    pub(super) async fn describe_entity(&self, entity: &Entity) -> Result<EntitySchema> {
        let fields = self.properties(entity).await?.into_iter().map(Property::schema).collect();
        Ok(EntitySchema::new(entity.clone(), entity.as_str(), fields))
    }
}
