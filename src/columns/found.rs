//! Columns that were found, as a text by which another process has the same.

use serde::{Deserialize, Serialize};

#[cfg(feature = "python")]
use super::cast::Cast;
use crate::openapi::{Kind, Record};

/// Columns that were found in documents or in records. A schema does not say all of it: a dtype
/// does not tell a column of strings from one that holds anything as text.
#[derive(Serialize, Deserialize)]
pub(super) struct Found {
    /// Of each column its path.
    pub(super) columns: Vec<(Vec<Box<str>>, Told)>,
    pub(super) strict: bool,
}

/// A [`Kind`], as it travels.
#[derive(Serialize, Deserialize)]
pub(super) enum Told {
    Boolean,
    Int32,
    Int64,
    Float64,
    String,
    Text,
    Date,
    Datetime,
    List(Box<Told>),
    Struct(Vec<(Box<str>, Told)>),
}

impl Told {
    /// What a cast was made of; `None` where somebody declared it.
    #[cfg(feature = "python")]
    pub(super) fn of_cast(cast: &Cast) -> Option<Self> {
        Some(match cast {
            Cast::Boolean => Self::Boolean,
            Cast::Int32 => Self::Int32,
            Cast::Int64 => Self::Int64,
            Cast::Float64 => Self::Float64,
            Cast::String => Self::String,
            Cast::Any => Self::Text,
            Cast::Date => Self::Date,
            Cast::Datetime(..) => Self::Datetime,
            Cast::List(inner) => Self::List(Box::new(Self::of_cast(inner)?)),
            Cast::Struct(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, cast)| Some((name.clone(), Self::of_cast(cast)?)));
                Self::Struct(fields.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Boolean => Kind::Boolean,
            Self::Int32 => Kind::Int32,
            Self::Int64 => Kind::Int64,
            Self::Float64 => Kind::Float64,
            Self::String => Kind::String,
            Self::Text => Kind::Text,
            Self::Date => Kind::Date,
            Self::Datetime => Kind::Datetime,
            Self::List(inner) => Kind::List(inner.kind().into()),
            Self::Struct(fields) => {
                let fields = fields.into_iter();
                let fields = fields.map(|(name, told)| (name, told.kind()));
                Kind::Struct(Record::new(fields.collect()))
            }
        }
    }
}
