//! What every transport must do, as a list of named checks.
//!
//! A transport over sockets is checked against a [`FarEnd`], an HTTP/1.1 server on loopback that behaves badly on demand: it
//! breaks connections, answers half a body, redirects, keeps silent. One that answers in process is checked with requests whose
//! status is known ([`Subject::answers`]); what needs a far end is skipped then.
//!
//! ```
//! # #[cfg(feature = "reqwest")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use crm_sync::conformance::transport::{FarEnd, Subject, check};
//! use crm_sync::host::Host;
//! use crm_sync::http::ReqwestTransport;
//!
//! let far_end = FarEnd::bind(Host::tokio()).await.unwrap();
//! let transport = ReqwestTransport::loopback().unwrap();
//! let subject = Subject::far_end(&far_end);
//! // The far end is a future too: nothing is spawned.
//! let report = far_end.serve_while(check(&transport, &subject)).await;
//! assert!(report.is_ok(), "{report}");
//! # }
//! # #[cfg(not(feature = "reqwest"))]
//! # fn main() {}
//! ```

mod answers;
mod breakage;
mod far_end;
mod list;
mod subject;
mod wire;

pub use far_end::FarEnd;
pub use list::check;
pub use subject::Subject;
