//! Columns of a given schema.
