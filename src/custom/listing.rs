//! One page of a list.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderName, HeaderValue, LINK, RANGE};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::dialect::is_too_large;
use crate::custom::filter::FilterTarget;
use crate::custom::operation::SearchOp;
use crate::custom::paging::{NextFrom, PageTarget, Paging, content_range, link};
use crate::custom::pointer::{Paths, at, at_mut, plain, put};
use crate::custom::request::Draft;
use crate::custom::template::fill;
use crate::error::{Error, Result};
use crate::model::Entity;
use crate::rest::{Answer, Call};

/// Where the next page is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The last id of the page before.
    Key(String),
    /// Path and query.
    Link(String),
    /// A page number or an offset.
    Number(u64),
    /// A cursor of the API's.
    Token(String),
}

/// A page as it came.
pub(super) struct Listed {
    pub(super) items: Vec<Value>,
    pub(super) next: Option<Place>,
    pub(super) total: Option<u64>,
    /// The size of its pages, if they had to become smaller than was asked for.
    pub(super) shrunk: Option<u32>,
}

/// What is asked for.
pub(super) struct Listing<'a> {
    pub(super) operation: &'static str,
    pub(super) entity: &'a Entity,
    pub(super) spec: &'a EntitySpec,
    pub(super) op: &'a SearchOp,
    pub(super) path: Option<&'a str>,
    pub(super) params: Vec<(String, String)>,
    /// Members of the body, by path.
    pub(super) members: Vec<(String, Value)>,
    pub(super) document: Option<(FilterTarget, Value)>,
    pub(super) page_size: Option<u32>,
    /// The size the pages before had to be.
    pub(super) shrunk: Option<u32>,
    pub(super) place: Option<Place>,
}

impl Custom {
    /// One page. Where the API calls it too large it is asked for again by halves, at most once for each.
    pub(super) async fn list(&self, mut listing: Listing<'_>) -> Result<Listed> {
        let paging = &listing.op.paging;
        let wished = match (paging.size(), listing.page_size) {
            (Some(own), Some(wish)) => Some(own.min(wish.max(1))),
            (own, wish) => own.or(wish),
        };
        loop {
            let size = listing.shrunk.or(wished);
            let error = match self.list_once(&listing, size).await {
                Ok(mut listed) => {
                    listed.shrunk = listing.shrunk;
                    return Ok(listed);
                }
                Err(error) => error,
            };
            let smaller = size.filter(|_| is_too_large(&error)).and_then(|size| Some((size, paging.smaller(size)?)));
            let Some((size, smaller)) = smaller else { return Err(error) };
            if let (Paging::PageNumber { first, .. }, Some(Place::Number(number))) = (paging, &mut listing.place) {
                *number = first.saturating_add(number.saturating_sub(*first).saturating_mul(u64::from(size / smaller)));
            }
            listing.shrunk = Some(smaller);
        }
    }

    async fn list_once(&self, listing: &Listing<'_>, size: Option<u32>) -> Result<Listed> {
        let (op, place) = (listing.op, listing.place.clone());
        let call = match &place {
            Some(Place::Link(path)) => {
                let names = self.shared.names().with("entity", listing.entity.as_str());
                let path = resized(path, &op.paging, listing.shrunk);
                self.shared.follow(listing.operation, &path, &op.headers, &names)?
            }
            _ => self.page_call(listing, size)?,
        };
        let call = if matches!(op.paging, Paging::Range { .. }) { call.accept(StatusCode::RANGE_NOT_SATISFIABLE) } else { call };
        let answer = self.send(&call, &op.success).await?;
        let beyond = matches!(op.paging, Paging::Range { .. }) && answer.status() == StatusCode::RANGE_NOT_SATISFIABLE;
        let nothing = matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if beyond || (nothing && answer.bytes().trim_ascii().is_empty()) {
            return Ok(Listed { items: Vec::new(), next: None, total: None, shrunk: None });
        }
        let mut body: Value = answer.json()?;
        let total = op.total.as_ref().and_then(|path| path.number(&body)).or_else(|| {
            let header = op.total_header.as_deref().and_then(|name| answer.headers().get(name));
            header.and_then(|value| value.to_str().ok()?.trim().parse().ok())
        });
        let next = self.shared.hooks.next_page(listing.entity, &answer).map(|next| next.map(Place::Link));
        let paths = op.records.as_ref().or(listing.spec.records.as_ref()).cloned().unwrap_or_default();
        let items = take_items(&mut body, &paths)?;
        let next = match next {
            Some(next) => next,
            None => self.next_place(listing, &answer, &body, &items, size, total).await?,
        };
        if next.is_some() && next == place {
            return Err(Error::decode("the API names the same page again as the next one; the list was not read to its end"));
        }
        let items = match &op.item {
            None => items,
            Some(path) => {
                let missing = || Error::decode(format!("an entry of the list has no record at {}", path.told()));
                items.iter().map(|entry| path.find(entry).cloned().ok_or_else(missing)).collect::<Result<_>>()?
            }
        };
        Ok(Listed { items, next, total, shrunk: None })
    }

