//! What the records of a resource are made of: a tree of properties and their types.

use std::sync::Arc;

use polars::prelude::{DataType, Field, TimeUnit, TimeZone};

/// The type of a property, as an OpenAPI document tells it.
///
/// Beside a Polars dtype it knows [`Kind::Text`], which takes any value: no dtype can say that.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Int32,
    Int64,
    Float64,
    /// Strings only.
    String,
    Date,
    /// Microseconds, UTC. Decimals beyond are cut off: ODSs on .NET write seven.
    Datetime,
    /// Strings as they are, other values as canonical JSON: where documents do not agree.
    Text,
    List(Arc<Kind>),
    Struct(Record),
}

/// The properties of an object, in the order of the document. Clones share them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record(Arc<[(Box<str>, Kind)]>);

impl Record {
    pub(crate) fn new(fields: Vec<(Box<str>, Kind)>) -> Self {
        Self(fields.into())
    }

    /// Properties at these paths, their names joined by dots, each of which takes any value.
    pub(crate) fn of_texts<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let paths = paths.into_iter().map(|path| {
            let names = path.rsplit('.');
            let mut kind = Kind::Text;
            let mut first = path;
            for (depth, name) in names.enumerate() {
                if depth > 0 {
                    kind = Kind::Struct(Self::new(vec![(first.into(), kind)]));
                }
                first = name;
            }
            Self::new(vec![(first.into(), kind)])
        });
        let both = |one: Self, two: Self| one.widen(&two);
        paths.reduce(both).unwrap_or_default()
    }

    /// What stands at a path, its names joined by dots.
    pub(crate) fn at(&self, path: &str) -> Option<&Kind> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let (_, kind) = self.fields().iter().find(|(own, _)| **own == *name)?;
        match (kind, rest) {
            (kind, None) => Some(kind),
            (Kind::Struct(record), Some(rest)) => record.at(rest),
            _ => None,
        }
    }

    pub(crate) fn fields(&self) -> &[(Box<str>, Kind)] {
        &self.0
    }

    /// Records of which each property takes the values of both: the properties of `other` that
    /// are new follow those of `self`.
    pub(crate) fn widen(&self, other: &Self) -> Self {
        if Arc::ptr_eq(&self.0, &other.0) || self == other {
            return self.clone();
        }
        let mut fields = self.0.to_vec();
        for (name, kind) in other.fields() {
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = known.widen(kind),
                None => fields.push((name.clone(), kind.clone())),
            }
        }
        Self::new(fields)
    }

    /// The same without the members named `link` that are objects, at any depth.
    pub(crate) fn without_links(&self) -> Self {
        let fields = self.fields().iter();
        let fields =
            fields.filter(|(name, kind)| !matches!(kind, Kind::Struct(_)) || &**name != "link");
        Self::new(
            fields
                .map(|(name, kind)| (name.clone(), kind.without_links()))
                .filter(|(_, kind)| !matches!(kind, Kind::Struct(record) if record.0.is_empty()))
                .collect(),
        )
    }

    /// The dtype of the record as one nested value.
    pub(crate) fn dtype(&self) -> DataType {
        let fields = self.fields().iter();
        let fields = fields.map(|(name, kind)| Field::new((&**name).into(), kind.dtype()));
        DataType::Struct(fields.collect())
    }
}

impl Kind {
    /// Int32 and Int64 become Int64, objects and lists are widened inside; whatever else does not
    /// agree is text.
    pub(crate) fn widen(&self, other: &Self) -> Self {
        match (self, other) {
            (one, two) if one == two => one.clone(),
            (Self::Int32 | Self::Int64, Self::Int32 | Self::Int64) => Self::Int64,
            (Self::List(one), Self::List(two)) => Self::List(Arc::new(one.widen(two))),
            (Self::Struct(one), Self::Struct(two)) => Self::Struct(one.widen(two)),
            _ => Self::Text,
        }
    }

    fn without_links(&self) -> Self {
        match self {
            Self::List(inner) => Self::List(Arc::new(inner.without_links())),
            Self::Struct(record) => Self::Struct(record.without_links()),
            kind => kind.clone(),
        }
    }

    pub(crate) fn dtype(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::String | Self::Text => DataType::String,
            Self::Date => DataType::Date,
            Self::Datetime => DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)),
            Self::List(inner) => DataType::List(Box::new(inner.dtype())),
            Self::Struct(record) => record.dtype(),
        }
    }
}
