//! What an ODS says about itself in its OpenAPI documents. Knows JSON, not HTTP.
//!
//! | file | |
//! |---|---|
//! | `listing` | the list of documents: which sections it has, and where to look first |
//! | `document` | a document becomes the resources that it describes |
//! | `resolve` | references, and schemas that are composed of others |
//! | `types` | a schema becomes the [`Record`] that its values are |
//! | `keys` | the properties that identify a record |
//! | `record` | the types themselves, and how those of two documents are widened |
//! | `dependencies` | the order in which resources can be written |
//! | `params` | names of query parameters checked against a resource's own |

mod dependencies;
mod document;
mod keys;
mod listing;
mod params;
mod record;
mod resolve;
mod types;

pub(crate) use dependencies::Dependencies;
pub(crate) use document::{Document, Resource};
pub(crate) use listing::{Entry, Listing, Topic};
pub(crate) use params::unknown_param;
pub(crate) use record::{Kind, Record};
