//! What each kind of argument takes from Python.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyMapping, PyString};

use super::arguments::{Argument, kind, short};
use super::errors::raise;
use super::exchange;
use crate::{Error, Secret};

const STATUSES: RangeInclusive<u16> = 100..=599;

/// A whole number; `True` is none.
fn whole<'py, T: FromPyObjectOwned<'py>>(value: &Bound<'py, PyAny>) -> Option<T> {
    (!value.is_instance_of::<PyBool>())
        .then(|| value.extract().ok())
        .flatten()
}

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

/// Arguments that Python shows as they are.
macro_rules! plain {
    ($($kind:ty: $must_be:literal, $read:expr;)+) => {$(
        impl Argument for $kind {
            fn must_be() -> String {
                $must_be.into()
            }

            fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
                let read: fn(&Bound<'_, PyAny>) -> Option<Self> = $read;
                Ok(read(value))
            }

            fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.into_py_any(py)
            }
        }
    )+};
}
plain! {
    bool: "True or False", |value| value.extract().ok();
    // A count: of records, of requests.
    usize: "a whole number >= 1", |value| whole(value).filter(|count| *count >= 1);
    u16: "a whole number from 0 to 65535", |value| whole(value);
    u32: "a whole number >= 0", |value| whole(value);
    u64: "a whole number >= 0", |value| whole(value);
    // A rate.
    f64: "a number", |value| value.extract().ok();
    // A change version.
    i64: "a whole number", |value| whole(value);
}

impl Argument for Duration {
    fn must_be() -> String {
        "a number of seconds >= 0".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if value.is_instance_of::<PyBool>() {
            return Ok(None);
        }
        let seconds: Option<f64> = value.extract().ok();
        Ok(seconds.and_then(|seconds| Self::try_from_secs_f64(seconds).ok()))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.as_secs_f64().into_py_any(py)
    }
}

/// A time that is no time at all where it is 0.
pub(super) struct Timeout(pub(super) Duration);

impl Argument for Timeout {
    fn must_be() -> String {
        "a number of seconds > 0".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let seconds = Duration::read(value)?;
        Ok(seconds.filter(|seconds| !seconds.is_zero()).map(Self))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.show(py)
    }
}

/// So many in a time.
impl Argument for (usize, Duration) {
    fn must_be() -> String {
        "a whole number >= 1 and a number of seconds".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Ok((count, time)) = value.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
            return Ok(None);
        };
        Ok(usize::read(&count)?.zip(Duration::read(&time)?))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        (self.0, self.1.as_secs_f64()).into_py_any(py)
    }
}

impl Argument for String {
    fn must_be() -> String {
        "a text".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        match value.cast::<PyString>() {
            Ok(text) => text.to_cow().map(|text| Some(text.into_owned())),
            Err(_) => Ok(None),
        }
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.into_py_any(py)
    }
}

impl Argument for Secret {
    fn must_be() -> String {
        "a text".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        Ok(String::read(value)?.map(Self::from))
    }

    /// Never shown.
    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }

    fn named(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        unrepeated(name, value)
    }
}

/// Headers by name; their values are secrets.
impl Argument for Vec<(String, Secret)> {
    fn must_be() -> String {
        "a dict of texts".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let pairs = Vec::<(String, String)>::read(value)?;
        let secret = |(name, value): (String, String)| (name, value.into());
        Ok(pairs.map(|pairs| pairs.into_iter().map(secret).collect()))
    }

    /// Never shown.
    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }

    fn named(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        unrepeated(name, value)
    }
}

/// Reads a secret; the error does not repeat it.
fn unrepeated<T: Argument>(name: &str, value: &Bound<'_, PyAny>) -> PyResult<T> {
    T::read(value).ok().flatten().ok_or_else(|| {
        let text = format!("{name} must be {}, not {}", T::must_be(), kind(value));
        raise(value.py(), Error::Config(text))
    })
}

/// PEM certificates: their bytes, or the path of a file of them.
impl Argument for Vec<u8> {
    fn must_be() -> String {
        "a path or bytes".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Some(bytes.as_bytes().to_vec()));
        }
        match value.extract::<PathBuf>() {
            Ok(path) => Ok(Some(
                std::fs::read(&path)
                    .map_err(|error| Error::Config(format!("{error}: {}", path.display())))
                    .map_err(|error| raise(value.py(), error))?,
            )),
            Err(_) => Ok(None),
        }
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(PyBytes::new(py, self).into_any().unbind())
    }
}

/// Arguments that may be `None`.
macro_rules! or_none {
    ($($kind:ty),+) => {$(
        impl Argument for Option<$kind> {
            fn must_be() -> String {
                <$kind>::must_be()
            }

            fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
                match value.is_none() {
                    true => Ok(Some(None)),
                    false => Ok(<$kind>::read(value)?.map(Some)),
                }
            }

            fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.as_ref().map_or_else(|| Ok(py.None()), |value| value.show(py))
            }

            fn named(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
                match value.is_none() {
                    true => Ok(None),
                    false => <$kind>::named(name, value).map(Some),
                }
            }
        }
    )+};
}
or_none!(
    String,
    Secret,
    Vec<String>,
    Vec<u8>,
    i64,
    PathBuf,
    f64,
    usize,
    (usize, Duration)
);

/// An age, or none.
impl Argument for Option<Duration> {
    fn must_be() -> String {
        "a timedelta >= 0, or a number of seconds".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if value.is_none() {
            return Ok(Some(None));
        }
        let seconds = Duration::read(value)?;
        Ok(seconds.or_else(|| value.extract().ok()).map(Some))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Some(age) => age.show(py),
            None => Ok(py.None()),
        }
    }
}

impl Argument for PathBuf {
    fn must_be() -> String {
        "a path".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        Ok(value.extract().ok())
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.into_py_any(py)
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
