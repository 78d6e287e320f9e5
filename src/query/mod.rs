//! What to ask a CRM for, independent of its query language.
