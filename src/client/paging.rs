//! One page of a collection, by offset or by token, and how a reading goes on after the first one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use reqwest::header::ACCEPT;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::changes::Snapshot;
use super::permits::Permits;
use super::profile;
use super::session::{Access, CallContext};
use super::transport::{Request, Response};
use crate::Failure;
use crate::choice::choice;

/// A partition has at least so many of the largest pages (ODS/API 7.3).
const PAGES_PER_PARTITION: u64 = 5;
/// How many partitions an ODS gives at most, and how many where nobody says.
const MOST_PARTITIONS: u64 = 200;
const SOME_PARTITIONS: u64 = 10;
/// How many pages by token may be empty, one after another: gaps are normal (DMS), but they end.
const MOST_EMPTY_PAGES: u32 = 1_000;
/// The same of pages that hold only records that came before: tokens lead on, so there are none.
const MOST_KNOWN_PAGES: u32 = 50;
/// No server needs a longer token, and no URL carries one.
const LONGEST_TOKEN: usize = 1 << 14;

/// How the pages of a resource are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paging {
    /// By token where the server gives one with the first page (ODS/API 7.3 and later), by windows
    /// where it counts more than 100,000 records and has change queries, else by offset.
    #[default]
    Auto,
    /// By `offset` and `limit`: every release; slow far into a large resource.
    Offset,
    /// By token, partitions side by side; an error where the server has neither.
    Cursor,
    /// By windows of change versions of at most 25,000 records each, side by side, and by offset
    /// within them: an ODS without tokens skips row by row to a deep offset. Records come in the order
    /// of their windows. An error where the server has no change queries.
    Windows,
}

choice!(Paging: "auto" => Auto, "offset" => Offset, "cursor" => Cursor, "windows" => Windows);

/// What stays the same from page to page.
#[derive(Debug, Clone)]
pub(crate) struct Collection {
    pub(crate) url: Url,
    pub(crate) snapshot: Snapshot,
}

impl Collection {
    /// The records of a resource.
    pub(crate) async fn of(
        context: &CallContext,
        access: &Access,
        endpoint: &str,
        snapshot: Snapshot,
    ) -> Result<Self, Failure> {
        Ok(Self {
            url: context.data_root(access).await?.join(endpoint),
            snapshot,
        })
    }
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
    pub(crate) answer: Response,
    /// `Total-Count`, where the server sent one.
    pub(crate) total: Option<u64>,
    /// `Next-Page-Token`: pages by token end where there is none, and nowhere else.
    pub(crate) next: Option<String>,
}

impl RawPage {
    fn new(answer: Response) -> Self {
        let header = |name: &str| {
            let text = answer.headers.get(name)?.to_str().ok()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Self {
            total: header("total-count").and_then(|text| text.parse().ok()),
            next: header("next-page-token"),
            answer,
        }
    }
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

/// What the first page, asked for by offset and with the count, tells about the others.
#[derive(Debug, Clone)]
pub(crate) struct FirstPage {
    /// How many records it has, and how many it could have had.
    pub(crate) records: u64,
    pub(crate) limit: u64,
    pub(crate) total: Option<u64>,
    pub(crate) next: Option<String>,
}

impl FirstPage {
    /// Into how many parts a reading is worth dividing.
    fn partitions(&self) -> u64 {
        match self.total {
            Some(total) => total
                .div_ceil(PAGES_PER_PARTITION.saturating_mul(self.limit))
                .clamp(1, MOST_PARTITIONS),
            None if self.records < self.limit => 1,
            None => SOME_PARTITIONS,
        }
    }
}

/// How many pages by offset a collection has: each begins with the last record of the one before, and
/// the last one is short.
pub(crate) fn pages_by_offset(records: u64, limit: u64) -> u64 {
    records.saturating_sub(1) / limit.saturating_sub(1).max(1) + 1
}

/// How a reading goes on after its first page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Continuation {
    /// Nothing is missing.
    Done,
    /// By offset.
    Offset,
    /// By token, from this one on.
    Token(String),
    /// By token, from each of these on, side by side. The records of the first page are among
    /// theirs: it is read once more.
    Partitions(Vec<String>),
}

/// A cursor: page tokens, each of which leads to the next page.
#[derive(Debug)]
pub(crate) struct PageTokens {
    current: String,
    /// Digests of those before: a server decides how long a token is.
    before: HashSet<u64>,
    /// How many pages in a row had no record, and how many none that is new.
    empty: u32,
    known: u32,
}

impl PageTokens {
    pub(crate) fn new(token: String) -> Self {
        Self {
            current: token,
            before: HashSet::new(),
            empty: 0,
            known: 0,
        }
    }

