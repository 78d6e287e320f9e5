//! How one logs in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::jwt::JwtSpec;
use crate::custom::operation::BodyEncoding;
use crate::custom::pointer::Paths;
use crate::document::suggest::did_you_mean;

/// How one logs in. Secrets are named here, and given by the host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AuthSpec {
    /// A key in a header or in the query.
    ApiKey {
        /// The name of the secret.
        secret: String,
        /// The header it goes into. Exactly one of header and query.
        #[serde(default)]
        header: Option<String>,
        /// The query parameter it goes into. Addresses stand in logs: prefer a header.
        #[serde(default)]
        query: Option<String>,
        /// What stands before it in the header, e.g. `Token `.
        #[serde(default)]
        prefix: String,
    },
    /// User and password in each request.
    Basic {
        /// The user: a text, with variables and `{secret}`, for APIs whose key is the user.
        user: String,
        /// The name of the secret; none: an empty one.
        #[serde(default)]
        secret: Option<String>,
        /// The password: a text, with variables and `{secret}`. Default: the secret, unless it is in the user.
        #[serde(default)]
        password: Option<String>,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// The name of the secret.
        secret: String,
    },
    /// One of several, by a variable: the host's configuration decides.
    Choose {
        /// The variable whose value names the way.
        by: String,
        /// The ways. Only the secrets of the chosen one are asked for.
        ways: BTreeMap<String, AuthSpec>,
    },
    /// A token signed here, anew before the last one ends.
    Jwt {
        /// What it says, and who signs it.
        sign: JwtSpec,
        /// Where the token goes. Default: `Authorization: Bearer`.
        #[serde(default)]
        inject: Option<Inject>,
    },
    /// Nobody asks.
    #[default]
    None,
    /// OAuth 2.0.
    Oauth2 {
        /// The token endpoint: a path from the base URL, or an absolute URL with variables.
        token_url: String,
        /// The grant.
        grant: TokenGrant,
        /// The client's id: a text, with variables.
        client_id: String,
        /// The name of the client's secret.
        #[serde(default)]
        client_secret: Option<String>,
        /// The name of the secret with the first refresh token.
        #[serde(default)]
        refresh_token: Option<String>,
        /// What is signed, for the grant `jwt_bearer`.
        #[serde(default)]
        assertion: Option<JwtSpec>,
        /// What is asked for.
        #[serde(default)]
        scopes: Vec<String>,
        /// Between scopes. Default: a blank.
        #[serde(default)]
        scope_separator: Option<String>,
        /// Where id and secret go.
        #[serde(default)]
        placement: Placement,
        /// Further parameters of the request.
        #[serde(default)]
        extra: BTreeMap<String, String>,
        /// How the answer is read.
        #[serde(default)]
        answer: TokenAnswer,
        /// Where the token goes. Default: `Authorization: Bearer`.
        #[serde(default)]
        inject: Option<Inject>,
    },
    /// Several keys, each with an allowance of its own. They take turns; one that the API calls too busy rests, and the request
    /// is sent again with the next: at most one request for each key. One that is refused (revoked, say) is passed over for five
    /// minutes while there are others; that all of them are refused is an error of the credentials.
    Pool {
        /// The names of the secrets.
        secrets: Vec<String>,
        /// The header it goes into. Default: `Authorization: Bearer`.
        #[serde(default)]
        header: Option<String>,
        /// The query parameter it goes into instead. Addresses stand in logs: prefer a header.
        #[serde(default)]
        query: Option<String>,
        /// What stands before it in the header, e.g. `Token `.
        #[serde(default)]
        prefix: String,
    },
    /// A login that answers a token, perhaps with a way to renew it.
    Session {
        /// The login.
        login: TokenRequest,
        /// The renewal with `{refresh_token}`; without it one logs in again.
        #[serde(default)]
        refresh: Option<TokenRequest>,
        /// How the answers are read.
        #[serde(default)]
        answer: TokenAnswer,
        /// Where the token goes. Default: `Authorization: Bearer`.
        #[serde(default)]
        inject: Option<Inject>,
    },
}

/// Where a token goes: exactly one of header and query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Inject {
    /// The header.
    pub header: Option<String>,
    /// The query parameter. Addresses stand in logs: prefer a header.
    pub query: Option<String>,
    /// What stands before it, e.g. `Token ` or `Bearer `.
    pub prefix: String,
}

/// An OAuth grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenGrant {
    /// The application itself.
    ClientCredentials,
    /// A signed assertion (RFC 7523).
    JwtBearer,
    /// A refresh token, which may rotate.
    RefreshToken,
}

/// Where the client's id and secret go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// An `Authorization: Basic` header.
    Basic,
    /// The form.
    #[default]
    Body,
    /// The query.
    Query,
}

/// A request that answers a token.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TokenRequest {
    /// Default: POST.
    #[serde(default)]
    pub method: Option<String>,
    /// The path from the base URL.
    pub path: String,
    /// Headers; values may hold variables, `{secret:name}` and `{refresh_token}`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, with the same placeholders.
    #[serde(default)]
    pub body: Option<Value>,
    /// How the body is written. Default: JSON.
    #[serde(default)]
    pub encoding: BodyEncoding,
}

