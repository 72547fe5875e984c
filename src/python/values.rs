//! What arguments that are one value take from Python.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString};

use super::arguments::{Argument, kind};
use super::errors::raise;
use crate::{Error, Secret};

/// A whole number; `True` is none.
pub(super) fn whole<'py, T: FromPyObjectOwned<'py>>(value: &Bound<'py, PyAny>) -> Option<T> {
    (!value.is_instance_of::<PyBool>())
        .then(|| value.extract().ok())
        .flatten()
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
        let Some(path) = PathBuf::read(value)? else {
            return Ok(None);
        };
        let bytes = std::fs::read(&path)
            .map_err(|error| Error::Config(format!("{error}: {}", path.display())));
        bytes.map(Some).map_err(|error| raise(value.py(), error))
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

    /// With `~` as Python expands it: a folder of that name is nobody's wish.
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Ok(path) = value.extract::<Self>() else {
            return Ok(None);
        };
        let paths = value.py().import("os.path")?;
        let expanded = paths.call_method1("expanduser", (path,))?;
        expanded.extract().map(Some)
    }

    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.into_py_any(py)
    }
}
