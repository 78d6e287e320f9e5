//! Which credential is sent, and where it may go.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use url::{Host as UrlHost, Url};

use crate::auth::{AccessToken, TokenSource};
use crate::error::{Error, Result};

/// How the token is sent. A user's token in `Authorization: Bearer` is refused, so that the two are never mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    ApiToken,
    Bearer,
}

/// An absolute URL without query and user: https, or http where nothing leaves the machine or the name is reserved for tests
/// (RFC 6761). A token in plain text on a network is everybody's.
pub(crate) fn origin(option: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none());
    let url = url.filter(|url| url.query().is_none() && url.fragment().is_none());
    let Some(url) = url else {
        return Err(Error::config(format!("the Pipedrive {option} must be an absolute https URL without user and query")));
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local(&url) => Ok(url),
        _ => Err(Error::config(format!("the Pipedrive {option} must be https: the token would travel in plain text"))),
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(UrlHost::Ipv4(address)) => address.is_loopback(),
        Some(UrlHost::Ipv6(address)) => address.is_loopback(),
        Some(UrlHost::Domain(name)) => {
            name == "localhost" || [".localhost", ".test"].iter().any(|reserved| name.ends_with(reserved)) || name == "test"
        }
        None => false,
    }
}

/// A source whose `api_domain` is looked at before a token goes there.
#[derive(Debug)]
pub(crate) struct CheckedTokens {
    inner: Arc<dyn TokenSource>,
    /// True if the tokens are Pipedrive's own, which belong to its hosts alone.
    official: bool,
}

impl CheckedTokens {
    pub(crate) fn new(inner: Arc<dyn TokenSource>, official: bool) -> Self {
        Self { inner, official }
    }

    fn check(&self, token: AccessToken) -> Result<AccessToken> {
        let Some(domain) = token.instance_url() else { return Ok(token) };
        let url = origin("api_domain of the token", domain)?;
        let host = url.host_str().unwrap_or_default();
        let own = host == "pipedrive.com" || host.ends_with(".pipedrive.com");
        if self.official && !(own && url.scheme() == "https") {
            return Err(Error::decode("the token answer names an api_domain that is not Pipedrive's; the token was not sent there"));
        }
        Ok(token)
    }
}

#[async_trait]
impl TokenSource for CheckedTokens {
    async fn token(&self) -> Result<AccessToken> {
        self.check(self.inner.token().await?)
    }

    async fn refresh(&self, stale: &AccessToken) -> Result<AccessToken> {
        self.check(self.inner.refresh(stale).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::StaticToken;
    use futures_util::FutureExt;
    use secrecy::SecretString;

    #[test]
    fn plain_http_stays_on_the_machine() {
        for good in ["https://acme.pipedrive.com", "http://127.0.0.1:8080", "http://[::1]/", "http://localhost", "http://sandbox.test"] {
            assert!(origin("x", good).is_ok(), "{good}");
        }
        for bad in ["http://acme.pipedrive.com", "ftp://x.test", "acme", "https://a:b@x.com", "https://x.com/?a", "http://latest"] {
            assert!(origin("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pipedrives_tokens_go_to_pipedrive() {
        let ask = |domain: &str, official| {
            let source = Arc::new(StaticToken::new(SecretString::from("t"), Some(domain.to_owned())));
            CheckedTokens::new(source, official).token().now_or_never().unwrap().is_ok()
        };
        assert!(ask("https://acme.pipedrive.com", true));
        assert!(!ask("https://pipedrive.com.evil.example", true) && !ask("https://evilpipedrive.com", true));
        assert!(!ask("http://localhost:1", true) && ask("http://localhost:1", false));
    }
}
