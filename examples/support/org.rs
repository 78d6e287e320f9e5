//! The Salesforce org an example speaks to.

use std::sync::Arc;

use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;

/// The org at `url`, or the sandbox in this process.
pub(crate) fn connect(url: Option<&str>, token: &str) -> Result<Salesforce> {
    let host = Host::tokio();
    let (config, transport): (_, Arc<dyn HttpTransport>) = match url {
        Some(url) => {
            let transport = if url.starts_with("http://") { ReqwestTransport::loopback()? } else { ReqwestTransport::builder().build()? };
            (SalesforceConfig::with_access_token(url, token.to_owned().into()), Arc::new(transport))
        }
        None => {
            let sandbox = Sandbox::new(host.clone(), 1);
            let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
            (SalesforceConfig::with_access_token(Sandbox::IN_PROCESS_URL, access.access_token.into()), sandbox.transport())
        }
    };
    Salesforce::new(config, transport, host)
}
