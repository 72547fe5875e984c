//! Faults: what a district does wrong on purpose, and how long it goes on.

use std::collections::HashMap;
use std::time::Duration;

use hyper::Method;

/// What a district does wrong. The default does nothing wrong.
///
/// A *data request* is one below `/data/` or `/changeQueries/`; a *page* is a GET of a collection.
/// Counts go down as they are used; [`Sandbox::set_faults`](super::Sandbox::set_faults) starts afresh.
///
/// ```
/// # use polars_edfi::sandbox::Faults;
/// let slow_and_busy = Faults { statuses: vec![503, 0, 503], retry_after: Some(1), ..Faults::default() };
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Statuses that data requests are answered with, one after the other, instead of doing the work;
    /// `0` lets one through.
    pub statuses: Vec<u16>,
    /// The status of every data request, once `statuses` is used up.
    pub always_status: Option<u16>,
    /// Statuses that token requests are answered with, one after the other; `0` lets one through.
    pub token_statuses: Vec<u16>,
    /// Statuses that metadata requests are answered with, one after the other; `0` lets one through.
    pub metadata_statuses: Vec<u16>,
    /// `Retry-After`, in seconds, on answers of 429 and 503 made here.
    pub retry_after: Option<u32>,
    /// So many data requests find their connection closed before anything is done.
    pub break_before: usize,
    /// So many data requests find their connection closed after the work is done.
    pub break_after: usize,
    /// Each data request of this number (`10`: the tenth, twentieth, …) finds its connection closed
    /// before anything is done; 0 for none.
    pub break_every: usize,
    /// So many pages declare their full length and end half-way.
    pub truncate_pages: usize,
    /// So many pages are complete answers whose JSON ends half-way.
    pub truncate_json: usize,
    /// So many data requests are answered 200 with a page of HTML; a write is not done.
    pub html: usize,
    /// So many pages are a JSON object instead of an array.
    pub object_instead_of_array: usize,
    /// How long each data request waits before anything else.
    pub latency: Duration,
    /// So many data requests are answered with headers and never another byte; a write is done.
    pub stall: usize,
    /// The last so many records of a resource are counted by `Total-Count` but stand in no page.
    pub lose_records: usize,
    /// For how many reads of a resource records are lost; 0 counts as 1, `usize::MAX` is for ever.
    /// A read begins with a page at offset 0 (`limit=0` is none).
    pub lose_reads: usize,
    /// So many records the next pages fall short of what they could hold, one after the other; `0` leaves
    /// one whole, and one record always stays.
    pub short_pages: Vec<usize>,
    /// No page holds more records than this, whatever `limit` says: a host that cuts pages in silence.
    pub page_cap: Option<usize>,
    /// `Total-Count` is not what it should be.
    pub miscount: Option<Miscount>,
    /// Each page after the first begins with the last record of the page before, beyond its limit.
    pub repeat_records: bool,
    /// All tokens are revoked, once, after this many accepted data requests.
    pub expire_after: Option<usize>,
    /// Every data request is answered 401; tokens are still given.
    pub refuse_tokens: bool,
    /// Every data request is answered 302 with this `Location`.
    pub redirect_to: Option<String>,
    /// `totalCount=true` is ignored.
    pub no_total_count: bool,
    /// Items come without `id`.
    pub no_ids: bool,
    /// In every third record of the second half of a resource, numbers and booleans are strings.
    pub mistype: bool,
    /// Filters on members are ignored like names that mean nothing: everything is given.
    pub ignore_filters: bool,
    /// No `Next-Page-Token`, no `/partitions`, and page tokens are ignored like other names that mean
    /// nothing: an ODS/API before 7.3.
    pub no_cursor: bool,
    /// Pages by token hold half of what they could, and before each comes an empty one, whose
    /// `Next-Page-Token` goes on: the gaps of ODS/API 8.
    pub token_gaps: bool,
    /// No metadata: 404, and nothing about it in the discovery document.
    pub no_metadata: bool,
    /// No document of dependencies: 404, and nothing about it in the discovery document.
    pub no_dependencies: bool,
    /// Nothing tells what a token is good for: 404, and nothing about it in the discovery document.
    pub no_token_info: bool,
    /// No change queries: 404, and nothing about them in the discovery document.
    pub no_change_queries: bool,
    /// Only writes (POST, PUT, DELETE) are disturbed: by statuses, closed connections, HTML, redirects,
    /// latency and stalls.
    pub writes_only: bool,
}

