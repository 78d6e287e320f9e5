//! Access tokens: where they come from, one refresh however many wait.
