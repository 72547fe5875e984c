//! A token for each account.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use polars::prelude::*;

use super::input::{self, Keys, Texts, active_rows, tell_left_out};
use super::options::{STATUS_COL, TOKEN_COL, URL_COL};
use super::request::token_url;
use super::result;
use super::run::{RowOperation, for_each_row};
use crate::client::urls::{self, BaseUrl};
use crate::client::{Auth, Control, Credentials, EdFiClient, Secret, Token};
use crate::{Error, Failure, Result, runtime};

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

impl TokenOptions {
    /// What the columns of [`result::TOKEN`] are called.
    fn result_names(&self) -> [&str; 4] {
        [
            &self.token_col,
            &self.expires_col,
            &self.status_col,
            "message",
        ]
    }

    fn check_names(&self, account_col: &str) -> Result<()> {
        for (option, name) in [("account_col", account_col), ("key_col", &self.key_col)] {
            if name == self.secret_col {
                return Err(Error::Config(format!(
                    "{option}: {name:?} holds the secrets, which no result has; name another column"
                )));
            }
        }
        let mut distinct = HashSet::new();
        let names = [account_col, &self.key_col].into_iter();
        match names
            .chain(self.result_names())
            .find(|name| !distinct.insert(*name))
        {
            Some(name) => Err(Error::Config(format!(
                "two columns of the result would be called {name:?}"
            ))),
            None => Ok(()),
        }
    }
}

/// The accounts of a frame, and where their credentials stand.
struct Accounts {
    client: EdFiClient,
    control: Control,
    oauth_endpoint: String,
    names: Keys,
    url: Option<Texts>,
    key: Option<Texts>,
    secret: Option<Texts>,
    url_col: String,
    /// The first row of each account.
    rows: Vec<usize>,
    /// What is the matter with the accounts whose rows do not agree, by their first row.
    refused: HashMap<usize, Failure>,
}

impl Accounts {
    fn new(
        client: &EdFiClient,
        df: &DataFrame,
        account_col: &str,
        oauth_endpoint: &str,
        options: &TokenOptions,
    ) -> Result<Self> {
        if options.workers == 0 {
            return Err(Error::Config("workers must be at least 1".into()));
        }
        if oauth_endpoint.contains("://") {
            urls::parse_url(oauth_endpoint)
                .map_err(|what| Error::Config(format!("oauth_endpoint: {what}")))?;
        }
        let names = Keys::required(df, "account_col", account_col)?;
        let (rows, repeats) = first_rows(&names, df, options)?;
        let mut accounts = Self {
            client: client.clone(),
            control: options.control.beginning(),
            oauth_endpoint: oauth_endpoint.to_owned(),
            url_col: options.url_col.clone(),
            url: Texts::defaulted(df, "url_col", &options.url_col, URL_COL)?,
            key: Texts::defaulted(df, "key_col", &options.key_col, KEY_COL)?,
            secret: Texts::defaulted(df, "secret_col", &options.secret_col, SECRET_COL)?,
            rows,
            refused: HashMap::new(),
            names,
        };
        accounts.check_complete(df, options)?;
        for (first, row) in repeats {
            if let Some(name) = accounts.differing(first, row, options) {
                let what = format!(
                    "not fetched: this account comes again with another '{name}'; give each a name \
                     of its own"
                );
                let refused = &mut accounts.refused;
                refused.entry(first).or_insert_with(|| Failure::new(what));
            }
        }
        Ok(accounts)
    }