    fn page_call(&self, listing: &Listing<'_>, size: Option<u32>) -> Result<Call> {
        let op = listing.op;
        let names = self.shared.names().with("entity", listing.entity.as_str());
        let unset = |name: String| Error::config(format!("{name:?} stands for nothing in the body"));
        let mut body = op.body.as_ref().map(|body| fill(body, &names, &BTreeMap::new())).transpose().map_err(unset)?;
        let mut params = listing.params.clone();
        let mut add = |target: PageTarget, name: &str, value: Value| -> Result<()> {
            match target {
                PageTarget::Query => params.push((name.to_owned(), plain(&value).unwrap_or_default())),
                PageTarget::Body => {
                    let blocked = || Error::config(format!("the body has something else where {name:?} goes"));
                    put(body.get_or_insert(Value::Null), name, value).ok_or_else(blocked)?;
                }
            }
            Ok(())
        };
        let mut range = None;
        match &op.paging {
            Paging::None => {}
            Paging::Cursor { param, target, size_param, .. } | Paging::Keyset { param, target, size_param, .. } => {
                match &listing.place {
                    Some(Place::Token(token) | Place::Key(token)) => add(*target, param, token.as_str().into())?,
                    Some(Place::Number(number)) => add(*target, param, (*number).into())?,
                    Some(_) => return Err(Error::config("the cursor belongs to another query")),
                    None => {}
                }
                if let (Some(name), Some(size)) = (size_param, size) {
                    add(*target, name, size.into())?;
                }
            }
            Paging::NextLink { size_param, .. } => {
                if let (Some(name), Some(size)) = (size_param, size) {
                    add(PageTarget::Query, name, size.into())?;
                }
            }
            Paging::Offset { param, size_param, target, .. } => {
                add(*target, param, self.number(listing, 0)?.into())?;
                if let Some(size) = size {
                    add(*target, size_param, size.into())?;
                }
            }
            Paging::PageNumber { param, first, size_param, target, .. } => {
                add(*target, param, self.number(listing, *first)?.into())?;
                if let (Some(name), Some(size)) = (size_param, size) {
                    add(*target, name, size.into())?;
                }
            }
            Paging::Range { unit, size: own } => {
                let from = self.number(listing, 0)?;
                let to = from.saturating_add(u64::from(size.unwrap_or(*own))).saturating_sub(1);
                range = Some(format!("{unit}={from}-{to}"));
            }
        }
        for (path, value) in &listing.members {
            let blocked = || Error::config(format!("the body has something else where {path:?} goes"));
            put(body.get_or_insert(Value::Null), path, value.clone()).ok_or_else(blocked)?;
        }
        match &listing.document {
            None => {}
            Some((FilterTarget::Param(name), document)) => {
                let text = document.as_str().map_or_else(|| document.to_string(), ToOwned::to_owned);
                params.push((name.clone(), text));
            }
            Some((FilterTarget::Body(path), document)) => {
                let body = body.get_or_insert(Value::Null);
                match (path.as_str(), &mut *body, document) {
                    ("", Value::Object(members), Value::Object(more)) => members.extend(more.clone()),
                    (path, body, document) => {
                        put(body, path, document.clone())
                            .ok_or_else(|| Error::config("the body has something else where the conditions go"))?;
                    }
                }
            }
        }
        let method = op.method.as_deref().unwrap_or("GET");
        let path = listing.path.or(op.path.as_deref()).or(listing.spec.path.as_deref()).unwrap_or("/{entity}");
        let posts = !method.eq_ignore_ascii_case("GET");
        let draft = Draft {
            operation: listing.operation,
            method,
            path,
            params,
            query: &op.query,
            headers: &op.headers,
            body: body.or_else(|| posts.then(|| Value::Object(serde_json::Map::new()))),
            encoding: listing.spec.encoding,
            read_only: true,
        };
        let call = self.shared.call(draft, &names)?;
        Ok(match range {
            Some(range) => {
                let value = HeaderValue::try_from(range).map_err(|_| Error::config("the unit of a range cannot stand in a header"))?;
                call.header(RANGE, value)
            }
            None => call,
        })
    }

    fn number(&self, listing: &Listing<'_>, first: u64) -> Result<u64> {
        match &listing.place {
            None => Ok(first),
            Some(Place::Number(number)) => Ok(*number),
            Some(_) => Err(Error::config("the cursor belongs to another query")),
        }
    }

