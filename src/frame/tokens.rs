//! A token for each account.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt};
use polars::prelude::*;

use super::input::{self, Keys, Texts, kept_rows};
use super::options::{STATUS_COL, TOKEN_COL, URL_COL};
use super::request::token_url;
use crate::client::urls::{self, BaseUrl};
use crate::client::{Auth, Control, Credentials, EdFiClient, Secret, Token};
use crate::{Error, Failure, Result};

/// The default name of the column with an account's key.
pub(crate) const KEY_COL: &str = "oAuthKey";
/// The default name of the column with an account's secret.
pub(crate) const SECRET_COL: &str = "oAuthSecret";

/// The options of [`EdFiClient::batch_fetch_tokens`].
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// How many requests are in flight at once.
    pub workers: usize,
    /// Rows whose status is one of these are left out.
    pub skip_statuses: Vec<String>,
    /// The column that `skip_statuses` looks at, and the status column of the result.
    pub status_col: String,
    /// The base URL of each account's ODS.
    pub url_col: String,
    /// Each account's key.
    pub key_col: String,
    /// Each account's secret.
    pub secret_col: String,
    /// The name of the result's token column.
    pub token_col: String,
    /// The name of the result's column with the end of each token.
    pub expires_col: String,
    /// Watches and stops the batch.
    pub control: Control,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            workers: 8,
            skip_statuses: vec!["error".into(), "warning".into()],
            status_col: STATUS_COL.into(),
            url_col: URL_COL.into(),
            key_col: KEY_COL.into(),
            secret_col: SECRET_COL.into(),
            token_col: TOKEN_COL.into(),
            expires_col: "token_expires_at".into(),
            control: Control::new(),
        }
    }
}

/// Where each row's credentials stand.
struct Accounts<'a> {
    client: &'a EdFiClient,
    oauth_endpoint: &'a str,
    url: Option<Texts>,
    key: Option<Texts>,
    secret: Option<Texts>,
}

impl Accounts<'_> {
    fn credentials(&self, row: usize) -> Result<Credentials, Failure> {
        let cell = |texts: &Texts| match texts.get(row) {
            Some(text) => Ok(text.to_owned()),
            None => Err(Failure::new(texts.missing())),
        };
        let allow_http = self.client.allow_http();
        let base = match (&self.url, self.client.base()) {
            (Some(urls), _) => BaseUrl::parse(&cell(urls)?, allow_http).map_err(Failure::new)?,
            (None, Some(base)) => base.clone(),
            (None, None) => return Err(Failure::new(format!("missing '{URL_COL}'"))),
        };
        let own = match self.client.auth() {
            Auth::Credentials(own) => Some(own),
            Auth::None | Auth::Bearer(_) => None,
        };
        let at = token_url(&base, self.oauth_endpoint, allow_http).map_err(Failure::new)?;
        match (&self.key, &self.secret, own) {
            (Some(keys), Some(secrets), _) => {
                let (key, secret) = (cell(keys)?, Secret::new(cell(secrets)?));
                Ok(Credentials::new(at, key, secret))
            }
            (None, None, Some(own)) => {
                self.client.check_origin(&base, KEY_COL)?;
                Ok(own.at(at))
            }
            (Some(_), None, _) => Err(Failure::new(format!("missing '{SECRET_COL}'"))),
            (None, _, _) => Err(Failure::new(format!("missing '{KEY_COL}'"))),
        }
    }
}

