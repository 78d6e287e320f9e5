//! The kinds of records as entities, by the words in their paths.

use crate::model::Entity;

/// A call, meeting or task.
pub const ACTIVITIES: Entity = Entity::from_static("activities");
/// The kinds of activities.
pub const ACTIVITY_TYPES: Entity = Entity::from_static("activityTypes");
/// A deal.
pub const DEALS: Entity = Entity::from_static("deals");
/// A lead; it has the custom fields of deals.
pub const LEADS: Entity = Entity::from_static("leads");
/// A label of leads.
pub const LEAD_LABELS: Entity = Entity::from_static("leadLabels");
/// A note on a record.
pub const NOTES: Entity = Entity::from_static("notes");
/// A company.
pub const ORGANIZATIONS: Entity = Entity::from_static("organizations");
/// A person.
pub const PERSONS: Entity = Entity::from_static("persons");
/// A way deals go.
pub const PIPELINES: Entity = Entity::from_static("pipelines");
/// A thing that is sold.
pub const PRODUCTS: Entity = Entity::from_static("products");
/// A step of a pipeline.
pub const STAGES: Entity = Entity::from_static("stages");
/// A user of the account.
pub const USERS: Entity = Entity::from_static("users");