    /// The token of the page to ask for.
    pub(crate) fn current(&self) -> &str {
        &self.current
    }

    /// Goes on to the next page, after one with so many records, of which any may be new. A token
    /// that came before would lead in a circle, and pages without anything new need not end.
    pub(crate) fn advance(
        &mut self,
        next: String,
        records: u64,
        is_new: bool,
    ) -> Result<(), Failure> {
        let last = std::mem::replace(&mut self.current, next);
        self.before.insert(digest(&last));
        if self.current.len() > LONGEST_TOKEN {
            return Err(Failure::new(format!(
                "the server gave a Next-Page-Token of {} bytes, which no URL can carry",
                self.current.len()
            )));
        }
        if self.before.contains(&digest(&self.current)) {
            return Err(Failure::new(
                "the server gave a Next-Page-Token that came before: its pages have no end",
            ));
        }
        self.empty = if records == 0 { self.empty + 1 } else { 0 };
        self.known = match is_new {
            true => 0,
            false => self.known + u32::from(records > 0),
        };
        let (pages, what) = match (self.empty, self.known) {
            (empty, _) if empty > MOST_EMPTY_PAGES => (empty, "without a record"),
            (_, known) if known > MOST_KNOWN_PAGES => (known, "of records that came before"),
            _ => return Ok(()),
        };
        Err(Failure::new(format!(
            "the server gave {pages} pages {what}, one after another, and a Next-Page-Token with \
             each: its pages have no end"
        )))
    }
}

fn digest(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
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
        self.page(context, access, url, page.limit).await
    }

