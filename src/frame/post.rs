//! Payloads to an ODS: each row an upsert, or the replacement of an item, with a result of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polars::prelude::*;
use reqwest::header::{CONTENT_TYPE, HeaderValue, IF_MATCH, LOCATION};
use reqwest::{Method, StatusCode};

use super::etags::Etags;
use super::input::Keys;
use super::journaled::{Write, send_rows};
use super::options::BatchOptions;
use super::outcome::Outcome;
use super::payloads::{Payloads, check_json};
use super::request::{Rows, check_id};
use super::result::{self, Report, STATUS_NAME};
use super::run::{RowOperation, dry_run};
use crate::client::profile;
use crate::client::session::{Access, CallContext};
use crate::client::transport::{Request, Response};
use crate::client::{EdFiClient, retry};
use crate::journal::{self, JournalOptions};
use crate::{Error, Failure, Result, runtime};

/// What [`EdFiClient::post_payload`] and [`EdFiClient::batch_post_payload`] do with an error.
#[derive(Debug, Clone)]
pub struct PostOptions {
    /// Columns, workers and the like. `post_payload` looks at `endpoint` and `control`.
    pub batch: BatchOptions,
    /// Without it nothing is sent.
    pub commit: bool,
    /// Rows that have the same value here are sent one after another, in the frame's order.
    pub order_by_col: Option<String>,
    /// Whether a Struct payload keeps `id`, `_etag`, `_lastModifiedDate` and the `link` objects.
    pub keep_server_fields: bool,
    /// Answers that are posted again.
    pub retry_statuses: Vec<u16>,
    /// Only where the message holds one of these texts; empty: always.
    pub retry_messages: Vec<String>,
    /// How often such an answer is posted again.
    pub max_retries: u32,
    /// The wait before the first repetition; each later one is twice as long.
    pub retry_backoff: Duration,
    /// Answers that are no errors but get this row status, if they were not posted again.
    pub allow_statuses: Vec<(u16, Option<String>)>,
    /// A column of etags: a row is written only while its item has that one (`If-Match`), quoted or
    /// not. A null cell sends none.
    pub etag_col: Option<String>,
    /// Whether the result tells the single errors of refused rows.
    pub details: bool,
    /// Whether rows are checked as [`EdFiClient::validate`] does, and those with errors stay here.
    /// A dry run then reads what the checks need.
    pub validate: bool,
    /// Whether to post again where a connection broke after the payload was sent. An upsert done
    /// twice leaves what one leaves.
    pub retry_broken: bool,
    /// Where [`batch_post_payload`](EdFiClient::batch_post_payload) notes what it has done.
    pub journaling: JournalOptions,
}

impl Default for PostOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            commit: false,
            order_by_col: None,
            keep_server_fields: false,
            retry_statuses: Vec::new(),
            retry_messages: Vec::new(),
            max_retries: 2,
            retry_backoff: Duration::from_secs(1),
            allow_statuses: Vec::new(),
            etag_col: None,
            details: false,
            validate: false,
            retry_broken: false,
            journaling: JournalOptions::default(),
        }
    }
}

