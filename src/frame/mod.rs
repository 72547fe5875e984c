//! DataFrame in, DataFrame out: one file per operation, and the rooms that they share.

mod district;
mod get_all;
mod input;
mod options;
mod request;
mod tokens;

pub use get_all::{GetAllOptions, OnShort, SchemaChoice};
pub use options::BatchOptions;
pub use tokens::TokenOptions;
