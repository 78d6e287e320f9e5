//! Which webhooks the account sends here.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::error::{Error, Result};
use crate::model::RecordId;
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::resource::{Kind, Op};
use crate::rest::Call;
use crate::webhook::BasicVerifier;

/// Webhooks of one user (webhooks documentation); one more is answered with a 422.
pub const MOST_WEBHOOKS: usize = 40;

/// A webhook as the account knows it. The answer repeats the password; it is not kept.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Subscription {
    /// Its id.
    pub id: Option<i64>,
    /// Its name.
    pub name: Option<String>,
    /// `create`, `change`, `delete` or `*`.
    pub event_action: String,
    /// A kind in the singular, or `*`.
    pub event_object: String,
    /// Where it goes.
    pub subscription_url: String,
    /// `2.0` or `1.0`.
    pub version: Option<String>,
    /// Whose permissions decide what is sent.
    pub user_id: Option<i64>,
    /// 1, true, or null: whether it is sent.
    pub is_active: Value,
    /// When it was taken off, by whomever.
    pub remove_time: Option<String>,
    /// The status of the newest delivery. After three days without success the webhook is deleted.
    pub last_http_status: Option<i64>,
    /// When the newest delivery was.
    pub last_delivery_time: Option<String>,
}

impl Subscription {
    /// True unless it was switched off or taken away.
    pub fn active(&self) -> bool {
        self.remove_time.is_none() && !matches!(&self.is_active, Value::Bool(false)) && self.is_active != json!(0)
    }

    /// The id as a record's.
    pub fn record_id(&self) -> Option<RecordId> {
        self.id.map(|id| RecordId::new(id.to_string()))
    }
}

/// A webhook to be made, of version 2.0.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewSubscription {
    /// Its name, which is required.
    pub name: String,
    /// Where it goes: public https, reachable at once, not Pipedrive's own host.
    pub url: String,
    /// `create`, `change`, `delete` or `*`.
    pub action: String,
    /// A kind, or all.
    pub kind: Option<Kind>,
    /// Whose permissions decide what is sent: an admin sees all. Default: the token's user.
    pub user_id: Option<i64>,
    user: String,
    password: SecretString,
}

/// Never the password.
impl fmt::Debug for NewSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSubscription")
            .field("name", &self.name)
            .field("action", &self.action)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl NewSubscription {
    /// All events of `kind` (of everything, if none) to `url`, with the user and password that prove the sender: there is no
    /// signature.
    pub fn new(
        name: impl Into<String>,
        url: impl Into<String>,
        kind: Option<Kind>,
        user: impl Into<String>,
        password: SecretString,
    ) -> Self {
        Self { name: name.into(), url: url.into(), action: "*".to_owned(), kind, user_id: None, user: user.into(), password }
    }

    /// Sets [`NewSubscription::action`].
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// Sets [`NewSubscription::user_id`].
    #[must_use]
    pub fn user_id(mut self, user: i64) -> Self {
        self.user_id = Some(user);
        self
    }

    /// What checks its deliveries.
    ///
    /// # Errors
    /// As [`BasicVerifier::new`].
    pub fn verifier(&self, source: impl Into<String>) -> Result<BasicVerifier> {
        BasicVerifier::new(source, &self.user, self.password.clone())
    }

    fn object(&self) -> &'static str {
        self.kind.map_or("*", Kind::singular)
    }

    fn body(&self) -> Result<Map<String, Value>> {
        let url = Url::parse(&self.url).ok().filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none());
        let url = url.ok_or_else(|| Error::config("the URL of a webhook must be absolute, without user and password"))?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" || host == "pipedrive.com" || host.ends_with(".pipedrive.com") {
            return Err(Error::config("the URL of a webhook must be https and not Pipedrive's own host"));
        }
        if !matches!(self.action.as_str(), "create" | "change" | "delete" | "*") {
            return Err(Error::config("the action of a webhook is create, change, delete or *"));
        }
        if self.user.is_empty() || self.password.expose_secret().is_empty() {
            return Err(Error::config("a webhook needs a user and a password: nothing else proves its sender"));
        }
        let mut body = Map::from_iter([
            ("name".to_owned(), json!(self.name)),
            ("subscription_url".to_owned(), json!(self.url)),
            ("event_action".to_owned(), json!(self.action)),
            ("event_object".to_owned(), json!(self.object())),
            ("version".to_owned(), json!("2.0")),
            ("http_auth_user".to_owned(), json!(self.user)),
            ("http_auth_password".to_owned(), json!(self.password.expose_secret())),
        ]);
        body.extend(self.user_id.map(|user| ("user_id".to_owned(), json!(user))));
        Ok(body)
    }
}

impl Pipedrive {
    /// All webhooks the token's user may see. Price: 10.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        let page = self.list_rows(Kind::Webhook, &ListQuery::new()).await.map_err(|error| error.during("subscriptions"))?;
        page.rows.into_iter().map(read).collect()
    }

    /// Makes a webhook. Pipedrive calls its URL at once, so it must be reachable.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`crate::error::ErrorKind::Config`] for a URL that would be refused, and
    /// [`crate::error::ErrorKind::Validation`] if it is not reachable or the user has 40 webhooks.
    pub async fn subscribe(&self, subscription: &NewSubscription) -> Result<Subscription> {
        let call = Call::post("subscribe", self.path(Kind::Webhook.version(), Kind::Webhook.path(), "", &[]));
        let row = self.write(call, Some(&subscription.body()?), Kind::Webhook.price(Op::Create)).await?;
        read(row.ok_or_else(|| Error::decode("pipedrive did not answer the webhook").during("subscribe").ambiguous())?)
    }

    /// As [`Pipedrive::subscribe`], unless there is one with the same URL, action and object; the flag tells whether it is new.
    /// Repeatable: it is what to call at every start, since Pipedrive deletes webhooks that fail for three days. A webhook cannot
    /// be changed, and its password cannot be compared: to change it, delete the old one.
    ///
    /// # Errors
    /// As [`Pipedrive::subscribe`].
    pub async fn ensure_subscription(&self, subscription: &NewSubscription) -> Result<(Subscription, bool)> {
        let same = |known: &Subscription| {
            known.active()
                && known.subscription_url == subscription.url
                && known.event_action == subscription.action
                && known.event_object == subscription.object()
                && known.version.as_deref().is_none_or(|version| version == "2.0")
        };
        if let Some(known) = self.subscriptions().await?.into_iter().find(same) {
            return Ok((known, false));
        }
        self.subscribe(subscription).await.map(|made| (made, true))
    }

    /// Takes a webhook away; false if it was gone.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn unsubscribe(&self, id: &RecordId) -> Result<bool> {
        self.delete_row(Kind::Webhook, id).await
    }
}

fn read(row: Map<String, Value>) -> Result<Subscription> {
    serde_json::from_value(Value::Object(row)).map_err(|_| Error::decode("a webhook does not fit").on(&Kind::Webhook.entity()))
}
