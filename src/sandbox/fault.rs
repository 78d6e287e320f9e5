//! Scripted trouble.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::hubspot::HubSpotTrouble;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The answer comes this much later; the request is executed.
    Delay {
        /// Milliseconds.
        millis: u64,
    },
    /// The request is executed; then the connection breaks without an answer.
    DropAfter,
    /// The connection breaks before anything is executed.
    DropBefore,
    /// The access token of the request dies: 401 until it is renewed.
    ExpireToken,
    /// One of HubSpot's own refusals; other faces pass it over. Nothing is executed.
    #[serde(rename = "hubspot")]
    HubSpot(HubSpotTrouble),
    /// 403 `REQUEST_LIMIT_EXCEEDED`; on the HubSpot face 429, on the Pipedrive face 429 with the day's tokens spent.
    RequestLimit {
        /// The limit on concurrent long requests instead of the daily one; with Pipedrive the burst limit.
        #[serde(default)]
        concurrent: bool,
    },
    /// `UNABLE_TO_LOCK_ROW` on every row of the request, or on the given rows of a collection, counted from 0; on the HubSpot face
    /// 423 for the whole request.
    RowLock {
        /// Empty: all of them.
        #[serde(default)]
        rows: Vec<usize>,
    },
    /// Any status with any JSON body; nothing is executed.
    Status {
        /// The HTTP status.
        status: u16,
        /// The body; null for none.
        #[serde(default)]
        body: Value,
    },
    /// 429; nothing is executed.
    TooManyRequests {
        /// The value of `Retry-After`: seconds or an HTTP date; no header if absent.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The request is executed; half of the answer's body arrives, then the connection breaks.
    Truncate,
    /// 503; nothing is executed.
    Unavailable {
        /// With a maintenance page instead of an empty body.
        #[serde(default)]
        html: bool,
        /// As in `TooManyRequests`.
        #[serde(default)]
        retry_after: Option<String>,
    },
}

/// A fault and the requests it hits. By default: the next one, whatever it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only requests with this method.
    pub method: Option<String>,
    /// Only requests whose path begins with this; the face's prefix (`/salesforce`) is not part of it.
    pub path: Option<String>,
    /// Only requests whose path holds this text.
    pub contains: Option<String>,
    /// Let so many matching requests pass first.
    pub skip: u64,
    /// Hit so many; null for all.
    pub times: Option<u64>,
    /// Hit a matching request only this often (0 to 1), by the sandbox's seed.
    pub probability: Option<f64>,
}

impl Default for Fault {
    fn default() -> Self {
        Self::new(FaultKind::Unavailable { html: false, retry_after: None })
    }
}

impl Fault {
    /// Hits the next request.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, method: None, path: None, contains: None, skip: 0, times: Some(1), probability: None }
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path begins with this.
    #[must_use]
    pub fn path(mut self, prefix: &str) -> Self {
        self.path = Some(prefix.to_owned());
        self
    }

    /// Only requests whose path holds this text.
    #[must_use]
    pub fn contains(mut self, text: &str) -> Self {
        self.contains = Some(text.to_owned());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Hits so many matching requests.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Hits every matching request.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Hits a matching request this often, from 0 to 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
            && self.contains.as_ref().is_none_or(|text| path.contains(text.as_str()))
    }
}

/// The faults still to come, in the order they were added.
#[derive(Debug)]
pub(crate) struct Faults {
    script: Vec<Fault>,
    random: u64,
}

/// What hits one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hit {
    pub(crate) delay: Duration,
    /// The first fault that is not a delay.
    pub(crate) kind: Option<FaultKind>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { script: Vec::new(), random: seed ^ 0x5DEE_CE66_D1CE_4E5B }
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.script.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.script.clear();
    }

    pub(crate) fn pending(&self) -> &[Fault] {
        &self.script
    }

    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Decides the fate of a request. Delays add up; of the others the first that matches wins and the rest wait.
    pub(crate) fn strike(&mut self, method: &str, path: &str) -> Hit {
        let mut hit = Hit::default();
        let mut script = std::mem::take(&mut self.script);
        for fault in &mut script {
            let delay = match fault.kind {
                FaultKind::Delay { millis } => Some(Duration::from_millis(millis)),
                _ => None,
            };
            if (delay.is_none() && hit.kind.is_some()) || fault.times == Some(0) || !fault.matches(method, path) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if let Some(probability) = fault.probability
                && self.chance() >= probability
            {
                continue;
            }
            fault.times = fault.times.map(|times| times - 1);
            match delay {
                Some(delay) => hit.delay += delay,
                None => hit.kind = Some(fault.kind.clone()),
            }
        }
        script.retain(|fault| fault.times != Some(0));
        self.script = script;
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_played_in_order() {
        let mut faults = Faults::new(1);
        faults.add(Fault::new(FaultKind::DropAfter).method("POST").path("/services/data").skip(1));
        faults.add(Fault::new(FaultKind::Delay { millis: 5 }).always());
        let kinds = |hit: Hit| (hit.kind.is_some(), hit.delay.as_millis());
        assert_eq!(kinds(faults.strike("GET", "/services/data/x")), (false, 5));
        assert_eq!(kinds(faults.strike("POST", "/services/data/x")), (false, 5));
        assert_eq!(kinds(faults.strike("POST", "/services/data/x")), (true, 5));
        assert_eq!(kinds(faults.strike("POST", "/services/data/x")), (false, 5));
        assert_eq!(faults.pending().len(), 1);
    }

    #[test]
    fn json_names_what_rust_does() {
        let fault: Fault = serde_json::from_str(r#"{"kind":"row_lock","rows":[0,3],"method":"PATCH","times":null}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultKind::RowLock { rows: vec![0, 3] }).method("PATCH").always());
        let fault: Fault = serde_json::from_str(r#"{"kind":"drop_after"}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultKind::DropAfter));
        assert!(serde_json::from_str::<Fault>(r#"{"kind":"nonsense"}"#).is_err());
    }
}
