//! The one place where a call to a CRM is made.