/// How a `Total-Count` is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miscount {
    /// So many too many.
    High(usize),
    /// So many too few.
    Low(usize),
    /// Never more than this, as a search engine counts.
    AtMost(usize),
}

impl Faults {
    /// The `Total-Count` of so many records, if there is one.
    pub(super) fn total(&self, right: usize) -> Option<usize> {
        (!self.no_total_count).then(|| match self.miscount {
            None => right,
            Some(Miscount::High(more)) => right + more,
            Some(Miscount::Low(less)) => right.saturating_sub(less),
            Some(Miscount::AtMost(most)) => right.min(most),
        })
    }

    /// How many records the next page holds where so many are asked for.
    pub(super) fn page_size(&mut self, asked: usize) -> usize {
        let size = self.page_cap.map_or(asked, |cap| asked.min(cap));
        match size {
            // Only a count is asked for.
            0 => 0,
            size => size
                .saturating_sub(next(&mut self.short_pages).unwrap_or(0))
                .max(1),
        }
    }
}

/// What happens to a request before the work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    Close,
    Status(u16),
    Redirect(String),
}

/// What happens to the answer after the work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    Close,
    Truncate,
    TruncateJson,
    Html,
    Object,
    Stall,
}

/// What is to happen to one data request.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) latency: Duration,
    pub(super) before: Before,
    pub(super) after: After,
}

/// Faults and how far they have come.
#[derive(Default)]
pub(super) struct FaultState {
    pub(super) faults: Faults,
    data_requests: usize,
    accepted: usize,
    reads: HashMap<String, usize>,
}

impl FaultState {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            faults,
            ..Self::default()
        }
    }

    /// Decides on the next data request.
    pub(super) fn next(&mut self, method: &Method, is_page: bool) -> Verdict {
        let faults = &mut self.faults;
        let mut verdict = Verdict {
            latency: Duration::ZERO,
            before: Before::Nothing,
            after: After::Nothing,
        };
        let is_page = is_page && method == Method::GET;
        if !(faults.writes_only && method == Method::GET) {
            self.data_requests += 1;
            verdict.latency = faults.latency;
            let unlucky =
                faults.break_every > 0 && self.data_requests.is_multiple_of(faults.break_every);
            verdict.before = if take(&mut faults.break_before) || unlucky {
                Before::Close
            } else {
                match next(&mut faults.statuses) {
                    Some(0) => Before::Nothing,
                    Some(status) => Before::Status(status),
                    None => match (faults.always_status, &faults.redirect_to) {
                        (Some(status), _) => Before::Status(status),
                        (None, Some(location)) => Before::Redirect(location.clone()),
                        (None, None) => Before::Nothing,
                    },
                }
            };
            if verdict.before == Before::Nothing {
                verdict.after = if take(&mut faults.break_after) {
                    After::Close
                } else if take(&mut faults.html) {
                    After::Html
                } else if take(&mut faults.stall) {
                    After::Stall
                } else {
                    After::Nothing
                };
            }
        }
        if is_page && verdict.before == Before::Nothing && verdict.after == After::Nothing {
            verdict.after = if take(&mut faults.truncate_pages) {
                After::Truncate
            } else if take(&mut faults.truncate_json) {
                After::TruncateJson
            } else if take(&mut faults.object_instead_of_array) {
                After::Object
            } else {
                After::Nothing
            };
        }
        verdict
    }

    /// Whether tokens expire just now, before one more data request is accepted.
    pub(super) fn expires(&mut self) -> bool {
        let due = self
            .faults
            .expire_after
            .is_some_and(|after| self.accepted >= after);
        if due {
            self.faults.expire_after = None;
        }
        due
    }

    /// A data request was accepted.
    pub(super) fn accept(&mut self) {
        self.accepted += 1;
    }

    /// Notes that a read of the resource begins.
    pub(super) fn begin_read(&mut self, endpoint: &str) {
        if self.faults.lose_records > 0 {
            *self.reads.entry(endpoint.to_owned()).or_default() += 1;
        }
    }

    /// How many records the present read of the resource loses.
    pub(super) fn lost(&self, endpoint: &str) -> usize {
        let reads = self.reads.get(endpoint).copied().unwrap_or(0);
        if reads <= self.faults.lose_reads.max(1) {
            self.faults.lose_records
        } else {
            0
        }
    }
}

/// Takes the first of a list.
pub(super) fn next<T>(list: &mut Vec<T>) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(0))
}

fn take(count: &mut usize) -> bool {
    let some = *count > 0;
    *count -= usize::from(some);
    some
}
