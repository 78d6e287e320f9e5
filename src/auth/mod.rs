//! Tokens: where they come from, where they are kept, and how one renewal at a time happens.
//!
//! [`OAuthClient`] speaks the grants, [`TokenCache`] keeps what they answer, [`Renewable`] puts the two together into a
//! [`TokenSource`]. No token is ever shown by `Debug` or in an error.

mod cache;
mod jwt;
mod manage;
mod oauth;
#[cfg(feature = "jwt")]
mod rsa;
#[cfg(any(feature = "hubspot", feature = "pipedrive", feature = "salesforce"))]
mod secret;
mod token;

pub use cache::{CachedToken, MemoryTokenCache, StoredToken, TokenCache};
#[cfg(feature = "custom")]
pub(crate) use jwt::compact;
pub use jwt::{JwtBearer, Signer};
pub use manage::Introspection;
pub use oauth::{Authorization, OAuthClient, OAuthGrant, pkce_challenge};
#[cfg(feature = "jwt")]
pub use rsa::RsaSigner;
#[cfg(any(feature = "hubspot", feature = "pipedrive", feature = "salesforce"))]
pub(crate) use secret::optional_secret;
pub use token::{AccessToken, Exchange, Renewable, StaticToken, TokenSource};
