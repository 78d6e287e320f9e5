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
