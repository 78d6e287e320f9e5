//! The fields of the account, read when they are needed and kept for a while.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::model::{EntitySchema, FieldSchema};
use crate::pipedrive::builtin::{Means, builtin, builtins};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::custom::CustomType;
use crate::pipedrive::envelope::rows;
use crate::pipedrive::field_map::{FieldInfo, FieldMap};
use crate::pipedrive::resource::{ApiVersion, Kind, Op};
use crate::rest::Call;

/// An unknown name reads the description again, if it is older than this.
pub(crate) const UNKNOWN_AFTER: Duration = Duration::from_secs(60);

impl Pipedrive {
    /// The fields of a kind; a page of 500 per call at most once in [`PipedriveSettings::schema_ttl`], and none for kinds without
    /// custom fields.
    ///
    /// [`PipedriveSettings::schema_ttl`]: crate::pipedrive::PipedriveSettings::schema_ttl
    ///
    /// # Errors
    /// As every call.
    pub async fn fields(&self, kind: Kind) -> Result<Arc<FieldMap>> {
        self.fields_not_older(kind, self.config.settings.ttl()).await
    }

    pub(crate) async fn fields_not_older(&self, kind: Kind, age: Duration) -> Result<Arc<FieldMap>> {
        let Some(path) = kind.fields_path() else { return Ok(Arc::default()) };
        let now = self.host.monotonic();
        let known = self.fields.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
        if let Some((at, map)) = known
            && now.saturating_sub(at) < age
        {
            return Ok(map);
        }
        let mut fields = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            // The list of v1 takes no limit.
            let (version, mut pairs, place) = match kind {
                Kind::Note => (ApiVersion::V1, Vec::new(), "start"),
                _ => (ApiVersion::V2, vec![("limit", "500".to_owned())], "cursor"),
            };
            pairs.extend(cursor.clone().map(|cursor| (place, cursor)));
            let call = Call::get("describe", self.path(version, path, "", &pairs));
            let page = rows(&self.send(&call, kind.price(Op::Fields)).await?)?;
            fields.extend(page.rows.iter().filter_map(FieldInfo::read));
            match page.next {
                // The same place again would never end.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => break,
            }
        }
        let aliases = self.aliases(kind);
        let map = Arc::new(FieldMap::new(fields, aliases));
        self.fields.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, (now, Arc::clone(&map)));
        Ok(map)
    }

    /// Forgets what is known of a kind's fields: somebody has changed them.
    pub fn forget_fields(&self, kind: Kind) {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner).remove(&kind);
    }

    /// The field of this name; an unknown one is looked for once more if the description is not fresh.
    pub(crate) async fn field(&self, kind: Kind, name: &str) -> Result<FieldInfo> {
        match self.fields(kind).await?.find(name) {
            Ok(field) => Ok(field.clone()),
            Err(_) => Ok(self.fields_not_older(kind, UNKNOWN_AFTER).await?.find(name).map_err(|error| error.on(&kind.entity()))?.clone()),
        }
    }

    /// The host's names of a kind's custom fields. Leads have those of deals, and their own.
    fn aliases(&self, kind: Kind) -> Vec<(String, String)> {
        let of = |word: &str| self.config.settings.custom_fields.get(word).into_iter().flatten();
        let mut all: Vec<(String, String)> = Vec::new();
        if kind == Kind::Lead {
            all.extend(of("deal").chain(of("deals")).map(|(alias, told)| (alias.clone(), told.clone())));
        }
        all.extend(of(kind.path()).chain(of(kind.singular())).map(|(alias, told)| (alias.clone(), told.clone())));
        all
    }

    /// True if a name is not one of the built-in ones, and so needs the account's description.
    pub(crate) fn is_custom(kind: Kind, name: &str) -> bool {
        kind.has_custom_fields() && builtin(kind, name).is_none()
    }

    /// The entity as the adapter describes it: built-in fields, custom ones by key, and once more under the host's names.
    pub(crate) async fn entity_schema(&self, kind: Kind) -> Result<EntitySchema> {
        let map = self.fields(kind).await?;
        let mut fields: Vec<FieldSchema> = builtins(kind).iter().map(|field| field.schema()).collect();
        for field in &mut fields {
            // The list of person fields says `email` and `phone` for what v2 records call `emails` and `phones`.
            let told = map.by_key(&field.name).or_else(|| map.by_key(field.name.trim_end_matches('s')));
            if let Some(info) = told {
                field.label.clone_from(&info.name);
                // v1 calls what is true or false a choice of Yes and No.
                let flag = builtin(kind, &field.name).is_some_and(|field| field.means == Means::Bool);
                if field.picklist.is_none() && !flag && matches!(info.kind, CustomType::Enum | CustomType::Set) {
                    field.picklist = info.picklist();
                }
            }
        }
        if kind.has_custom_fields() {
            for info in map.fields().iter().filter(|info| info.custom) {
                fields.push(info.field(&info.key));
                fields.extend(map.aliases_of(info).map(|alias| info.field(alias)));
            }
        }
        Ok(EntitySchema::new(kind.entity(), kind.singular(), fields))
    }
}
