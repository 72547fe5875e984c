//! Which options each call takes. What they are by default, only the options themselves say.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::{Arguments, defaults as of, options};
use super::collections::KeyCols;
use super::progress::Progress;
use super::values::Timeout;
use crate::client::EdFiClientBuilder;
use crate::{
    BatchOptions, ChangeOptions, CompareOptions, DeleteOptions, EdFiClient, FindIdsOptions,
    GetAllOptions, GetByIdOptions, JournalOptions, PostOptions, RemoveOptions, ScanOptions,
    SchemaOptions, SendOptions, Since, TokenOptions, ValidateOptions,
};

/// The options of a call by name, with their defaults: what signatures and docstrings show.
#[pyfunction]
pub(crate) fn defaults<'py>(py: Python<'py>, call: &str) -> PyResult<Bound<'py, PyDict>> {
    match call {
        "EdFiClient" => of(py, client),
        "batch_fetch_tokens" => of(py, batch_fetch_tokens),
        "get_all" => of(py, get_all),
        "batch_get_all" => of(py, batch_get_all),
        "get_by_id" => of(py, get_by_id),
        "batch_get_by_id" => of(py, batch_get_by_id),
        "post_payload" => of(py, post_payload),
        "batch_post_payload" | "batch_put_payload" => of(py, batch_post_payload),
        "delete_by_id" => of(py, delete_by_id),
        "batch_delete_by_id" => of(py, batch_delete_by_id),
        "send" => of(py, send),
        "remove" => of(py, remove),
        "batch_find_ids" => of(py, batch_find_ids),
        "deletes" | "key_changes" => of(py, change_window),
        "changes" => of(py, changes),
        "batch_permissions" => of(py, batch_permissions),
        "validate" => of(py, validate),
        "compare" => of(py, compare),
        "schema" => of(py, schema),
        "count" => of(py, count),
        "scan" => of(py, scan),
        "scan_all" => of(py, scan_all),
        "sync" => of(py, sync),
        "expression.post_payload" => of(py, post_expression),
        "expression.get_by_id" => of(py, item_expression),
        "expression.get_all" => of(py, collection_expression),
        "expression.delete_by_id" => of(py, delete_expression),
        "expression.fetch_token" => of(py, token_expression),
        other => Err(PyKeyError::new_err(other.to_owned())),
    }
}

pub(super) fn client(a: &mut Arguments<'_>) -> PyResult<EdFiClientBuilder> {
    let mut builder = EdFiClient::builder();
    options!(a, builder;
        base_url, api_version, client_id, client_secret, token_url, bearer_token, max_retries,
        max_wait, max_body, max_rate, allow_http, ca_certs, user_agent, headers, profile,
        token_cache, metadata_cache);
    for (name, value) in [
        ("timeout", &mut builder.timeout),
        ("connect_timeout", &mut builder.connect_timeout),
    ] {
        let mut timeout = Timeout(*value);
        a.option(name, &mut timeout)?;
        *value = timeout.0;
    }
    Ok(builder)
}

pub(super) fn batch_fetch_tokens(a: &mut Arguments<'_>) -> PyResult<(TokenOptions, Progress)> {
    let mut tokens = TokenOptions::default();
    options!(a, tokens;
        workers, skip_statuses, status_col, url_col, key_col, secret_col, token_col, expires_col);
    Ok((tokens, progress(a)?))
}

pub(super) fn get_all(a: &mut Arguments<'_>) -> PyResult<(GetAllOptions, Progress)> {
    let mut read = GetAllOptions::default();
    options!(a, read.batch; endpoint, workers);
    records(a, &mut read)?;
    options!(a, read; params, explode, lists, on_short, min_change_version, max_change_version);
    Ok((read, progress(a)?))
}

pub(super) fn batch_get_all(a: &mut Arguments<'_>) -> PyResult<(GetAllOptions, Progress)> {
    let mut read = GetAllOptions::default();
    options!(a, read.batch; endpoint);
    rows(a, &mut read.batch)?;
    records(a, &mut read)?;
    options!(a, read; params, explode, lists, on_short, min_change_version, max_change_version);
    Ok((read, progress(a)?))
}

pub(super) fn get_by_id(a: &mut Arguments<'_>) -> PyResult<GetByIdOptions> {
    let mut item = GetByIdOptions::default();
    options!(a, item.batch; endpoint);
    Ok(item)
}

pub(super) fn batch_get_by_id(a: &mut Arguments<'_>) -> PyResult<(GetByIdOptions, Progress)> {
    let mut items = GetByIdOptions::default();
    options!(a, items.batch; endpoint);
    rows(a, &mut items.batch)?;
    options!(a, items; flatten, schema);
    Ok((items, progress(a)?))
}

