//! The host's words and the CRM's, translated. Pure.
