//! The typed surface: the same methods for every kind, whichever version it lives in.

use std::marker::PhantomData;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::Method;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fields, RecordId};
use crate::pipedrive::builtin::{C, U, builtin};
use crate::pipedrive::client::{Pipedrive, row_id, tail};
use crate::pipedrive::envelope::record;
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::resource::{Kind, Op};
use crate::pipedrive::types::{
    Activity, ActivityType, Deal, Lead, LeadLabel, Note, Organization, Person, Pipeline, Product, Resource, Stage, User,
};
use crate::rest::{Answer, Call};

/// What of a write's answer is wanted.
type Read = fn(&Answer) -> Result<Option<Map<String, Value>>>;

/// The records of one kind.
#[derive(Debug)]
pub struct Records<'a, T> {
    client: &'a Pipedrive,
    kind: PhantomData<fn() -> T>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $type:ident,)*) => {
        impl Pipedrive {
            $($(#[$doc])* pub fn $name(&self) -> Records<'_, $type> { Records { client: self, kind: PhantomData } })*
        }
    };
}

kinds! {
    /// Calls, meetings and tasks (v2).
    activities: Activity,
    /// Kinds of activities (v1).
    activity_types: ActivityType,
    /// Deals (v2).
    deals: Deal,
    /// Leads (v1).
    leads: Lead,
    /// Labels of leads (v1).
    lead_labels: LeadLabel,
    /// Notes (v1).
    notes: Note,
    /// Companies (v2).
    organizations: Organization,
    /// Persons (v2).
    persons: Person,
    /// Pipelines (v2).
    pipelines: Pipeline,
    /// Products (v2).
    products: Product,
    /// Stages (v2).
    stages: Stage,
    /// Users (v1); read only.
    users: User,
}

impl<'a, T: Resource> Records<'a, T> {
    /// One record, or `None` if there is none this user sees, or it was deleted.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn get(&self, id: &RecordId) -> Result<Option<T>> {
        self.client.row(T::KIND, id).await?.map(typed).transpose()
    }

    /// The records with these ids, without those that are gone or hidden; a call for each 100, or for each one where the list
    /// takes no ids.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn by_ids(&self, ids: &[RecordId]) -> Result<Vec<T>> {
        self.client.rows_by_id(T::KIND, ids).await?.into_iter().map(typed).collect()
    }

    /// All that match, page by page: one call per page, made when it is needed. An error ends the stream; dropping it costs
    /// nothing.
    pub fn list(&self, query: ListQuery) -> BoxStream<'a, Result<T>> {
        self.pages("", T::KIND.price(Op::List), query)
    }

    pub(super) fn pages(&self, tail: &'static str, price: u32, query: ListQuery) -> BoxStream<'a, Result<T>> {
        let client = self.client;
        let pages = stream::try_unfold(Some((query, None::<String>)), move |state| async move {
            let Some((query, seen)) = state else { return Ok(None) };
            let page = client.list_at(T::KIND, tail, price, &query).await?;
            let next = match page.next {
                // A server that names the same place again would keep us here for ever.
                Some(next) if seen.as_ref() == Some(&next) => {
                    return Err(Error::new(ErrorKind::Decode, "the next page is the page just read").on(&T::KIND.entity()));
                }
                Some(next) => Some((query.after(next.clone()), Some(next))),
                None => None,
            };
            Ok::<_, Error>(Some((stream::iter(page.rows.into_iter().map(typed)), next)))
        });
        futures_util::TryStreamExt::try_flatten(pages).boxed()
    }

    /// Makes a record of whatever serialises as one; members that are read-only are left out, unknown ones refused here, since
    /// v2 refuses the whole record for them. Not repeatable: after an error that [may have been applied](Error::may_have_applied)
    /// see [`Pipedrive::resolve_create`].
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`ErrorKind::Validation`] naming the member.
    pub async fn create<B: Serialize + Sync>(&self, record: &B) -> Result<T> {
        let fields = fields_of(T::KIND, record, C)?;
        typed(self.client.create_row(T::KIND, &fields).await?)
    }

    /// Changes the members that are there; null clears one, an absent one stays. Repeatable.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`ErrorKind::Validation`] naming a member that cannot be written.
    pub async fn update<B: Serialize + Sync>(&self, id: &RecordId, record: &B) -> Result<T> {
        let fields = fields_of(T::KIND, record, U)?;
        let row = self.client.update_row(T::KIND, id, &fields).await?;
        typed(row.ok_or_else(|| Error::decode("pipedrive did not answer the changed record").on(&T::KIND.entity()))?)
    }

    /// Deletes a record; false if it was gone already. Records of v2 are kept for 30 days.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn delete(&self, id: &RecordId) -> Result<bool> {
        self.client.delete_row(T::KIND, id).await
    }
}

