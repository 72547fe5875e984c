//! Every test of the Rust API, in one binary.

mod columns;
#[cfg(feature = "sandbox")]
mod sandbox;
