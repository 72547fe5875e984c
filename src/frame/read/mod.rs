//! Reading whole resources: one producer of pages, and what is made of them.

mod alongside;
mod assemble;
mod chain;
mod changes;
mod count;
pub(crate) mod districts;
mod get_all;
mod keys;
#[cfg(feature = "python")]
mod nested;
#[cfg(feature = "python")]
pub(crate) mod news;
mod opening;
mod options;
mod packed;
mod pages;
mod prefetch;
mod resource;
mod scan;
mod some_columns;
mod source;
mod sources;
mod stream;
mod tracked;
mod whole;

pub(crate) use alongside::{columns_of, records_of};
pub use changes::{Changes, Since};
#[cfg(feature = "python")]
pub(crate) use districts::district_clients;
#[cfg(feature = "python")]
pub(crate) use nested::Collections;
pub use options::{GetAllOptions, OnError, OnShort, SchemaChoice};
pub use scan::{Scan, ScanOptions};
pub(crate) use some_columns::SomeColumns;
pub use tracked::ChangeOptions;
pub(crate) use tracked::{ID, plain_id};
