//! Reading whole resources: one producer of pages, and what is made of them.

mod alongside;
mod assemble;
mod chain;
mod changes;
mod count;
pub(crate) mod districts;
mod filter;
mod frames;
mod get_all;
mod keys;
#[cfg(feature = "lazy")]
mod lazy;
#[cfg(feature = "python")]
mod nested;
#[cfg(feature = "python")]
pub(crate) mod news;
mod opening;
mod options;
mod packed;
mod pages;
mod parts;
#[cfg_attr(not(feature = "python"), allow(dead_code))]
mod pieces;
#[cfg(feature = "lazy")]
mod predicate;
mod prefetch;
mod reader;
mod resource;
mod rows;
mod scan;
mod some_columns;
mod source;
mod sources;
#[cfg(feature = "python")]
pub(crate) mod stamps;
mod stream;
mod tracked;
mod whole;
mod windows;

pub(crate) use alongside::{columns_of, records_of};
pub use changes::{Changes, Since};
#[cfg(feature = "python")]
pub(crate) use districts::district_clients;
pub use filter::Filter;
#[cfg(feature = "python")]
pub(crate) use nested::Collections;
pub use options::{GetAllOptions, OnError, OnShort, ScanOptions, SchemaChoice};
#[cfg(feature = "python")]
pub(crate) use rows::View;
pub use scan::Scan;
pub(crate) use some_columns::SomeColumns;
pub use tracked::ChangeOptions;
pub(crate) use tracked::{ID, plain_id};
