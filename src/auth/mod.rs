//! Tokens: where they come from, where they are kept, and how one renewal at a time happens.
//!
//! [`OAuthClient`] speaks the grants, [`TokenCache`] keeps what they answer, [`Renewable`] puts the two together into a
//! [`TokenSource`]. No token is ever shown by `Debug` or in an error.

mod cache;
mod oauth;
mod token;

pub use cache::{CachedToken, MemoryTokenCache, StoredToken, TokenCache};
pub use oauth::{Authorization, OAuthClient, OAuthGrant, pkce_challenge};
pub use token::{AccessToken, Exchange, Renewable, StaticToken, TokenSource};
