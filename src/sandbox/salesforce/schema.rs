//! Objects and fields of the pretend org.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of a field, as `describe` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldKind {
    /// A compound address; read only.
    Address,
    /// A checkbox.
    Boolean,
    /// An amount of money.
    Currency,
    /// A calendar day.
    Date,
    /// An instant, to the second.
    DateTime,
    /// A number with decimals.
    Double,
    /// An e-mail address.
    Email,
    /// The record's own id.
    Id,
    /// A whole number.
    Int,
    /// Text that can be neither filtered nor sorted.
    LongText,
    /// Several values of a list, separated by semicolons.
    MultiPicklist,
    /// A percentage.
    Percent,
    /// A phone number.
    Phone,
    /// One value of a list.
    Picklist,
    /// The id of another record.
    Reference,
    /// One line of text.
    Text,
    /// A few lines of text.
    TextArea,
    /// A web address.
    Url,
}

impl FieldKind {
    pub(crate) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Email | Self::LongText | Self::MultiPicklist | Self::Phone | Self::Picklist | Self::Text | Self::TextArea | Self::Url
        )
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Currency | Self::Double | Self::Int | Self::Percent)
    }

    /// The word `describe` uses.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Boolean => "boolean",
            Self::Currency => "currency",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Double => "double",
            Self::Email => "email",
            Self::Id => "id",
            Self::Int => "int",
            Self::LongText | Self::TextArea => "textarea",
            Self::MultiPicklist => "multipicklist",
            Self::Percent => "percent",
            Self::Phone => "phone",
            Self::Picklist => "picklist",
            Self::Reference => "reference",
            Self::Text => "string",
            Self::Url => "url",
        }
    }
}

/// A field of an object: made by a constructor, refined by the setters. A new field is optional, writable and filterable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldDef {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: FieldKind,
    pub(crate) length: usize,
    pub(crate) precision: u32,
    pub(crate) scale: u32,
    pub(crate) nillable: bool,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) defaulted: bool,
    pub(crate) unique: bool,
    pub(crate) external_id: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) id_lookup: bool,
    pub(crate) name_field: bool,
    pub(crate) picklist: Vec<String>,
    pub(crate) restricted: bool,
    pub(crate) refs: Vec<String>,
    pub(crate) relationship: Option<String>,
    pub(crate) child_name: Option<String>,
    pub(crate) compound: Option<String>,
}

impl FieldDef {
    /// A field of any kind; `length` counts characters and is ignored by kinds that are not text.
    pub fn new(name: impl Into<String>, kind: FieldKind, length: usize) -> Self {
        let name = name.into();
        let bare = name.strip_suffix("__c").unwrap_or(&name);
        let label = if name.ends_with("__c") { bare.replace('_', " ") } else { spaced(bare) };
        let (precision, scale) = match kind {
            FieldKind::Currency => (18, 2),
            FieldKind::Double => (18, 2),
            FieldKind::Percent => (18, 2),
            FieldKind::Int => (9, 0),
            _ => (0, 0),
        };
        Self {
            name,
            label,
            kind,
            length,
            precision,
            scale,
            nillable: kind != FieldKind::Boolean,
            createable: true,
            updateable: true,
            default: (kind == FieldKind::Boolean).then_some(Value::Bool(false)),
            defaulted: kind == FieldKind::Boolean,
            unique: false,
            external_id: false,
            case_sensitive: false,
            id_lookup: false,
            name_field: false,
            picklist: Vec::new(),
            restricted: false,
            refs: Vec::new(),
            relationship: None,
            child_name: None,
            compound: None,
        }
    }

    /// One line of text of at most `length` characters.
    pub fn text(name: impl Into<String>, length: usize) -> Self {
        Self::new(name, FieldKind::Text, length)
    }

    /// A number with `precision` digits in all, `scale` of them after the point.
    pub fn number(name: impl Into<String>, precision: u32, scale: u32) -> Self {
        Self { precision, scale, ..Self::new(name, FieldKind::Double, 0) }
    }

