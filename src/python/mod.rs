//! The Python extension module. Thin: converts arguments, calls the Rust functions, raises.

#![allow(
    unsafe_code,
    reason = "the macros of pyo3 and pyo3-polars expand to unsafe code; nothing here writes any"
)]

mod arguments;
mod call;
mod changes;
mod client;
mod collections;
mod errors;
mod exchange;
mod expressions;
#[cfg(unix)]
mod forks;
mod frames;
mod items;
mod journal;
mod logging;
mod metadata;
mod news;
mod options;
mod plugin;
mod plugin_arguments;
mod preflight;
mod progress;
mod reads;
mod registry;
#[cfg(feature = "sandbox")]
mod sandbox;
mod scan;
mod scope;
mod send;
mod sigint;
mod tokens;
mod values;
mod words;
mod writes;

use pyo3::prelude::*;

/// Polars' own allocator: what is made here goes over to it, and is freed there. Where there is no
/// Polars in Python, it is the system's. Unit tests are linked without Python.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: pyo3_polars::PolarsAllocator = pyo3_polars::PolarsAllocator::new();

macro_rules! add_functions {
    ($module:expr; $($function:path),+ $(,)?) => {
        $($module.add_function(wrap_pyfunction!($function, $module)?)?;)+
    };
}

/// What `polars_edfi` is made of.
#[pymodule]
fn _native(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<client::Client>()?;
    module.add_class::<call::Call>()?;
    module.add_class::<scope::Scope>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<scan::Pages>()?;
    module.add_class::<news::Limiter>()?;
    module.add_class::<news::Watch>()?;
    add_functions!(module;
        options::defaults,
        tokens::fetch_token, tokens::batch_fetch_tokens,
        reads::get_all, reads::batch_get_all,
        items::get_by_id, items::batch_get_by_id,
        items::delete_by_id, items::batch_delete_by_id, items::batch_find_ids,
        writes::post_payload, writes::batch_post_payload, writes::batch_put_payload,
        changes::available_change_versions, changes::deletes, changes::key_changes,
        changes::changes,
        preflight::permissions, preflight::batch_permissions, preflight::validate,
            preflight::compare,
        metadata::resources, metadata::dependencies, metadata::schema, metadata::count,
        news::district_clients, news::check_sync, news::stamps,
        send::send, send::remove,
        journal::read_journal,
    frames::flatten, frames::tables, frames::unflatten, frames::summary, frames::columns_of, frames::apply_changes,
        plugin_arguments::plugin_arguments,
        registry::register_scan, registry::registered_scan,
    );
    #[cfg(feature = "sandbox")]
    module.add_class::<sandbox::Sandbox>()?;
    // Nobody imports all of it, and the stub would have to list it once more.
    module.delattr("__all__")?;
    logging::start(py);
    #[cfg(unix)]
    forks::watch();
    let index = py.import("polars")?.call_method0("get_index_type")?;
    let is_wide = index.eq(py.import("polars")?.getattr("UInt64")?)?;
    crate::frame::result::WIDE_INDEX.store(is_wide, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}
