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
