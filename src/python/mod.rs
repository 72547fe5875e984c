//! The Python extension module. Thin: converts arguments, calls the Rust functions, raises.

#![allow(
    unsafe_code,
    reason = "the macros of pyo3 and pyo3-polars expand to unsafe code; nothing here writes any"
)]

mod changes;
mod client;
mod errors;
mod expressions;
mod frames;
mod kept;
mod metadata;
mod plugin;
mod run;
#[cfg(feature = "sandbox")]
mod sandbox;
mod scan;

use pyo3::prelude::*;

/// Polars' own allocator: what is made here goes over to it, and is freed there. Where there is no
/// Polars in Python, it is the system's. Unit tests are linked without Python.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: pyo3_polars::PolarsAllocator = pyo3_polars::PolarsAllocator::new();

/// What `polars_edfi` is made of.
#[pymodule]
fn _native(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<client::Client>()?;
    module.add_class::<run::Call>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<scan::Pages>()?;
    module.add_function(wrap_pyfunction!(kept::keep_client, module)?)?;
    module.add_function(wrap_pyfunction!(client::endpoint, module)?)?;
    module.add_function(wrap_pyfunction!(frames::check_schema, module)?)?;
    module.add_function(wrap_pyfunction!(frames::flatten, module)?)?;
    module.add_function(wrap_pyfunction!(frames::unflatten, module)?)?;
    module.add_function(wrap_pyfunction!(
        changes::available_change_versions,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(changes::deletes, module)?)?;
    module.add_function(wrap_pyfunction!(changes::key_changes, module)?)?;
    module.add_function(wrap_pyfunction!(changes::changes, module)?)?;
    module.add_function(wrap_pyfunction!(metadata::resources, module)?)?;
    module.add_function(wrap_pyfunction!(metadata::schema, module)?)?;
    module.add_function(wrap_pyfunction!(metadata::count, module)?)?;
    #[cfg(feature = "sandbox")]
    module.add_class::<sandbox::Sandbox>()?;
    start_logging(py);
    Ok(())
}

/// This library's log goes to Python's `logging`, and no other crate's does: their lines were not
/// written with student data in mind.
fn start_logging(py: Python<'_>) {
    let logger = pyo3_log::Logger::new(py, pyo3_log::Caching::Loggers).map(|logger| {
        logger
            .filter(log::LevelFilter::Off)
            .filter_target("polars_edfi".to_owned(), log::LevelFilter::Debug)
            .install()
    });
    // Another extension of this process may have installed a logger before.
    drop(logger);
}
