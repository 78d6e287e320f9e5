//! Pipelines: plan, apply, resolve.
