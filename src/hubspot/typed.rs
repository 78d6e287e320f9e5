//! Lists straight into types of the host's: no row is built on the way.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::hubspot::client::{HubSpot, list};
use crate::hubspot::limits::MAX_NAMES;
use crate::hubspot::paths::segment;
use crate::hubspot::record::Paging;
use crate::model::Entity;
use crate::query::Cursor;
use crate::rest::Call;

/// A record whose properties are a type of the host's. HubSpot writes every property as a text or null, numbers and booleans
/// too; `createdate` and `hs_object_id` come uncalled.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TypedRecord<P> {
    /// Its id; unique within its type only.
    pub id: String,
    /// Its properties.
    pub properties: P,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// When it last changed, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// True in the recycle bin.
    #[serde(default)]
    pub archived: bool,
}

#[derive(Deserialize)]
struct TypedPage<P> {
    results: Vec<TypedRecord<P>>,
    #[serde(default)]
    paging: Option<Paging>,
}

impl HubSpot {
    /// All records of a kind, their properties decoded straight into `P`; `select` names the properties to ask for. One request
    /// for each 100, made when it is needed. An error ends the stream; dropping it costs nothing.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Decode`](crate::error::ErrorKind::Decode) with the path of what does not fit `P`,
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) for more names than a request line holds.
    pub fn list_as<P: DeserializeOwned + Send + 'static>(
        &self,
        entity: &Entity,
        select: &[String],
    ) -> BoxStream<'static, Result<TypedRecord<P>>> {
        let (client, entity, select) = (self.clone(), entity.clone(), select.to_vec());
        let pages = stream::try_unfold(Some(None::<Cursor>), move |after| {
            let (client, entity, select) = (client.clone(), entity.clone(), select.clone());
            async move {
                let Some(after) = after else { return Ok::<_, Error>(None) };
                let page: TypedPage<P> = client.typed_page(&entity, &select, after.as_ref()).await?;
                let next = Paging::after(page.paging.as_ref()).map(Cursor::new);
                if next.is_some() && next == after {
                    return Err(Error::decode("the next page is the page just read").during("list").on(&entity));
                }
                Ok(Some((stream::iter(page.results.into_iter().map(Ok)), next.map(Some))))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn typed_page<P: DeserializeOwned>(&self, entity: &Entity, select: &[String], after: Option<&Cursor>) -> Result<TypedPage<P>> {
        let mut path = format!("{}?limit=100", self.objects(entity));
        if let Some(after) = after {
            path.push_str("&after=");
            path.push_str(&segment(after.as_str()));
        }
        if !select.is_empty() {
            let names = list(select);
            if names.len() > MAX_NAMES {
                let message = "the names of the properties do not fit into a request line; ask for fewer, or list rows without a type";
                return Err(Error::config(message).during("list").on(entity));
            }
            path.push_str("&properties=");
            path.push_str(&names);
        }
        self.send(&Call::get("list", path)).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use secrecy::SecretString;

    use super::*;
    use crate::error::ErrorKind;
    use crate::host::Host;
    use crate::http::{Body, HttpError, HttpTransport};
    use crate::hubspot::config::HubSpotConfig;

    const PAGES: [&str; 3] = [
        r#"{"results":[{"id":"1","properties":{"email":"a@b.c","phone":null},"archived":false}],"paging":{"next":{"after":"1"}}}"#,
        r#"{"results":[{"id":"2","properties":{"email":null}},{"id":"3","properties":{"email":7}}]}"#,
        "{}",
    ];

    #[derive(Debug, Default)]
    struct Pages(Mutex<Vec<String>>);

    #[async_trait]
    impl HttpTransport for Pages {
        async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
            let mut seen = self.0.lock().unwrap();
            seen.push(request.uri().path_and_query().unwrap().to_string());
            let page = PAGES.get(seen.len() - 1).unwrap();
            Ok(http::Response::new(Body::from_bytes(*page)))
        }
    }

    #[derive(Debug, Deserialize)]
    struct Person {
        email: Option<String>,
    }

    #[test]
    fn pages_become_the_hosts_records() {
        let seen = Arc::new(Pages::default());
        let config = HubSpotConfig::with_access_token(SecretString::from("T"));
        let client = HubSpot::new(config, Arc::clone(&seen) as Arc<dyn HttpTransport>, Host::manual(1)).unwrap();
        let mut rows = client.list_as::<Option<Person>>(&Entity::from_static("contacts"), &["email".to_owned()]);
        let mut next = || rows.next().now_or_never().unwrap();
        let first = next().unwrap().unwrap();
        assert_eq!((first.id.as_str(), first.properties.unwrap().email.as_deref()), ("1", Some("a@b.c")));
        assert_eq!(seen.0.lock().unwrap().len(), 1, "the second page is not read before it is needed");
        let error = next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(next().is_none(), "an error ends the stream");
        let paths = seen.0.lock().unwrap().clone();
        assert!(paths[0].ends_with("?limit=100&properties=email"), "{paths:?}");
        assert!(paths[1].ends_with("?limit=100&after=1&properties=email"), "{paths:?}");
        let names: Vec<String> = (0..2_000).map(|n| format!("property_{n}")).collect();
        let error =
            client.list_as::<Person>(&Entity::from_static("contacts"), &names).next().now_or_never().unwrap().unwrap().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
