//! Which CRM's forms are written.

/// The wire forms of a CRM: what a boolean, a day or a cleared field looks like there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Plain JSON: values keep their JSON type, multi-selects are texts joined with `;`, null clears.
    #[default]
    Custom,
    /// Every value is a text, the empty text clears ("CRM properties" in HubSpot's API reference).
    Hubspot,
    /// Strict JSON types, options by number, money and times as objects (Pipedrive API v2, "Custom fields").
    Pipedrive,
    /// JSON with ids of 18 characters and multi-selects joined with `;` (Salesforce "Primitive Data Types").
    Salesforce,
}

impl Profile {
    /// By the name the host gives the CRM: `salesforce`, `HubSpot`, `pipedrive-eu`; anything else is [`Custom`](Self::Custom).
    pub fn by_name(crm: &str) -> Self {
        let crm = crm.to_ascii_lowercase();
        if crm.contains("salesforce") {
            Self::Salesforce
        } else if crm.contains("hubspot") {
            Self::Hubspot
        } else if crm.contains("pipedrive") {
            Self::Pipedrive
        } else {
            Self::Custom
        }
    }
}