impl PostOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if self.retry_statuses.contains(&401) {
            return Err(Error::Config(
                "401 cannot be in retry_statuses; give auth_key_col, auth_secret_col and \
                 oauth_endpoint to renew tokens"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Has a 401 be an answer like others where a status is asked for in its place.
    pub(super) fn accept_401(&self, context: &mut CallContext) {
        context.accepts_401 = self.allowed(StatusCode::UNAUTHORIZED).is_some();
    }

    /// The row status that is asked for in place of an error.
    fn allowed(&self, status: StatusCode) -> Option<&Option<String>> {
        let found = self
            .allow_statuses
            .iter()
            .find(|(code, _)| *code == status.as_u16());
        found.map(|(_, status)| status)
    }

    fn is_retried(&self, status: StatusCode, message: &str) -> bool {
        let message = message.to_lowercase();
        self.retry_statuses.contains(&status.as_u16())
            && (self.retry_messages.is_empty()
                || self
                    .retry_messages
                    .iter()
                    .any(|text| message.contains(&text.to_lowercase())))
    }
}

impl EdFiClient {
    /// Posts one payload to this client's ODS: JSON text, sent byte for byte.
    ///
    /// # Errors
    /// Wrong options, no base URL, no credentials. What the server answers is in the [`Outcome`].
    pub async fn post_payload(&self, payload: &str, options: &PostOptions) -> Result<Outcome> {
        options.check()?;
        let poster = Poster::new(self.default_context(&options.batch), options)?;
        let access = options.commit.then(|| self.default_access()).transpose()?;
        if let Err(failure) = check_json(payload) {
            return Ok(failure.into());
        }
        let Some(access) = access else {
            return Ok(Outcome::dry_run());
        };
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        Ok(poster.post(&access, payload).await)
    }

    /// Posts each row's payload to its ODS.
    ///
    /// `payload_col` is a String column of JSON objects, sent byte for byte, or a Struct column,
    /// which is written as JSON without nulls. Returns one row per row that took part, in input
    /// order: `key` (as in `key_col`), `status` (String: null for success, `"error"`, `"dry_run"`
    /// without [`commit`](PostOptions::commit), or what `allow_statuses` says), `message`
    /// (String), `http_status` (Int32), `correlation_id`, `resource_id` (String), `attempts`
    /// (UInt32: requests sent), `row_index` (IdxSize), `row_id` (as in `row_id_col`), and with
    /// [`details`](PostOptions::details) `problem` (String: the `type` of the error body) and
    /// `errors` (List(Struct: `path`, `message`: String), null where it lists none).
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_post_payload(
        &self,
        df: &DataFrame,
        payload_col: &str,
        key_col: &str,
        options: &PostOptions,
    ) -> Result<DataFrame> {
        let keys = Keys::required(df, "key_col", key_col)?;
        let report = self
            .post_rows(df, payload_col, Some(&keys), options)
            .await?;
        let row_id_col = options.batch.row_id_col.as_deref();
        let frame = report
            .of_writes(
                vec![("key", keys)],
                result::POST,
                row_id_col,
                options.details,
            )
            .await?;
        Ok(result::finish(&options.batch.control, STATUS_NAME, frame))
    }

    /// Replaces the item of each row by its payload.
    ///
    /// As [`batch_post_payload`](Self::batch_post_payload), by id (`PUT`): what the payload leaves
    /// out is gone. Repeated as deletes are. JSON text is sent as it is; a Struct payload gets the
    /// row's id. Returns `key`, `id` (as in `id_col`), `status`, `message`, `http_status`,
    /// `correlation_id`, `attempts`, `row_index`, `row_id`, and with
    /// [`details`](PostOptions::details) `problem` and `errors`.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_put_payload(
        &self,
        df: &DataFrame,
        payload_col: &str,
        id_col: &str,
        key_col: &str,
        options: &PostOptions,
    ) -> Result<DataFrame> {
        let keys = Keys::required(df, "key_col", key_col)?;
        let ids = Keys::required(df, "id_col", id_col)?;
        let report = self
            .write_rows(df, payload_col, Some(&ids), Some(&keys), options)
            .await?;
        let row_id_col = options.batch.row_id_col.as_deref();
        let keys = vec![("key", keys), ("id", ids)];
        let frame = report
            .of_writes(keys, result::PUT, row_id_col, options.details)
            .await?;
        Ok(result::finish(&options.batch.control, STATUS_NAME, frame))
    }

    /// What became of each row; a journal knows them by their `keys`.
    pub(crate) async fn post_rows(
        &self,
        df: &DataFrame,
        payload_col: &str,
        keys: Option<&Keys>,
        options: &PostOptions,
    ) -> Result<Report> {
        self.write_rows(df, payload_col, None, keys, options).await
    }

    /// The same for items with these `ids`, which are replaced, or without.
    async fn write_rows(
        &self,
        df: &DataFrame,
        payload_col: &str,
        ids: Option<&Keys>,
        keys: Option<&Keys>,
        options: &PostOptions,
    ) -> Result<Report> {
        options.check()?;
        let batch = &options.batch;
        let posts = {
            let (client, df, options) = (self.clone(), df.clone(), options.clone());
            let (payload_col, ids, keys) = (payload_col.to_owned(), ids.cloned(), keys.cloned());
            let new = move || Posts::new(&client, &df, &payload_col, (ids, keys), &options);
            runtime::compute(new).await??
        };
        let invalid = match options.validate {
            true => self.invalid_rows(df, payload_col, options).await?,
            false => HashMap::new(),
        };
        let posts = Arc::new(Posts { invalid, ..posts });
        let rows = posts.rows.active.clone();
        if options.commit {
            posts.rows.check_complete(df)?;
        }
        let outcomes = match options.commit {
            true => {
                let order_by = posts.order_by.as_ref();
                send_rows(&posts, &rows, order_by, batch, &options.journaling).await?
            }
            false => dry_run(&posts, &rows).await?,
        };
        Ok(Report {
            df: df.clone(),
            rows,
            outcomes,
        })
    }
}

/// The rows of one batch.
struct Posts {
    rows: Rows,
    payloads: Payloads,
    /// The items that are replaced; without, payloads are posted.
    ids: Option<Keys>,
    keys: Option<Keys>,
    etags: Etags,
    order_by: Option<Keys>,
    poster: Poster,
    /// What is the matter with rows that were checked.
    invalid: HashMap<usize, Failure>,
}

impl Posts {
    fn new(
        client: &EdFiClient,
        df: &DataFrame,
        payload_col: &str,
        (ids, keys): (Option<Keys>, Option<Keys>),
        options: &PostOptions,
    ) -> Result<Self> {
        let order_by = match &options.order_by_col {
            Some(name) => Some(Keys::required(df, "order_by_col", name)?),
            None => None,
        };
        let payloads = match ids {
            Some(_) => Payloads::of_items(df, payload_col, options.keep_server_fields)?,
            None => Payloads::new(df, payload_col, options.keep_server_fields)?,
        };
        let etags = Etags::new(df, options.etag_col.as_deref())?;
        let rows = Rows::new(df, client, &options.batch)?;
        Ok(Self {
            poster: Poster::new(rows.context(), options)?,
            rows,
            payloads,
            ids,
            keys,
            etags,
            order_by,
            invalid: HashMap::new(),
        })
    }
}

/// What is sent for a row.
struct Prepared {
    access: Access,
    payload: Bytes,
    to: Condition,
}

impl Posts {
    fn content(&self, row: usize) -> Result<(Bytes, Condition), Failure> {
        let mut to = Condition {
            id: None,
            if_match: self.etags.get(row)?,
        };
        let payload = match &self.ids {
            None => self.payloads.get(row)?,
            Some(ids) => {
                let id = ids.need(row)?;
                check_id(id)?;
                to.id = Some(id.to_owned());
                self.payloads.with_id(row, id)?
            }
        };
        match self.invalid.get(&row) {
            Some(failure) => Err(failure.clone()),
            None => Ok((payload, to)),
        }
    }
}

impl RowOperation for Posts {
    type Request = Prepared;
    type Outcome = Outcome;

