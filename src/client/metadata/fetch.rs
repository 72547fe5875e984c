//! Metadata asked for: one request, with a token only where the server wants to see one.

use reqwest::header::{ACCEPT, HeaderValue, IF_NONE_MATCH};
use reqwest::{StatusCode, Url};

use super::shelf::Shelf;
use crate::Failure;
use crate::client::discovery::Discovery;
use crate::client::permits::Permits;
use crate::client::problem;
use crate::client::retry::RetryPolicy;
use crate::client::session::{Access, CallContext};
use crate::client::transport::{Request, Response, SendOptions};
use crate::client::urls::BaseUrl;

/// Asks one ODS for its metadata, on behalf of one call.
#[derive(Clone, Copy)]
pub(super) struct Fetcher<'a> {
    pub(super) context: &'a CallContext,
    pub(super) base: &'a BaseUrl,
    /// What a server is shown that gives its metadata to nobody unknown.
    pub(super) access: Option<&'a Access>,
    pub(super) requests: Option<&'a Permits>,
    /// Whether the documents are asked for columns alone.
    pub(super) are_columns: bool,
    /// Whether the call can do without: nobody waits long for them.
    pub(super) is_hint: bool,
}

impl<'a> Fetcher<'a> {
    /// Sends with a permit, where requests are limited.
    async fn limited<T>(&self, send: impl Future<Output = T>) -> T {
        // What asks for metadata holds this several times over: on the heap it takes no part of the
        // stacks of calls.
        let send = Box::pin(send);
        match self.requests {
            Some(requests) => requests.run(send).await,
            None => send.await,
        }
    }

    /// How often it asks.
    pub(super) fn policy(&self) -> RetryPolicy {
        let policy = self.context.client.policy();
        match self.is_hint {
            true => policy.for_hint(),
            false => policy,
        }
    }

    /// The folder's place for this ODS, where there is a folder: its discovery document says which.
    pub(super) async fn shelf(&self, has_version: bool) -> Result<Option<Shelf>, Failure> {
        let Some(folder) = self.context.client.metadata_folder() else {
            return Ok(None);
        };
        let discovery = match self.discovery(has_version).await {
            Err(_) if has_version && !self.context.control.is_cancelled() => Discovery::default(),
            discovery => discovery?,
        };
        Ok(Some(folder.shelf(discovery.release())))
    }

    /// Asks without a token, as metadata is for everybody; with one where that is refused.
    pub(super) async fn get(
        &self,
        url: &Url,
        known: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        self.limited(self.send(url, known)).await
    }

    async fn send(&self, url: &Url, known: Option<&HeaderValue>) -> Result<Response, Failure> {
        let mut request = Request::get(url.clone());
        request
            .headers
            .push((ACCEPT, HeaderValue::from_static("application/json")));
        if let Some(etag) = known {
            request.headers.push((IF_NONE_MATCH, etag.clone()));
        }
        let client = &self.context.client;
        let options = SendOptions::new(self.policy(), &self.context.control);
        let mut anonymous = request.clone();
        let response = client.transport().send(&mut anonymous, options).await;
        let response = response.map_err(|failure| failure.on_the_way("metadata"))?;
        match self.access {
            // What is said of a 404 of the data would wait for the documents that are being fetched.
            Some(access) if is_secluded(response.status) => {
                self.context
                    .authorized(access, &mut request, self.policy())
                    .await
            }
            _ => Ok(response),
        }
    }

    /// The discovery document, for which a permit is taken as well.
    pub(super) async fn discovery(&self, has_version: bool) -> Result<Discovery, Failure> {
        let client = &self.context.client;
        let options = SendOptions::new(self.policy(), &self.context.control);
        let discovery = self.limited(client.discovery(self.base, options)).await;
        let discovery = discovery.and_then(|found| found.check(self.base).map(|()| found));
        match discovery {
            // Where the data is, is known without it: perhaps the metadata is there, too.
            Err(failure) if failure.http_status == Some(500) && has_version => {
                Ok(Discovery::default())
            }
            discovery => discovery.map_err(|failure| failure.on_the_way("discovery")),
        }
    }

    /// An address as the server wrote it, at the origin that this call may talk to.
    pub(super) fn resolve(&self, list: &Url, address: &str) -> Option<Url> {
        if address.contains('{') {
            return None;
        }
        let url = list.join(address.trim()).ok()?;
        Some(self.at(url.path(), url.query()))
    }

    pub(super) fn at(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.base.as_url().clone();
        url.set_path(path);
        url.set_query(query);
        url
    }

    pub(super) fn refused(&self, url: &Url, response: &Response) -> Failure {
        self.placed(url, response.refusal())
    }

    pub(super) fn unusable(&self, url: &Url, response: &Response, what: &str) -> Failure {
        self.placed(url, response.unusable(what))
    }

    /// Says where the metadata failed, and how to do without it.
    fn placed(&self, url: &Url, mut failure: Failure) -> Failure {
        if failure.http_status != Some(401) {
            let advice = match self.are_columns {
                true => "; schema=\"infer\" reads without it",
                false => "",
            };
            failure.message = format!(
                "{} (the ODS's OpenAPI metadata, {}{advice})",
                failure.message,
                problem::shortened(url.path())
            );
        }
        failure.on_the_way("metadata")
    }
}

/// Whether a status says that only those may look whom the server knows.
fn is_secluded(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Whether a status says that there is nothing at this place.
pub(super) fn is_nothing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}
