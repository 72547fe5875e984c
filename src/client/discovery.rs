//! The discovery document of an ODS, and the URLs that follow from it.

use reqwest::StatusCode;
use serde_json::Value;

use super::control::Control;
use super::retry::{self, RetryPolicy};
use super::transport::{Call, Transport};
use super::urls::{self, BaseUrl};
use crate::Failure;

/// The data URL of the ODS at `base`.
///
/// Its discovery document says, where there is one; only the path is taken from it, since the
/// host in it may be wrong behind a proxy, and credentials must not follow it. Otherwise the ODS
/// is taken for one of the releases that serve `data/v3`.
pub(crate) async fn data_root(
    base: &BaseUrl,
    transport: &Transport,
    policy: RetryPolicy,
    control: &Control,
) -> Result<BaseUrl, Failure> {
    let found = document(base, transport, policy, control).await?;
    Ok(match path(&found["urls"]["dataManagementApi"]) {
        Some(path) => base.with_path(&path),
        None => with_version(base, urls::DEFAULT_VERSION),
    })
}

/// Where the ODS at `base` tells about its changes.
pub(crate) async fn change_queries_root(
    base: &BaseUrl,
    transport: &Transport,
    policy: RetryPolicy,
    control: &Control,
) -> Result<BaseUrl, Failure> {
    let found = document(base, transport, policy, control).await?;
    Ok(match path(&found["urls"]["changeQueries"]) {
        Some(path) => base.with_path(&path),
        None => change_queries(base, urls::DEFAULT_VERSION),
    })
}

/// The discovery document; null where there is none.
async fn document(
    base: &BaseUrl,
    transport: &Transport,
    policy: RetryPolicy,
    control: &Control,
) -> Result<Value, Failure> {
    let mut call = Call {
        small: true,
        ..Call::get(base.as_url().clone())
    };
    let answer = transport.send(&mut call, policy, control).await?;
    if retry::is_passing(answer.status) {
        return Err(answer.failure());
    }
    let found = (answer.status == StatusCode::OK).then(|| serde_json::from_slice(&answer.body));
    Ok(found.and_then(Result::ok).unwrap_or_default())
}

/// `{base}/data/{segment}`, or the base itself where there is no segment.
pub(crate) fn with_version(base: &BaseUrl, segment: &str) -> BaseUrl {
    match segment {
        "" => base.clone(),
        segment => base.below(&format!("data/{segment}")),
    }
}

/// `{base}/changeQueries/v1`, whatever segment the data is below; beside `data` where the base URL
/// is that of the data. A year in the segment stays (`v3/2026`).
pub(crate) fn change_queries(base: &BaseUrl, segment: &str) -> BaseUrl {
    let base_path = base.as_url().path();
    let (root, segment) = match (segment, base_path.rsplit_once("/data/")) {
        ("", Some((root, segment))) => (root, segment),
        _ => (base_path, segment),
    };
    let year = segment.split_once('/').map_or("", |(_, year)| year);
    let root = root.trim_end_matches('/');
    base.with_path(&format!("{root}/changeQueries/v1/{year}"))
}

/// The path of a URL; none of a template such as `{tenantIdentifier}` that nobody filled in.
fn path(url: &Value) -> Option<String> {
    let text = url.as_str().filter(|text| !text.contains('{'))?;
    let url = urls::parse_url(text).ok()?;
    Some(url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_queries_stand_beside_the_data() {
        for (base, segment, expected) in [
            ("http://a.test", "v3", "/changeQueries/v1"),
            ("http://a.test/api/", "v3", "/api/changeQueries/v1"),
            ("http://a.test/api", "v3/2026", "/api/changeQueries/v1/2026"),
            ("http://a.test/api/data/v3", "", "/api/changeQueries/v1"),
            (
                "http://a.test/api/data/v3/2026",
                "",
                "/api/changeQueries/v1/2026",
            ),
            ("http://a.test/api", "", "/api/changeQueries/v1"),
        ] {
            let base = BaseUrl::parse(base, true).unwrap();
            assert_eq!(change_queries(&base, segment).as_url().path(), expected);
        }
    }
}
