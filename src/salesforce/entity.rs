//! The standard objects the product touches, by API name.

use crate::model::Entity;

/// A company.
pub const ACCOUNT: Entity = Entity::from_static("Account");
/// A marketing campaign.
pub const CAMPAIGN: Entity = Entity::from_static("Campaign");
/// A lead or contact in a campaign.
pub const CAMPAIGN_MEMBER: Entity = Entity::from_static("CampaignMember");
/// A person at an account.
pub const CONTACT: Entity = Entity::from_static("Contact");
/// An appointment.
pub const EVENT: Entity = Entity::from_static("Event");
/// A person not yet qualified.
pub const LEAD: Entity = Entity::from_static("Lead");
/// A deal.
pub const OPPORTUNITY: Entity = Entity::from_static("Opportunity");
/// A to-do or a logged call.
pub const TASK: Entity = Entity::from_static("Task");
/// A user of the org.
pub const USER: Entity = Entity::from_static("User");
