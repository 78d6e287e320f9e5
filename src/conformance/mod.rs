//! The lists of tests every adapter and store must pass.
