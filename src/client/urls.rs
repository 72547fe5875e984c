//! Where an ODS lives: base URLs, origins, API versions, and what may be sent where.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

/// What is left alone in one path segment (the unreserved characters of RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The version segment of every ODS/API release up to 7.x.
pub(crate) const DEFAULT_VERSION: &str = "v3";
/// What stands for the segment of releases from 8 on, which have none: no segment is written so.
pub(crate) const NO_SEGMENT: &str = "/";

/// A base URL that has been looked at: absolute, http or https, without credentials, query or
/// fragment, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BaseUrl(Url);

impl BaseUrl {
    /// Reads a base URL; the error says what is wrong without repeating the URL, which may hold a
    /// secret.
    pub(crate) fn parse(text: &str, allow_http: bool) -> Result<Self, String> {
        let url = parse_url(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("not a base URL: it has a query or a fragment".into());
        }
        may_carry_secrets(&url, allow_http)?;
        let mut url = url;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Refuses a data URL: `/data/v3` is put to the root by each call.
    pub(crate) fn check_root(&self) -> Result<(), String> {
        let path = self.0.path().trim_end_matches('/');
        let Some((root, segment)) = path.rsplit_once("/data/") else {
            return Ok(());
        };
        let mut parts = segment.split('/');
        if !parts.next().is_some_and(is_segment) {
            return Ok(());
        }
        let instead = match parts.next_back() {
            Some(last) if is_year(last) => format!("and api_version=\"{segment}\""),
            _ => format!("without /data/{segment}"),
        };
        Err(format!(
            "give the root of the ODS, {}, {instead}; or api_version=\"\" where this is all there is",
            shown(self.with_path(root).as_url()).trim_end_matches('/')
        ))
    }

    /// `{base}/{path}`, whatever slashes stand between them.
    pub(crate) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let path = format!(
            "{}/{}",
            self.0.path().trim_end_matches('/'),
            path.trim_matches('/')
        );
        url.set_path(&path);
        url
    }

    /// The same as [`join`](Self::join), as the base of other URLs.
    pub(crate) fn below(&self, path: &str) -> Self {
        Self(self.join(path))
    }

    pub(crate) fn as_url(&self) -> &Url {
        &self.0
    }

    /// The same origin with another path: what a discovery document may change.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(path.trim_end_matches('/'));
        Self(url)
    }
}

impl From<BaseUrl> for Url {
    fn from(base: BaseUrl) -> Self {
        base.0
    }
}

/// An absolute http or https URL without credentials in it.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("not an http or https URL".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not hold credentials".into());
    }
    Ok(url)
}

/// Scheme, host and port, as texts show them: of an http or https URL without credentials, the only
/// ones that are asked for.
pub(crate) fn origin(url: &Url) -> &str {
    let text = url.as_str();
    let host = url.scheme().len() + "://".len();
    let end = text[host..].find('/').map_or(text.len(), |end| host + end);
    &text[..end]
}

/// Whether credentials and tokens may go to this URL.
pub(crate) fn may_carry_secrets(url: &Url, allow_http: bool) -> Result<(), String> {
    if url.scheme() == "https" || allow_http || is_loopback(url) {
        return Ok(());
    }
    Err(
        "credentials are not sent over plain http to another machine; use https, or set \
         allow_http=True if you accept that anyone on the way can read them"
            .into(),
    )
}

/// Whether a URL names this machine (RFC 6761, section 6.3; RFC 1122, section 3.2.1.3).
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            match bare.parse::<std::net::IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => bare.eq_ignore_ascii_case("localhost"),
            }
        }
        None => false,
    }
}

/// A URL as it may be shown: without query, fragment and credentials.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

/// The path segment for an `api_version`: `v3` stays, an ODS/API release becomes the segment that
/// it serves under, if there is one; `""` means that the base URL is the data URL, anything else stays as it is.
pub(crate) fn version_segment(api_version: &str) -> String {
    let raw = api_version.trim().trim_matches('/');
    if is_segment(raw) {
        return raw.to_ascii_lowercase();
    }
    if raw.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
        let major = raw.split('.').next().and_then(|major| major.parse().ok());
        return match major {
            Some(8_u32..) => NO_SEGMENT.into(),
            _ => DEFAULT_VERSION.into(),
        };
    }
    raw.into()
}

/// Refuses a school year alone, which would read or write another year than it says.
pub(crate) fn check_version(api_version: &str) -> Result<(), String> {
    let year = api_version.trim().trim_matches('/');
    match is_year(year) {
        true => Err(format!(
            "{year} is a school year; give \"v3/{year}\" (up to 6.x), or the year in the base URL"
        )),
        false => Ok(()),
    }
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a path segment is a version, such as `v3`.
fn is_segment(text: &str) -> bool {
    text.strip_prefix(['v', 'V'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// An endpoint such as `/ed-fi/students/`, without the slashes around it.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let trimmed = text.trim().trim_matches('/');
    let good = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
    };
    if !trimmed.is_empty() && trimmed.split('/').all(good) {
        return Ok(trimmed.into());
    }
    Err(format!(
        "endpoint {text:?} is not a resource path such as \"ed-fi/students\""
    ))
}

/// One id as one path segment; `.` and `..` cannot be one (RFC 3986, section 3.3).
pub(crate) fn id_segment(id: &str) -> Result<Cow<'_, str>, String> {
    if id.trim().is_empty() {
        return Err("missing 'id'".into());
    }
    if matches!(id, "." | "..") {
        return Err(format!("id {id:?} cannot stand in a URL"));
    }
    Ok(utf8_percent_encode(id, SEGMENT).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_segments() {
        for (given, segment) in [
            ("v3", "v3"),
            ("V3", "v3"),
            ("7.1", "v3"),
            ("5.3", "v3"),
            ("6", "v3"),
            ("7.3.1", "v3"),
            ("8.0", NO_SEGMENT),
            ("8", NO_SEGMENT),
            ("10.1", NO_SEGMENT),
            ("/v5/", "v5"),
            ("", ""),
            ("custom", "custom"),
        ] {
            assert_eq!(version_segment(given), segment, "{given:?}");
        }
    }

    #[test]
    fn an_origin_is_what_stands_before_the_path() {
        for text in [
            "http://127.0.0.1:8001",
            "https://ods.example.org:443/a/b?c=/d",
            "http://[::1]:8/",
            "https://b\u{fc}cher.example/x#y/z",
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(origin(&url), url.origin().ascii_serialization());
        }
    }

    #[test]
    fn loopback_is_more_than_one_address() {
        for (url, loopback) in [
            ("http://127.0.0.1:1/", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]:8/", true),
            ("http://localhost/", true),
            ("http://localhost.example.org/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn ids_stay_in_their_segment() {
        assert_eq!(id_segment("a/b?c#d e%").unwrap(), "a%2Fb%3Fc%23d%20e%25");
        assert!(id_segment("..").is_err());
    }
}
