//! DataFrame in, DataFrame out: one file per operation, and the rooms that they share.

mod delete;
mod district;
mod get_all;
mod get_by_id;
mod input;
mod json;
mod options;
mod outcome;
mod own;
mod post;
mod request;
mod run;
mod tokens;

pub use delete::DeleteOptions;
pub use get_all::{GetAllOptions, OnShort, SchemaChoice};
pub use get_by_id::GetByIdOptions;
pub use options::BatchOptions;
pub use outcome::Outcome;
pub use post::PostOptions;
pub use tokens::TokenOptions;
