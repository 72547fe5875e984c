//! The types that columns are inferred to have.

use polars::prelude::{DataType, Field};

/// The type of a column that was inferred.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    Integer,
    Float,
    /// Strings as they are, everything else as canonical JSON.
    String,
    List(Box<Type>),
    Struct(Vec<(Box<str>, Type)>),
}

impl Type {
    /// The same where nulls alone may be followed by anything: text holds that.
    pub(super) fn open(self) -> Self {
        match self {
            Self::Null => Self::String,
            Self::List(element) => Self::List(Box::new(element.open())),
            Self::Struct(fields) => {
                let fields = fields.into_iter();
                Self::Struct(fields.map(|(name, dtype)| (name, dtype.open())).collect())
            }
            other => other,
        }
    }

    pub(super) fn to_polars(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::String => DataType::String,
            Self::List(element) => DataType::List(Box::new(element.to_polars())),
            Self::Struct(fields) => {
                let fields = fields.iter();
                let fields =
                    fields.map(|(name, dtype)| Field::new(name.as_ref().into(), dtype.to_polars()));
                DataType::Struct(fields.collect())
            }
        }
    }
}
