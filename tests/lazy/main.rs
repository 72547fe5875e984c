//! Scans as lazy frames of Polars: what queries give, and what they ask of a server.

mod queries;
mod requests;
#[allow(dead_code)]
#[path = "../it/support.rs"]
mod support;
mod waiting;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{GetAllOptions, ScanOptions, blocking};

use self::support::{BAD, RESULTS, own};

pub(crate) const ID: &str = "id";
pub(crate) const STUDENT: &str = "studentReference.studentUniqueId";
pub(crate) const ASSESSMENT: &str = "assessmentReference.assessmentIdentifier";
pub(crate) const YEAR: &str = "schoolYearTypeReference.schoolYear";
pub(crate) const MINUTES: &str = "assessedMinutes";

pub(crate) fn client_of(ods: &Sandbox) -> blocking::EdFiClient {
    own(ods, BAD).build().expect("a client").into()
}

pub(crate) fn paged(limit: usize) -> ScanOptions {
    ScanOptions {
        read: GetAllOptions {
            limit,
            ..GetAllOptions::default()
        },
        ..ScanOptions::default()
    }
}

pub(crate) fn scanned(ods: &Sandbox, options: &ScanOptions) -> LazyFrame {
    let scan = client_of(ods).scan(RESULTS, options);
    scan.expect("a scan").lazy()
}

/// What comes of work that must not hang.
pub(crate) fn soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(work()));
    let limit = Duration::from_secs(120);
    receiver.recv_timeout(limit).expect("an end in time")
}

pub(crate) fn tried(query: LazyFrame) -> PolarsResult<DataFrame> {
    soon(|| query.collect())
}

pub(crate) fn collected(query: LazyFrame) -> DataFrame {
    tried(query).expect("rows")
}
