//! Arguments of Python as the values of Rust: only what a caller gave is read, over Rust's defaults.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::{raise, unknown_option};
use super::exchange;
use crate::Error;

/// The longest part of a wrong value that an error repeats.
const LONGEST_VALUE: usize = 60;

/// Named arguments, from which a call takes what it knows.
pub(super) struct Arguments<'py> {
    given: Bound<'py, PyDict>,
    /// What was asked for, with the value that serves where it is not given.
    defaults: Bound<'py, PyDict>,
}

impl<'py> Arguments<'py> {
    fn new(py: Python<'py>, given: Option<&Bound<'py, PyDict>>) -> PyResult<Self> {
        Ok(Self {
            given: given.map_or_else(|| Ok(PyDict::new(py)), |given| given.copy())?,
            defaults: PyDict::new(py),
        })
    }

    fn py(&self) -> Python<'py> {
        self.given.py()
    }

    fn take(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = self.given.get_item(name)?;
        if value.is_some() {
            self.given.del_item(name)?;
        }
        Ok(value)
    }

    /// Puts what was given in the place of a default.
    pub(super) fn option<T: Argument>(&mut self, name: &str, value: &mut T) -> PyResult<()> {
        self.defaults.set_item(name, value.show(self.py())?)?;
        if let Some(given) = self.take(name)? {
            *value = T::named(name, &given)?;
        }
        Ok(())
    }

    /// An argument without a default, which Python's own signatures ask for.
    pub(super) fn required<T: Argument>(&mut self, name: &str) -> PyResult<T> {
        match self.take(name)? {
            Some(given) => T::named(name, &given),
            None => Err(PyTypeError::new_err(format!(
                "missing required argument: '{name}'"
            ))),
        }
    }

    /// Refuses what nobody took.
    fn finish(self) -> PyResult<()> {
        match self.given.keys().iter().next() {
            None => Ok(()),
            Some(unknown) => {
                let known = self.defaults.keys().extract::<Vec<String>>()?;
                Err(unknown_option(self.py(), &unknown.to_string(), &known))
            }
        }
    }
}

/// What a call makes of its named arguments, all of which it must know.
pub(super) fn read<'py, T>(
    py: Python<'py>,
    given: Option<&Bound<'py, PyDict>>,
    read: impl FnOnce(&mut Arguments<'py>) -> PyResult<T>,
) -> PyResult<T> {
    let mut arguments = Arguments::new(py, given)?;
    let options = read(&mut arguments)?;
    arguments.finish()?;
    Ok(options)
}

/// The options that a call knows, with their defaults.
pub(super) fn defaults<'py, T>(
    py: Python<'py>,
    read: impl FnOnce(&mut Arguments<'py>) -> PyResult<T>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut arguments = Arguments::new(py, None)?;
    read(&mut arguments)?;
    Ok(arguments.defaults)
}

/// Reads options into the fields of the same names.
macro_rules! options {
    ($arguments:expr, $options:expr; $($name:ident),+ $(,)?) => {
        $($arguments.option(stringify!($name), &mut $options.$name)?;)+
    };
}
pub(super) use options;

/// A value that Python gives by name.
pub(super) trait Argument: Sized {
    /// What it must be, for the error of a value that is something else.
    fn must_be() -> String;

    /// Reads a value; `None` where it is not what it must be.
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>>;

    /// The value in Python's words: what signatures show as a default.
    fn show(&self, py: Python<'_>) -> PyResult<Py<PyAny>>;

    /// What its error says of a value that is something else.
    fn instead(value: &Bound<'_, PyAny>) -> String {
        short(value)
    }

    /// Reads a value; the error names the argument.
    fn named(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let wrong = |text: String| raise(value.py(), Error::Config(text));
        match Self::read(value) {
            Ok(Some(read)) => Ok(read),
            Ok(None) => Err(wrong(format!(
                "{name} must be {}, got {}",
                Self::must_be(),
                Self::instead(value)
            ))),
            Err(error) => Err(wrong(format!("{name}: {}", error.value(value.py())))),
        }
    }
}

/// How Python writes a value, cut to a sane length.
pub(super) fn short(value: &Bound<'_, PyAny>) -> String {
    let text = value
        .repr()
        .map_or_else(|_| kind(value), |text| text.to_string());
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The class of a value, named with the package that people import it from.
pub(super) fn kind(value: &Bound<'_, PyAny>) -> String {
    let kind = exchange::helpers(value.py()).and_then(|own| own.call_method1("kind", (value,)));
    kind.map_or_else(|_| "?".into(), |kind| kind.to_string())
}