    fn district(&self, row: usize) -> Option<&str> {
        self.rows.url(row)
    }

    fn prepare(&self, row: usize) -> Result<Prepared, Failure> {
        let access = self.rows.access(row)?;
        let (payload, to) = self.content(row)?;
        Ok(Prepared {
            access,
            payload,
            to,
        })
    }

    fn check(&self, row: usize) -> Result<(), Failure> {
        self.rows.check(row)?;
        self.content(row).map(drop)
    }

    async fn send(&self, prepared: Prepared) -> Outcome {
        let Prepared {
            access,
            payload,
            to,
        } = prepared;
        self.poster.write(&access, payload, to).await
    }
}

impl Write for Posts {
    fn method(&self) -> journal::Method {
        match self.ids {
            Some(_) => journal::Method::Put,
            None => journal::Method::Post,
        }
    }

    fn context(&self) -> &CallContext {
        &self.poster.context
    }

    fn endpoint(&self) -> &str {
        &self.poster.endpoint
    }

    fn repeats(&self) -> bool {
        self.ids.is_some() || self.poster.options.retry_broken
    }

    fn key(&self, row: usize) -> Option<&str> {
        self.keys.as_ref()?.get(row)
    }

    fn id(&self, row: usize) -> Option<&str> {
        self.ids.as_ref()?.get(row)
    }

    fn written<'a>(&self, request: &'a Prepared) -> (&'a Access, &'a [u8]) {
        (&request.access, &request.payload)
    }
}

/// What is written: any item, or the one with an id; and the etag that it must still have.
#[derive(Default)]
pub(super) struct Condition {
    id: Option<String>,
    if_match: Option<HeaderValue>,
}

/// One resource to post to, and how.
pub(super) struct Poster {
    context: Arc<CallContext>,
    endpoint: String,
    options: PostOptions,
    /// How often an answer is posted again that nobody named, for what it says.
    repeats: fn(&Outcome, &PostOptions) -> u32,
}

impl Poster {
    fn new(mut context: CallContext, options: &PostOptions) -> Result<Self> {
        options.accept_401(&mut context);
        let endpoint = context
            .client
            .endpoint_or(options.batch.endpoint.as_deref())?;
        Ok(Self::with(Arc::new(context), endpoint, options, |_, _| 0))
    }

    /// One that shares what its requests share with others.
    pub(super) fn with(
        context: Arc<CallContext>,
        endpoint: String,
        options: &PostOptions,
        repeats: fn(&Outcome, &PostOptions) -> u32,
    ) -> Self {
        Self {
            context,
            endpoint,
            options: options.clone(),
            repeats,
        }
    }

    /// Posts one payload, and again where that was asked for.
    pub(super) async fn post(&self, access: &Access, payload: Bytes) -> Outcome {
        self.write(access, payload, Condition::default()).await
    }

