//! Which rules payloads are checked by, and where they stand.

use crate::choice::choice;
use crate::frame::options::BatchOptions;
use crate::{Error, Result};

/// A kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// JSON, required properties, types, lengths, ranges, patterns, formats, unknown names.
    Schema,
    /// The same natural key in several rows, the same key twice within a list.
    Keys,
    /// Descriptor values that neither the ODS nor the batch has.
    Descriptors,
    /// References to what neither the ODS nor the batch has.
    References,
}

choice!(Rule:
    "schema" => Schema, "keys" => Keys, "descriptors" => Descriptors, "references" => References);

impl Rule {
    pub(crate) const ALL: [Self; 4] = [
        Self::Schema,
        Self::Keys,
        Self::Descriptors,
        Self::References,
    ];
}

/// The options of [`EdFiClient::validate`](crate::EdFiClient::validate).
#[derive(Debug, Clone)]
pub struct ValidateOptions {
    /// Columns, workers and the like; each frame names its endpoint itself.
    pub batch: BatchOptions,
    /// The column of payloads: String (JSON) or Struct.
    pub payload_col: String,
    /// The rules, at least one.
    pub rules: Vec<Rule>,
    /// Whether Struct payloads keep `id`, `_etag`, `_lastModifiedDate` and links.
    pub keep_server_fields: bool,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            payload_col: "payload".into(),
            rules: Rule::ALL.into(),
            keep_server_fields: false,
        }
    }
}

impl ValidateOptions {
    pub(crate) fn check(&self) -> Result<()> {
        match self.rules.is_empty() {
            true => Err(Error::Config(format!(
                "rules must hold at least {}",
                Rule::CHOICES
            ))),
            false => Ok(()),
        }
    }

    pub(super) fn has(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }
}
