//! Schemas of custom objects: checked, repaired, made once and kept up to date.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::entity::type_id;
use crate::hubspot::paths::segment;
use crate::hubspot::properties::Property;
use crate::model::Entity;
use crate::rest::Call;

/// Names people see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectLabels {
    /// Of one record.
    pub singular: String,
    /// Of many.
    pub plural: String,
}

/// A custom object. Plain data: reads what HubSpot answers and what its guides show. Custom objects need an Enterprise account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct ObjectSchema {
    /// Internal name; cannot be changed later.
    pub name: String,
    /// Names people see.
    pub labels: ObjectLabels,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The property that names a record.
    pub primary_display_property: String,
    /// Shown below it; the first two are seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secondary_display_properties: Vec<String>,
    /// Looked into by searches without a property; up to 20.
    pub searchable_properties: Vec<String>,
    /// A record cannot be made without them.
    pub required_properties: Vec<String>,
    /// Its own properties.
    pub properties: Vec<Property>,
    /// Objects it can be associated with, by type id (`0-1`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub associated_objects: Vec<String>,
    /// `2-NNN`, given by HubSpot.
    #[serde(skip_serializing)]
    pub object_type_id: Option<String>,
    /// `p{portal}_{name}`, given by HubSpot.
    #[serde(skip_serializing)]
    pub fully_qualified_name: Option<String>,
    /// `None` if the answer does not tell.
    #[serde(skip_serializing)]
    associations: Option<Vec<Linked>>,
}

/// A kind of association that an object has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linked {
    from_object_type_id: String,
    to_object_type_id: String,
}

impl Linked {
    fn joins(&self, one: &str, other: &str) -> bool {
        let (from, to) = (self.from_object_type_id.as_str(), self.to_object_type_id.as_str());
        (from, to) == (one, other) || (to, from) == (one, other)
    }
}

/// What a provisioning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provisioned {
    /// The object's type id, which paths take.
    pub object_type_id: String,
    /// Whether it was made just now.
    pub created: bool,
    /// Properties made or given more options.
    pub properties: Vec<String>,
    /// Whether its lists (required, searchable, shown) were changed.
    pub lists: bool,
    /// Objects it can be associated with now and could not before, by type id.
    pub associations: Vec<String>,
}

