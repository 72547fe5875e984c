//! What is wrong with rows, and the frame of it.

use std::collections::HashMap;

use polars::prelude::*;

use super::options::Rule;
use crate::frame::nested::strings;
use crate::frame::result::{self, ROW_ID};
use crate::openapi::validate::Severity;
use crate::{Failure, Result};

/// One thing that is wrong.
#[derive(Debug)]
pub(in crate::frame) struct Finding {
    pub(in crate::frame) frame: usize,
    /// The number of the row among those of all frames; `None` where no row is to blame.
    pub(in crate::frame) row: Option<usize>,
    pub(in crate::frame) severity: Severity,
    pub(super) rule: Rule,
    pub(super) path: Option<String>,
    pub(in crate::frame) detail: String,
}

impl Finding {
    pub(super) fn error(rule: Rule, path: &str, detail: String) -> Self {
        Self {
            frame: 0,
            row: None,
            severity: Severity::Error,
            rule,
            path: Some(path.to_owned()),
            detail,
        }
    }

    /// Something of a frame that could not be checked.
    pub(super) fn unchecked(frame: usize, rule: Rule, detail: String) -> Self {
        Self {
            frame,
            row: None,
            severity: Severity::Warning,
            rule,
            path: None,
            detail,
        }
    }

    pub(super) fn copied(&self) -> Self {
        Self {
            path: self.path.clone(),
            detail: self.detail.clone(),
            ..*self
        }
    }

    pub(super) fn of(self, frame: usize, row: usize) -> Self {
        Self {
            frame,
            row: Some(row),
            ..self
        }
    }
}

/// All findings of a call, in the order of frames and rows.
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
    /// By frame, the rows that take part, and the number of the first.
    pub(super) active: Vec<(Vec<usize>, usize)>,
}

impl Findings {
    /// Where the row of a finding stands in its own frame.
    fn row(&self, finding: &Finding) -> Option<usize> {
        let (active, first) = &self.active[finding.frame];
        Some(active[finding.row? - first])
    }

    fn index(&self, finding: &Finding) -> Option<IdxSize> {
        self.row(finding).map(|row| row as IdxSize)
    }

    pub(super) fn frame(
        &self,
        frames: &[(String, DataFrame)],
        row_id_col: Option<&str>,
    ) -> Result<DataFrame> {
        let all = &self.all;
        let endpoint = |finding: &Finding| Some(frames[finding.frame].0.trim().trim_matches('/'));
        let rows: IdxCa = all.iter().map(|one| self.index(one)).collect();
        let columns = vec![
            strings("endpoint", all.iter().map(endpoint)).into_column(),
            result::row_index(rows)?,
            self.row_ids(frames, row_id_col)?,
            strings(
                "severity",
                all.iter().map(|one| {
                    Some(match one.severity {
                        Severity::Error => "error",
                        Severity::Warning => "warning",
                    })
                }),
            )
            .into_column(),
            StringChunked::from_iter_values(
                "rule".into(),
                all.iter().map(|one| one.rule.to_string()),
            )
            .into_column(),
            strings("path", all.iter().map(|one| one.path.as_deref())).into_column(),
            strings("detail", all.iter().map(|one| Some(&*one.detail))).into_column(),
        ];
        Ok(DataFrame::new(all.len(), columns)?)
    }

    /// What `row_id_col` holds in the rows of the findings.
    fn row_ids(&self, frames: &[(String, DataFrame)], row_id_col: Option<&str>) -> Result<Column> {
        let mut cells = Vec::new();
        for (frame, (_, df)) in frames.iter().enumerate() {
            let Some(name) = row_id_col else { continue };
            let own = self.all.iter().filter(|one| one.frame == frame);
            let rows: IdxCa = own.map(|one| self.index(one)).collect();
            cells.push(df.column(name)?.take(&rows)?);
        }
        result::of_frames(ROW_ID, cells, self.all.len())
    }

    /// For each frame the rows with errors, and what is said of them in place of an answer.
    pub(super) fn failures(&self, frames: usize) -> Vec<HashMap<usize, Failure>> {
        let mut first: Vec<HashMap<usize, (&Finding, usize)>> = vec![HashMap::new(); frames];
        let errors = self.all.iter();
        for finding in errors.filter(|one| one.severity == Severity::Error) {
            if let Some(row) = self.row(finding) {
                let (_, count) = first[finding.frame].entry(row).or_insert((finding, 0));
                *count += 1;
            }
        }
        let told = |(finding, count): (&Finding, usize)| {
            let path = finding.path.as_deref().unwrap_or("$");
            let more = match count {
                0 | 1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            Failure::new(format!("invalid: {path}: {}{more}", finding.detail))
        };
        let told = |rows: HashMap<usize, (&Finding, usize)>| {
            let rows = rows.into_iter();
            rows.map(|(row, errors)| (row, told(errors))).collect()
        };
        first.into_iter().map(told).collect()
    }
}
