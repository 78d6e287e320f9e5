//! The cookies of one session. A load balancer and the session's own guard set them; without them a client is not believed.

use http::HeaderValue;
use http::header::{HeaderMap, SET_COOKIE};

use crate::error::{Error, Result};

/// Cookies by name. All requests of a session go to one origin and one path, so attributes but the age do not matter.
#[derive(Default)]
pub(super) struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// Takes over what an answer sets, and drops what it takes back.
    pub(super) fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = line.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() {
                continue;
            }
            self.0.retain(|(known, _)| known != name);
            let gone = parts.any(|attribute| {
                let (key, age) = attribute.split_once('=').unwrap_or((attribute, ""));
                key.trim().eq_ignore_ascii_case("max-age") && age.trim().parse::<i64>().is_ok_and(|age| age <= 0)
            });
            if !gone {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The header to send, if there is anything to send.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let text = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut value = HeaderValue::try_from(text).map_err(|_| Error::decode("the server set a cookie that cannot be sent back"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_replaced_and_taken_back() {
        let mut cookies = Cookies::default();
        let set = |cookies: &mut Cookies, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(SET_COOKIE, HeaderValue::from_str(line).unwrap());
            }
            cookies.keep(&headers);
        };
        assert!(cookies.header().unwrap().is_none());
        set(&mut cookies, &["BAYEUX_BROWSER=a=b; Path=/; HttpOnly", "sticky=1; Max-Age=60", "=x", "nonsense"]);
        assert_eq!(cookies.header().unwrap().unwrap(), "BAYEUX_BROWSER=a=b; sticky=1");
        set(&mut cookies, &["sticky=2", "BAYEUX_BROWSER=; max-age=0"]);
        let header = cookies.header().unwrap().unwrap();
        assert_eq!(header, "sticky=2");
        assert!(header.is_sensitive());
    }
}
