//! Frames that hold structs and lists -> flat ones.
