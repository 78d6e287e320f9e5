//! What a sync must remember.
