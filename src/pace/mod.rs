//! How fast and how often: arithmetic only.