    /// The column in which two rows of one account do not agree: what is fetched for one of them
    /// would be joined to the other as well. A blank cell says nothing.
    fn differing<'o>(
        &self,
        first: usize,
        row: usize,
        options: &'o TokenOptions,
    ) -> Option<&'o str> {
        let differ = |texts: &Option<Texts>, as_meant: &dyn Fn(&str) -> String| {
            let cell = |row| texts.as_ref()?.get(row).map(as_meant);
            matches!((cell(first), cell(row)), (Some(one), Some(other)) if one != other)
        };
        let url = |text: &str| match BaseUrl::parse(text, true) {
            Ok(base) => base.as_url().to_string(),
            Err(_) => text.to_owned(),
        };
        // An absolute endpoint is the same for all rows, whatever ODS they are of.
        if !self.oauth_endpoint.contains("://") && differ(&self.url, &url) {
            return Some(&options.url_col);
        }
        let columns = [
            (&self.key, &options.key_col),
            (&self.secret, &options.secret_col),
        ];
        let differing = |(texts, _): &(&Option<Texts>, _)| differ(texts, &str::to_owned);
        Some(columns.into_iter().find(differing)?.1)
    }

    /// Checks that every account can have a URL, a key and a secret.
    fn check_complete(&self, df: &DataFrame, options: &TokenOptions) -> Result<()> {
        if self.url.is_none() && self.client.base().is_none() {
            return Err(input::missing(
                df,
                "url_col, or give the client a base_url",
                URL_COL,
            ));
        }
        let default = matches!(self.client.auth(), Auth::Credentials(_));
        if self.key.is_none() && (self.secret.is_some() || !default) {
            return Err(input::missing(df, "key_col", &options.key_col));
        }
        if self.secret.is_none() && (self.key.is_some() || !default) {
            return Err(input::missing(df, "secret_col", &options.secret_col));
        }
        Ok(())
    }

    fn credentials(&self, row: usize) -> Result<Credentials, Failure> {
        let cell = |texts: &Texts| match texts.get(row) {
            Some(text) => Ok(text.to_owned()),
            None => Err(Failure::new(texts.missing())),
        };
        let allow_http = self.client.allow_http();
        let base = match (&self.url, self.client.base()) {
            (Some(urls), _) => {
                let base = BaseUrl::parse(&cell(urls)?, allow_http).map_err(Failure::new)?;
                if self.client.api_version() != Some("") {
                    let wrong = |what| Failure::new(format!("'{}': {what}", self.url_col));
                    base.check_root().map_err(wrong)?;
                }
                base
            }
            (None, Some(base)) => base.clone(),
            (None, None) => return Err(Failure::new(format!("missing '{URL_COL}'"))),
        };
        let default = match self.client.auth() {
            Auth::Credentials(credentials) => Some(credentials),
            Auth::None | Auth::Bearer(_) => None,
        };
        let at = token_url(&base, &self.oauth_endpoint, allow_http).map_err(Failure::new)?;
        match (&self.key, &self.secret, default) {
            (Some(keys), Some(secrets), _) => {
                let (key, secret) = (cell(keys)?, Secret::new(cell(secrets)?));
                Ok(self.client.credentials(at, key, secret))
            }
            (None, None, Some(default)) => {
                self.client.check_origin(&at, KEY_COL)?;
                Ok(default.at(at))
            }
            (Some(_), None, _) => Err(Failure::new(format!("missing '{SECRET_COL}'"))),
            (None, _, _) => Err(Failure::new(format!("missing '{KEY_COL}'"))),
        }
    }

    /// The key of a row's account, as the row or the client has it.
    fn key(&self, row: usize, fetched: &FetchedToken) -> Option<String> {
        let cell = self.key.as_ref().and_then(|keys| keys.get(row));
        cell.map(str::to_owned)
            .or_else(|| fetched.client_id.clone())
    }

    fn frame(&self, fetched: &[FetchedToken], options: &TokenOptions) -> Result<DataFrame> {
        let index: Vec<IdxSize> = self.rows.iter().map(|row| *row as IdxSize).collect();
        let rows = self.rows.iter().zip(fetched);
        let keys = rows.map(|(row, fetched)| self.key(*row, fetched));
        let keys = StringChunked::from_iter_options(options.key_col.as_str().into(), keys);
        let mut columns = vec![self.names.take(&index)?, keys.into_column()];
        let names = options.result_names();
        columns.extend(
            result::fill(result::TOKEN, fetched)
                .into_iter()
                .zip(names)
                .map(|(column, name)| column.with_name(name.into())),
        );
        Ok(DataFrame::new(self.rows.len(), columns)?)
    }
}

