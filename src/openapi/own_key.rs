//! The values of a body's natural key: one of each part, where all that stand for it agree.

use std::borrow::Cow;
use std::fmt;

use super::identity::Identity;
use super::pick::Picked;
use super::validate::Json;

/// Why a body has no key, without values.
#[derive(Debug)]
pub(crate) enum NoKey<'i> {
    /// Nothing stands at any of these paths.
    Missing(&'i [Box<str>]),
    /// What stands there is no single value.
    Compound(&'i str),
    /// The value at the second path is another one than that at the first.
    Differs(&'i str, &'i str),
}

impl fmt::Display for NoKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(paths) => write!(f, "no value at {}", paths.join(" or ")),
            Self::Compound(path) => write!(f, "no single value at {path}"),
            Self::Differs(first, path) => {
                write!(f, "the values at {first} and {path} do not agree")
            }
        }
    }
}

/// What stands at a path.
enum At<V> {
    Nothing,
    Value(V),
    Compound,
}

impl Identity {
    /// The values of a key, of what was found at each of its [`paths`](Self::paths).
    pub(crate) fn values_of(
        &self,
        picked: impl IntoIterator<Item = Option<Picked>>,
    ) -> Result<Vec<String>, NoKey<'_>> {
        let mut picked = picked.into_iter();
        self.agreed(|_| match picked.next().flatten() {
            None => At::Nothing,
            Some(Picked::Scalar(value)) => At::Value(value),
            Some(Picked::Other) => At::Compound,
        })
    }

    /// The values of a body's key as they are written, in the order of
    /// [`fields`](Self::fields).
    pub(crate) fn values_in<'j>(&self, body: &'j Json<'_>) -> Result<Vec<Cow<'j, str>>, NoKey<'_>> {
        self.agreed(|path| match body.at(path) {
            None | Some(Json::Null) => At::Nothing,
            Some(value) => value.text().map_or(At::Compound, At::Value),
        })
    }

    /// The first value of each part that is not empty. All paths are asked for, in their order,
    /// unless there is no key.
    fn agreed<V: AsRef<str>>(
        &self,
        mut at: impl FnMut(&str) -> At<V>,
    ) -> Result<Vec<V>, NoKey<'_>> {
        let mut values = Vec::with_capacity(self.fields().len());
        for field in self.fields() {
            let mut found: Option<(&str, V)> = None;
            for path in &field.paths {
                let value = match at(path) {
                    At::Nothing => continue,
                    At::Value(value) if value.as_ref().is_empty() => continue,
                    At::Value(value) => value,
                    At::Compound => return Err(NoKey::Compound(path)),
                };
                match &found {
                    Some((first, known)) if !field.is_same(known.as_ref(), value.as_ref()) => {
                        return Err(NoKey::Differs(first, path));
                    }
                    Some(_) => {}
                    None => found = Some((path, value)),
                }
            }
            values.push(found.ok_or(NoKey::Missing(&field.paths))?.1);
        }
        Ok(values)
    }
}
