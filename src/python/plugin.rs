//! The ABI of Polars' expression plugins (0.1): what Polars calls, and how a function answers.
//!
//! `pyo3-polars` has a macro for this. It needs Polars' query planner and Parquet reader, twice
//! (once more for the compiler), which is a third of a fresh build; its generated code unwraps
//! outside of its guard against panics.

#![allow(unsafe_code, reason = "the ABI is one of raw pointers")]

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::prelude::*;
use polars_arrow::ffi::{ArrowSchema, export_field_to_c, import_field_from_c};
use polars_ffi::version_0::{self, SeriesExport};
use serde::de::DeserializeOwned;

use super::exchange::{for_export, import_series};

/// The longest text of an error that crosses into Polars.
const LONGEST_ERROR: usize = 2_000;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Keeps an error for Polars to ask for: without NUL bytes, which a C string cannot hold, and of a
/// sane length.
fn set_last_error(text: &str) {
    let text = text.chars().filter(|c| *c != '\0').take(LONGEST_ERROR);
    let text = CString::new(text.collect::<String>()).unwrap_or_default();
    LAST_ERROR.with_borrow_mut(|last| *last = text);
}

/// Runs what Polars asked for; nothing unwinds into it. An error leaves what is returned empty.
fn guarded<T>(work: impl FnOnce() -> PolarsResult<T>, give: impl FnOnce(T)) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => give(result),
        Ok(Err(error)) => set_last_error(&error.to_string()),
        Err(_) => set_last_error("an internal error of polars-edfi: a panic"),
    }
}

/// The bytes of an argument; none are a null pointer.
///
/// # Safety
/// `pointer` must be valid for `len` bytes.
unsafe fn bytes<'a>(pointer: *const u8, len: usize) -> &'a [u8] {
    match pointer.is_null() {
        true => &[],
        // SAFETY: the caller's promise.
        false => unsafe { std::slice::from_raw_parts(pointer, len) },
    }
}

fn arguments<A: DeserializeOwned>(pickled: &[u8]) -> PolarsResult<A> {
    serde_pickle::from_slice(pickled, serde_pickle::DeOptions::default()).map_err(|error| {
        PolarsError::InvalidOperation(format!("wrong arguments of an expression: {error}").into())
    })
}

/// Evaluates an expression for Polars.
///
/// # Safety
/// `inputs` must be `len` exported Series, whose ownership passes over; `pickled` must be valid for
/// `pickled_len` bytes, and `out` for a write.
pub(super) unsafe fn evaluate<A: DeserializeOwned>(
    function: fn(&[Series], A) -> PolarsResult<Series>,
    inputs: *mut SeriesExport,
    len: usize,
    pickled: *const u8,
    pickled_len: usize,
    out: *mut SeriesExport,
) {
    let work = || {
        let imported = (0..len).map(|at| {
            // SAFETY: the caller's promise; each export is moved out of the buffer once.
            unsafe { import_series(&inputs.add(at).read()) }
        });
        let inputs = imported.collect::<PolarsResult<Vec<Series>>>()?;
        // SAFETY: the caller's promise.
        let pickled = unsafe { bytes(pickled, pickled_len) };
        function(&inputs, arguments(pickled)?)
    };
    // SAFETY: the caller's promise; Polars gave an empty export there.
    guarded(work, |series| unsafe {
        *out = version_0::export_series(&for_export(&series));
    });
}

/// Tells Polars the dtype of an expression.
///
/// # Safety
/// `inputs` must be valid for `len` fields, `pickled` for `pickled_len` bytes, and `out` for a
/// write.
pub(super) unsafe fn field<A: DeserializeOwned>(
    function: fn(&[Field], A) -> PolarsResult<Field>,
    inputs: *mut ArrowSchema,
    len: usize,
    pickled: *const u8,
    pickled_len: usize,
    out: *mut ArrowSchema,
) {
    let work = || {
        let inputs = match inputs.is_null() {
            true => &[],
            // SAFETY: the caller's promise.
            false => unsafe { std::slice::from_raw_parts(inputs, len) },
        };
        let imported = inputs.iter().map(|field| {
            // SAFETY: each is a valid field, by the caller's promise.
            let field = unsafe { import_field_from_c(field)? };
            Ok(Field::from(&field))
        });
        let inputs = imported.collect::<PolarsResult<Vec<Field>>>()?;
        // SAFETY: the caller's promise.
        let pickled = unsafe { bytes(pickled, pickled_len) };
        function(&inputs, arguments(pickled)?)
    };
    // SAFETY: the caller's promise; Polars gave an empty field there.
    guarded(work, |field| unsafe {
        *out = export_field_to_c(&field.to_arrow(CompatLevel::newest()));
    });
}

/// Exports a function of Series, and one of their fields for its dtype, under the names that Polars
/// looks for.
macro_rules! export_expression {
    ($name:literal, $field_name:literal, $module:ident, $function:path, $field:path) => {
        mod $module {
            use super::*;

            #[unsafe(export_name = $name)]
            unsafe extern "C" fn evaluate(
                inputs: *mut polars_ffi::version_0::SeriesExport,
                len: usize,
                pickled: *const u8,
                pickled_len: usize,
                out: *mut polars_ffi::version_0::SeriesExport,
                _context: *mut polars_ffi::version_0::CallerContext,
            ) {
                // SAFETY: Polars keeps to its ABI, which is what `evaluate` asks for.
                unsafe {
                    crate::python::plugin::evaluate(
                        $function,
                        inputs,
                        len,
                        pickled,
                        pickled_len,
                        out,
                    );
                }
            }

            #[unsafe(export_name = $field_name)]
            unsafe extern "C" fn field(
                inputs: *mut polars_arrow::ffi::ArrowSchema,
                len: usize,
                out: *mut polars_arrow::ffi::ArrowSchema,
                pickled: *const u8,
                pickled_len: usize,
            ) {
                // SAFETY: as above.
                unsafe {
                    crate::python::plugin::field($field, inputs, len, pickled, pickled_len, out);
                }
            }
        }
    };
}
pub(super) use export_expression;

/// The text of the last error of this thread.
#[unsafe(export_name = "_polars_plugin_get_last_error_message")]
extern "C" fn last_error_message() -> *const c_char {
    LAST_ERROR.with_borrow(|last| last.as_ptr())
}

/// The version of the ABI.
#[unsafe(export_name = "_polars_plugin_get_version")]
extern "C" fn version() -> u32 {
    let (major, minor) = polars_ffi::get_version();
    (u32::from(major) << 16) + u32::from(minor)
}
