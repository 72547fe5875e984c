//! Rust errors as the exceptions that Python users catch.

use pyo3::prelude::*;

use crate::Error;

const OWN: &str = "polars_edfi._errors";

/// The exception of an error; the classes live in `polars_edfi._errors` and in Polars.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let error = match error {
        Error::Unread { source, .. } => *source,
        other => other,
    };
    let (module, class) = match &error {
        Error::ColumnNotFound(_) => ("polars.exceptions", "ColumnNotFoundError"),
        Error::ColumnType(_) => ("polars.exceptions", "SchemaError"),
        Error::Auth(_) => (OWN, "AuthError"),
        Error::Http(_) => (OWN, "HttpError"),
        Error::Interrupted => ("builtins", "KeyboardInterrupt"),
        Error::Polars(_) => ("polars.exceptions", "ComputeError"),
        Error::Config(_)
        | Error::Internal(_)
        | Error::Json(_)
        | Error::Arrow(_)
        | Error::Unread { .. } => (OWN, "EdFiError"),
    };
    let raised = exception(py, module, class, &error.to_string());
    if let Error::Auth(failure) | Error::Http(failure) = &error {
        let value = raised.value(py);
        // An exception without them is better than none.
        let _ = value.setattr("http_status", failure.http_status);
        let _ = value.setattr("correlation_id", failure.correlation_id.as_deref());
    }
    raised
}

/// The exception of an option that a call does not know; it names the nearest that it knows.
pub(super) fn unknown_option(py: Python<'_>, unknown: &str, known: &[String]) -> PyErr {
    let nearest = py
        .import("difflib")
        .and_then(|module| module.call_method1("get_close_matches", (unknown, known, 1)))
        .and_then(|found| found.extract::<Vec<String>>());
    let hint = match nearest.as_deref() {
        Ok([nearest]) => format!("did you mean '{nearest}'?"),
        _ => format!("there are {}", known.join(", ")),
    };
    let text = format!("unknown option '{unknown}'; {hint}");
    exception(py, OWN, "UnknownOptionError", &text)
}

fn exception(py: Python<'_>, module: &str, class: &str, text: &str) -> PyErr {
    let raised = py
        .import(module)
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((text,)));
    match raised {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