impl RowOperation for Accounts {
    type Request = Credentials;
    type Outcome = FetchedToken;

    fn district(&self, row: usize) -> Option<&str> {
        self.url.as_ref().and_then(|urls| urls.get(row))
    }

    fn prepare(&self, row: usize) -> Result<Credentials, Failure> {
        match self.refused.get(&row) {
            Some(failure) => Err(failure.clone()),
            None => self.credentials(row),
        }
    }

    async fn send(&self, credentials: Credentials) -> FetchedToken {
        let options = self.client.options(&self.control);
        FetchedToken {
            client_id: Some(credentials.client_id().to_owned()),
            token: credentials.fetch(self.client.transport(), options).await,
        }
    }
}

/// The first row of an account, and another one of it.
type Repeat = (usize, usize);

/// The first of the rows of each account that take part, and the others with the first one of theirs;
/// blank accounts have none.
fn first_rows(
    names: &Keys,
    df: &DataFrame,
    options: &TokenOptions,
) -> Result<(Vec<usize>, Vec<Repeat>)> {
    let active = active_rows(df, &options.status_col, STATUS_COL, &options.skip_statuses)?;
    let left_out = df.height() - active.len();
    tell_left_out(left_out, &options.status_col, &options.control);
    let (mut rows, mut repeats) = (Vec::new(), Vec::new());
    let (mut first, mut blank) = (HashMap::new(), 0);
    for row in active {
        let Some(name) = names.get(row) else {
            blank += 1;
            continue;
        };
        match first.entry(name) {
            Entry::Vacant(place) => {
                place.insert(row);
                rows.push(row);
            }
            Entry::Occupied(place) => repeats.push((*place.get(), row)),
        }
    }
    if blank > 0 {
        let text = format!("rows with a blank account, which are skipped: {blank}");
        options.control.progress.tell(text);
    }
    Ok((rows, repeats))
}

/// What became of an account's request for a token.
pub(crate) struct FetchedToken {
    client_id: Option<String>,
    token: Result<Token, Failure>,
}

impl FetchedToken {
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref().ok()
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.token.as_ref().err()
    }
}

impl From<Failure> for FetchedToken {
    fn from(failure: Failure) -> Self {
        Self {
            client_id: None,
            token: Err(failure),
        }
    }
}

impl EdFiClient {
    /// Fetches a token for each distinct `account_col`, always by a request but where processes
    /// share tokens.
    ///
    /// Returns one row per account in first-seen order (blank ones are skipped): the account, its
    /// key, the token (String), its end (Datetime us UTC, as the server says), the status (null or
    /// `"error"`) and `message` (String). The secret is not among them. An account that comes again
    /// with another URL, key or secret is an error.
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
        options.check_names(account_col)?;
        let (accounts, fetched) = self
            .fetch_accounts(df, account_col, oauth_endpoint, options)
            .await?;
        let (control, status_col) = (&options.control, &options.status_col);
        let options = options.clone();
        let frame = runtime::compute(move || accounts.frame(&fetched, &options)).await??;
        Ok(result::finish(control, status_col, frame))
    }

    async fn fetch_accounts(
        &self,
        df: &DataFrame,
        account_col: &str,
        oauth_endpoint: &str,
        options: &TokenOptions,
    ) -> Result<(Arc<Accounts>, Vec<FetchedToken>)> {
        let accounts = Arc::new(Accounts::new(
            self,
            df,
            account_col,
            oauth_endpoint,
            options,
        )?);
        let (rows, workers, control) = (&accounts.rows, options.workers, &options.control);
        let fetched = for_each_row(&accounts, rows, None, workers, control, ()).await;
        Ok((accounts, fetched))
    }

    /// A token for each distinct `account_col`, in first-seen order.
    #[cfg(feature = "python")]
    pub(crate) async fn fetch_tokens(
        &self,
        df: &DataFrame,
        account_col: &str,
        oauth_endpoint: &str,
        options: &TokenOptions,
    ) -> Result<Vec<FetchedToken>> {
        let call = self.fetch_accounts(df, account_col, oauth_endpoint, options);
        Ok(call.await?.1)
    }
}
