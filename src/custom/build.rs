//! From a definition to an adapter.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::adapter::Capabilities;
use crate::auth::{Renewable, Signer, StaticToken, TokenCache, TokenSource};
use crate::custom::auth::AuthSpec;
use crate::custom::connection::Custom;
use crate::custom::definition::{Definition, EntitySpec, ValueType};
use crate::custom::exchange::DefinedExchange;
use crate::custom::hooks::{Hooks, NoHooks};
use crate::custom::jwt::Minter;
use crate::custom::shared::{Key, Shared};
use crate::custom::template::{Names, Template};
use crate::custom::validate::resolve;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::rest::segment;

/// Builds a [`Custom`].
pub struct CustomBuilder {
    definition: Definition,
    transport: Arc<dyn HttpTransport>,
    host: Host,
    variables: BTreeMap<String, String>,
    secrets: BTreeMap<String, SecretString>,
    cache: Option<Arc<dyn TokenCache>>,
    signer: Option<Arc<dyn Signer>>,
    hooks: Arc<dyn Hooks>,
}

/// Names only.
impl fmt::Debug for CustomBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomBuilder").field("name", &self.definition.name).field("secrets", &self.secrets.keys()).finish_non_exhaustive()
    }
}

impl Custom {
    /// Begins an adapter for `definition`.
    pub fn builder(definition: Definition, transport: impl HttpTransport + 'static, host: Host) -> CustomBuilder {
        CustomBuilder::new(definition, Arc::new(transport), host)
    }
}

impl CustomBuilder {
    fn new(definition: Definition, transport: Arc<dyn HttpTransport>, host: Host) -> Self {
        let (variables, secrets) = (BTreeMap::new(), BTreeMap::new());
        Self { definition, transport, host, variables, secrets, cache: None, signer: None, hooks: Arc::new(NoHooks) }
    }

    /// What a variable stands for, instead of what the definition says.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// A secret the definition names.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.secrets.insert(name.into(), secret.into());
        self
    }

    /// Where tokens are kept, so that a rotated refresh token survives a restart. Default: in memory.
    #[must_use]
    pub fn token_cache(mut self, cache: Arc<dyn TokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Who signs tokens (RS256), if the key is not a secret given here: a key management service, say.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Code of the host's own.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = hooks;
        self
    }

    /// The adapter. Nothing is sent.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] naming a secret or variable that is missing, or one the definition does not know.
    pub fn build(self) -> Result<Custom> {
        let Self { definition, transport, host, variables, secrets, cache, signer, hooks } = self;
        let template = Template::parse(&definition.base_url).map_err(Error::config)?;
        let unknown =
            variables.keys().find(|name| !definition.variables.contains_key(*name) && !template.names().any(|known| known == *name));
        if let Some(unknown) = unknown {
            return Err(Error::config(format!("the definition has no variable {unknown:?}")));
        }
        let mut all = definition.variables.clone();
        all.extend(variables);
        let variables = resolve(&all).map_err(|(_, reason)| Error::config(reason))?;
        let base = base_url(&template, &variables)?;
        let auth = definition.auth.chosen(&variables).map_err(Error::config)?.clone();
        let (wanted, known) = (auth.secrets(), definition.auth.secrets());
        let hook = definition.webhook.as_ref().and_then(|webhook| webhook.secret.as_deref());
        if let Some(missing) = wanted.iter().find(|name| !secrets.contains_key(**name)) {
            return Err(Error::config(format!("the secret {missing:?} that the definition names was not given")));
        }
        if let Some(extra) = secrets.keys().find(|name| !known.contains(&name.as_str()) && hook != Some(name.as_str())) {
            return Err(Error::config(format!("the definition names no secret {extra:?}")));
        }

        let key = format!("custom:{}:{}", definition.name, base.as_str());
        let tokens: Vec<Arc<dyn TokenSource>> = match &auth {
            AuthSpec::ApiKey { secret, .. } | AuthSpec::Bearer { secret } => vec![fixed(secrets.get(secret))],
            AuthSpec::Basic { secret, .. } => vec![fixed(secret.as_ref().and_then(|name| secrets.get(name)))],
            AuthSpec::Choose { .. } | AuthSpec::None => vec![fixed(None)],
            AuthSpec::Pool { secrets: names, .. } => names.iter().map(|name| fixed(secrets.get(name))).collect(),
            AuthSpec::Jwt { .. } | AuthSpec::Oauth2 { .. } | AuthSpec::Session { .. } => {
                let minter = auth.signed().map(|spec| Minter::new(spec, &secrets, signer.as_ref())).transpose()?;
                let (root, through) = (base.clone(), Arc::clone(&transport));
                let exchange = DefinedExchange::new(&auth, &variables, &secrets, minter, root, through, host.clone())?;
                vec![match cache {
                    Some(cache) => Arc::new(Renewable::new(Arc::new(exchange), cache, key, host.clone())),
                    None => Arc::new(Renewable::in_memory(Arc::new(exchange), key, host.clone())),
                }]
            }
        };
        if let AuthSpec::Basic { user, password, .. } = &auth {
            let names = Names { of: variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() };
            let names = names.with("secret", "");
            for text in [Some(user), password.as_ref()].into_iter().flatten() {
                Template::parse(text).map_err(Error::config)?.plain(&names).map_err(|name| missing(&name))?;
            }
        }
        let capabilities = capabilities(&definition);
        let keys = tokens.into_iter().map(|tokens| Key::new(tokens, &definition.rate)).collect();
        let webhook_secret = hook.and_then(|name| secrets.get(name)).cloned();
        Ok(Custom::new(Shared {
            definition,
            variables,
            auth,
            base,
            transport,
            keys,
            turn: AtomicUsize::new(0),
            host,
            hooks,
            capabilities,
            webhook_secret,
            described: Mutex::default(),
        }))
    }
}

