//! Every test of the Rust API, in one binary.

#[cfg(feature = "sandbox")]
mod changes;
mod choices;
mod columns;
#[cfg(feature = "sandbox")]
mod metadata;
#[cfg(feature = "sandbox")]
mod permissions;
#[cfg(feature = "sandbox")]
mod public_api;
mod reads;
#[cfg(feature = "sandbox")]
mod real_data;
#[cfg(feature = "sandbox")]
mod sandbox;
#[cfg(feature = "sandbox")]
mod scan;
#[cfg(feature = "sandbox")]
mod send;
#[cfg(feature = "sandbox")]
mod support;
#[cfg(feature = "sandbox")]
mod tokens;
#[cfg(feature = "sandbox")]
mod validate;
#[cfg(feature = "sandbox")]
mod writes;
