//! One page of a collection, by offset.

use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};

use super::session::{Access, CallContext};
use super::transport::{Answer, Call};
use crate::Failure;

/// What stays the same from page to page.
#[derive(Debug, Clone)]
pub(crate) struct Collection {
    pub(crate) url: Url,
    pub(crate) snapshot: bool,
}

/// Which page to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest {
    pub(crate) offset: u64,
    pub(crate) limit: u64,
    /// Ask for the number of all records beside the page.
    pub(crate) count: bool,
}

/// A page as it came.
#[derive(Debug)]
pub(crate) struct RawPage {
    pub(crate) answer: Answer,
    /// `Total-Count`, where the server sent one.
    pub(crate) total: Option<u64>,
}

/// Why a page did not come.
#[derive(Debug)]
pub(crate) enum PageError {
    /// The server allows smaller pages only: this size.
    LimitTooLarge(u64),
    Failed(Failure),
}

impl From<Failure> for PageError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Collection {
    /// Adds a filter to every page's query.
    pub(crate) fn with_params(mut self, params: &[(String, String)]) -> Self {
        if !params.is_empty() {
            self.url.query_pairs_mut().extend_pairs(params);
        }
        self
    }

    /// Fetches one page: 200, whatever the body is.
    pub(crate) async fn fetch(
        &self,
        context: &CallContext,
        access: &Access,
        page: PageRequest,
    ) -> Result<RawPage, PageError> {
        let mut url = self.url.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("offset", &page.offset.to_string());
            query.append_pair("limit", &page.limit.to_string());
            if page.count {
                query.append_pair("totalCount", "true");
            }
        }
        let mut call = Call::get(url);
        call.headers
            .push((ACCEPT, HeaderValue::from_static("application/json")));
        if self.snapshot {
            let name = HeaderName::from_static("use-snapshot");
            call.headers.push((name, HeaderValue::from_static("true")));
        }
        let answer = context
            .send(access, &mut call, context.client.policy())
            .await?;
        if answer.status != StatusCode::OK {
            return Err(match allowed_limit(&answer) {
                Some(allowed) if allowed < page.limit => PageError::LimitTooLarge(allowed),
                _ => PageError::Failed(answer.refusal()),
            });
        }
        let total = answer.headers.get("total-count").and_then(|value| {
            let text = value.to_str().ok()?;
            text.trim().parse().ok()
        });
        Ok(RawPage { answer, total })
    }
}

/// The largest page that the server's own words allow: `Limit must be omitted or set to a value
/// between 0 and 500.` (ODS/API, parameter-validation-failed).
fn allowed_limit(answer: &Answer) -> Option<u64> {
    if answer.status != StatusCode::BAD_REQUEST {
        return None;
    }
    let body = std::str::from_utf8(&answer.body).ok()?;
    let (_, after) = body.split_once("between 0 and ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|allowed| *allowed > 0)
}
