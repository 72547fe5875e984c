//! Rust errors as the exceptions that Python users catch.

use pyo3::prelude::*;

use crate::Error;

/// The exception of an error; the classes live in `polars_edfi._errors` and in Polars.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let (module, class) = match &error {
        Error::ColumnNotFound(_) => ("polars.exceptions", "ColumnNotFoundError"),
        Error::ColumnType(_) => ("polars.exceptions", "SchemaError"),
        Error::Auth(_) => ("polars_edfi._errors", "AuthError"),
        Error::Http(_) => ("polars_edfi._errors", "HttpError"),
        Error::Interrupted => ("builtins", "KeyboardInterrupt"),
        Error::Polars(_) => ("polars.exceptions", "ComputeError"),
        Error::Config(_) | Error::Json(_) | Error::Arrow(_) => ("polars_edfi._errors", "EdFiError"),
    };
    let raised = py
        .import(module)
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((error.to_string(),)));
    match raised {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
