//! Global and object describes.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::rest::{Ctx, http_date_text, not_modified};
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef};

impl Salesforce {
    /// `GET /sobjects`.
    pub(crate) fn describe_global(&self, ctx: &Ctx) -> Reply {
        if not_modified(ctx, self.schema_at) {
            return Reply::empty(StatusCode::NOT_MODIFIED);
        }
        let sobjects: Vec<Value> = self.schema.objects().map(|object| Value::Object(brief(ctx, object))).collect();
        Reply::ok(json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": sobjects}))
            .header("last-modified", http_date_text(self.schema_at))
    }

    /// `GET /sobjects/{T}`.
    pub(crate) fn describe_basic(&self, ctx: &Ctx, name: &str) -> Result<Reply, ApiError> {
        let object = self.object(name)?;
        let recent: Vec<Value> = self
            .tables
            .rows(&object.name)
            .filter(|(_, row)| !row.deleted)
            .take(10)
            .filter_map(|(id, row)| {
                let url = format!("/services/data/{}/sobjects/{}/{id}", ctx.version, object.name);
                let name = object.name_field().and_then(|field| row.text(&field.name))?;
                Some(json!({"attributes": {"type": object.name, "url": url}, "Id": id, "Name": name}))
            })
            .collect();
        Ok(Reply::ok(json!({"objectDescribe": Value::Object(brief(ctx, &object)), "recentItems": recent})))
    }

    /// `GET /sobjects/{T}/describe`.
    pub(crate) fn describe(&self, ctx: &Ctx, name: &str) -> Result<Reply, ApiError> {
        let object = self.object(name)?;
        if not_modified(ctx, self.schema_at) {
            return Ok(Reply::empty(StatusCode::NOT_MODIFIED));
        }
        let mut value = brief(ctx, &object);
        let fields: Vec<Value> = object.fields.iter().map(|field| describe_field(&object, field)).collect();
        let children: Vec<Value> = self
            .schema
            .children(&object.name)
            .map(|(child, lookup)| {
                json!({"cascadeDelete": false, "childSObject": child.name, "deprecatedAndHidden": false, "field": lookup.name,
                       "junctionIdListNames": [], "junctionReferenceTo": [], "relationshipName": lookup.child_name, "restrictedDelete": false})
            })
            .collect();
        let master = "012000000000000AAA";
        let base = format!("/services/data/{}/sobjects/{}", ctx.version, object.name);
        let record_types = json!([{"active": true, "available": true, "defaultRecordTypeMapping": true, "developerName": "Master", "master": true,
                                   "name": "Master", "recordTypeId": master, "urls": {"layout": format!("{base}/describe/layouts/{master}")}}]);
        let more = json!({
            "actionOverrides": [], "childRelationships": children, "compactLayoutable": true, "defaultImplementation": null,
            "extendedInterfaces": null, "extendsInterfaces": null, "fields": fields, "implementedBy": null, "implementsInterfaces": null,
            "isInterface": false, "listviewable": null, "lookupLayoutable": null, "namedLayoutInfos": [], "networkScopeFieldName": null,
            "recordTypeInfos": record_types, "searchLayoutable": true, "sobjectDescribeOption": "FULL",
            "supportedScopes": [{"label": format!("All {}", object.plural), "name": "everything"}],
        });
        if let Value::Object(more) = more {
            value.extend(more);
        }
        Ok(Reply::ok(Value::Object(value)).header("last-modified", http_date_text(self.schema_at)))
    }
}

fn brief(ctx: &Ctx, object: &ObjectDef) -> Map<String, Value> {
    let base = format!("/services/data/{}/sobjects/{}", ctx.version, object.name);
    let writable = object.writable;
    let value = json!({
        "activateable": false, "associateEntityType": null, "associateParentEntity": null, "createable": writable, "custom": object.is_custom(),
        "customSetting": false, "deepCloneable": false, "deletable": writable && object.name != "User", "deprecatedAndHidden": false,
        "feedEnabled": false, "hasSubtypes": false, "idEnabled": true, "isInterface": false, "isSubtype": false, "keyPrefix": object.prefix,
        "label": object.label, "labelPlural": object.plural, "layoutable": writable,
        "mergeable": matches!(object.name.as_str(), "Account" | "Contact" | "Lead"), "mruEnabled": writable, "name": object.name,
        "queryable": true, "replicateable": true, "retrieveable": true, "searchable": writable, "triggerable": writable,
        "undeletable": writable, "updateable": writable,
        "urls": {"sobject": base, "describe": format!("{base}/describe"), "rowTemplate": format!("{base}/{{ID}}")},
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn describe_field(object: &ObjectDef, field: &FieldDef) -> Value {
    let soap = match field.kind {
        FieldKind::Address => "urn:address",
        FieldKind::Boolean => "xsd:boolean",
        FieldKind::Currency | FieldKind::Double | FieldKind::Percent => "xsd:double",
        FieldKind::Date => "xsd:date",
        FieldKind::DateTime => "xsd:dateTime",
        FieldKind::Id | FieldKind::Reference => "tns:ID",
        FieldKind::Int => "xsd:int",
        _ => "xsd:string",
    };
    let values: Vec<Value> = field
        .picklist
        .iter()
        .map(|value| {
            let default = field.default.as_ref().and_then(Value::as_str) == Some(value);
            json!({"active": true, "defaultValue": default, "label": value, "validFor": null, "value": value})
        })
        .collect();
    let extra = match field.kind {
        FieldKind::LongText => Some("plaintextarea"),
        _ if field.compound.as_deref() == Some("Name") => Some("personname"),
        _ => None,
    };
    let digits = if field.kind == FieldKind::Int { field.precision } else { 0 };
    let precision = if field.kind == FieldKind::Int { 0 } else { field.precision };
    let length = if field.kind.is_text() || matches!(field.kind, FieldKind::Id | FieldKind::Reference) { field.length } else { 0 };
    let mut value = json!({
        "aggregatable": field.filterable() && field.kind != FieldKind::Boolean, "aiPredictionField": false, "autoNumber": false,
        "byteLength": length * 3, "calculated": false, "calculatedFormula": null, "cascadeDelete": false,
        "caseSensitive": field.case_sensitive, "compoundFieldName": field.compound, "controllerName": null, "createable": field.createable,
        "custom": field.is_custom(), "defaultValue": field.default, "defaultValueFormula": null, "defaultedOnCreate": field.defaulted,
        "dependentPicklist": false, "deprecatedAndHidden": false, "digits": digits, "displayLocationInDecimal": false, "encrypted": false,
        "externalId": field.external_id, "extraTypeInfo": extra, "filterable": field.filterable(), "filteredLookupInfo": null,
        "formulaTreatNullNumberAsZero": false, "groupable": field.groupable(), "highScaleNumber": false, "htmlFormatted": false,
        "idLookup": field.id_lookup, "inlineHelpText": null, "label": field.label, "length": length, "mask": null, "maskType": null,
        "name": field.name, "nameField": field.name_field, "namePointing": field.polymorphic(), "nillable": field.nillable,
    });
    let more = json!({
        "permissionable": field.nillable && object.writable, "picklistValues": values, "polymorphicForeignKey": field.polymorphic(),
        "precision": precision, "queryByDistance": false, "referenceTargetField": null, "referenceTo": field.refs,
        "relationshipName": field.relationship, "relationshipOrder": null, "restrictedDelete": false, "restrictedPicklist": field.restricted,
        "scale": field.scale, "searchPrefilterable": field.kind == FieldKind::Reference, "soapType": soap, "sortable": field.sortable(),
        "type": field.kind.word(), "unique": field.unique, "updateable": field.updateable, "writeRequiresMasterRead": false,
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}