fn typed<T: Resource>(row: Map<String, Value>) -> Result<T> {
    serde_json::from_value(Value::Object(row)).map_err(|error| {
        // serde's message may quote a value.
        Error::decode(format!("a record of {} does not fit ({:?} error)", T::KIND, error.classify())).on(&T::KIND.entity())
    })
}

/// The members of a typed record that may be written, custom fields by key beside them.
fn fields_of<B: Serialize>(kind: Kind, record: &B, flag: u8) -> Result<Fields> {
    let mut typed = Fields::from_typed(record)?;
    if let Some(Value::Object(custom)) = typed.remove("custom_fields") {
        for (key, value) in custom {
            typed.insert(key, value);
        }
    }
    // First and last name are made of the name by Pipedrive.
    let whole_name = kind == Kind::Person && typed.contains("name");
    typed.retain(|name, _| {
        let derived = whole_name && matches!(name, "first_name" | "last_name");
        !derived && builtin(kind, name).is_none_or(|field| field.has(flag))
    });
    Ok(typed)
}

impl Pipedrive {
    /// Makes a record; what was made.
    pub(crate) async fn create_row(&self, kind: Kind, fields: &Fields) -> Result<Map<String, Value>> {
        self.create_as(kind, fields, record).await
    }

    /// Makes a record; `read` takes what is wanted out of the answer, the id at least.
    pub(crate) async fn create_as(&self, kind: Kind, fields: &Fields, read: Read) -> Result<Map<String, Value>> {
        if kind == Kind::User {
            return Err(Error::unsupported("users are invited in Pipedrive's settings").during("create").on(&kind.entity()));
        }
        let body = self.body(kind, Op::Create, fields).await.map_err(|error| error.during("create").on(&kind.entity()))?;
        let call = Call::post("create", self.path(kind.version(), kind.path(), "", &[])).json(&body)?;
        let answer = self.written(&call, kind.price(Op::Create)).await;
        let row = answer.and_then(|answer| answer.as_ref().map_or(Ok(None), read)).map_err(|error| error.on(&kind.entity()))?;
        let made = row.filter(|row| row_id(row).is_some());
        made.ok_or_else(|| {
            Error::decode("pipedrive made the record and did not say its id").during("create").on(&kind.entity()).ambiguous()
        })
    }

    /// Changes a record; the record as it is now, if it was answered.
    pub(crate) async fn update_row(&self, kind: Kind, id: &RecordId, fields: &Fields) -> Result<Option<Map<String, Value>>> {
        self.update_as(kind, id, fields, record).await
    }

    /// Changes a record; `read` takes what is wanted out of the answer.
    pub(crate) async fn update_as(&self, kind: Kind, id: &RecordId, fields: &Fields, read: Read) -> Result<Option<Map<String, Value>>> {
        let named = |error: Error| error.during("update").on(&kind.entity()).record_id(id);
        if matches!(kind, Kind::User | Kind::Webhook) {
            return Err(named(Error::unsupported("records of this kind cannot be changed through the API")));
        }
        let body = self.body(kind, Op::Update, fields).await.map_err(named)?;
        let method = if matches!(kind, Kind::Note | Kind::ActivityType) { Method::PUT } else { Method::PATCH };
        let call = Call::new("update", method, self.path(kind.version(), kind.path(), &tail(kind, id)?, &[])).json(&body)?;
        let answer = self.written(&call, kind.price(Op::Update)).await;
        answer.and_then(|answer| answer.as_ref().map_or(Ok(None), read)).map_err(named)
    }

    pub(crate) async fn delete_row(&self, kind: Kind, id: &RecordId) -> Result<bool> {
        let named = |error: Error| error.during("delete").on(&kind.entity()).record_id(id);
        if kind == Kind::User {
            return Err(named(Error::unsupported("users are switched off in Pipedrive's settings")));
        }
        let call = Call::delete("delete", self.path(kind.version(), kind.path(), &tail(kind, id)?, &[]));
        match self.write(call, None, kind.price(Op::Delete)).await {
            Ok(_) => Ok(true),
            // Gone already is deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(named(error)),
        }
    }
}
