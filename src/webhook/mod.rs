//! Webhooks: raw bytes in, a verified event out.