    async fn next_place(
        &self,
        listing: &Listing<'_>,
        answer: &Answer,
        body: &Value,
        items: &[Value],
        size: Option<u32>,
        total: Option<u64>,
    ) -> Result<Option<Place>> {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let short = size.is_some_and(|size| count < u64::from(size));
        let more = |path: &Option<Paths>| -> Option<bool> { path.as_ref()?.find(body).map(truthy) };
        // A member that is named and absent means "no more" to some APIs and nothing to others: it decides only where it is.
        Ok(match &listing.op.paging {
            Paging::None => None,
            Paging::Cursor { next, has_more, last, .. } => {
                let ends = |token: &String| last.as_ref().and_then(plain).as_ref() == Some(token);
                let token = self.named(next, answer, body).filter(|token| more(has_more) != Some(false) && !ends(token));
                // A number goes back as one.
                let number = match next {
                    NextFrom::Path(path) => path.find(body).and_then(Value::as_u64),
                    _ => None,
                };
                token.map(|token| number.map_or(Place::Token(token), Place::Number))
            }
            Paging::NextLink { next, .. } => match self.named(next, answer, body) {
                Some(url) => Some(Place::Link(self.client(listing.operation, 0, &[])?.link(&url).await?)),
                None => None,
            },
            Paging::Keyset { key, has_more, .. } => {
                let ended = items.is_empty() || more(has_more).map_or(short, |more| !more);
                let last = items.last().filter(|_| !ended);
                let path = key.clone().unwrap_or_else(|| listing.spec.id_paths().into_owned());
                match last {
                    None => None,
                    Some(last) => {
                        let key = path.text(last);
                        let key =
                            key.ok_or_else(|| Error::decode(format!("the last record of a page has no {} to go on from", path.told())))?;
                        Some(Place::Key(key))
                    }
                }
            }
            Paging::Offset { has_more, .. } => {
                // A page may be empty because all of it was hidden from this user: the API's own word that there is more counts.
                let told = more(has_more);
                let step = if count == 0 { size.map_or(0, u64::from) } else { count };
                let at = self.number(listing, 0)?.saturating_add(step);
                let goes_on = told.unwrap_or_else(|| count > 0 && total.map_or(!short, |total| at < total));
                (goes_on && step > 0).then_some(Place::Number(at))
            }
            Paging::PageNumber { first, pages, has_more, .. } => {
                let number = self.number(listing, *first)?;
                let read = number.saturating_sub(*first).saturating_add(1);
                let by_pages = || pages.as_ref().and_then(|path| path.number(body)).map(|pages| read < pages);
                let by_total = || total.zip(size).map(|(total, size)| read.saturating_mul(u64::from(size)) < total);
                let told = more(has_more).or_else(by_pages);
                let goes_on = told.unwrap_or_else(|| count > 0 && by_total().unwrap_or(!short));
                goes_on.then_some(Place::Number(number.saturating_add(1)))
            }
            Paging::Range { .. } => {
                let told = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(content_range);
                let at = match told {
                    Some((Some(last), _)) => last.saturating_add(1),
                    _ => self.number(listing, 0)?.saturating_add(count),
                };
                let goes_on = told.and_then(|(_, total)| total).map_or(!short, |total| at < total);
                (goes_on && count > 0).then_some(Place::Number(at))
            }
        })
    }

    fn named(&self, next: &NextFrom, answer: &Answer, body: &Value) -> Option<String> {
        let header = |name: &HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let text = match next {
            NextFrom::Header(name) => header(&HeaderName::try_from(name.as_str()).ok()?).map(ToOwned::to_owned),
            NextFrom::Link(relation) => {
                let mut links = answer.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
                links.find_map(|text| link(text, relation)).map(ToOwned::to_owned)
            }
            NextFrom::Path(path) => path.text(body),
        };
        text.filter(|text| !text.is_empty())
    }
}

/// The address of a page with another size in it.
fn resized(path: &str, paging: &Paging, size: Option<u32>) -> String {
    let (Paging::NextLink { size_param: Some(name), .. }, Some(size), Some((path, query))) = (paging, size, path.split_once('?')) else {
        return path.to_owned();
    };
    let others = url::form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known != name);
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair(name, &size.to_string()).finish();
    format!("{path}?{query}")
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Bool(is) => *is,
        Value::Null => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "false" | "0"),
        _ => true,
    }
}

/// The list. Null is an empty one; an envelope may differ between paged and unpaged answers.
fn take_items(body: &mut Value, paths: &Paths) -> Result<Vec<Value>> {
    let list = paths.all().iter().find(|path| at(body, path).is_some_and(Value::is_array));
    if let Some(Value::Array(items)) = list.and_then(|path| at_mut(body, path)) {
        return Ok(std::mem::take(items));
    }
    let null = paths.all().iter().any(|path| at(body, path).is_some_and(Value::is_null));
    if null {
        return Ok(Vec::new());
    }
    let place = paths.told();
    let place = if place.is_empty() { "the top level".to_owned() } else { place };
    Err(Error::decode(format!("the answer has no list at {place}")))
}
