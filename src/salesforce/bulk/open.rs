//! Making a job, and the links between a job's pages.

use http::HeaderMap;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::Entity;
use crate::rest::Call;
use crate::salesforce::bulk::job::{Delimiter, IngestOperation, JobInfo, JobTicket, LineEnding};
use crate::salesforce::client::Salesforce;
use crate::salesforce::ids;
use crate::salesforce::soql::identifier;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewIngest<'a> {
    object: &'a str,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id_field_name: Option<&'a str>,
    content_type: &'static str,
    column_delimiter: Delimiter,
    line_ending: LineEnding,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment_rule_id: Option<String>,
}

/// An ingest job without a file.
pub(super) async fn open_ingest(
    client: &Salesforce,
    entity: &Entity,
    operation: &IngestOperation,
    delimiter: Delimiter,
    ending: LineEnding,
    assignment_rule: Option<&str>,
) -> Result<JobTicket> {
    let body = NewIngest {
        object: identifier(entity.as_str())?,
        operation: operation.as_str(),
        external_id_field_name: operation.external_id().map(identifier).transpose()?,
        content_type: "CSV",
        column_delimiter: delimiter,
        line_ending: ending,
        assignment_rule_id: assignment_rule.map(ids::to_18).transpose()?,
    };
    let call = Call::post("bulk job", client.path("/jobs/ingest")).json(&body)?;
    let info: JobInfo = client.send_on(call, &HeaderMap::new(), entity).await?.json()?;
    let mut ticket = JobTicket::from(&info);
    ticket.api_version.get_or_insert(client.api_version());
    ticket.delimiter.get_or_insert(delimiter);
    ticket.key = operation.required().map(ToOwned::to_owned);
    Ok(ticket)
}

/// The path of a link below `/jobs/{kind}` of this instance; nothing else is followed.
pub(super) async fn jobs_path(client: &Salesforce, link: &str, kind: &str) -> Result<String> {
    // Some links of this API come without their first slash.
    let link = if link.starts_with("services/") { format!("/{link}") } else { link.to_owned() };
    let path = client.rest.link(&link).await?;
    let below = path.strip_prefix("/services/data/v").and_then(|rest| rest.split_once('/')).is_some_and(|(version, rest)| {
        version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && rest.strip_prefix("jobs/").and_then(|rest| rest.strip_prefix(kind)).is_some_and(|rest| rest.starts_with(['/', '?']))
    });
    if below { Ok(path) } else { Err(Error::decode("the server's link is not that of a bulk job; it was not followed")) }
}
