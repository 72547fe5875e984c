//! The client and its calls, as `polars_edfi` wraps them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_polars::PyDataFrame;

use super::errors::raise;
use super::run::{Call, run};
use polars::prelude::Schema;

use crate::client::urls;
use crate::{
    BatchOptions, DeleteOptions, EdFiClient, Error, Failure, GetAllOptions, GetByIdOptions,
    OnShort, Outcome, Paging, PostOptions, SchemaChoice, Secret, TokenOptions,
};

/// A client; Python's `EdFiClient` holds one.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Client(pub(super) EdFiClient);

/// Takes a named argument out of the keyword arguments of a call.
pub(super) fn get<'py, T: FromPyObjectOwned<'py>>(
    arguments: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<T> {
    let value = arguments.get_item(name)?.ok_or_else(|| {
        pyo3::exceptions::PyTypeError::new_err(format!("missing argument {name}"))
    })?;
    value
        .extract()
        .map_err(Into::<PyErr>::into)
        .map_err(|error| {
            let text = error.value(arguments.py()).to_string();
            raise(arguments.py(), Error::Config(format!("{name}: {text}")))
        })
}

/// The keyword arguments of a call, where it has some or not.
pub(super) fn keywords<'py>(
    py: Python<'py>,
    arguments: Option<&Bound<'py, PyDict>>,
) -> Bound<'py, PyDict> {
    arguments.map_or_else(|| PyDict::new(py), Bound::clone)
}

fn seconds(arguments: &Bound<'_, PyDict>, name: &str) -> PyResult<Duration> {
    let value: f64 = get(arguments, name)?;
    Duration::try_from_secs_f64(value).map_err(|_| {
        let text = format!("{name} must be a number of seconds >= 0, got {value}");
        raise(arguments.py(), Error::Config(text))
    })
}