impl ObjectSchema {
    /// An object with one property, which names its records.
    pub fn new(name: impl Into<String>, singular: impl Into<String>, plural: impl Into<String>, display: Property) -> Self {
        Self {
            name: name.into(),
            labels: ObjectLabels { singular: singular.into(), plural: plural.into() },
            primary_display_property: display.name.clone(),
            properties: vec![display],
            ..Self::default()
        }
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// What HubSpot would refuse, before it is asked: each fault with the name it is about.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let word = self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !word || !self.name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            faults.push(format!("name: {:?} must be letters, digits and _, beginning with a letter", self.name));
        }
        if self.labels.singular.is_empty() || self.labels.plural.is_empty() {
            faults.push("labels: singular and plural are needed".to_owned());
        }
        let known = |name: &str| name.starts_with("hs_") || self.properties.iter().any(|property| property.name == name);
        let primary = std::slice::from_ref(&self.primary_display_property);
        for (list, names) in [
            ("primaryDisplayProperty", primary),
            ("secondaryDisplayProperties", &self.secondary_display_properties),
            ("searchableProperties", &self.searchable_properties),
            ("requiredProperties", &self.required_properties),
        ] {
            faults.extend(names.iter().filter(|name| !known(name)).map(|name| format!("{list}: {name:?} is not among the properties")));
        }
        if self.searchable_properties.len() > 20 {
            faults.push("searchableProperties: at most 20".to_owned());
        }
        for property in &self.properties {
            if let Err(error) = property.check() {
                faults.push(format!("properties: {}", error.message()));
            }
        }
        for name in &self.associated_objects {
            let id = name.split_once('-').is_some_and(|(group, id)| {
                [group, id].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
            });
            if !id {
                faults.push(format!("associatedObjects: {name:?} is not a type id"));
            }
        }
        faults
    }

    /// Mends what can be mended without a guess about the data, and says what was done, by name: a missing `fieldType` becomes the
    /// usual one of the type, display and search lists lose names that are no property, standard objects get their type ids. What
    /// is left is told by [`ObjectSchema::faults`].
    #[must_use]
    pub fn repaired(mut self) -> (Self, Vec<String>) {
        let mut done = Vec::new();
        for property in &mut self.properties {
            if property.kind.is_empty() {
                property.kind = "string".to_owned();
                done.push(format!("properties: {:?} has no type; it is a string", property.name));
            }
            if property.field_type.is_empty() {
                property.field_type = match property.kind.as_str() {
                    "bool" => "booleancheckbox",
                    "enumeration" => "select",
                    "date" | "datetime" => "date",
                    "number" => "number",
                    "phone_number" => "phonenumber",
                    _ => "text",
                }
                .to_owned();
                done.push(format!("properties: {:?} has no fieldType; it is {}", property.name, property.field_type));
            }
        }
        let names: Vec<String> = self.properties.iter().map(|property| property.name.clone()).collect();
        for (list, shown) in [
            ("secondaryDisplayProperties", &mut self.secondary_display_properties),
            ("searchableProperties", &mut self.searchable_properties),
        ] {
            shown.retain(|name| {
                let known = name.starts_with("hs_") || names.contains(name);
                if !known {
                    done.push(format!("{list}: {name:?} is not among the properties; left out"));
                }
                known
            });
        }
        for name in &mut self.associated_objects {
            if let Some(id) = type_id(name).filter(|id| id != name) {
                done.push(format!("associatedObjects: {name:?} is {id}"));
                id.clone_into(name);
            }
        }
        (self, done)
    }

    fn checked(&self) -> Result<()> {
        let faults = self.faults();
        let Some(first) = faults.first() else { return Ok(()) };
        let more = if faults.len() > 1 { format!(" (and {} more)", faults.len() - 1) } else { String::new() };
        let error = Error::config(format!("the schema of {:?} cannot work: {first}{more}", self.name));
        Err(error.with_fields(faults.into_iter().map(|fault| FieldError::new(fault, None)).collect()))
    }
}

#[derive(Deserialize)]
struct Schemas {
    #[serde(default = "Vec::new")]
    results: Vec<ObjectSchema>,
}

fn added(wanted: &[String], there: &[String]) -> Option<Vec<String>> {
    let new: Vec<String> = wanted.iter().filter(|name| !there.contains(name)).cloned().collect();
    (!new.is_empty()).then(|| there.iter().cloned().chain(new).collect())
}

