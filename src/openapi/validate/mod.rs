//! The rules of an ODS's documents for what it is sent: compiled once, then asked of each payload.
//!
//! | file | |
//! |---|---|
//! | `schemas` | the schemas of a document's bodies, compiled |
//! | `scalar` | types, lengths, ranges, patterns, formats of single values |
//! | `json` | a payload as a tree that borrows its texts |
//! | `compare` | what a payload would change in the record that the server has |
//! | `gist` | by what two payloads that say the same are known |
//! | `walk` | a payload along its schema: what is wrong, which descriptors and references it has |
//! | `model` | all documents of one ODS: where references and descriptors lead |

mod compare;
mod gist;
mod json;
mod model;
mod scalar;
mod schemas;
mod walk;

pub(crate) use compare::Change;
pub(crate) use gist::{Gist, Paths};
pub(crate) use json::{Json, Path};
pub(crate) use model::{Model, Target};
pub(crate) use schemas::Schemas;
pub(super) use schemas::{Compiler, schema_key};
pub(crate) use walk::{Severity, Visitor, Walk};
