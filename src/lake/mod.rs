//! Copies of resources that follow their ODS: what changed is merged into what was read before.

mod apply;
mod keys;
mod widen;

pub use apply::apply_changes;