fn missing(name: &str) -> Error {
    Error::config(format!("the variable {name:?} is not set"))
}

fn fixed(secret: Option<&SecretString>) -> Arc<dyn TokenSource> {
    let text = secret.map_or("", |secret| secret.expose_secret());
    Arc::new(StaticToken::new(SecretString::from(text.to_owned()), None))
}

/// Variables in the host part must be plain host names, those in the path are encoded: neither can lead elsewhere.
fn base_url(template: &Template, variables: &BTreeMap<String, String>) -> Result<Url> {
    let names = Names { of: variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() };
    let host_safe = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_'));
    let dummy = template.render(&names, |_| Some("x".to_owned())).map_err(|name| missing(&name))?;
    // The parts come in order: what was rendered so far tells whether the path has begun.
    let text = template.walk(&names, |before, value| {
        let in_path = before.find("://").and_then(|at| before.get(at + 3..)).is_some_and(|rest| rest.contains('/'));
        if in_path { segment(value) } else { host_safe(value).then(|| value.to_owned()) }
    });
    let text = text.map_err(|name| Error::config(format!("the variable {name:?} cannot stand in the base URL")))?;
    let url = Url::parse(&text).map_err(|_| Error::config("the base URL is no URL once its variables are filled in"))?;
    let expected = Url::parse(&dummy).map_err(|_| Error::config("the base URL is no URL"))?;
    let steps = |url: &Url| url.path().split('/').count();
    if !matches!(url.scheme(), "http" | "https")
        || url.scheme() != expected.scheme()
        || steps(&url) != steps(&expected)
        || !url.username().is_empty()
        || url.query().is_some()
    {
        return Err(Error::config("a variable leads the base URL elsewhere"));
    }
    Ok(url)
}

/// What all entities can do together: the guard layer may only promise what holds for each.
fn capabilities(definition: &Definition) -> Capabilities {
    let entities: Vec<&EntitySpec> =
        if definition.entities.is_empty() { vec![&definition.defaults] } else { definition.entities.values().collect() };
    let every = |has: &dyn Fn(&EntitySpec) -> bool| !entities.is_empty() && entities.iter().all(|entity| has(entity));
    let mut can = Capabilities::basic("id");
    if let Some(first) = entities.first() {
        can.id_field = first.id_name().to_owned().into();
    }
    can.search = every(&|entity| entity.search.is_some());
    let filters: Vec<_> = entities.iter().filter_map(|entity| entity.search.as_ref()).collect();
    can.search_with_or = can.search && filters.iter().all(|search| search.filter.or.is_some());
    can.search_with_not = can.search && filters.iter().all(|search| search.filter.not.is_some());
    can.search_with_order = can.search && filters.iter().all(|search| search.sort.is_some());
    can.search_case_sensitive = filters.iter().any(|search| search.filter.case_sensitive);
    can.search_read_your_writes = filters.iter().all(|search| search.reads_own_writes.unwrap_or(true));
    can.search_max_in = filters.iter().filter_map(|search| search.filter.max_in).min().unwrap_or(0);
    can.create = every(&|entity| entity.create.is_some());
    can.update = every(&|entity| entity.update.is_some());
    can.update_with_version =
        every(&|entity| entity.version.as_ref().is_some_and(|version| version.etag || version.quoted || version.send.is_some()));
    can.delete = every(&|entity| entity.delete.is_some());
    can.upsert = every(&|entity| entity.upsert.is_some() || entity.client_id);
    can.bulk = every(&|entity| entity.all_batches().next().is_some());
    can.bulk_max_ops = entities.iter().flat_map(|entity| entity.all_batches()).map(|batch| batch.max).min().unwrap_or(0);
    can.changes = every(&|entity| entity.changes.is_some());
    can.changes_with_deletes = every(&|entity| entity.changes.as_ref().is_some_and(|changes| changes.deletes || changes.removed.is_some()));
    let refers = |entity: &EntitySpec| entity.fields.values().any(|field| field.kind == ValueType::Reference);
    can.associate = every(&|entity| entity.update.is_some() && refers(entity));
    can.describe = every(&|entity| entity.schema.is_some() || !entity.fields.is_empty());
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(template: &str, variables: &[(&str, &str)]) -> Result<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        base_url(&Template::parse(template).unwrap(), &variables).map(|url| url.to_string())
    }

    #[test]
    fn variables_stay_in_their_place() {
        assert_eq!(url("https://{t}.x.io/b/{bucket}", &[("t", "acme"), ("bucket", "a")]).unwrap(), "https://acme.x.io/b/a");
        assert_eq!(url("http://{host}/v1", &[("host", "127.0.0.1:80")]).unwrap(), "http://127.0.0.1/v1");
        assert_eq!(url("https://x.io/{b}", &[("b", "a/../c?d")]).unwrap(), "https://x.io/a%2F..%2Fc%3Fd");
        for evil in ["evil.com/", "evil.com#", "a@evil.com", "", "evil.com\\"] {
            assert!(url("https://{t}.x.io", &[("t", evil)]).is_err(), "{evil}");
            assert!(url("https://{t}.x.io/v1", &[("t", evil)]).is_err(), "{evil}");
        }
        assert!(url("https://{t}.x.io", &[]).unwrap_err().message().contains("\"t\""));
    }
}