    /// Writes one payload, and again where that was asked for.
    async fn write(&self, access: &Access, payload: Bytes, to: Condition) -> Outcome {
        let mut request = match self.request(access, payload, &to).await {
            Ok(request) => request,
            Err(failure) => return failure.into(),
        };
        let policy = self.context.client.policy();
        let policy = match to.id {
            Some(_) => policy.for_delete(),
            None => policy.for_write(self.options.retry_broken),
        };
        let policy = policy.leaving(&self.options.retry_statuses);
        let mut retries = 0;
        let mut refused: Option<Outcome> = None;
        loop {
            let sent = request.sent;
            let response = match self.context.send(access, &mut request, policy).await {
                Ok(response) => response,
                Err(failure) => {
                    // What the server said before an interruption says more than "not sent".
                    let outcome = match refused {
                        Some(refused) if request.sent == sent => refused,
                        _ => self.noted(failure.into(), retries),
                    };
                    return outcome.after(request.sent);
                }
            };
            if response.is_written() {
                let outcome = Outcome {
                    resource_id: resource_id(&response),
                    ..Outcome::success(&response)
                };
                return outcome.after(request.sent);
            }
            let mut failure = response.refusal_of_write();
            if request.in_doubt && response.status == StatusCode::PRECONDITION_FAILED {
                // The etag may be another one because the try before was applied.
                failure.message = format!("{}; it may have been applied", failure.message);
            }
            let retried = self.options.is_retried(response.status, &failure.message);
            let outcome = self.refused(&response, failure, retried, retries);
            let most = match retried {
                true => self.options.max_retries,
                false => (self.repeats)(&outcome, &self.options),
            };
            if retries < most {
                let asked = retry::retry_after(&response.headers);
                if asked.is_none_or(|asked| asked <= policy.max_wait) {
                    let factor = 2u32.saturating_pow(retries);
                    let backoff = self.options.retry_backoff.checked_mul(factor);
                    let backoff = backoff.unwrap_or(Duration::MAX);
                    let wait = asked.map_or(backoff, |asked| asked.max(backoff));
                    refused = Some(outcome);
                    // A cancellation is noticed when the call is sent again.
                    let _ = self.context.control.cancellation.sleep(wait).await;
                    retries += 1;
                    continue;
                }
            }
            return outcome.after(request.sent);
        }
    }

    async fn request(
        &self,
        access: &Access,
        payload: Bytes,
        to: &Condition,
    ) -> Result<Request, Failure> {
        let (context, endpoint) = (&self.context, &self.endpoint);
        let (method, url) = match &to.id {
            Some(id) => (Method::PUT, context.item_url(access, endpoint, id).await?),
            None => (
                Method::POST,
                context.resource(access, endpoint).await?.into(),
            ),
        };
        let kind = profile::writable(context.client.profile(), endpoint);
        let mut headers = vec![(CONTENT_TYPE, kind)];
        headers.extend(to.if_match.clone().map(|etag| (IF_MATCH, etag)));
        Ok(Request {
            method,
            headers,
            body: Some(payload),
            small: true,
            ..Request::get(url)
        })
    }

    fn refused(
        &self,
        response: &Response,
        failure: Failure,
        retried: bool,
        retries: u32,
    ) -> Outcome {
        let outcome = Outcome::from(failure).with_details(self.options.details, response);
        let mut outcome = self.noted(outcome, retries);
        // A 2xx that is no success, such as a page of HTML, never reached the ODS.
        if let (false, false, Some(status)) = (
            retried,
            response.status.is_success(),
            self.options.allowed(response.status),
        ) {
            outcome.status.clone_from(status);
        }
        outcome
    }

    /// An error with what is known of its repetitions, where some were asked for.
    fn noted(&self, mut outcome: Outcome, retries: u32) -> Outcome {
        if self.options.retry_statuses.is_empty() || outcome.http_status.is_none() && retries == 0 {
            return outcome;
        }
        let mut notes = vec![format!("retries attempted: {retries}")];
        let id = outcome.correlation_id.as_ref();
        notes.splice(0..0, id.map(|id| format!("correlation id: {id}")));
        let message = outcome.message.unwrap_or_default();
        outcome.message = Some(format!("{message} ({})", notes.join("; ")));
        outcome
    }
}

/// The last segment of `Location`, absolute or relative; the host in it may be wrong.
fn resource_id(response: &Response) -> Option<String> {
    let location = response.headers.get(LOCATION)?.to_str().ok()?;
    let path = location.split(['?', '#']).next()?;
    let id = path.trim_end_matches('/').rsplit('/').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}
