//! The webhooks of a defined API.

use crate::custom::connection::Custom;
use crate::error::{Error, Result};
use crate::webhook::{
    BasicVerifier, Encoding, HmacVerifier, JsonEvents, Secrets, Signed, StandardWebhooks, TimeUnit, UrlVerifier, Verifier,
};

impl Custom {
    /// The verifier and the reader of events that the definition describes.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it describes none, or the host did not give the secret.
    pub fn webhook(&self) -> Result<(Box<dyn Verifier>, JsonEvents)> {
        let definition = &self.shared.definition;
        let spec = definition.webhook.as_ref().ok_or_else(|| Error::config("the definition describes no webhooks"))?;
        let secret = self.shared.webhook_secret.clone();
        let secret = secret.ok_or_else(|| Error::config("the secret of the webhooks that the definition names was not given"))?;
        let label = spec.secret.clone().unwrap_or_default();
        let source = definition.name.clone();
        let header = spec.header.clone().unwrap_or_default();
        let verifier: Box<dyn Verifier> = match spec.style.as_deref().unwrap_or("hmac") {
            "basic" => Box::new(BasicVerifier::new(source, spec.user.as_deref().unwrap_or_default(), secret)?),
            "header" => Box::new(BasicVerifier::header(source, header, &label, secret)?),
            "path" => Box::new(UrlVerifier::path(source, spec.path.as_deref().unwrap_or("/{secret}"), &label, secret)?),
            "query" => Box::new(UrlVerifier::query(source, spec.param.as_deref().unwrap_or_default(), &label, secret)?),
            "standard" => Box::new(StandardWebhooks::new(source).secret(label, secret)?),
            "timestamped" => Box::new(HmacVerifier::timestamped(source, Secrets::new(label, secret)?, header)),
            _ => {
                let mut verifier = HmacVerifier::new(source, Secrets::new(label, secret)?, header);
                if let Some(prefix) = &spec.prefix {
                    verifier = verifier.prefix(prefix);
                }
                if spec.base64 {
                    verifier = verifier.encoding(Encoding::Base64);
                }
                if let Some(time) = &spec.time_header {
                    verifier = verifier.time_header(time, TimeUnit::Seconds);
                }
                if !spec.signed.is_empty() {
                    verifier = verifier.signed(spec.signed.iter().map(|piece| match piece.as_str() {
                        "body" => Signed::Body,
                        "method" => Signed::Method,
                        "timestamp" => Signed::Timestamp,
                        "url" => Signed::Url,
                        text => Signed::Text(text.to_owned()),
                    }));
                }
                Box::new(verifier)
            }
        };
        Ok((verifier, spec.events.clone()))
    }
}
