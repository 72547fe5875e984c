//! The discovery document of an ODS, and the data URL that follows from it.

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
    let mut call = Call {
        small: true,
        ..Call::get(base.as_url().clone())
    };
    let answer = transport.send(&mut call, policy, control).await?;
    if retry::is_passing(answer.status) {
        return Err(answer.failure());
    }
    let found = (answer.status == StatusCode::OK)
        .then(|| serde_json::from_slice::<Value>(&answer.body).ok())
        .flatten()
        .and_then(|document| data_path(&document));
    Ok(match found {
        Some(path) => base.with_path(&path),
        None => with_version(base, urls::DEFAULT_VERSION),
    })
}

/// `{base}/data/{segment}`, or the base itself where there is no segment.
pub(crate) fn with_version(base: &BaseUrl, segment: &str) -> BaseUrl {
    match segment {
        "" => base.clone(),
        segment => base.below(&format!("data/{segment}")),
    }
}

fn data_path(document: &Value) -> Option<String> {
    let text = document.get("urls")?.get("dataManagementApi")?.as_str()?;
    // A template such as {tenantIdentifier} that nobody filled in.
    if text.contains('{') {
        return None;
    }
    let url = urls::parse_url(text).ok()?;
    Some(url.path().to_owned())
}
