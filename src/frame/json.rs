//! Whether a text is one JSON object, without building anything of it.

use serde::de::IgnoredAny;

/// The error names a place, not what stands there.
pub(crate) fn check_object(text: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    match text.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err("it must be an object".into()),
    }
}
