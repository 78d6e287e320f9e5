//! Single records with all that a read or a write can carry.

use serde_json::{Value, json};

use crate::error::{ErrorKind, Result};
use crate::hubspot::associations::NewAssociation;
use crate::hubspot::client::{HubSpot, list};
use crate::hubspot::limits::MAX_NAMES;
use crate::hubspot::paths::segment;
use crate::hubspot::record::HubSpotRecord;
use crate::model::{Entity, Fields, RecordId};
use crate::rest::Call;

/// What a read of one record asks for beside its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Properties; empty asks for the default ones. Unknown names are ignored by HubSpot.
    pub properties: Vec<String>,
    /// Properties whose earlier values are wanted too.
    pub history: Vec<String>,
    /// Kinds of record whose associations are wanted, e.g. `companies`.
    pub associations: Vec<String>,
    /// A unique property whose value stands in place of the id, e.g. `email`.
    pub id_property: Option<String>,
    /// Look in the recycle bin.
    pub archived: bool,
}

impl ReadOptions {
    /// The default properties and nothing more.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`ReadOptions::properties`].
    #[must_use]
    pub fn properties(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.properties = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`ReadOptions::history`].
    #[must_use]
    pub fn history(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.history = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`ReadOptions::associations`].
    #[must_use]
    pub fn associations(mut self, kinds: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.associations = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`ReadOptions::id_property`].
    #[must_use]
    pub fn id_property(mut self, name: impl Into<String>) -> Self {
        self.id_property = Some(name.into());
        self
    }

    /// Sets [`ReadOptions::archived`].
    #[must_use]
    pub fn archived(mut self, archived: bool) -> Self {
        self.archived = archived;
        self
    }

    fn query(&self, properties: &[String]) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (name, values) in
            [("properties", properties), ("propertiesWithHistory", self.history.as_slice()), ("associations", self.associations.as_slice())]
        {
            if !values.is_empty() {
                parts.push(format!("{name}={}", list(values)));
            }
        }
        if let Some(property) = &self.id_property {
            parts.push(format!("idProperty={}", segment(property)));
        }
        if self.archived {
            parts.push("archived=true".to_owned());
        }
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }
}

/// Names in portions that fit into a URL (HubSpot answers 414 at about 900 names).
fn portions(names: &[String]) -> Vec<&[String]> {
    let mut portions = Vec::new();
    let mut rest = names;
    while !rest.is_empty() {
        let mut room = MAX_NAMES;
        let fits = rest.iter().take_while(|name| {
            let fits = name.len() < room;
            room = room.saturating_sub(name.len() + 1);
            fits
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        portions.push(now);
        rest = later;
    }
    if portions.is_empty() { vec![names] } else { portions }
}

impl HubSpot {
    /// One record with what `options` ask for; `None` if it does not exist. One request for each 6,000 characters of property
    /// names, which are read one portion after the other.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn read(&self, entity: &Entity, id: &str, options: &ReadOptions) -> Result<Option<HubSpotRecord>> {
        let path = self.row_path(entity, id)?;
        let mut whole: Option<HubSpotRecord> = None;
        for names in portions(&options.properties) {
            let call = Call::get("get", format!("{path}{}", options.query(names)));
            let part: HubSpotRecord = match self.send(&call).await {
                Ok(answer) => answer.json().map_err(|error| error.on(entity))?,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.on(entity)),
            };
            match &mut whole {
                Some(whole) => whole.properties.merge(part.properties),
                None => whole = Some(part),
            }
        }
        Ok(whole)
    }

    /// Makes a record that is associated from the start. Not repeatable, see [`HubSpot::create`].
    ///
    /// # Errors
    /// See [`HubSpot::create`]; [`ErrorKind::Config`] for an association without a type.
    pub async fn create_associated(&self, entity: &Entity, fields: &Fields, associations: &[NewAssociation]) -> Result<HubSpotRecord> {
        let ties: Vec<Value> = associations.iter().map(NewAssociation::body).collect::<Result<_>>()?;
        self.create_with(entity, fields, Some(ties)).await
    }

    /// Erases a contact for good (GDPR): its address is then refused by imports. Cannot be undone. With `id_property`, `id` is
    /// that property's value, e.g. an email address. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn gdpr_delete(&self, id: &RecordId, id_property: Option<&str>) -> Result<()> {
        let contacts = crate::hubspot::entity::CONTACTS;
        let mut body = json!({ "objectId": id.as_str() });
        if let (Some(property), Some(object)) = (id_property, body.as_object_mut()) {
            object.insert("idProperty".to_owned(), json!(property));
        }
        match self.send(&Call::post("erase", format!("{}/gdpr-delete", self.objects(&contacts))).json(&body)?).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(&contacts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_read_in_portions() {
        let names: Vec<String> = (0..900).map(|n| format!("property_number_{n:04}")).collect();
        let parts = portions(&names);
        assert!(parts.len() > 2 && parts.iter().all(|part| list(part).len() <= MAX_NAMES));
        assert_eq!(parts.concat(), names);
        assert_eq!(portions(&[]), [&[] as &[String]], "one read all the same");
    }

    #[test]
    fn queries_name_what_is_wanted() {
        let options = ReadOptions::new().properties(["a", "b c"]).associations(["companies"]).id_property("email").archived(true);
        assert_eq!(options.query(&options.properties), "?properties=a,b%20c&associations=companies&idProperty=email&archived=true");
        assert_eq!(ReadOptions::new().query(&[]), "");
    }
}
