//! Signed tokens (RFC 7519): the credential itself, or the assertion that buys one (RFC 7523).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::{Signer, compact};
use crate::custom::template::{Names, Template, fill};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::webhook::signature::hmac_sha256;

/// What a signed token says, and who signs it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JwtSpec {
    /// Default: `rs256`.
    #[serde(default)]
    pub algorithm: JwtAlgorithm,
    /// The name of the secret with the key: PEM for `rs256` (feature `jwt`), the shared text for `hs256`. Without it the host's
    /// signer signs, see [`CustomBuilder::signer`](crate::custom::CustomBuilder::signer).
    #[serde(default)]
    pub secret: Option<String>,
    /// The `kid` of the header: a text, with variables.
    #[serde(default)]
    pub key_id: Option<String>,
    /// The `iss`: a text, with variables.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The `sub`: a text, with variables.
    #[serde(default)]
    pub subject: Option<String>,
    /// The `aud`: a text, with variables.
    #[serde(default)]
    pub audience: Option<String>,
    /// Further claims, as templates with variables. `iat`, `exp` and `jti` are always there.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
    /// How many seconds one is good for. Default: 180.
    #[serde(default = "three_minutes")]
    pub lifetime: u64,
}

fn three_minutes() -> u64 {
    180
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA with SHA-256 and a private key.
    #[default]
    Rs256,
}

/// Makes tokens the way a definition says.
pub(super) struct Minter {
    spec: JwtSpec,
    signer: Arc<dyn Signer>,
}

impl Minter {
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if nobody can sign.
    pub(super) fn new(spec: &JwtSpec, secrets: &BTreeMap<String, SecretString>, signer: Option<&Arc<dyn Signer>>) -> Result<Self> {
        let key = spec.secret.as_ref().and_then(|name| secrets.get(name));
        let signer: Arc<dyn Signer> = match (spec.algorithm, key, signer) {
            (JwtAlgorithm::Hs256, Some(key), _) => Arc::new(Shared(key.clone())),
            (JwtAlgorithm::Rs256, Some(key), None) => rsa(key)?,
            (_, _, Some(signer)) => Arc::clone(signer),
            (_, None, None) => {
                return Err(Error::config("nobody signs: name the secret with the key in the definition, or give CustomBuilder::signer"));
            }
        };
        Ok(Self { spec: spec.clone(), signer })
    }

    /// A fresh token, and when it ends.
    pub(super) async fn mint(&self, names: &Names<'_>, host: &Host) -> Result<(SecretString, Timestamp)> {
        let spec = &self.spec;
        let unset = |name: String| Error::config(format!("the variable {name:?} is not set"));
        let text = |template: &str| -> Result<Value> {
            Ok(Value::String(Template::parse(template).map_err(Error::config)?.plain(names).map_err(unset)?))
        };
        let now = host.now();
        let ends = now.checked_add(Duration::from_secs(spec.lifetime)).map_err(|_| Error::config("a token cannot last so long"))?;
        let mut claims = Map::new();
        for (name, template) in &spec.claims {
            claims.insert(name.clone(), fill(template, names, &BTreeMap::new()).map_err(unset)?);
        }
        for (name, template) in [("iss", &spec.issuer), ("sub", &spec.subject), ("aud", &spec.audience)] {
            if let Some(template) = template {
                claims.insert(name.to_owned(), text(template)?);
            }
        }
        claims.insert("iat".to_owned(), now.as_second().into());
        claims.insert("exp".to_owned(), ends.as_second().into());
        claims.insert("jti".to_owned(), host.new_id().into());
        let algorithm = match spec.algorithm {
            JwtAlgorithm::Hs256 => "HS256",
            JwtAlgorithm::Rs256 => "RS256",
        };
        let mut header = Map::from_iter([("alg".to_owned(), algorithm.into()), ("typ".to_owned(), "JWT".into())]);
        if let Some(key_id) = &spec.key_id {
            header.insert("kid".to_owned(), text(key_id)?);
        }
        let (header, claims) = (Value::Object(header).to_string(), Value::Object(claims).to_string());
        Ok((compact(header.as_bytes(), claims.as_bytes(), &*self.signer).await?, ends))
    }
}

#[cfg(feature = "jwt")]
fn rsa(key: &SecretString) -> Result<Arc<dyn Signer>> {
    Ok(Arc::new(crate::auth::RsaSigner::from_pem(key)?))
}

#[cfg(not(feature = "jwt"))]
fn rsa(_: &SecretString) -> Result<Arc<dyn Signer>> {
    Err(Error::config("signing with RS256 here needs the feature jwt; without it give CustomBuilder::signer"))
}

struct Shared(SecretString);

/// Never the key.
impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[async_trait]
impl Signer for Shared {
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(hmac_sha256(self.0.expose_secret().as_bytes(), &[message]).to_vec())
    }
}