impl HubSpot {
    /// The account's custom objects.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn object_schemas(&self) -> Result<Vec<ObjectSchema>> {
        let schemas: Schemas = self.send(&Call::get("describe", self.config.api_version.schemas())).await?.json()?;
        Ok(schemas.results)
    }

    /// One custom object, by type id (`2-NNN`) or full name; `None` if there is none.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn object_schema(&self, object: &Entity) -> Result<Option<ObjectSchema>> {
        let path = format!("{}/{}", self.config.api_version.schemas(), segment(object.as_str()));
        match self.send(&Call::get("describe", path)).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.on(object)),
        }
    }

    /// Makes the object unless one of this name is there; what is there gets the properties, options, list entries and
    /// associations it lacks, and loses nothing. Two requests for what is there already, and one or two for each property or
    /// association that is not as wanted; associations stay as they are if the answer does not tell which there are. Repeatable: a
    /// second run changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a schema that cannot work, before anything is sent, with every fault among
    /// [`Error::fields`]; see [`HubSpot`].
    pub async fn ensure_object(&self, wanted: &ObjectSchema) -> Result<Provisioned> {
        wanted.checked().map_err(|error| error.during("provision"))?;
        let named = |schemas: Vec<ObjectSchema>| schemas.into_iter().find(|known| known.name.eq_ignore_ascii_case(&wanted.name));
        let there = match named(self.object_schemas().await?) {
            Some(there) => there,
            None => match self.send(&Call::post("provision", self.config.api_version.schemas()).json(wanted)?).await {
                Ok(answer) => {
                    let made: ObjectSchema = answer.json()?;
                    let properties = wanted.properties.iter().map(|property| property.name.clone()).collect();
                    let associations = wanted.associated_objects.clone();
                    return Ok(Provisioned { object_type_id: made.id()?, created: true, properties, lists: false, associations });
                }
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::Duplicate => {
                    named(self.object_schemas().await?).ok_or_else(|| error.during("provision"))?
                }
                Err(error) => return Err(error),
            },
        };
        let id = there.id()?;
        let object = Entity::new(id.clone());
        let known = self.properties(&object).await?;
        let mut done = Provisioned { object_type_id: id, ..Provisioned::default() };
        for property in &wanted.properties {
            let mut property = property.clone();
            if property.group_name.is_empty() {
                // A property made by itself needs a group; that of the object's own is the one its others are in.
                let groups = known.iter().filter(|known| !known.name.starts_with("hs_"));
                property.group_name = groups.map(|known| known.group_name.clone()).find(|group| !group.is_empty()).unwrap_or_default();
            }
            if self.bring_up(&object, &property, known.iter().find(|known| known.name == property.name)).await? {
                done.properties.push(property.name);
            }
        }
        let mut patch = serde_json::Map::new();
        for (name, wanted, there) in [
            ("secondaryDisplayProperties", &wanted.secondary_display_properties, &there.secondary_display_properties),
            ("searchableProperties", &wanted.searchable_properties, &there.searchable_properties),
            ("requiredProperties", &wanted.required_properties, &there.required_properties),
        ] {
            if let Some(all) = added(wanted, there) {
                patch.insert(name.to_owned(), json!(all));
            }
        }
        if !patch.is_empty() {
            let path = format!("{}/{}", self.config.api_version.schemas(), segment(object.as_str()));
            self.send(&Call::patch("provision", path).json(&Value::Object(patch))?).await.map_err(|error| error.on(&object))?;
            done.lists = true;
        }
        for other in &wanted.associated_objects {
            // One that may be there is not made: it would be there twice.
            if there.associations.as_ref().is_none_or(|known| known.iter().any(|link| link.joins(&done.object_type_id, other))) {
                continue;
            }
            let name = format!("{}_to_{}", wanted.name, other.replace('-', "_"));
            let body = json!({ "fromObjectTypeId": done.object_type_id, "toObjectTypeId": other, "name": name });
            let path = format!("{}/{}/associations", self.config.api_version.schemas(), segment(object.as_str()));
            match self.send(&Call::post("provision", path).json(&body)?).await {
                Ok(_) => done.associations.push(other.clone()),
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::Duplicate => {}
                Err(error) => return Err(error.on(&object)),
            }
        }
        Ok(done)
    }

    /// Deletes a custom object that has no records any more. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn delete_object(&self, object: &Entity) -> Result<()> {
        let path = format!("{}/{}", self.config.api_version.schemas(), segment(object.as_str()));
        match self.send(&Call::delete("provision", path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(object)),
        }
    }
}

impl ObjectSchema {
    fn id(&self) -> Result<String> {
        let id = self.object_type_id.clone().or_else(|| self.fully_qualified_name.clone());
        id.ok_or_else(|| Error::decode(format!("hubspot answers no type id of the object {:?}", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_only_grow() {
        let names = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        assert_eq!(added(&names("a b"), &names("b c")), Some(names("b c a")));
        assert_eq!(added(&names("b"), &names("b c")), None);
    }
}
