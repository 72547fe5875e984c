//! A column of payloads, each as the JSON text that is sent.

use std::borrow::Cow;

use bytes::Bytes;
use polars::prelude::*;

use super::input::{self, Texts};
use super::json::check_object;
use crate::columns::Encoder;
use crate::{Error, Failure, Result};

/// The property that an item is known by.
const ID: &str = "id";

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

    /// The same for items that have an id in their URL: that of a Struct gives way to it.
    pub(super) fn of_items(df: &DataFrame, name: &str, keep_server_fields: bool) -> Result<Self> {
        let column = input::required(df, "payload_col", name)?;
        if !column.dtype().is_struct() {
            return Self::new(df, name, keep_server_fields);
        }
        let payloads = column.struct_()?;
        let fields = payloads.fields_as_series();
        let fields: Vec<Series> = fields
            .into_iter()
            .filter(|field| field.name() != ID)
            .collect();
        let payloads = StructChunked::from_series(name.into(), payloads.len(), fields.iter())?
            .with_outer_validity(payloads.rechunk_validity());
        Ok(Self::Struct {
            name: name.to_owned(),
            encoder: Encoder::new(&payloads.into_series(), keep_server_fields)?,
        })
    }

    /// The payload of a row whose item has this id: JSON text as it is, a Struct with the id.
    pub(super) fn with_id(&self, row: usize, id: &str) -> Result<Bytes, Failure> {
        let payload = self.get(row)?;
        match self {
            Self::Json(_) => Ok(payload),
            Self::Struct { .. } => {
                let rest = &payload[1..];
                let comma = if rest == b"}" { "" } else { "," };
                let id = serde_json::Value::from(id);
                let mut text = format!("{{\"{ID}\":{id}{comma}").into_bytes();
                text.extend_from_slice(rest);
                Ok(text.into())
            }
        }
    }

    pub(crate) fn get(&self, row: usize) -> Result<Bytes, Failure> {
        match self.unread(row)? {
            Cow::Borrowed(text) => check_json(text).map(|()| Bytes::copy_from_slice(text)),
            Cow::Owned(text) => Ok(text.into()),
        }
    }

    /// The same where somebody is going to read it anyway: a text need not be JSON.
    pub(crate) fn unread(&self, row: usize) -> Result<Cow<'_, [u8]>, Failure> {
        match self {
            Self::Json(texts) => match texts.get_untrimmed(row) {
                Some(text) => Ok(text.as_bytes().into()),
                None => Err(Failure::new(texts.missing())),
            },
            Self::Struct { name, encoder } => match encoder.encode(row) {
                Ok(Some(text)) => Ok(text.into()),
                Ok(None) => Err(Failure::new(format!("missing '{name}'"))),
                Err(error) => Err(Failure::new(error.to_string())),
            },
        }
    }
}

pub(super) fn check_json(text: &[u8]) -> Result<(), Failure> {
    check_object(text).map_err(|what| Failure::new(format!("invalid JSON: {what}")))
}
