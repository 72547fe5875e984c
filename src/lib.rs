//! Ed-Fi ODS data as Polars DataFrames.
//!
//! School districts keep student data in Ed-Fi ODS servers behind a REST API. This crate makes a
//! frame of them: a frame of districts (URL, key, secret) becomes tokens, and the tokens become
//! **every record of every district as one flat, typed frame**.
//!
//! ```
//! # #[cfg(feature = "sandbox")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> polars_edfi::Result<()> {
//! use polars::prelude::*;
//! use polars_edfi::{EdFiClient, GetAllOptions, TokenOptions, sandbox::Sandbox};
//!
//! let ods = Sandbox::builder().districts(["255901", "255902"]).records(20).start()?;
//! let districts = ods.districts();
//!
//! let client = EdFiClient::builder().api_version("v3").build()?;
//! let tokens = client
//!     .batch_fetch_tokens(&districts, "District BK", "oauth/token", &TokenOptions::default())
//!     .await?;
//! let token = tokens.column("EdFi Token")?.clone();
//! let districts = districts.hstack(&[token])?;
//! let records = client
//!     .batch_get_all(&districts, "District BK", &GetAllOptions::default())
//!     .await?;
//! assert_eq!(records.height(), 40);
//! assert!(records.column("studentReference.studentUniqueId")?.dtype().is_string());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sandbox"))]
//! # fn main() {}
//! ```
//!
//! The same without `await` is in [`blocking`]; JSON pages that are at hand already become frames
//! with [`columns`]; the feature `sandbox` brings a small ODS to try all of this on, and the feature
//! `lazy` makes lazy frames of scans.
//!
//! Options are structs with a [`Default`]: name the fields that differ, and end with
//! `..Default::default()`, since more may come. A call that is dropped sends nothing more; the
//! [`Control`] in its options stops it and keeps what it has. [`polars`], [`arrow_array`] and
//! [`arrow_schema`] are re-exported: these are the versions whose types go in and come out.
//!
//! One row or one district that fails never fails a call: its `status` is `"error"`, its `message`
//! says why. An [`Error`] means that the call itself was wrong.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blocking;
mod choice;
mod client;
pub mod columns;
mod error;
mod frame;
mod journal;
mod lake;
mod nearest;
mod openapi;
mod per_process;
#[cfg(feature = "python")]
mod python;
mod runtime;
#[cfg(feature = "sandbox")]
pub mod sandbox;

pub use {arrow_array, arrow_schema, polars};

pub use client::{
    CallStats, ChangeVersions, Control, EdFiClient, EdFiClientBuilder, Paging, ProblemError,
    STUDENT_ASSESSMENTS, Secret, Token,
};
pub use error::{Error, Failure, Result};
pub use frame::{
    BatchOptions, ChangeOptions, Changes, CompareOptions, DeleteOptions, Filter, FindIdsOptions,
    GetAllOptions, GetByIdOptions, How, OnError, OnShort, Outcome, PostOptions, RemoveOptions,
    ResourceFrame, Rule, Scan, ScanOptions, SchemaChoice, SchemaOptions, SendOptions, Since,
    TokenOptions, ValidateOptions, summary,
};
pub use journal::{JournalOptions, JournalSync, read_journal};
pub use lake::apply_changes;

// Unit tests have no Python to be linked with: see `build.rs`.
#[cfg(all(test, feature = "python", feature = "examples"))]
#[allow(unsafe_code, reason = "nothing is called: the block names a library")]
#[link(name = "no_python", kind = "static", modifiers = "+whole-archive")]
unsafe extern "C" {}

/// The blocks of the README, compiled and run.
#[cfg(all(doctest, feature = "sandbox"))]
#[doc = include_str!("../README.md")]
struct Readme;