pub(super) fn post_payload(a: &mut Arguments<'_>) -> PyResult<PostOptions> {
    let mut post = PostOptions::default();
    options!(a, post.batch; endpoint);
    options!(a, post; commit);
    retries(a, &mut post)?;
    Ok(post)
}

pub(super) fn batch_post_payload(a: &mut Arguments<'_>) -> PyResult<(PostOptions, Progress)> {
    let mut post = PostOptions::default();
    options!(a, post.batch; endpoint);
    rows(a, &mut post.batch)?;
    options!(a, post;
        commit, details, order_by_col, keep_server_fields, validate, etag_col);
    retries(a, &mut post)?;
    journal(a, &mut post.journaling)?;
    Ok((post, progress(a)?))
}

pub(super) fn delete_by_id(a: &mut Arguments<'_>) -> PyResult<DeleteOptions> {
    let mut delete = DeleteOptions::default();
    options!(a, delete.batch; endpoint);
    options!(a, delete; commit);
    Ok(delete)
}

pub(super) fn batch_delete_by_id(a: &mut Arguments<'_>) -> PyResult<(DeleteOptions, Progress)> {
    let mut delete = DeleteOptions::default();
    options!(a, delete.batch; endpoint);
    rows(a, &mut delete.batch)?;
    options!(a, delete; commit, details, etag_col);
    journal(a, &mut delete.journaling)?;
    Ok((delete, progress(a)?))
}

pub(super) fn send(a: &mut Arguments<'_>) -> PyResult<(SendOptions, Progress)> {
    let mut send = SendOptions::default();
    rows(a, &mut send.post.batch)?;
    options!(a, send.post; commit, details, order_by_col, keep_server_fields, validate);
    retries(a, &mut send.post)?;
    journal(a, &mut send.post.journaling)?;
    options!(a, send; rounds, order, skip_same);
    Ok((send, progress(a)?))
}

pub(super) fn remove(a: &mut Arguments<'_>) -> PyResult<(RemoveOptions, Progress)> {
    let mut remove = RemoveOptions::default();
    rows(a, &mut remove.delete.batch)?;
    options!(a, remove.delete; commit, details);
    journal(a, &mut remove.delete.journaling)?;
    options!(a, remove; rounds, order);
    Ok((remove, progress(a)?))
}

pub(super) fn batch_find_ids(a: &mut Arguments<'_>) -> PyResult<(FindIdsOptions, Progress)> {
    let mut find = FindIdsOptions::default();
    let mut key_cols = KeyCols::default();
    options!(a, find.batch; endpoint);
    rows(a, &mut find.batch)?;
    a.option("key_cols", &mut key_cols)?;
    find.key_cols = key_cols.0;
    options!(a, find; payload_col, how);
    Ok((find, progress(a)?))
}

pub(super) fn change_window(a: &mut Arguments<'_>) -> PyResult<ChangeOptions> {
    let mut window = ChangeOptions::default();
    options!(a, window; min_change_version, max_change_version, limit, workers, snapshot);
    Ok(window)
}

/// (since, how records are read)
pub(super) fn changes(a: &mut Arguments<'_>) -> PyResult<(Since, GetAllOptions)> {
    let (mut since, mut overlap) = (None, Since::OVERLAP);
    let mut read = GetAllOptions::default();
    a.option("since", &mut since)?;
    a.option("overlap", &mut overlap)?;
    let since = Since::from(since).with_overlap(overlap);
    options!(a, read.batch; workers);
    records(a, &mut read)?;
    options!(a, read; on_short);
    Ok((since, read))
}

pub(super) fn batch_permissions(a: &mut Arguments<'_>) -> PyResult<(BatchOptions, Progress)> {
    let mut batch = BatchOptions::default();
    rows(a, &mut batch)?;
    Ok((batch, progress(a)?))
}

pub(super) fn validate(a: &mut Arguments<'_>) -> PyResult<(ValidateOptions, Progress)> {
    let mut validate = ValidateOptions::default();
    options!(a, validate; payload_col, rules);
    rows(a, &mut validate.batch)?;
    Ok((validate, progress(a)?))
}

pub(super) fn compare(a: &mut Arguments<'_>) -> PyResult<(CompareOptions, Progress)> {
    let mut compare = CompareOptions::default();
    let mut key_cols = KeyCols::default();
    a.option("key_cols", &mut key_cols)?;
    compare.key_cols = key_cols.0;
    options!(a, compare; payload_col, extra);
    rows(a, &mut compare.batch)?;
    Ok((compare, progress(a)?))
}

