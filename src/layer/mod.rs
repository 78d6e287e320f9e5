//! Decorators of an adapter: retry, rate limit, observe, guard.