/// How the answer of a token request is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TokenAnswer {
    /// The token. Default: `access_token`, `token`, `data.token`, `session_id`.
    pub token: Paths,
    /// A header with the token instead.
    pub token_header: Option<String>,
    /// The cookie (`Set-Cookie`) whose value is the token instead. Give it back with `inject: {header: Cookie, prefix: "name="}`.
    pub token_cookie: Option<String>,
    /// The next refresh token. Default: `refresh_token`.
    pub refresh_token: Paths,
    /// How long it lasts, or when it ends. Default: `expires_in`.
    pub expires: Paths,
    /// What `expires` is.
    pub expiry: Expiry,
    /// The base URL the token is for, if the answer names one. Default: `instance_url`, `api_domain`.
    pub instance_url: Paths,
    /// The seconds a token lasts if the answer does not say.
    pub lifetime: Option<u64>,
    /// Error codes that mean that a person has to authorize again. Default: `invalid_grant`, `access_denied`, `consent_required`.
    pub revoked: Vec<String>,
}

impl Default for TokenAnswer {
    fn default() -> Self {
        let first = |names: &[&str]| Paths::First(names.iter().map(|name| (*name).to_owned()).collect());
        Self {
            token: first(&["access_token", "token", "data.token", "session_id"]),
            token_header: None,
            token_cookie: None,
            refresh_token: Paths::from("refresh_token"),
            expires: Paths::from("expires_in"),
            expiry: Expiry::Seconds,
            instance_url: first(&["instance_url", "api_domain"]),
            lifetime: None,
            revoked: ["invalid_grant", "access_denied", "consent_required"].map(str::to_owned).to_vec(),
        }
    }
}

/// What the member with the expiry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expiry {
    /// A date and time.
    Date,
    /// Thousandths of seconds from now.
    Milliseconds,
    /// Seconds from now.
    #[default]
    Seconds,
    /// Seconds since 1970.
    EpochSeconds,
    /// Thousandths of seconds since 1970.
    EpochMilliseconds,
}

impl AuthSpec {
    /// Itself, or the way the variables choose.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn chosen(&self, variables: &BTreeMap<String, String>) -> Result<&Self, String> {
        let Self::Choose { by, ways } = self else { return Ok(self) };
        let name = variables.get(by).ok_or_else(|| format!("the variable {by:?}, which chooses how one logs in, is not set"))?;
        ways.get(name).ok_or_else(|| {
            let help = did_you_mean(name, ways.keys().map(String::as_str));
            let known = || format!("known: {}", ways.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
            format!("the variable {by:?} names no way to log in; {}", help.unwrap_or_else(known))
        })
    }

    /// The names of the secrets it needs.
    pub(super) fn secrets(&self) -> Vec<&str> {
        fn in_request<'a>(request: &'a TokenRequest, found: &mut Vec<&'a str>) {
            let mut texts: Vec<&'a str> = request.headers.values().map(String::as_str).collect();
            fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
                match value {
                    Value::String(text) => texts.push(text),
                    Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
                    Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
                    _ => {}
                }
            }
            if let Some(body) = &request.body {
                collect(body, &mut texts);
            }
            for text in texts {
                let mut rest = text;
                while let Some((_, after)) = rest.split_once("{secret:") {
                    let Some((name, tail)) = after.split_once('}') else { break };
                    found.push(name.trim());
                    rest = tail;
                }
            }
        }
        match self {
            Self::ApiKey { secret, .. } | Self::Bearer { secret } => vec![secret],
            Self::Basic { secret, .. } => secret.iter().map(String::as_str).collect(),
            Self::None => Vec::new(),
            Self::Choose { ways, .. } => ways.values().flat_map(Self::secrets).collect(),
            Self::Pool { secrets, .. } => secrets.iter().map(String::as_str).collect(),
            Self::Jwt { sign, .. } => sign.secret.iter().map(String::as_str).collect(),
            Self::Oauth2 { client_secret, refresh_token, assertion, .. } => {
                let key = assertion.as_ref().and_then(|sign| sign.secret.as_ref());
                client_secret.iter().chain(refresh_token).chain(key).map(String::as_str).collect()
            }
            Self::Session { login, refresh, .. } => {
                let mut found = Vec::new();
                in_request(login, &mut found);
                if let Some(refresh) = refresh {
                    in_request(refresh, &mut found);
                }
                found
            }
        }
    }

    /// Where the token goes, if not into `Authorization: Bearer`.
    pub(super) fn inject(&self) -> Option<Inject> {
        match self {
            Self::ApiKey { header, query, prefix, .. } => {
                Some(Inject { header: header.clone(), query: query.clone(), prefix: prefix.clone() })
            }
            Self::Pool { header: None, query: None, .. } => None,
            Self::Pool { header, query, prefix, .. } => {
                Some(Inject { header: header.clone(), query: query.clone(), prefix: prefix.clone() })
            }
            Self::Jwt { inject, .. } | Self::Oauth2 { inject, .. } | Self::Session { inject, .. } => inject.clone(),
            _ => None,
        }
    }

    /// True if a refused token can be replaced without a person.
    pub(super) fn renewable(&self) -> bool {
        matches!(self, Self::Jwt { .. } | Self::Oauth2 { .. } | Self::Session { .. })
    }

    /// What has to be signed.
    pub(super) fn signed(&self) -> Option<&JwtSpec> {
        match self {
            Self::Jwt { sign, .. } => Some(sign),
            Self::Oauth2 { assertion, .. } => assertion.as_ref(),
            _ => None,
        }
    }
}