/// A whole number; the error speaks of the argument, not of Rust's types.
pub(super) fn whole<T: TryFrom<i128>>(
    arguments: &Bound<'_, PyDict>,
    name: &str,
    least: i128,
) -> PyResult<T> {
    let value: i128 = get(arguments, name)?;
    (value >= least)
        .then(|| T::try_from(value).ok())
        .flatten()
        .ok_or_else(|| {
            let text = format!("{name} must be a whole number >= {least}, got {value}");
            raise(arguments.py(), Error::Config(text))
        })
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (**arguments))]
    fn new(py: Python<'_>, arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let a = &keywords(py, arguments);
        let mut builder = EdFiClient::builder()
            .base_url(get::<String>(a, "base_url")?)
            .endpoint(get::<String>(a, "endpoint")?)
            .client_id(get(a, "client_id")?)
            .client_secret(get::<Option<String>>(a, "client_secret")?.map(Secret::from))
            .timeout(seconds(a, "timeout")?)
            .connect_timeout(seconds(a, "connect_timeout")?)
            .max_retries(whole(a, "max_retries", 0)?)
            .max_wait(seconds(a, "max_wait")?)
            .allow_http(get(a, "allow_http")?);
        if let Some(version) = get::<Option<String>>(a, "api_version")? {
            builder = builder.api_version(version);
        }
        if let Some(url) = get::<Option<String>>(a, "token_url")? {
            builder = builder.token_url(url);
        }
        if let Some(token) = get::<Option<String>>(a, "bearer_token")? {
            builder = builder.bearer_token(token);
        }
        if let Some(pem) = get::<Option<Vec<u8>>>(a, "ca_certs")? {
            builder = builder.ca_certs(pem);
        }
        if let Some(name) = get::<Option<String>>(a, "user_agent")? {
            builder = builder.user_agent(name);
        }
        builder.build().map(Self).map_err(|error| raise(py, error))
    }

    /// (token, its end in microseconds since 1970, message)
    fn fetch_token(&self, py: Python<'_>, call: &Call) -> PyResult<TokenResult> {
        let fetched = run(py, &call.control, None, async {
            tokio::select! {
                fetched = self.0.fetch_token() => Ok(fetched),
                () = call.control.cancellation.cancelled() => Err(Error::Interrupted),
            }
        })?;
        match fetched {
            Ok(token) => Ok((
                Some(token.token.reveal().to_owned()),
                token.expires_at.and_then(micros),
                None,
            )),
            Err(Error::Auth(failure)) => Ok((None, None, Some(failure.message))),
            Err(Error::Config(text)) => Ok((None, None, Some(text))),
            Err(error) => Err(raise(py, error)),
        }
    }

    #[pyo3(signature = (df, call, on_tick, **arguments))]
    fn batch_fetch_tokens(
        &self,
        py: Python<'_>,
        df: PyDataFrame,
        call: &Call,
        on_tick: Option<&Bound<'_, PyAny>>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyDataFrame> {
        let a = &keywords(py, arguments);
        let options = TokenOptions {
            workers: whole(a, "workers", 1)?,
            skip_statuses: get(a, "skip_statuses")?,
            status_col: get(a, "status_col")?,
            url_col: get(a, "url_col")?,
            key_col: get(a, "key_col")?,
            secret_col: get(a, "secret_col")?,
            token_col: get(a, "token_col")?,
            expires_col: get(a, "expires_col")?,
            control: call.control.clone(),
        };
        let account_col: String = get(a, "account_col")?;
        let oauth_endpoint: String = get(a, "oauth_endpoint")?;
        let future = self
            .0
            .batch_fetch_tokens(&df.0, &account_col, &oauth_endpoint, &options);
        run(py, &call.control, on_tick, future).map(PyDataFrame)
    }

    /// (data, message, http_status, correlation_id)
    #[pyo3(signature = (call, on_tick, **arguments))]
    fn get_all(
        &self,
        py: Python<'_>,
        call: &Call,
        on_tick: Option<&Bound<'_, PyAny>>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<GetAllResult> {
        let a = &keywords(py, arguments);
        let options = GetAllOptions {
            batch: BatchOptions {
                endpoint: get(a, "endpoint")?,
                workers: whole(a, "workers", 1)?,
                control: call.control.clone(),
                ..BatchOptions::default()
            },
            ..read_options(a)?
        };
        let read = run(py, &call.control, on_tick, async {
            match self.0.get_all(&options).await {
                Ok(frame) => Ok(Ok(frame)),
                Err(Error::Auth(failure) | Error::Http(failure)) => Ok(Err(failure)),
                Err(error) => Err(error),
            }
        })?;
        Ok(match read {
            Ok(frame) => (Some(PyDataFrame(frame)), None, Some(200), None),
            Err(Failure {
                message,
                http_status,
                correlation_id,
            }) => (None, Some(message), http_status, correlation_id),
        })
    }

    #[pyo3(signature = (df, call, on_tick, **arguments))]
    fn batch_get_all(
        &self,
        py: Python<'_>,
        df: PyDataFrame,
        call: &Call,
        on_tick: Option<&Bound<'_, PyAny>>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyDataFrame> {
        let a = &keywords(py, arguments);
        let options = GetAllOptions {
            batch: batch_options(a, call)?,
            ..read_options(a)?
        };
        let key_col: String = get(a, "key_col")?;
        let future = self.0.batch_get_all(&df.0, &key_col, &options);
        run(py, &call.control, on_tick, future).map(PyDataFrame)
    }

    #[pyo3(signature = (payload, call, **arguments))]
    fn post_payload(
        &self,
        py: Python<'_>,
        payload: &str,
        call: &Call,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<OutcomeResult> {
        let a = &keywords(py, arguments);
        let options = post_options(a, own_options(a, call)?)?;
        let future = self.0.post_payload(payload, &options);
        run(py, &call.control, None, future).map(outcome)
    }

    #[pyo3(signature = (df, call, on_tick, **arguments))]
    fn batch_post_payload(
        &self,
        py: Python<'_>,
        df: PyDataFrame,
        call: &Call,
        on_tick: Option<&Bound<'_, PyAny>>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyDataFrame> {
        let a = &keywords(py, arguments);
        let options = PostOptions {
            order_by_col: get(a, "order_by_col")?,
            keep_server_fields: get(a, "keep_server_fields")?,
            ..post_options(a, batch_options(a, call)?)?
        };
        let (payload_col, key_col): (String, String) = (get(a, "payload_col")?, get(a, "key_col")?);
        let future = self
            .0
            .batch_post_payload(&df.0, &payload_col, &key_col, &options);
        run(py, &call.control, on_tick, future).map(PyDataFrame)
    }

    /// (JSON text, message, http_status, correlation_id)
    fn get_by_id(
        &self,
        py: Python<'_>,
        id: &str,
        endpoint: Option<String>,
        call: &Call,
    ) -> PyResult<GetByIdResult> {
        let options = GetByIdOptions {
            batch: BatchOptions {
                endpoint,
                control: call.control.clone(),
                ..BatchOptions::default()
            },
            ..GetByIdOptions::default()
        };
        let read = run(py, &call.control, None, async {
            match self.0.get_by_id(id, &options).await {
                Ok(text) => Ok(Ok(text)),
                Err(Error::Auth(failure) | Error::Http(failure)) => Ok(Err(failure)),
                Err(error) => Err(error),
            }
        })?;
        Ok(match read {
            Ok(text) => (Some(text), None, Some(200), None),
            Err(f) => (None, Some(f.message), f.http_status, f.correlation_id),
        })
    }

    #[pyo3(signature = (df, call, on_tick, **arguments))]
    fn batch_get_by_id(
        &self,
        py: Python<'_>,
        df: PyDataFrame,
        call: &Call,
        on_tick: Option<&Bound<'_, PyAny>>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyDataFrame> {
        let a = &keywords(py, arguments);
        let options = GetByIdOptions {
            batch: batch_options(a, call)?,
            flatten: get(a, "flatten")?,
            schema: given_schema(a)?,
        };
        let id_col: String = get(a, "id_col")?;
        let future = self.0.batch_get_by_id(&df.0, &id_col, &options);
        run(py, &call.control, on_tick, future).map(PyDataFrame)
    }

    #[pyo3(signature = (id, call, **arguments))]
    fn delete_by_id(
        &self,
        py: Python<'_>,
        id: &str,
        call: &Call,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<OutcomeResult> {
        let a = &keywords(py, arguments);
        let options = DeleteOptions {
            batch: own_options(a, call)?,
            commit: get(a, "commit")?,
        };
        let future = self.0.delete_by_id(id, &options);
        run(py, &call.control, None, future).map(outcome)
    }

    #[pyo3(signature = (df, call, on_tick, **arguments))]
    fn batch_delete_by_id(
        &self,
        py: Python<'_>,
        df: PyDataFrame,
        call: &Call,
        on_tick: Option<&Bound<'_, PyAny>>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyDataFrame> {
        let a = &keywords(py, arguments);
        let options = DeleteOptions {
            batch: batch_options(a, call)?,
            commit: get(a, "commit")?,
        };
        let (id_col, key_col): (String, String) = (get(a, "id_col")?, get(a, "key_col")?);
        let future = self
            .0
            .batch_delete_by_id(&df.0, &id_col, &key_col, &options);
        run(py, &call.control, on_tick, future).map(PyDataFrame)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// The path of a resource as it stands in URLs, or an error.
#[pyfunction]
pub(crate) fn endpoint(py: Python<'_>, text: &str) -> PyResult<String> {
    urls::endpoint(text).map_err(|text| raise(py, Error::Config(text)))
}

type TokenResult = (Option<String>, Option<i64>, Option<String>);
/// (status, message, http_status, correlation_id, resource_id)
type OutcomeResult = (
    Option<String>,
    Option<String>,
    Option<u16>,
    Option<String>,
    Option<String>,
);
type GetByIdResult = (Option<String>, Option<String>, Option<u16>, Option<String>);
type GetAllResult = (
    Option<PyDataFrame>,
    Option<String>,
    Option<u16>,
    Option<String>,
);

pub(super) fn batch_options(a: &Bound<'_, PyDict>, call: &Call) -> PyResult<BatchOptions> {
    Ok(BatchOptions {
        endpoint: get(a, "endpoint")?,
        workers: whole(a, "workers", 1)?,
        skip_statuses: get(a, "skip_statuses")?,
        status_col: get(a, "status_col")?,
        url_col: get(a, "url_col")?,
        token_col: get(a, "token_col")?,
        api_version_col: get(a, "api_version_col")?,
        auth_key_col: get(a, "auth_key_col")?,
        auth_secret_col: get(a, "auth_secret_col")?,
        oauth_endpoint: get(a, "oauth_endpoint")?,
        expires_col: get(a, "expires_col")?,
        refresh_cooldown: seconds(a, "refresh_cooldown")?,
        row_id_col: get(a, "row_id_col")?,
        control: call.control.clone(),
    })
}

fn outcome(outcome: Outcome) -> OutcomeResult {
    (
        outcome.status,
        outcome.message,
        outcome.http_status,
        outcome.correlation_id,
        outcome.resource_id,
    )
}

/// The options of a call without a frame.
fn own_options(a: &Bound<'_, PyDict>, call: &Call) -> PyResult<BatchOptions> {
    Ok(BatchOptions {
        endpoint: get(a, "endpoint")?,
        control: call.control.clone(),
        ..BatchOptions::default()
    })
}

fn post_options(a: &Bound<'_, PyDict>, batch: BatchOptions) -> PyResult<PostOptions> {
    Ok(PostOptions {
        batch,
        commit: get(a, "commit")?,
        retry_statuses: get(a, "retry_statuses")?,
        retry_messages: get(a, "retry_messages")?,
        max_retries: whole(a, "max_retries", 0)?,
        retry_backoff: seconds(a, "retry_backoff")?,
        allow_statuses: get(a, "allow_statuses")?,
        retry_broken: get(a, "retry_broken")?,
        ..PostOptions::default()
    })
}

fn given_schema(a: &Bound<'_, PyDict>) -> PyResult<Option<Schema>> {
    let frame = get::<Option<PyDataFrame>>(a, "schema_frame")?;
    Ok(frame.map(|frame| frame.0.schema().as_ref().clone()))
}

/// Everything of a read but its columns and workers.
pub(super) fn read_options(a: &Bound<'_, PyDict>) -> PyResult<GetAllOptions> {
    let schema = match given_schema(a)? {
        Some(schema) => SchemaChoice::Given(schema),
        None => match get::<String>(a, "schema")?.as_str() {
            "infer" => SchemaChoice::Infer,
            "openapi" => SchemaChoice::OpenApi,
            _ => SchemaChoice::Auto,
        },
    };
    let on_short = match get::<String>(a, "on_short")?.as_str() {
        "warn" => OnShort::Warn,
        _ => OnShort::Error,
    };
    let paging = match get::<String>(a, "paging")?.as_str() {
        "offset" => Paging::Offset,
        "cursor" => Paging::Cursor,
        _ => Paging::Auto,
    };
    Ok(GetAllOptions {
        batch: BatchOptions::default(),
        params: get(a, "params")?,
        limit: whole(a, "limit", 1)?,
        paging,
        schema,
        separator: get(a, "separator")?,
        links: get(a, "links")?,
        explode: get(a, "explode")?,
        min_change_version: get(a, "min_change_version")?,
        max_change_version: get(a, "max_change_version")?,
        snapshot: get(a, "snapshot")?,
        on_short,
    })
}

fn micros(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}
