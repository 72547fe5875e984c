//! What an ODS says about itself in its OpenAPI documents. Knows JSON, not HTTP.
//!
//! | file | |
//! |---|---|
//! | `listing` | the list of documents: which sections it has, and where to look first |
//! | `unread` | a document as far as it takes to see that it is known already |
//! | `document` | a document becomes the resources that it describes |
//! | `resolve` | references, and schemas that are composed of others |
//! | `types` | a schema becomes the [`Record`] that its values are |
//! | `identity` | the natural key: which values of a body identify its item |
//! | `own_key` | the values of a body's natural key, where they agree |
//! | `places` | where the parts of a natural key stand in a body |
//! | `pick` | single values taken out of JSON by their paths |
//! | `keys` | the properties that identify a record, for people to read |
//! | `record` | the types themselves, and how those of two documents are widened |
//! | `dependencies` | the order in which resources can be written |
//! | `validate` | the rules for what a resource is sent, compiled |
//! | `params` | names of query parameters checked against a resource's own |

mod dependencies;
mod document;
mod identity;
mod keys;
mod listing;
mod own_key;
mod params;
mod pick;
mod places;
mod record;
mod resolve;
mod types;
mod unread;
pub(crate) mod validate;

pub(crate) use dependencies::{Dependencies, Level};
pub(crate) use document::{Document, Resource, is_descriptor};
#[cfg(feature = "python")]
pub(crate) use identity::time;
pub(crate) use identity::{Identity, KeyField};
pub(crate) use listing::{Entry, Listing, Topic};
pub(crate) use own_key::NoKey;
pub(crate) use params::unknown_param;
pub(crate) use pick::{Picked, Picker};
pub(crate) use record::{Kind, Record};
pub(crate) use unread::Unread;
