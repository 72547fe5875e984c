//! Which properties of a record are needed, so that all others can be passed by.

use super::cast::Cast;
use super::names::Names;
use super::types::Type;

/// What is needed of the values of one path. Scalars always are; elements of lists as their list.
#[derive(Debug, Clone, Default)]
pub(super) struct Projection {
    /// Objects are needed as they are, whatever is in them.
    everything: bool,
    names: Names,
    members: Vec<Projection>,
}

impl Projection {
    /// What is needed of a property, and its position; `guess` is the position looked at first.
    #[inline]
    pub(super) fn find(&self, key: &str, guess: usize) -> Option<(usize, &Self)> {
        let position = self.names.find(key, guess)?;
        Some((position, &self.members[position]))
    }

    /// This, unless everything is needed.
    pub(super) fn some(&self) -> Option<&Self> {
        (!self.everything).then_some(self)
    }

    /// What is needed of a property, to be added to.
    pub(super) fn member(&mut self, name: &str) -> &mut Self {
        let position = self.names.find(name, 0).unwrap_or_else(|| {
            self.members.push(Self::default());
            self.names.push(name)
        });
        &mut self.members[position]
    }

    /// Adds what an inferred type is made of.
    pub(super) fn add_type(&mut self, dtype: &Type) {
        match dtype {
            Type::String => self.everything = true,
            Type::List(element) => self.add_type(element),
            Type::Struct(fields) => {
                for (name, dtype) in fields {
                    self.member(name).add_type(dtype);
                }
            }
            Type::Null | Type::Boolean | Type::Integer | Type::Float => {}
        }
    }

    /// Adds what a cast looks at.
    pub(super) fn add_cast(&mut self, cast: &Cast) {
        match cast {
            Cast::Json | Cast::Any => self.everything = true,
            Cast::List(element) => self.add_cast(element),
            Cast::Struct(fields) => {
                for (name, cast) in fields {
                    self.member(name).add_cast(cast);
                }
            }
            _ => {}
        }
    }
}