    /// Fetches the page that a token leads to: 200, whatever the body is.
    pub(crate) async fn fetch_at(
        &self,
        context: &CallContext,
        access: &Access,
        token: &str,
        size: u64,
    ) -> Result<RawPage, PageError> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("pageToken", token)
            .append_pair("pageSize", &size.to_string());
        self.page(context, access, url, size).await
    }

    /// How many records there are, where the server counts them.
    pub(crate) async fn count(
        &self,
        context: &CallContext,
        access: &Access,
    ) -> Result<Option<u64>, Failure> {
        let mut page = PageRequest {
            offset: 0,
            limit: 0,
            count: true,
        };
        loop {
            match self.fetch(context, access, page).await {
                Ok(page) => return Ok(page.total),
                // There are servers that do not take a page of nothing.
                Err(PageError::Failed(Failure {
                    http_status: Some(400),
                    ..
                })) if page.limit == 0 => page.limit = 1,
                Err(error) => return Err(error.into_failure()),
            }
        }
    }

    /// How to go on after a first page that is not the last. Asks for partitions where that is worth
    /// it, and for nothing at all where the server shows no sign of tokens.
    pub(crate) async fn continuation(
        &self,
        context: &CallContext,
        access: &Access,
        requests: &Permits,
        paging: Paging,
        first: FirstPage,
    ) -> Result<Continuation, Failure> {
        let number = first.partitions();
        let empty = first.records == 0;
        let next = match (paging, first.next) {
            (Paging::Offset | Paging::Windows, _) | (Paging::Auto, None) => {
                return Ok(Continuation::Offset);
            }
            // Its few pages are sooner read one after another than divided.
            (Paging::Auto, Some(next)) if number == 1 => return Ok(Continuation::Token(next)),
            (_, next) => next,
        };
        let partitions = self.partitions(context, access, number);
        let tokens = requests.run(partitions).await?;
        match (tokens, next) {
            (Some(tokens), _) if !tokens.is_empty() => Ok(Continuation::Partitions(tokens)),
            (_, Some(next)) => Ok(Continuation::Token(next)),
            (Some(_), None) if empty => Ok(Continuation::Done),
            (_, None) => Err(Failure::new(
                "the server has no page tokens (no Next-Page-Token, no /partitions); read with \
                 paging \"auto\" or \"offset\"",
            )),
        }
    }

    /// Tokens, each the begin of a part of the collection; `None` where the server has none.
    async fn partitions(
        &self,
        context: &CallContext,
        access: &Access,
        number: u64,
    ) -> Result<Option<Vec<String>>, Failure> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/partitions", url.path()));
        url.query_pairs_mut()
            .append_pair("number", &number.to_string());
        let answer = self.send(context, access, url).await?;
        match answer.status.as_u16() {
            200 => page_tokens(&answer.body, MOST_PARTITIONS.max(2 * number) as usize)
                .map_err(|what| answer.unusable(&what)),
            // To an older ODS "partitions" is the id of an item.
            400 | 404 | 405 | 501 => Ok(None),
            _ => Err(answer.refusal()),
        }
    }

    async fn page(
        &self,
        context: &CallContext,
        access: &Access,
        url: Url,
        size: u64,
    ) -> Result<RawPage, PageError> {
        let answer = self.send(context, access, url).await?;
        if answer.status != StatusCode::OK {
            return Err(match allowed_limit(&answer) {
                Some(allowed) if allowed < size => PageError::LimitTooLarge(allowed),
                _ => PageError::Failed(self.snapshot.refusal(&answer)),
            });
        }
        Ok(RawPage::new(answer))
    }

    async fn send(
        &self,
        context: &CallContext,
        access: &Access,
        url: Url,
    ) -> Result<Response, Failure> {
        let accept = profile::readable(context.client.profile(), url.path());
        let mut request = Request::get(url);
        request.headers.push((ACCEPT, accept));
        request.page = true;
        self.snapshot.apply(&mut request);
        let policy = context.client.policy();
        context.send(access, &mut request, policy).await
    }
}

impl PageError {
    /// The failure of a page that was asked for in a size that was allowed before.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::LimitTooLarge(..2) => Failure::new(
                "the server allows pages of one record only, which cannot be read by offset",
            ),
            Self::LimitTooLarge(allowed) => {
                Failure::new(format!("the server now allows pages of {allowed} at most"))
            }
        }
    }
}

/// `{"pageTokens": ["…", "…"]}`; the error says that there are far more than were asked for.
fn page_tokens(body: &[u8], most: usize) -> Result<Option<Vec<String>>, String> {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(all) = document["pageTokens"].as_array() else {
        return Ok(None);
    };
    if all.len() > most {
        return Err(format!("{} partitions are too many", all.len()));
    }
    let mut tokens: Vec<String> = Vec::with_capacity(all.len());
    for token in all {
        match token.as_str() {
            // One that stands there twice leads to the same pages.
            Some(token) if tokens.iter().any(|known| known == token) => {}
            Some(token) => tokens.push(token.to_owned()),
            None => return Ok(None),
        }
    }
    Ok(Some(tokens))
}

/// The largest page that the server's own words allow: `Limit must be omitted or set to a value
/// between 0 and 500.` (ODS/API, parameter-validation-failed).
fn allowed_limit(answer: &Response) -> Option<u64> {
    if answer.status != StatusCode::BAD_REQUEST {
        return None;
    }
    let body = std::str::from_utf8(&answer.body).ok()?;
    let (_, after) = body.split_once("between 0 and ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|allowed| *allowed > 0)
}