impl EdFiClient {
    /// Fetches a token for each distinct `account_col`, always by a request.
    ///
    /// Returns one row per account in first-seen order (blank ones are skipped): the account, its
    /// key, the token (String), its end (Datetime us UTC, as the server says), the status (null or
    /// `"error"`) and `message` (String). The secret is not among them.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_fetch_tokens(
        &self,
        df: &DataFrame,
        account_col: &str,
        oauth_endpoint: &str,
        options: &TokenOptions,
    ) -> Result<DataFrame> {
        if options.workers == 0 {
            return Err(Error::Config("workers must be at least 1".into()));
        }
        if oauth_endpoint.contains("://") {
            urls::parse_url(oauth_endpoint)
                .map_err(|what| Error::Config(format!("oauth_endpoint: {what}")))?;
        }
        let names = [
            account_col,
            &options.key_col,
            &options.token_col,
            &options.expires_col,
            &options.status_col,
            "message",
        ];
        let mut distinct = HashSet::new();
        if let Some(name) = names.iter().find(|name| !distinct.insert(**name)) {
            return Err(Error::Config(format!(
                "two columns of the result would be called {name:?}"
            )));
        }
        let keys = Keys::required(df, "account_col", account_col)?;
        let accounts = Accounts {
            client: self,
            oauth_endpoint,
            url: Texts::defaulted(df, "url_col", &options.url_col, URL_COL)?,
            key: Texts::defaulted(df, "key_col", &options.key_col, KEY_COL)?,
            secret: Texts::defaulted(df, "secret_col", &options.secret_col, SECRET_COL)?,
        };
        if accounts.url.is_none() && self.base().is_none() {
            return Err(input::missing(
                df,
                "url_col, or give the client a base_url",
                URL_COL,
            ));
        }
        let own = matches!(self.auth(), Auth::Credentials(_));
        if accounts.key.is_none() && (accounts.secret.is_some() || !own) {
            return Err(input::missing(df, "key_col", &options.key_col));
        }
        if accounts.secret.is_none() && (accounts.key.is_some() || !own) {
            return Err(input::missing(df, "secret_col", &options.secret_col));
        }

        let mut seen = HashSet::new();
        let mut blank = 0;
        let mut rows = kept_rows(df, &options.status_col, STATUS_COL, &options.skip_statuses)?;
        rows.retain(|row| match keys.get(*row) {
            Some(key) => seen.insert(key),
            None => {
                blank += 1;
                false
            }
        });
        if blank > 0 {
            log::warn!("{blank} rows have a blank account and are skipped");
        }
        options.control.progress.begin(rows.len());
        let fetch = async |row: usize| {
            let credentials = accounts.credentials(row);
            let client_id = credentials.as_ref().ok().map(|c| c.client_id().to_owned());
            let token = match credentials {
                Ok(credentials) => {
                    let send = self.options(&options.control);
                    credentials.fetch(self.transport(), send).await
                }
                Err(failure) => Err(failure),
            };
            options.control.progress.one_done();
            Fetched { client_id, token }
        };
        let fetched: Vec<Fetched> = stream::iter(rows.clone())
            .map(&fetch)
            .buffered(options.workers)
            .collect()
            .await;
        frame(&keys, &rows, &accounts, &fetched, options)
    }
}

struct Fetched {
    client_id: Option<String>,
    token: Result<Token, Failure>,
}

fn frame(
    keys: &Keys,
    rows: &[usize],
    accounts: &Accounts<'_>,
    fetched: &[Fetched],
    options: &TokenOptions,
) -> Result<DataFrame> {
    let index: Vec<IdxSize> = rows.iter().map(|row| *row as IdxSize).collect();
    let text = |name: &str, values: &mut dyn Iterator<Item = Option<String>>| {
        StringChunked::from_iter_options(name.into(), values).into_column()
    };
    let token = |fetched: &Fetched| fetched.token.as_ref().ok().cloned();
    let failure = |fetched: &Fetched| fetched.token.as_ref().err().cloned();
    let key = rows.iter().zip(fetched).map(|(row, fetched)| {
        let cell = accounts.key.as_ref().and_then(|keys| keys.get(*row));
        cell.map(str::to_owned)
            .or_else(|| fetched.client_id.clone())
    });
    let ends: Int64Chunked = fetched
        .iter()
        .map(|fetched| micros(token(fetched)?.expires_at?))
        .collect();
    let ends = ends
        .with_name(options.expires_col.as_str().into())
        .into_datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
    let columns = vec![
        keys.take(&index)?,
        text(&options.key_col, &mut key.into_iter()),
        text(
            &options.token_col,
            &mut fetched
                .iter()
                .map(|f| Some(token(f)?.token.reveal().to_owned())),
        ),
        ends.into_column(),
        text(
            &options.status_col,
            &mut fetched
                .iter()
                .map(|f| failure(f).map(|_| "error".to_owned())),
        ),
        text(
            "message",
            &mut fetched.iter().map(|f| Some(failure(f)?.message)),
        ),
    ];
    Ok(DataFrame::new(rows.len(), columns)?)
}

fn micros(time: std::time::SystemTime) -> Option<i64> {
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}
