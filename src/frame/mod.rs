//! DataFrame in, DataFrame out: one file per operation, and the rooms that they share.

mod client_defaults;
mod compare;
mod delete;
mod etags;
mod find_ids;
mod get_by_id;
mod input;
mod journaled;
mod json;
mod key_lookup;
mod metadata;
mod nested;
mod options;
mod order;
mod outcome;
mod payloads;
mod permissions;
mod post;
mod read;
mod request;
pub(crate) mod result;
mod run;
mod send;
mod side_by_side;
mod summary;
mod tokens;
mod validate;

pub use compare::CompareOptions;
pub use delete::DeleteOptions;
pub use find_ids::{FindIdsOptions, How};
pub use get_by_id::GetByIdOptions;
#[cfg(feature = "python")]
pub(crate) use get_by_id::Items;
pub use metadata::SchemaOptions;
pub use options::BatchOptions;
pub use outcome::Outcome;
pub use post::PostOptions;
#[cfg(feature = "python")]
pub(crate) use read::View;
pub use read::{
    ChangeOptions, Changes, Filter, GetAllOptions, OnError, OnShort, Scan, ScanOptions,
    SchemaChoice, Since,
};
#[cfg(feature = "python")]
pub(crate) use read::{Collections, district_clients, news, stamps};
pub(crate) use read::{ID, plain_id};
pub use send::{RemoveOptions, ResourceFrame, SendOptions};
pub use summary::summary;
pub use tokens::TokenOptions;
pub use validate::{Rule, ValidateOptions};
