//! The sandbox, as `polars_edfi.Sandbox` wraps it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::errors::raise;
use super::exchange::PyDataFrame;
use crate::sandbox::{Faults, Miscount, Mutation, Schedule};
use crate::{Error, Result};

/// The steps of a schedule: by the number of a request, kinds of mutations and their numbers.
type Steps = BTreeMap<usize, Vec<(String, usize)>>;

/// A running sandbox, until it is stopped.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Sandbox(std::sync::Mutex<Option<crate::sandbox::Sandbox>>);

#[pymethods]
impl Sandbox {
    #[new]
    #[pyo3(signature = (**given))]
    fn new(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let (mut builder, documents) = read(py, given, |a| {
            let builder = crate::sandbox::Sandbox::builder()
                .districts(a.required::<Vec<String>>("districts")?)
                .records(a.required::<u32>("records")? as usize)
                .seed(a.required("seed")?)
                .port(a.required("port")?)
                .page_limit(a.required("page_limit")?)
                .release(a.required::<String>("release")?)
                .strict(a.required("strict")?)
                .token_limit(a.required::<Option<usize>>("token_limit")?)
                .token_lifetime(a.required("token_lifetime")?)
                .latency(a.required("latency")?)
                .skipping(a.required("skipping")?)
                .migrated(a.required("migrated")?);
            let limit = a.required::<Option<(usize, Duration)>>("request_limit")?;
            let builder = match limit {
                Some((requests, time)) => builder.request_limit(requests, time, true),
                None => builder,
            };
            Ok((builder, a.required::<Vec<String>>("documents")?))
        })?;
        for text in documents {
            let document = serde_json::from_str(&text).map_err(|error| {
                let text = format!("documents: not JSON: {error}");
                raise(py, Error::Config(text))
            })?;
            builder = builder.openapi(document);
        }
        let ods = py
            .detach(|| builder.start())
            .map_err(|error| raise(py, error))?;
        Ok(Self(std::sync::Mutex::new(Some(ods))))
    }

    #[getter]
    fn url(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |ods| Ok(ods.url()))
    }

    fn districts(&self, py: Python<'_>) -> PyResult<PyDataFrame> {
        self.with(py, |ods| Ok(PyDataFrame(ods.districts())))
    }

    fn load_jsonl(
        &self,
        py: Python<'_>,
        district: &str,
        endpoint: &str,
        path: PathBuf,
    ) -> PyResult<usize> {
        py.detach(|| self.locked(|ods| ods.load_jsonl(district, endpoint, &path)))
            .map_err(|error| raise(py, error))
    }

    fn mutate(
        &self,
        py: Python<'_>,
        district: &str,
        endpoint: &str,
        kind: &str,
        number: usize,
        late: usize,
    ) -> PyResult<()> {
        self.with(py, |ods| {
            let mutation = mutation(kind, number)?;
            let mutation = match late {
                0 => mutation,
                requests => mutation.late(requests),
            };
            ods.mutate(district, endpoint, &mutation)
        })
    }

    fn take_snapshot(&self, py: Python<'_>, district: &str) -> PyResult<()> {
        self.with(py, |ods| {
            ods.take_snapshot(district);
            Ok(())
        })
    }

    #[allow(clippy::too_many_arguments, reason = "Python gives them by keyword")]
    fn set_schedule(
        &self,
        py: Python<'_>,
        district: &str,
        endpoint: &str,
        before: Steps,
        after: Steps,
        seed: Option<u64>,
        per_request: f64,
        until: Option<usize>,
        shuffle: Option<u64>,
    ) -> PyResult<()> {
        self.with(py, |ods| {
            let mut schedule = match seed {
                Some(seed) => Schedule::random(seed, per_request),
                None => Schedule::new(),
            };
            for (request, mutations) in before {
                for (kind, number) in mutations {
                    schedule = schedule.before(request, mutation(&kind, number)?);
                }
            }
            for (request, mutations) in after {
                for (kind, number) in mutations {
                    schedule = schedule.after(request, mutation(&kind, number)?);
                }
            }
            if let Some(until) = until {
                schedule = schedule.until(until);
            }
            if let Some(shuffle) = shuffle {
                schedule = schedule.shuffle(shuffle);
            }
            ods.set_schedule(district, endpoint, schedule);
            Ok(())
        })
    }

    #[allow(clippy::too_many_arguments, reason = "Python gives them by keyword")]
    fn set_faults(
        &self,
        py: Python<'_>,
        district: &str,
        statuses: Vec<u16>,
        retry_after: Option<u32>,
        no_total_count: bool,
        miscount: Option<(String, usize)>,
        page_cap: Option<usize>,
        short_pages: Vec<usize>,
        ignore_filters: bool,
    ) -> PyResult<()> {
        self.with(py, |ods| {
            let miscount = miscount.map(|(kind, number)| match kind.as_str() {
                "high" => Ok(Miscount::High(number)),
                "low" => Ok(Miscount::Low(number)),
                "at most" => Ok(Miscount::AtMost(number)),
                other => Err(Error::Config(format!(
                    "miscount is ('high', n), ('low', n) or ('at most', n), not {other:?}"
                ))),
            });
            let faults = Faults {
                statuses,
                retry_after,
                no_total_count,
                miscount: miscount.transpose()?,
                page_cap,
                short_pages,
                ignore_filters,
                ..Faults::default()
            };
            ods.set_faults(district, faults);
            Ok(())
        })
    }

    fn set_claims(
        &self,
        py: Python<'_>,
        district: &str,
        name: &str,
        resources: Vec<(String, Vec<String>)>,
    ) -> PyResult<()> {
        self.with(py, |ods| {
            let operations: Vec<Vec<&str>> = resources
                .iter()
                .map(|(_, operations)| operations.iter().map(AsRef::as_ref).collect())
                .collect();
            let resources = resources.iter().zip(&operations);
            let resources = resources.map(|((endpoint, _), all)| (&**endpoint, &**all));
            ods.set_claims(district, name, resources);
            Ok(())
        })
    }

    /// How many requests came, tokens and metadata included.
    fn request_count(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |ods| Ok(ods.requests().len()))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            drop(
                self.0
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .take(),
            );
        });
    }
}

fn mutation(kind: &str, number: usize) -> Result<Mutation> {
    Ok(match kind {
        "insert" => Mutation::Insert(number),
        "delete" => Mutation::Delete(number),
        "edit" => Mutation::Edit(number),
        "recreate" => Mutation::Recreate(number),
        "rekey" => Mutation::Rekey(number),
        other => {
            return Err(Error::Config(format!(
                "a mutation is 'insert', 'delete', 'edit', 'recreate' or 'rekey', not {other:?}"
            )));
        }
    })
}

impl Sandbox {
    fn locked<T>(&self, f: impl FnOnce(&crate::sandbox::Sandbox) -> Result<T>) -> Result<T> {
        let ods = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        f(ods
            .as_ref()
            .ok_or_else(|| Error::Config("the sandbox is stopped".into()))?)
    }

    fn with<T>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&crate::sandbox::Sandbox) -> Result<T>,
    ) -> PyResult<T> {
        self.locked(f).map_err(|error| raise(py, error))
    }
}
