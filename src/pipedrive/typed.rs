//! Lists straight into types of the host's: no row is built on the way.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::dialect::Complaint;
use crate::pipedrive::envelope::AdditionalData;
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::resource::{Kind, Op};
use crate::rest::Call;

/// A page whose rows are `T`; null is an empty list.
#[derive(Deserialize)]
struct TypedPage<T> {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default = "Option::default")]
    data: Option<Vec<T>>,
    #[serde(default)]
    additional_data: Option<AdditionalData>,
}

impl Pipedrive {
    /// All rows of a list, each decoded straight into `T` as it came: in v2 the custom fields are an object
    /// (`custom_fields`) by their keys. One call per page, made when it is needed. An error ends the stream; dropping it costs
    /// nothing. [`Records::list`](crate::pipedrive::Records::list) is the same for this crate's own types.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`ErrorKind::Decode`](crate::error::ErrorKind::Decode) with the path of what does not fit `T`.
    pub fn list_as<T: DeserializeOwned + Send + 'static>(&self, kind: Kind, query: ListQuery) -> BoxStream<'static, Result<T>> {
        let client = self.clone();
        let pages = stream::try_unfold(Some(query), move |query| {
            let client = client.clone();
            async move {
                let Some(query) = query else { return Ok::<_, Error>(None) };
                let (rows, next) = client.typed_page::<T>(kind, &query).await?;
                Ok(Some((stream::iter(rows.into_iter().map(Ok)), next.map(|next| query.after(next)))))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn typed_page<T: DeserializeOwned>(&self, kind: Kind, query: &ListQuery) -> Result<(Vec<T>, Option<String>)> {
        let named = |error: Error| error.during("search").on(&kind.entity());
        let path = self.path(kind.version(), kind.path(), "", &query.pairs(kind)?);
        let answer = self.send(&Call::get("search", path), kind.price(Op::List)).await?;
        let page: TypedPage<T> = answer.json().map_err(named)?;
        if page.success == Some(false) {
            let error = Complaint::read(answer.bytes()).unwrap_or_default().into_error();
            return Err(named(error.with_status(answer.status())));
        }
        let next = page.additional_data.as_ref().and_then(AdditionalData::next);
        query.goes_on(next.as_deref()).map_err(named)?;
        Ok((page.data.unwrap_or_default(), next))
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
    use crate::host::Host;
    use crate::http::{Body, HttpError, HttpTransport};
    use crate::pipedrive::config::PipedriveConfig;

    const PAGES: [&str; 3] = [
        r#"{"success":true,"data":[{"id":1,"name":"a","custom_fields":{}}],"additional_data":{"next_cursor":"c"}}"#,
        r#"{"success":true,"data":null,"additional_data":{"next_cursor":null}}"#,
        r#"{"success":false,"error":"no","data":null}"#,
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

    #[derive(Deserialize)]
    struct Person {
        id: u64,
        name: Option<String>,
    }

    #[test]
    fn pages_become_the_hosts_records() {
        let seen = Arc::new(Pages::default());
        let config = PipedriveConfig::with_api_token("https://one.example", SecretString::from("T"));
        let client = Pipedrive::new(config, Arc::clone(&seen) as Arc<dyn HttpTransport>, Host::manual(1)).unwrap();
        let mut rows = client.list_as::<Person>(Kind::Person, ListQuery::new().limit(500));
        let first = rows.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!((first.id, first.name.as_deref()), (1, Some("a")));
        assert!(rows.next().now_or_never().unwrap().is_none());
        let paths = seen.0.lock().unwrap().clone();
        assert_eq!(paths, ["/api/v2/persons?limit=500", "/api/v2/persons?limit=500&cursor=c"]);
        let refused = client.list_as::<Person>(Kind::Person, ListQuery::new()).next().now_or_never().unwrap().unwrap();
        assert!(refused.is_err());
    }
}
