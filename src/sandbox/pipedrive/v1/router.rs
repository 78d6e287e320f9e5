//! Which endpoint of v1 a path means.

use http::{Method, StatusCode};

use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::fields::entity_of;
use crate::sandbox::pipedrive::router::{Ask, id_v1};
use crate::sandbox::pipedrive::state::{Act, Pipedrive};

impl Pipedrive {
    /// `path` is what follows the version.
    pub(crate) fn v1(&mut self, act: Act, ask: &Ask<'_>, path: &[&str]) -> Answer {
        let get = || if ask.method == Method::GET { Ok(()) } else { Err(errors::no_method()) };
        match path {
            ["users", rest @ ..] => get().and_then(|()| self.users(ask, rest)),
            ["activityTypes", rest @ ..] => self.activity_types(act, ask, rest),
            ["currencies"] => get().and_then(|()| self.currencies(ask.params)),
            ["filters", rest @ ..] => self.filters(act, ask, rest),
            ["leadSources"] => get().map(|()| Self::lead_sources()),
            ["leadLabels", rest @ ..] => self.lead_labels(act, ask, rest),
            ["leads", rest @ ..] => self.leads(act, ask, rest),
            ["noteFields"] => get().and_then(|()| Self::note_fields(ask.params)),
            ["notes", rest @ ..] => self.notes(act, ask, rest),
            ["recents"] => get().and_then(|()| self.recents(act, ask.params)),
            ["webhooks", rest @ ..] => self.webhooks(act, ask, rest),
            [plural @ ("persons" | "organizations" | "deals"), id, what @ ("changelog" | "flow")] => {
                get()?;
                let (entity, id) = (plural.trim_end_matches('s'), id_v1(id)?);
                if *what == "flow" { self.flow(entity, id, ask.params) } else { self.changelog(entity, id, ask.params) }
            }
            [plural @ ("persons" | "organizations" | "deals"), id, "merge"] if ask.method == Method::PUT => {
                let entity = plural.trim_end_matches('s');
                self.merge(act, ask, entity, id_v1(id)?)
            }
            [fields, rest @ ..] if entity_of(fields).is_some() => {
                let entity = entity_of(fields).ok_or_else(errors::no_path)?;
                self.fields_v1(act, ask.method, entity, rest, ask.params, ask.body)
            }
            ["persons" | "organizations" | "deals" | "activities" | "products" | "pipelines" | "stages", rest @ ..]
                if rest.len() < 2 && !matches!(rest, ["archived" | "summary" | "timeline"]) =>
            {
                if self.options.deprecated_v1 {
                    return self.legacy(act, ask, path);
                }
                // Out of support since 2026-08-01.
                Err(errors::general(StatusCode::GONE, "This endpoint is no longer available, use API v2", "Resource was deleted."))
            }
            _ => Err(errors::no_path()),
        }
    }
}
