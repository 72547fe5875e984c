//! Secrets and tokens, kept out of everything that a person or a log can read.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use ring::digest;

/// A client secret or a token. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text; spaces around it are dropped.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().to_owned())
    }

    /// The text itself. Mind where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        bytes
    }

    /// The header value of a bearer token (RFC 6750, section 2.1).
    pub(crate) fn bearer(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The form of a request about a token (RFC 7662, section 2.1).
    pub(crate) fn form(&self) -> String {
        format!("token={}", utf8_percent_encode(&self.0, NON_ALPHANUMERIC))
    }

    /// The value of a header.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(&self.0).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` without this secret in it, should a server repeat it.
    pub(crate) fn redact(&self, text: String) -> String {
        if self.0.len() >= 4 && text.contains(&self.0) {
            return text.replace(&self.0, "***");
        }
        text
    }
}

/// What a request showed to a server, should the server repeat it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redaction(Vec<HeaderValue>);

impl Redaction {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        Self(secrets.into_iter().cloned().collect())
    }

    /// `text` without the secrets.
    pub(crate) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for value in &self.0 {
            let bytes = value.as_bytes();
            let read = String::from_utf8_lossy(bytes);
            // A server may read the bytes of a header one by one.
            let misread: String = match bytes.is_ascii() {
                true => String::new(),
                false => bytes.iter().copied().map(char::from).collect(),
            };
            for value in [&*read, &*misread] {
                // `Bearer` and `Basic` are no secrets, and may be left out.
                let word = value.rsplit(' ').next().unwrap_or_default();
                for secret in [value, word] {
                    if secret.len() >= 4 && text.contains(secret) {
                        text = Cow::Owned(text.replace(secret, "***"));
                    }
                }
            }
        }
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}
