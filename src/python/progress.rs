//! Bars, which Python draws beside a call.

use pyo3::prelude::*;

/// Whether a bar is drawn, and what it says.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) show_progress: bool,
    pub(super) progress_desc: Option<String>,
    pub(super) label: Option<String>,
}

impl Progress {
    /// Begins to draw how far a call or a scan is, if that was asked for.
    pub(super) fn draw(
        &self,
        watched: &Bound<'_, PyAny>,
        label: &str,
        unit: &str,
    ) -> PyResult<Option<Bar>> {
        if !self.show_progress {
            return Ok(None);
        }
        let label = self.label.as_deref().unwrap_or(label);
        let text = match self.progress_desc.as_deref() {
            None | Some("") => label.to_owned(),
            Some(desc) => format!("{desc}: {label}"),
        };
        let module = watched.py().import("polars_edfi._progress")?;
        let bar = module.call_method1("Bar", (watched, text, unit))?;
        Ok(Some(Bar(bar.unbind())))
    }
}

/// A bar that is being drawn.
pub(super) struct Bar(Py<PyAny>);

impl Bar {
    /// Draws it for the last time.
    pub(super) fn close(self, py: Python<'_>) -> PyResult<()> {
        self.0.call_method0(py, "close").map(drop)
    }
}
