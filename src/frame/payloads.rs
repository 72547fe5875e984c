//! A column of payloads, each as the JSON text that is sent.

use bytes::Bytes;
use polars::prelude::DataFrame;

use super::input::{self, Texts};
use super::json::check_object;
use crate::columns::Encoder;
use crate::{Error, Failure, Result};

/// A column of payloads.
pub(crate) enum Payloads {
    Json(Texts),
    Struct { name: String, encoder: Encoder },
}

impl Payloads {
    pub(crate) fn new(df: &DataFrame, name: &str, keep_server_fields: bool) -> Result<Self> {
        let column = input::required(df, "payload_col", name)?;
        if !column.dtype().is_struct() {
            return Texts::new(column, "payload_col")
                .map(Self::Json)
                .map_err(|_| {
                    Error::ColumnType(format!(
                        "column {name:?} (payload_col) must be String (JSON) or Struct, not {}",
                        column.dtype()
                    ))
                });
        }
        Ok(Self::Struct {
            name: name.to_owned(),
            encoder: Encoder::new(column.as_materialized_series(), keep_server_fields)?,
        })
    }

    pub(crate) fn get(&self, row: usize) -> Result<Bytes, Failure> {
        match self {
            Self::Json(texts) => {
                let text = texts
                    .get_untrimmed(row)
                    .ok_or_else(|| Failure::new(texts.missing()))?;
                check_json(text).map(|()| Bytes::copy_from_slice(text.as_bytes()))
            }
            Self::Struct { name, encoder } => match encoder.encode(row) {
                Ok(Some(text)) => Ok(text.into()),
                Ok(None) => Err(Failure::new(format!("missing '{name}'"))),
                Err(error) => Err(Failure::new(error.to_string())),
            },
        }
    }
}

pub(super) fn check_json(text: &str) -> Result<(), Failure> {
    check_object(text.as_bytes()).map_err(|what| Failure::new(format!("invalid JSON: {what}")))
}
