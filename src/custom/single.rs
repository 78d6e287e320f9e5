//! Creates, updates and deletes of one record, without what lives in related ones.

use crate::adapter::{WriteOptions, Written};
use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::operation::{WriteOp, WriteStyle};
use crate::custom::pointer::plain;
use crate::custom::writing::{Sending, merged};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, Fields, RecordId};

impl Custom {
    pub(super) async fn create_own(&self, entity: &Entity, spec: &EntitySpec, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let Some(op) = &spec.create else { return Err(self.lacks("create a record", "create", entity)) };
        let own_id = fields.get(spec.id_name()).filter(|_| spec.client_id).and_then(plain);
        let names = self.shared.names().with("entity", entity.as_str());
        let sending = Sending {
            operation: "create",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or("POST"),
            path: op.path.as_deref().or(spec.path.as_deref()).unwrap_or("/{entity}"),
            record: Some(self.body_of(entity, spec, fields, None, options).map_err(|error| error.during("create"))?),
            names: own_id.iter().fold(names, |names, id| spec.with_id(names, id)),
            options,
        };
        let answer = self.write(sending).await?;
        let written = self.written(spec, op, &answer, own_id.as_deref()).map_err(|error| error.during("create").on(entity))?.created(true);
        self.reread(entity, op, written).await
    }

    pub(super) async fn update_own(
        &self,
        entity: &Entity,
        spec: &EntitySpec,
        id: &RecordId,
        fields: &Fields,
        options: &WriteOptions,
    ) -> Result<Written> {
        let Some(op) = &spec.update else { return Err(self.lacks("update a record", "update", entity)) };
        let mut options = options.clone();
        let mut record = self.body_of(entity, spec, fields, Some(id), &options).map_err(|error| error.during("update").record_id(id))?;
        if op.style == WriteStyle::Replace {
            let found = self.read_raw("update", entity, id, &[]).await?;
            let gone = || Error::new(ErrorKind::NotFound, "there is no such record").during("update").on(entity).record_id(id);
            let (before, raw) = found.ok_or_else(gone)?;
            record = merged(raw, record, &spec.selectors());
            let conditional = spec.version.as_ref().is_some_and(|version| version.etag || version.quoted);
            if options.if_version.is_none() && conditional {
                // What was read is what is replaced: whoever writes in between is not overwritten.
                options.if_version = before.version;
            }
        }
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = op.path.clone().unwrap_or_else(|| format!("{base}/{{id}}"));
        let usual = if op.style == WriteStyle::Replace { "PUT" } else { "PATCH" };
        let sending = Sending {
            operation: "update",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or(usual),
            path: &path,
            record: Some(record),
            names: spec.with_id(self.shared.names().with("entity", entity.as_str()), id.as_str()),
            options: &options,
        };
        let answer = self.write(sending).await.map_err(|error| error.record_id(id))?;
        let written = self.written(spec, op, &answer, Some(id.as_str()))?.created(false);
        self.reread(entity, op, written).await
    }

    pub(super) async fn delete_own(&self, entity: &Entity, spec: &EntitySpec, id: &RecordId, options: &WriteOptions) -> Result<()> {
        let Some(op) = &spec.delete else { return Err(self.lacks("delete a record", "delete", entity)) };
        let base = spec.path.as_deref().unwrap_or("/{entity}");
        let path = op.path.clone().unwrap_or_else(|| format!("{base}/{{id}}"));
        let sending = Sending {
            operation: "delete",
            entity,
            spec,
            op,
            method: op.method.as_deref().unwrap_or("DELETE"),
            path: &path,
            record: None,
            names: spec.with_id(self.shared.names().with("entity", entity.as_str()), id.as_str()),
            options,
        };
        match self.write(sending).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.record_id(id)),
        }
    }

    /// The version of a record that was just written. The write stands, whatever becomes of the read.
    async fn reread(&self, entity: &Entity, op: &WriteOp, mut written: Written) -> Result<Written> {
        if op.reread
            && written.version.is_none()
            && let Ok(Some((record, _))) = self.read_raw("get", entity, &written.id, &[]).await
        {
            written.version = record.version;
        }
        Ok(written)
    }
}
