//! Arguments that are one of a few words, and schemas, which some of these words stand for.

use polars::prelude::{DataFrame, Schema};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use super::arguments::Argument;
use super::collections::{many, shown};
use super::exchange::{self, PyDataFrame};
use crate::columns::Lists;
use crate::{How, JournalSync, OnError, OnShort, Paging, Rule, SchemaChoice};

/// A word out of a few.
macro_rules! words {
    ($($kind:ty),+) => {$(
        impl Argument for $kind {
            fn must_be() -> String {
                Self::CHOICES.into()
            }

            fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
                Ok(String::read(value)?.and_then(|word| word.parse().ok()))
            }

            fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.to_string().into_py_any(py)
            }
        }
    )+};
}
words!(How, Lists, Paging, OnShort, JournalSync, OnError);

/// The rules of a validation.
impl Argument for Vec<Rule> {
    fn must_be() -> String {
        format!("a sequence of {}", Rule::CHOICES)
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Some(values) = many(value)? else {
            return Ok(None);
        };
        let rules = values.iter().map(|value| {
            let word = String::read(value)?;
            Ok(word.and_then(|word| word.parse().ok()))
        });
        rules.collect()
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.iter().map(ToString::to_string).collect())
    }
}

impl Argument for SchemaChoice {
    fn must_be() -> String {
        format!("{}, a Schema, a Struct or a dict", Self::CHOICES)
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        match String::read(value)? {
            Some(word) => Ok(word.parse().ok()),
            None => Ok(Schema::read(value)?.map(Self::Given)),
        }
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.to_string().into_py_any(py)
    }
}

/// Names and dtypes of columns, in any way that Polars takes them.
impl Argument for Schema {
    fn must_be() -> String {
        "a Schema, a Struct or a dict".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let value = match value.hasattr("to_schema")? {
            true => &value.call_method0("to_schema")?,
            false => value,
        };
        if value.cast::<PyMapping>().is_err() {
            return Ok(None);
        }
        let empty = exchange::helpers(value.py())?.call_method1("empty", (value,))?;
        let empty: PyDataFrame = empty.extract()?;
        Ok(Some(empty.0.schema().as_ref().clone()))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        PyDataFrame(DataFrame::empty_with_schema(self)).into_py_any(py)
    }
}

/// The schema of single items: without one they are inferred, which two words say as well.
impl Argument for Option<Schema> {
    fn must_be() -> String {
        Schema::must_be()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        match value.extract::<String>().as_deref() {
            _ if value.is_none() => Ok(Some(None)),
            Ok("auto" | "infer") => Ok(Some(None)),
            _ => Ok(Schema::read(value)?.map(Some)),
        }
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.as_ref()
            .map_or_else(|| Ok(py.None()), |schema| schema.show(py))
    }
}