    /// A picklist that takes other values too, as Salesforce's standard ones do; see [`FieldDef::restricted`].
    pub fn picklist<'a>(name: impl Into<String>, values: impl IntoIterator<Item = &'a str>) -> Self {
        let picklist = values.into_iter().map(str::to_owned).collect();
        Self { picklist, ..Self::new(name, FieldKind::Picklist, 255) }
    }

    /// A lookup to `targets`. SOQL reaches the parent by `relationship` (`Account`, `Parent__r`).
    pub fn lookup<'a>(name: impl Into<String>, targets: impl IntoIterator<Item = &'a str>, relationship: &str) -> Self {
        let refs = targets.into_iter().map(str::to_owned).collect();
        let relationship = (!relationship.is_empty()).then(|| relationship.to_owned());
        Self { refs, relationship, ..Self::new(name, FieldKind::Reference, 18) }
    }

    /// The name people see.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// A create must fill it.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nillable = false;
        self
    }

    /// Nobody can write it through the API.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.createable = false;
        self.updateable = false;
        self
    }

    /// It can be set on create alone.
    #[must_use]
    pub fn create_only(mut self) -> Self {
        self.updateable = false;
        self
    }

    /// What a create without the field stores.
    #[must_use]
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self.defaulted = true;
        self
    }

    /// Two records cannot hold the same value; letters are compared without regard to case.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Records can be addressed by it.
    #[must_use]
    pub fn external_id(mut self) -> Self {
        self.external_id = true;
        self.id_lookup = true;
        self
    }

    /// A picklist refuses values that are not in the list.
    #[must_use]
    pub fn restricted(mut self) -> Self {
        self.restricted = true;
        self
    }

    /// The name by which a parent's child subquery reaches this object's records.
    #[must_use]
    pub fn children(mut self, name: &str) -> Self {
        self.child_name = Some(name.to_owned());
        self
    }

    pub(crate) fn defaulted(mut self) -> Self {
        self.defaulted = true;
        self
    }

    pub(crate) fn id_lookup(mut self) -> Self {
        self.id_lookup = true;
        self
    }

    pub(crate) fn name_field(mut self) -> Self {
        self.name_field = true;
        self
    }

    pub(crate) fn part_of(mut self, compound: &str) -> Self {
        self.compound = Some(compound.to_owned());
        self
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    pub(crate) fn filterable(&self) -> bool {
        !matches!(self.kind, FieldKind::LongText | FieldKind::Address)
    }

    pub(crate) fn sortable(&self) -> bool {
        self.filterable() && self.kind != FieldKind::MultiPicklist
    }

    pub(crate) fn groupable(&self) -> bool {
        self.sortable() && !matches!(self.kind, FieldKind::Currency | FieldKind::Double | FieldKind::Percent | FieldKind::DateTime)
    }

    /// The relationship of a lookup may lead to several objects.
    pub(crate) fn polymorphic(&self) -> bool {
        self.refs.len() > 1
    }
}

fn spaced(name: &str) -> String {
    let mut text = String::new();
    let mut before = ' ';
    let name = name.strip_suffix("Id").filter(|rest| !rest.is_empty()).map_or_else(|| name.to_owned(), |rest| format!("{rest}ID"));
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            text.push(' ');
        }
        text.push(letter);
        before = letter;
    }
    text
}

/// An object of the org.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectDef {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) plural: String,
    pub(crate) prefix: String,
    pub(crate) writable: bool,
    pub(crate) fields: Vec<FieldDef>,
    #[serde(skip)]
    by_name: HashMap<String, usize>,
}

