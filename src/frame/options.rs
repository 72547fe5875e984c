//! What the batch calls have in common.

use std::time::Duration;

use crate::{Control, Error, Result};

/// The default name of the column with an ODS's base URL.
pub(crate) const URL_COL: &str = "targetUrl";
/// The default name of the column with a token.
pub(crate) const TOKEN_COL: &str = "EdFi Token";
/// The default name of the column by which rows are skipped.
pub(crate) const STATUS_COL: &str = "row status";

/// Which columns hold what, and how a batch runs.
///
/// A column that is absent under its default name is done without: the client's base URL and
/// credentials serve. A column that was named must exist.
///
/// This and the other options are not `#[non_exhaustive]`, which would forbid the struct update by
/// which they are made: `BatchOptions { workers: 2, ..BatchOptions::default() }`. Fields are added in
/// minor releases; code that ends so is not touched by them.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// The resource; the client's own by default.
    pub endpoint: Option<String>,
    /// How many requests are in flight at once.
    ///
    /// In a blocking call of many rows that are posted, read by id or deleted, as many threads as
    /// there are cores send them, each at least four at once and together no more than this.
    pub workers: usize,
    /// Rows whose status is one of these are left out.
    pub skip_statuses: Vec<String>,
    /// The column that `skip_statuses` looks at.
    pub status_col: String,
    /// The base URL of each row's ODS.
    pub url_col: String,
    /// Each row's token.
    pub token_col: String,
    /// Each row's API version; blank cells mean the client's.
    pub api_version_col: Option<String>,
    /// Each row's key, to renew tokens with.
    pub auth_key_col: Option<String>,
    /// Each row's secret, to renew tokens with.
    pub auth_secret_col: Option<String>,
    /// The token endpoint, relative to a row's base URL (`oauth/token`) or absolute.
    pub oauth_endpoint: Option<String>,
    /// When each row's token ends: Datetime (UTC), seconds since 1970, or such a number as text.
    pub expires_col: Option<String>,
    /// How long renewals for a client pause after three failures in a row; zero never pauses.
    pub refresh_cooldown: Duration,
    /// A column that comes back as `row_id`, where a result row belongs to a row of the frame.
    pub row_id_col: Option<String>,
    /// Watches and stops the batch.
    pub control: Control,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            workers: 8,
            skip_statuses: vec!["error".into(), "warning".into()],
            status_col: STATUS_COL.into(),
            url_col: URL_COL.into(),
            token_col: TOKEN_COL.into(),
            api_version_col: None,
            auth_key_col: None,
            auth_secret_col: None,
            oauth_endpoint: None,
            expires_col: None,
            refresh_cooldown: Duration::from_secs(30),
            row_id_col: None,
            control: Control::new(),
        }
    }
}

impl BatchOptions {
    /// Says that tokens cannot be renewed where only a part of what it takes was named.
    pub(crate) fn tell_half_renewals(&self) {
        let named = [
            ("auth_key_col", self.auth_key_col.is_some()),
            ("auth_secret_col", self.auth_secret_col.is_some()),
            ("oauth_endpoint", self.oauth_endpoint.is_some()),
        ];
        let of = |is_wanted: bool| {
            let found = named.iter().filter(|(_, is_given)| *is_given == is_wanted);
            found.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        let (given, missing) = (of(true), of(false));
        if !given.is_empty() && !missing.is_empty() {
            log::warn!("no token is renewed: {given} was given without {missing}");
        }
    }
}

/// Refuses options of batches that are given to a call of one item, which would not look at them.
pub(crate) fn check_single(batch: &str, given: &[(&str, bool)]) -> Result<()> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Error::Config(format!(
            "{name} is an option of {batch} alone"
        ))),
        None => Ok(()),
    }
}
