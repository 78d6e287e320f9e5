//! How often an API may be called.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pace::{Bucket, Window};
use crate::rest::Call;

/// How often the API may be called: what is known beforehand, and where answers tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RateSpec {
    /// The header with the allowance of a window.
    pub limit: Option<String>,
    /// The header with what is left of it.
    pub remaining: Option<String>,
    /// How long a window lasts, in seconds.
    pub window: Option<u64>,
    /// The header that says when the window ends: seconds from now, an HTTP date, or seconds since 1970. When nothing is left,
    /// no request is sent before it.
    pub reset: Option<String>,
    /// A header that asks for a pause of so many seconds although the request was answered.
    pub backoff: Option<String>,
    /// The header with the wait of a refused request. Default: `Retry-After`.
    pub retry_after: Option<String>,
    /// The same in thousandths of seconds.
    pub retry_after_milliseconds: bool,
    /// What is known beforehand. A request that would break one is not sent: it fails as rate-limited, with the wait.
    pub limits: Vec<LimitSpec>,
    /// What requests cost, for limits that count more than requests; the first that matches. Default: 1.
    pub prices: Vec<PriceSpec>,
}

/// At most so many calls in any so many seconds, of the requests it is about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSpec {
    /// How many; each counts what `prices` say.
    pub calls: u32,
    /// In how many seconds, wherever they begin.
    pub seconds: u64,
    /// How many may go at once; the others are spread over the time. Default: a tenth.
    #[serde(default)]
    pub burst: Option<u32>,
    /// The methods it is about; none: all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The operations it is about, as in the rules of errors; none: all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// The paths it is about, from the base URL: `*` and names in braces stand for one step, `**` at the end for any. Default: all.
    #[serde(default)]
    pub path: Option<String>,
}

/// What the requests it is about cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PriceSpec {
    /// So much; 0 counts as 1.
    pub price: u32,
    /// The methods it is about; none: all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The operations it is about; none: all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// The paths it is about, as for a limit. Default: all.
    #[serde(default)]
    pub path: Option<String>,
}

impl LimitSpec {
    fn window(&self) -> Window {
        let window = Window::new(self.calls, Duration::from_secs(self.seconds));
        self.burst.map_or(window, |burst| window.burst(burst))
    }
}

/// What was sent lately with one credential, limit by limit.
#[derive(Debug)]
pub(super) struct Spent(Vec<Bucket>);

impl Spent {
    pub(super) fn new(spec: &RateSpec) -> Self {
        Self(spec.limits.iter().map(|limit| Bucket::new([limit.window()])).collect())
    }

    /// Counts `call` if every limit lets it go at `now`.
    ///
    /// # Errors
    /// The wait, if one does not; nothing is counted then.
    pub(super) fn take(&mut self, spec: &RateSpec, call: &Call, now: Duration) -> Result<(), Duration> {
        if self.0.is_empty() {
            return Ok(());
        }
        let price = spec.prices.iter().find(|price| is_about(&price.methods, &price.operations, price.path.as_deref(), call));
        let price = price.map_or(1, |price| price.price);
        let mut about: Vec<&mut Bucket> = spec
            .limits
            .iter()
            .zip(&mut self.0)
            .filter(|(limit, _)| is_about(&limit.methods, &limit.operations, limit.path.as_deref(), call))
            .map(|(_, bucket)| bucket)
            .collect();
        let wait = about.iter().map(|bucket| bucket.wait(now, price)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        for bucket in &mut about {
            bucket.reserve(now, price);
        }
        Ok(())
    }
}

fn is_about(methods: &[String], operations: &[String], path: Option<&str>, call: &Call) -> bool {
    (methods.is_empty() || methods.iter().any(|method| method.eq_ignore_ascii_case(call.method.as_str())))
        && (operations.is_empty() || operations.iter().any(|operation| operation == call.operation))
        && path.is_none_or(|pattern| covers(pattern, call.path.split('?').next().unwrap_or_default()))
}

/// True if the pattern stands for the path.
fn covers(pattern: &str, path: &str) -> bool {
    let mut steps = path.split('/');
    let mut wanted = pattern.split('/').peekable();
    while let Some(want) = wanted.next() {
        if want == "**" && wanted.peek().is_none() {
            return true;
        }
        let Some(step) = steps.next() else { return false };
        let any = want == "*" || (want.starts_with('{') && want.ends_with('}'));
        if !any && want != step {
            return false;
        }
    }
    steps.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn patterns_of_paths() {
        assert!(covers("/contacts", "/contacts") && covers("/{entity}/search", "/leads/search") && covers("/a/*/c", "/a/b/c"));
        assert!(covers("/**", "/a/b") && covers("/a/**", "/a/b/c") && covers("/a/**", "/a"));
        assert!(!covers("/contacts", "/contacts/1") && !covers("/a/*", "/a") && !covers("/a", "/b"));
    }

    #[test]
    fn limits_count_what_they_are_about_at_its_price() {
        let spec: RateSpec = serde_json::from_value(serde_json::json!({
            "limits": [
                {"calls": 10, "seconds": 10, "burst": 10},
                {"calls": 1, "seconds": 60, "methods": ["post"], "path": "/{entity}/search"}
            ],
            "prices": [{"price": 4, "operations": ["bulk"]}]
        }))
        .unwrap();
        let mut spent = Spent::new(&spec);
        let now = Duration::from_secs(5);
        let search = Call::post("search", "/leads/search?x=1");
        assert_eq!(spent.take(&spec, &search, now), Ok(()));
        assert_eq!(spent.take(&spec, &search, now), Err(Duration::from_secs(60)));
        let batch = Call::post("bulk", "/batch");
        assert_eq!(spent.take(&spec, &batch, now), Ok(()));
        assert_eq!(spent.take(&spec, &batch, now), Ok(()));
        // One is left of ten: a read goes, a batch would have to wait.
        assert!(spent.take(&spec, &batch, now).is_err());
        assert_eq!(spent.take(&spec, &Call::get("get", "/leads/1"), now), Ok(()));
        assert!(spent.take(&spec, &Call::new("get", Method::GET, "/leads/1"), now).is_err());
        assert_eq!(spent.take(&spec, &search, now + Duration::from_secs(60)), Ok(()));
    }
}
