//! The standard objects as Rust types, for hosts that want names checked by the compiler.
//!
//! Every member is optional, because what is read depends on the query, and what is absent is not written. Whatever a type
//! does not name is in `custom`, under its API name. Read with [`Salesforce::query`](crate::salesforce::Salesforce::query) or
//! [`Record::parse`](crate::model::Record::parse); write through
//! [`Fields::from_typed`](crate::model::Fields::from_typed), after which read-only members (compounds, `IsConverted`, ...)
//! must not be set.

use serde::{Deserialize, Serialize};

use crate::model::Fields;

macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(rename = $wire, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$kind>,
            )*
            /// Every other field, by API name.
            #[serde(flatten)]
            pub custom: Fields,
        }

        impl $name {
            /// Nothing set.
            pub fn new() -> Self {
                Self::default()
            }
        }
    };
}

object! {
    /// A person not yet qualified. A create needs `last_name` and `company`.
    Lead {
        /// The id; never written.
        id: String = "Id",
        /// At most 40 characters.
        first_name: String = "FirstName",
        /// At most 80 characters.
        last_name: String = "LastName",
        /// At most 80 characters.
        email: String = "Email",
        /// At most 255 characters.
        company: String = "Company",
        /// Job title.
        title: String = "Title",
        /// As typed.
        phone: String = "Phone",
        /// As typed.
        mobile_phone: String = "MobilePhone",
        /// Web address.
        website: String = "Website",
        /// Picklist.
        lead_source: String = "LeadSource",
        /// Picklist; the org has a default.
        status: String = "Status",
        /// Picklist.
        rating: String = "Rating",
        /// Picklist.
        industry: String = "Industry",
        /// Money, of up to 15 digits.
        annual_revenue: f64 = "AnnualRevenue",
        /// A whole number.
        number_of_employees: i64 = "NumberOfEmployees",
        /// Component of the read-only `Address`.
        street: String = "Street",
        /// Component of the read-only `Address`.
        city: String = "City",
        /// Component of the read-only `Address`.
        state: String = "State",
        /// Component of the read-only `Address`.
        postal_code: String = "PostalCode",
        /// Component of the read-only `Address`.
        country: String = "Country",
        /// A user or a queue.
        owner_id: String = "OwnerId",
        /// Wants no e-mail.
        has_opted_out_of_email: bool = "HasOptedOutOfEmail",
        /// Wants no calls.
        do_not_call: bool = "DoNotCall",
        /// Read-only.
        is_converted: bool = "IsConverted",
        /// Read-only; a day, not an instant.
        converted_date: String = "ConvertedDate",
        /// Read-only.
        converted_account_id: String = "ConvertedAccountId",
        /// Read-only.
        converted_contact_id: String = "ConvertedContactId",
        /// Read-only.
        converted_opportunity_id: String = "ConvertedOpportunityId",
        /// Read-only; an instant.
        created_date: String = "CreatedDate",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

object! {
    /// A person at an account. A create needs `last_name`.
    Contact {
        /// The id; never written.
        id: String = "Id",
        /// The account it belongs to.
        account_id: String = "AccountId",
        /// At most 40 characters.
        first_name: String = "FirstName",
        /// At most 80 characters.
        last_name: String = "LastName",
        /// At most 80 characters.
        email: String = "Email",
        /// As typed.
        phone: String = "Phone",
        /// As typed.
        mobile_phone: String = "MobilePhone",
        /// Job title.
        title: String = "Title",
        /// Department.
        department: String = "Department",
        /// Picklist.
        lead_source: String = "LeadSource",
        /// Component of the read-only `MailingAddress`.
        mailing_street: String = "MailingStreet",
        /// Component of the read-only `MailingAddress`.
        mailing_city: String = "MailingCity",
        /// Component of the read-only `MailingAddress`.
        mailing_state: String = "MailingState",
        /// Component of the read-only `MailingAddress`.
        mailing_postal_code: String = "MailingPostalCode",
        /// Component of the read-only `MailingAddress`.
        mailing_country: String = "MailingCountry",
        /// The contact this one reports to.
        reports_to_id: String = "ReportsToId",
        /// A user.
        owner_id: String = "OwnerId",
        /// Wants no e-mail.
        has_opted_out_of_email: bool = "HasOptedOutOfEmail",
        /// Read-only; an instant.
        created_date: String = "CreatedDate",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

object! {
    /// A company. A create needs `name`.
    Account {
        /// The id; never written.
        id: String = "Id",
        /// At most 255 characters.
        name: String = "Name",
        /// The account above it.
        parent_id: String = "ParentId",
        /// As typed.
        phone: String = "Phone",
        /// Web address.
        website: String = "Website",
        /// Picklist.
        industry: String = "Industry",
        /// Picklist.
        kind: String = "Type",
        /// Picklist.
        account_source: String = "AccountSource",
        /// Money, of up to 15 digits.
        annual_revenue: f64 = "AnnualRevenue",
        /// A whole number.
        number_of_employees: i64 = "NumberOfEmployees",
        /// Component of the read-only `BillingAddress`.
        billing_street: String = "BillingStreet",
        /// Component of the read-only `BillingAddress`.
        billing_city: String = "BillingCity",
        /// Component of the read-only `BillingAddress`.
        billing_state: String = "BillingState",
        /// Component of the read-only `BillingAddress`.
        billing_postal_code: String = "BillingPostalCode",
        /// Component of the read-only `BillingAddress`.
        billing_country: String = "BillingCountry",
        /// A user.
        owner_id: String = "OwnerId",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

object! {
    /// A deal. A create needs `name`, `stage_name` and `close_date`.
    Opportunity {
        /// The id; never written.
        id: String = "Id",
        /// At most 120 characters.
        name: String = "Name",
        /// The account it belongs to.
        account_id: String = "AccountId",
        /// Picklist.
        stage_name: String = "StageName",
        /// A day.
        close_date: String = "CloseDate",
        /// Money, of up to 15 digits; read-only if the deal has products.
        amount: f64 = "Amount",
        /// Percent.
        probability: f64 = "Probability",
        /// Picklist.
        kind: String = "Type",
        /// Picklist.
        lead_source: String = "LeadSource",
        /// The primary campaign.
        campaign_id: String = "CampaignId",
        /// On create only: becomes the primary contact role.
        contact_id: String = "ContactId",
        /// Read-only.
        is_closed: bool = "IsClosed",
        /// Read-only.
        is_won: bool = "IsWon",
        /// A user.
        owner_id: String = "OwnerId",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

object! {
    /// A marketing campaign. A create needs `name`, and a user with the Marketing User flag.
    Campaign {
        /// The id; never written.
        id: String = "Id",
        /// At most 80 characters.
        name: String = "Name",
        /// Picklist.
        kind: String = "Type",
        /// Picklist.
        status: String = "Status",
        /// A day.
        start_date: String = "StartDate",
        /// A day.
        end_date: String = "EndDate",
        /// False unless set; inactive campaigns are hidden from most lists.
        is_active: bool = "IsActive",
        /// The campaign above it.
        parent_id: String = "ParentId",
        /// Money, of up to 15 digits.
        budgeted_cost: f64 = "BudgetedCost",
        /// Money, of up to 15 digits.
        actual_cost: f64 = "ActualCost",
        /// Money, of up to 15 digits.
        expected_revenue: f64 = "ExpectedRevenue",
        /// Percent, not a count.
        expected_response: f64 = "ExpectedResponse",
        /// Text.
        description: String = "Description",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

object! {
    /// A lead or contact in a campaign: exactly one of `lead_id` and `contact_id` is set, on create only.
    CampaignMember {
        /// The id; never written.
        id: String = "Id",
        /// On create only.
        campaign_id: String = "CampaignId",
        /// On create only.
        lead_id: String = "LeadId",
        /// On create only.
        contact_id: String = "ContactId",
        /// One of the campaign's member statuses; decides `has_responded`.
        status: String = "Status",
        /// Read-only; follows from the status.
        has_responded: bool = "HasResponded",
        /// Read-only; a day.
        first_responded_date: String = "FirstRespondedDate",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

object! {
    /// A to-do or a logged call.
    Task {
        /// The id; never written.
        id: String = "Id",
        /// A lead or a contact.
        who_id: String = "WhoId",
        /// An account, an opportunity, a campaign or another record.
        what_id: String = "WhatId",
        /// At most 255 characters.
        subject: String = "Subject",
        /// Picklist.
        status: String = "Status",
        /// Picklist.
        priority: String = "Priority",
        /// A day.
        activity_date: String = "ActivityDate",
        /// At most 32,000 characters.
        description: String = "Description",
        /// A user.
        owner_id: String = "OwnerId",
        /// Read-only; an instant that moves with every change.
        system_modstamp: String = "SystemModstamp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_absent_is_not_written_and_the_rest_is_kept() {
        let fields = Fields::from_value(json!({"Id": "00Q", "LastName": "Ng", "Email": null, "Score__c": 7})).unwrap();
        let lead: Lead = fields.parse().unwrap();
        assert_eq!((lead.last_name.as_deref(), lead.email.as_deref()), (Some("Ng"), None));
        assert_eq!(lead.custom.get("Score__c"), Some(&json!(7)));
        let mut lead = lead;
        lead.id = None;
        assert_eq!(Fields::from_typed(&lead).unwrap().to_value(), json!({"LastName": "Ng", "Score__c": 7}));
    }
}
