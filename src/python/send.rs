//! Many resources at once.

use std::sync::{Arc, Mutex};

use polars::prelude::DataFrame;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run_batch};
use super::client::Client;
use super::exchange::Frame;
use super::options;
use crate::runtime::lock;
use crate::{Error, ResourceFrame, Result};

/// Endpoint, frame, and for a LazyFrame the iterator of its batches: the frame is empty then.
type Given = (String, Frame, Option<Py<PyAny>>);

/// What Python raised while a batch was made.
#[derive(Clone, Default)]
struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    fn keep(&self, error: PyErr) -> Error {
        let text = error.to_string();
        let mut raised = lock(&self.0);
        raised.get_or_insert(error);
        Error::Config(text)
    }

    /// What was raised says more than what became of it.
    fn or(self, outcome: PyResult<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let raised = lock(&self.0).take();
        match (outcome, raised) {
            (Err(_), Some(raised)) => Err(raised),
            (outcome, _) => outcome,
        }
    }
}

/// The batches of a LazyFrame.
struct Batches {
    iterator: Py<PyAny>,
    raised: Raised,
}

impl Iterator for Batches {
    type Item = Result<DataFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        Python::attach(|py| {
            let next = self
                .iterator
                .bind(py)
                .try_iter()
                .map(|mut items| items.next());
            let batch = next.transpose()?.and_then(|batch| batch);
            let batch = batch.and_then(|batch| batch.extract::<Frame>());
            Some(
                batch
                    .map(|frame| frame.0)
                    .map_err(|error| self.raised.keep(error)),
            )
        })
    }
}

fn frames(given: Vec<Given>, raised: &Raised) -> Vec<ResourceFrame> {
    let frames = given
        .into_iter()
        .map(|(endpoint, frame, batches)| match batches {
            None => ResourceFrame::new(endpoint, frame.0),
            Some(iterator) => {
                let raised = raised.clone();
                let batches = Batches { iterator, raised };
                ResourceFrame::batches(endpoint, &frame.0.schema().clone(), batches)
            }
        });
    frames.collect()
}

/// See `EdFiClient.send`.
#[pyfunction]
#[pyo3(signature = (client, call, frames, **given))]
pub(crate) fn send(
    client: &Client,
    call: &Bound<'_, Call>,
    frames: Vec<Given>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (payload_col, key_col, (mut options, progress)) = read(call.py(), given, |a| {
        let payload_col: String = a.required("payload_col")?;
        let key_col: Option<String> = a.required("key_col")?;
        Ok((payload_col, key_col, options::send(a)?))
    })?;
    options.post.batch.control = call.get().control();
    let raised = Raised::default();
    let frames = self::frames(frames, &raised);
    let future = client
        .0
        .send(frames, &payload_col, key_col.as_deref(), &options);
    raised.or(run_batch(call, (&progress, "sending", "rows"), future))
}

/// See `EdFiClient.remove`.
#[pyfunction]
#[pyo3(signature = (client, call, frames, **given))]
pub(crate) fn remove(
    client: &Client,
    call: &Bound<'_, Call>,
    frames: Vec<Given>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (id_col, key_col, (mut options, progress)) = read(call.py(), given, |a| {
        let id_col: String = a.required("id_col")?;
        let key_col: Option<String> = a.required("key_col")?;
        Ok((id_col, key_col, options::remove(a)?))
    })?;
    options.delete.batch.control = call.get().control();
    let raised = Raised::default();
    let frames = self::frames(frames, &raised);
    let future = client
        .0
        .remove(frames, &id_col, key_col.as_deref(), &options);
    raised.or(run_batch(call, (&progress, "removing", "items"), future))
}
