//! The contract every CRM fulfils.
