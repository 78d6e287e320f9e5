//! Any other CRM: a REST API described as data.
