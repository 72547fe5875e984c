//! What arguments of many values take from Python: lists and dicts.

use std::ops::RangeInclusive;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyMapping, PyString};

use super::arguments::{Argument, kind, short};
use super::exchange;
use super::values::whole;

const STATUSES: RangeInclusive<u16> = 100..=599;

/// Values of which there are many; a text is one value.
pub(super) fn many<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    match value {
        value if value.is_none() => Ok(Some(Vec::new())),
        value if value.is_instance_of::<PyString>() => Ok(Some(vec![value.clone()])),
        value if value.is_instance_of::<PyBytes>() || value.cast::<PyMapping>().is_ok() => Ok(None),
        value => match value.try_iter() {
            Ok(items) => items.collect::<PyResult<_>>().map(Some),
            Err(_) => Ok(None),
        },
    }
}

/// The entries of a dict; `None` is one without any.
fn entries<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Entry<'py>>>> {
    if value.is_none() {
        return Ok(Some(Vec::new()));
    }
    let Ok(mapping) = value.cast::<PyMapping>() else {
        return Ok(None);
    };
    let entries = mapping.items()?.iter().map(|entry| entry.extract());
    entries.collect::<PyResult<_>>().map(Some)
}

type Entry<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Many values as Python shows them: none of them is `None`.
pub(super) fn shown<'py>(
    py: Python<'py>,
    values: Vec<impl IntoPyObject<'py>>,
) -> PyResult<Py<PyAny>> {
    match values.is_empty() {
        true => Ok(py.None()),
        false => PyList::new(py, values)?.into_py_any(py),
    }
}

impl Argument for Vec<String> {
    fn must_be() -> String {
        "a text or a list of texts".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Some(items) = many(value)? else {
            return Ok(None);
        };
        items.iter().map(String::read).collect()
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.clone())
    }
}

/// Endpoints in an order: each for itself, or several side by side.
impl Argument for Vec<Vec<String>> {
    fn must_be() -> String {
        "a list of endpoints, or of lists of endpoints".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if value.is_instance_of::<PyString>() {
            return Ok(None);
        }
        let Some(items) = many(value)? else {
            return Ok(None);
        };
        items.iter().map(Vec::<String>::read).collect()
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.clone())
    }
}

fn status(value: &Bound<'_, PyAny>) -> Option<u16> {
    whole(value).filter(|status| STATUSES.contains(status))
}

/// HTTP statuses.
impl Argument for Vec<u16> {
    fn must_be() -> String {
        "a collection of HTTP statuses (100 to 599)".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        Ok(many(value)?.and_then(|items| items.iter().map(status).collect()))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.clone())
    }
}

/// HTTP statuses, and the row statuses that they lead to.
impl Argument for Vec<(u16, Option<String>)> {
    fn must_be() -> String {
        "a dict of HTTP statuses (100 to 599) to row statuses (texts, or None)".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Some(entries) = entries(value)? else {
            return Ok(None);
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for (code, becomes) in entries {
            match (status(&code), Option::<String>::read(&becomes)?) {
                (Some(code), Some(becomes)) => pairs.push((code, becomes)),
                _ => return Ok(None),
            }
        }
        Ok(Some(pairs))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.clone())
    }
}

/// Query parameters as the server reads them; those that are `None` are left out.
impl Argument for Vec<(String, String)> {
    fn must_be() -> String {
        "a dict of names to texts, numbers, booleans, dates or times".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Some(entries) = entries(value)? else {
            return Ok(None);
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            if value.is_none() {
                continue;
            }
            match (String::read(&name)?, parameter(&value)?) {
                (Some(name), Some(text)) => pairs.push((name, text)),
                _ => return Ok(None),
            }
        }
        Ok(Some(pairs))
    }

    /// The values of filters may name people; a number that is wrong is none.
    fn instead(value: &Bound<'_, PyAny>) -> String {
        let entries = entries(value).ok().flatten().unwrap_or_default();
        let wrong = entries.iter().find(|(_, value)| {
            !value.is_none() && !parameter(value).is_ok_and(|text| text.is_some())
        });
        match wrong {
            Some((name, value)) => {
                let kind = kind(value);
                let is_number = kind == "float" || kind.ends_with("Decimal");
                let what = if is_number { short(value) } else { kind };
                format!("{what} for {}", short(name))
            }
            None => kind(value),
        }
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.clone())
    }
}

/// The text of a query parameter: dates and times as ISO 8601, points in time in UTC.
fn parameter(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Some(truth.is_true().to_string()));
    }
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyInt>() {
        return value.str()?.extract().map(Some);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        let text = || value.str()?.extract();
        return number.value().is_finite().then(text).transpose();
    }
    exchange::helpers(value.py())?
        .call_method1("parameter", (value,))?
        .extract()
}

/// Parts of a key, and the column of each; a list names columns after the parts.
#[derive(Default)]
pub(crate) struct KeyCols(pub(crate) Vec<(String, String)>);

impl Argument for KeyCols {
    fn must_be() -> String {
        "a text, a list of texts, or a dict of texts to texts".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if let Some(names) = Vec::<String>::read(value)? {
            let pairs = names.into_iter().map(|name| (name.clone(), name));
            return Ok(Some(Self(pairs.collect())));
        }
        let Some(entries) = entries(value)? else {
            return Ok(None);
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for (part, column) in entries {
            match (String::read(&part)?, String::read(&column)?) {
                (Some(part), Some(column)) => pairs.push((part, column)),
                _ => return Ok(None),
            }
        }
        Ok(Some(Self(pairs)))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, self.0.clone())
    }
}
