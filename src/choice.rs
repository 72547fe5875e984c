//! Options that are one of a few words.

/// Gives an enum its words: `parse` reads them, `to_string` writes them, and the error of another
/// word lists them. A variant without a word is written as the text that is named last.
macro_rules! choice {
    ($kind:ident: $first:literal => $value:ident $(, $word:literal => $other:ident)* $(; $rest:literal)?) => {
        impl $kind {
            pub(crate) const CHOICES: &str = concat!("one of '", $first, "'" $(, ", '", $word, "'")*);
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::Error;

            fn from_str(word: &str) -> $crate::Result<Self> {
                match word {
                    $first => Ok(Self::$value),
                    $($word => Ok(Self::$other),)*
                    other => Err($crate::Error::Config(format!(
                        "must be {}, got {other:?}",
                        Self::CHOICES
                    ))),
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    Self::$value => $first,
                    $(Self::$other => $word,)*
                    $(_ => $rest,)?
                })
            }
        }
    };
}
pub(crate) use choice;
