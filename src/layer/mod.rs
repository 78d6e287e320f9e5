//! Decorators of an adapter: retry, rate limit, breaker, observe, guard.
//!
//! A [`Middleware`] is one method around every call; [`Layered`] is an adapter and a middleware, and again an adapter. The one
//! that is added last is outermost. One order is right for nearly everybody:
//!
//! ```
//! # use std::sync::Arc;
//! # use crm_sync::adapter::CrmAdapter;
//! # use crm_sync::host::Host;
//! # use crm_sync::observe::Counts;
//! # use crm_sync::pace::{RetryPolicy, Window};
//! use crm_sync::layer::{Breaker, Guard, LayerExt, Observe, RateLimit, Retry};
//!
//! # fn layered(adapter: Arc<dyn CrmAdapter>, host: Host) -> Arc<dyn CrmAdapter> {
//! let adapter = adapter
//!     .layer(RateLimit::new(host.clone(), [Window::per_second(10)])) // every attempt takes its turn
//!     .layer(Breaker::new(host.clone())) // nothing goes out, and takes no turn, while the CRM is down
//!     .layer(Retry::new(host.clone(), RetryPolicy::default()))
//!     .layer(Guard::new()) // what is refused is not retried and takes no turn
//!     .layer(Observe::new(host, Counts::new())); // one event per call, however many attempts
//! Arc::new(adapter)
//! # }
//! ```
//!
//! A rate limit outside of the retry is the wrong order: the retries, which come when the CRM is already pressed, would pass
//! it by.
//!
//! Several processes at one account put [`SharedBudget`] where the rate limit is. On the way of a call only these and [`Retry`]
//! ever sleep. [`DryRun`] is an adapter around an adapter too, but not a
//! middleware: it answers writes itself.

mod api;
mod breaker;
mod dry_run;
mod guard;
mod layered;
mod line;
mod observe;
mod rate_limit;
mod retry;
mod shared_budget;
#[cfg(feature = "tracing")]
mod spans;

pub use api::{Call, Middleware};
pub use breaker::Breaker;
pub use dry_run::{DryRun, Planned};
pub use guard::Guard;
pub use layered::{LayerExt, Layered};
pub use observe::Observe;
pub use rate_limit::RateLimit;
pub use retry::Retry;
pub use shared_budget::SharedBudget;
#[cfg(feature = "tracing")]
pub use spans::{Spans, TracedQueue};