pub(super) fn schema(a: &mut Arguments<'_>) -> PyResult<SchemaOptions> {
    let mut schema = SchemaOptions::default();
    options!(a, schema; separator, links);
    Ok(schema)
}

pub(super) fn count(a: &mut Arguments<'_>) -> PyResult<Vec<(String, String)>> {
    let mut params = Vec::new();
    a.option("params", &mut params)?;
    Ok(params)
}

pub(super) fn scan(a: &mut Arguments<'_>) -> PyResult<(ScanOptions, Progress)> {
    let mut scan = ScanOptions::default();
    options!(a, scan.read.batch; workers);
    records(a, &mut scan.read)?;
    options!(a, scan.read; params, lists, min_change_version, max_change_version);
    options!(a, scan; pushdown);
    Ok((scan, Progress::default()))
}

pub(super) fn scan_all(a: &mut Arguments<'_>) -> PyResult<(ScanOptions, Progress)> {
    let mut scan = ScanOptions::default();
    let read = &mut scan.read;
    rows(a, &mut read.batch)?;
    records(a, read)?;
    options!(a, read; params, explode, lists, on_short, min_change_version, max_change_version);
    options!(a, scan; on_error, pushdown);
    Ok((scan, progress(a)?))
}

pub(super) fn sync(a: &mut Arguments<'_>) -> PyResult<(GetAllOptions, Progress)> {
    let mut read = GetAllOptions::default();
    rows(a, &mut read.batch)?;
    records(a, &mut read)?;
    Ok((read, progress(a)?))
}

/// An expression's resource, API version and workers.
pub(super) struct Target {
    pub(super) endpoint: Option<String>,
    pub(super) api_version: Option<String>,
    pub(super) workers: usize,
}

fn target(a: &mut Arguments<'_>) -> PyResult<Target> {
    let BatchOptions {
        endpoint, workers, ..
    } = BatchOptions::default();
    let mut target = Target {
        endpoint,
        api_version: None,
        workers,
    };
    options!(a, target; endpoint, api_version, workers);
    Ok(target)
}

pub(super) fn post_expression(a: &mut Arguments<'_>) -> PyResult<(Target, PostOptions)> {
    let mut post = PostOptions::default();
    let target = target(a)?;
    options!(a, post; commit);
    retries(a, &mut post)?;
    Ok((target, post))
}

pub(super) fn item_expression(a: &mut Arguments<'_>) -> PyResult<Target> {
    target(a)
}

pub(super) fn collection_expression(a: &mut Arguments<'_>) -> PyResult<(Target, GetAllOptions)> {
    let mut read = GetAllOptions::default();
    let target = target(a)?;
    options!(a, read; params, limit);
    Ok((target, read))
}

pub(super) fn delete_expression(a: &mut Arguments<'_>) -> PyResult<(Target, DeleteOptions)> {
    let mut delete = DeleteOptions::default();
    let target = target(a)?;
    options!(a, delete; commit);
    Ok((target, delete))
}

pub(super) fn token_expression(a: &mut Arguments<'_>) -> PyResult<String> {
    let mut endpoint = "oauth/token".to_owned();
    a.option("oauth_endpoint", &mut endpoint)?;
    Ok(endpoint)
}

/// How a call finds what each row needs that asks nothing.
pub(super) fn rows_of(a: &mut Arguments<'_>) -> PyResult<BatchOptions> {
    let mut batch = BatchOptions::default();
    rows(a, &mut batch)?;
    Ok(batch)
}

/// How a batch finds what each row needs.
fn rows(a: &mut Arguments<'_>, batch: &mut BatchOptions) -> PyResult<()> {
    options!(a, batch;
        workers, skip_statuses, status_col, url_col, token_col, api_version_col, auth_key_col,
        auth_secret_col, oauth_endpoint, expires_col, refresh_cooldown, row_id_col);
    Ok(())
}

/// How records are read and become columns.
fn records(a: &mut Arguments<'_>, read: &mut GetAllOptions) -> PyResult<()> {
    options!(a, read; limit, schema, separator, links, paging, snapshot);
    Ok(())
}

fn retries(a: &mut Arguments<'_>, post: &mut PostOptions) -> PyResult<()> {
    options!(a, post;
        retry_statuses, retry_messages, max_retries, retry_backoff, allow_statuses, retry_broken);
    Ok(())
}

/// Where a batch notes what it has done.
fn journal(a: &mut Arguments<'_>, journaling: &mut JournalOptions) -> PyResult<()> {
    options!(a, journaling; journal, resend_after, journal_sync);
    Ok(())
}

fn progress(a: &mut Arguments<'_>) -> PyResult<Progress> {
    let mut progress = Progress::default();
    options!(a, progress; show_progress, progress_desc, label);
    Ok(progress)
}