impl ObjectDef {
    /// An object with the system fields. `prefix` are the first three characters of its ids (custom objects: `a00` and on).
    pub fn new(name: impl Into<String>, prefix: impl Into<String>, fields: Vec<FieldDef>) -> Self {
        let name = name.into();
        let label = name.strip_suffix("__c").map_or_else(|| spaced(&name), |bare| bare.replace('_', " "));
        let plural = label.strip_suffix('y').map_or_else(|| format!("{label}s"), |stem| format!("{stem}ies"));
        let mut all = vec![
            FieldDef::new("Id", FieldKind::Id, 18).label(format!("{label} ID")).read_only().required().defaulted().id_lookup(),
            FieldDef::new("IsDeleted", FieldKind::Boolean, 0).label("Deleted").read_only(),
        ];
        all.extend(fields);
        let stamps = [
            FieldDef::new("CreatedDate", FieldKind::DateTime, 0),
            FieldDef::lookup("CreatedById", ["User"], "CreatedBy"),
            FieldDef::new("LastModifiedDate", FieldKind::DateTime, 0),
            FieldDef::lookup("LastModifiedById", ["User"], "LastModifiedBy"),
            FieldDef::new("SystemModstamp", FieldKind::DateTime, 0),
        ];
        all.extend(stamps.into_iter().map(|field| field.read_only().required().defaulted()));
        let mut object = Self { name, label, plural, prefix: prefix.into(), writable: true, fields: all, by_name: HashMap::new() };
        object.reindex();
        object
    }

    pub(crate) fn not_writable(mut self) -> Self {
        self.writable = false;
        self
    }

    pub(crate) fn reindex(&mut self) {
        self.by_name = self.fields.iter().enumerate().map(|(at, field)| (field.name.to_lowercase(), at)).collect();
    }

    /// A field by its name in any case.
    pub(crate) fn field(&self, name: &str) -> Option<&FieldDef> {
        let at = self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase()))?;
        self.fields.get(*at)
    }

    /// The lookup behind a relationship name.
    pub(crate) fn relation(&self, name: &str) -> Option<&FieldDef> {
        self.fields.iter().find(|field| field.relationship.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    pub(crate) fn name_field(&self) -> Option<&FieldDef> {
        self.fields.iter().find(|field| field.name_field)
    }

    pub(crate) fn is_indexed(field: &FieldDef) -> bool {
        field.unique || field.external_id || field.id_lookup || field.kind == FieldKind::Email || field.kind == FieldKind::Reference
    }
}

/// All objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    objects: BTreeMap<String, Arc<ObjectDef>>,
    by_lower: HashMap<String, String>,
    by_prefix: HashMap<String, String>,
}

impl Schema {
    pub(crate) fn add(&mut self, mut object: ObjectDef) {
        object.reindex();
        self.by_lower.insert(object.name.to_lowercase(), object.name.clone());
        self.by_prefix.insert(object.prefix.clone(), object.name.clone());
        self.objects.insert(object.name.clone(), Arc::new(object));
    }

    /// An object by its name in any case.
    pub(crate) fn object(&self, name: &str) -> Option<&Arc<ObjectDef>> {
        self.objects.get(name).or_else(|| self.objects.get(self.by_lower.get(&name.to_lowercase())?))
    }

    /// The object an id belongs to.
    pub(crate) fn of_id(&self, id: &str) -> Option<&Arc<ObjectDef>> {
        self.objects.get(self.by_prefix.get(id.get(..3)?)?)
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<ObjectDef>> {
        self.objects.values()
    }

    pub(crate) fn prefix_taken(&self, prefix: &str) -> bool {
        self.by_prefix.contains_key(prefix)
    }

    /// Children of `parent`: the child object and its lookup.
    pub(crate) fn children<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = (&'a Arc<ObjectDef>, &'a FieldDef)> {
        self.objects.values().flat_map(move |child| {
            child.fields.iter().filter(move |field| field.refs.iter().any(|target| target == parent)).map(move |field| (child, field))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_like_salesforce() {
        assert_eq!(FieldDef::text("LastName", 80).label, "Last Name");
        assert_eq!(FieldDef::text("UTM_Source__c", 80).label, "UTM Source");
        assert_eq!(FieldDef::lookup("OwnerId", ["User"], "Owner").label, "Owner ID");
        assert_eq!(ObjectDef::new("CampaignMember", "00v", Vec::new()).plural, "Campaign Members");
        assert_eq!(ObjectDef::new("Opportunity", "006", Vec::new()).plural, "Opportunities");
    }
}
