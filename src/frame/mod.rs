//! DataFrame in, DataFrame out: one file per operation, and the rooms that they share.

mod ahead;
mod changes;
mod client_defaults;
mod count;
mod delete;
mod district;
#[cfg(feature = "python")]
mod each;
mod get_all;
mod get_by_id;
mod input;
mod json;
mod metadata;
mod options;
mod outcome;
mod post;
mod request;
pub(crate) mod result;
mod run;
mod scan;
mod tokens;
mod walk;

pub use changes::{ChangeOptions, Changes};
pub use delete::DeleteOptions;
#[cfg(feature = "python")]
pub(crate) use each::Collections;
pub use get_all::{GetAllOptions, OnShort, SchemaChoice};
pub use get_by_id::GetByIdOptions;
#[cfg(feature = "python")]
pub(crate) use get_by_id::Items;
pub use metadata::SchemaOptions;
pub use options::BatchOptions;
pub use outcome::Outcome;
pub use post::PostOptions;
pub use scan::{Scan, ScanOptions};
pub use tokens::TokenOptions;
