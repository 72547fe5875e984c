//! From a row to what a request needs: base URL, API version, token, and how to renew it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use polars::prelude::DataFrame;

use super::input::{self, Keys, Texts, Times};
use super::options::{BatchOptions, STATUS_COL, TOKEN_COL, URL_COL};
use crate::client::session::{Access, CallContext, Renewal, TokenSource};
use crate::client::urls::{self, BaseUrl};
use crate::client::{Auth, Credentials, EdFiClient, Renewals, Secret};
use crate::runtime::lock;
use crate::{Error, Failure, Result};

/// The rows of a frame that take part, and the credentials of each.
pub(crate) struct Rows {
    /// All rows but those whose status says that they are done with.
    pub(crate) active: Vec<usize>,
    height: usize,
    client: EdFiClient,
    options: BatchOptions,
    url: Option<Texts>,
    token: Option<Texts>,
    api_version: Option<Texts>,
    auth_key: Option<Texts>,
    auth_secret: Option<Texts>,
    expires: Option<Times>,
    /// What was made of cells before: few ODSs serve many rows.
    bases: Mutex<HashMap<String, Result<BaseUrl, String>>>,
    credentials: Mutex<HashMap<[String; 3], Result<Credentials, String>>>,
}

impl Rows {
    /// Finds the columns that there are, and checks their types.
    pub(crate) fn new(df: &DataFrame, client: &EdFiClient, options: &BatchOptions) -> Result<Self> {
        if options.workers == 0 {
            return Err(Error::Config("workers must be at least 1".into()));
        }
        if let Some(name) = &options.row_id_col {
            input::required(df, "row_id_col", name)?;
        }
        options.tell_half_renewals();
        let optional =
            |argument: &str, name: &Option<String>| Texts::optional(df, argument, name.as_deref());
        Ok(Self {
            active: input::active_rows(
                df,
                &options.status_col,
                STATUS_COL,
                &options.skip_statuses,
            )?,
            height: df.height(),
            client: client.clone(),
            options: options.clone(),
            url: Texts::defaulted(df, "url_col", &options.url_col, URL_COL)?,
            token: Texts::defaulted(df, "token_col", &options.token_col, TOKEN_COL)?,
            api_version: optional("api_version_col", &options.api_version_col)?,
            auth_key: optional("auth_key_col", &options.auth_key_col)?,
            auth_secret: optional("auth_secret_col", &options.auth_secret_col)?,
            expires: match &options.expires_col {
                Some(name) => Some(Times::required(df, "expires_col", name)?),
                None => None,
            },
            bases: Mutex::default(),
            credentials: Mutex::default(),
        })
    }

    /// Checks that every row can have a URL and a token: what a call needs that sends something.
    pub(crate) fn check_complete(&self, df: &DataFrame) -> Result<()> {
        if !self.have_urls() {
            return Err(input::missing(
                df,
                "url_col, or give the client a base_url",
                URL_COL,
            ));
        }
        if !self.have_tokens() {
            return Err(input::missing(
                df,
                "token_col, or give the client credentials, or auth_key_col, auth_secret_col and \
                 oauth_endpoint",
                TOKEN_COL,
            ));
        }
        Ok(())
    }

    /// Says how many rows are in no result, so that none is missed without a word.
    pub(crate) fn tell_left_out(&self) {
        let left_out = self.height - self.active.len();
        input::tell_left_out(left_out, &self.options.status_col, &self.options.control);
    }

    /// Says something of the rows together.
    pub(crate) fn tell(&self, text: String) {
        self.options.control.progress.tell(text);
    }

    /// What is the matter with a row, as far as there are columns to tell.
    pub(crate) fn check(&self, row: usize) -> Result<(), Failure> {
        match (self.have_urls(), self.have_tokens()) {
            (true, true) => self.access(row).map(drop),
            (true, false) => self.base(row).map(drop),
            (false, _) => Ok(()),
        }
    }

    pub(crate) fn have_urls(&self) -> bool {
        self.url.is_some() || self.client.base().is_some()
    }

    fn have_tokens(&self) -> bool {
        let fetchable = self.auth_key.is_some()
            && self.auth_secret.is_some()
            && self.options.oauth_endpoint.is_some();
        self.token.is_some() || fetchable || !matches!(self.client.auth(), Auth::None)
    }

    /// What all requests of this batch share.
    pub(crate) fn context(&self) -> CallContext {
        let renewals = Renewals::new(self.options.refresh_cooldown);
        CallContext::new(&self.client, &self.options.control, renewals)
    }

    /// The base URL of a row as it was written.
    pub(crate) fn url(&self, row: usize) -> Option<&str> {
        match &self.url {
            Some(urls) => Some(urls.get(row)?.trim_end_matches('/')),
            None => self.client.base().map(|base| base.as_url().as_str()),
        }
    }

    /// The base URL of a row, however it was written; the text itself where it is none.
    pub(crate) fn normalized_url(&self, row: usize) -> Option<String> {
        match self.base(row) {
            Ok(base) => Some(base.as_url().to_string()),
            Err(_) => self.url(row).map(str::to_owned),
        }
    }

    /// The path segment of a row's API version, where the row or the client says one.
    pub(crate) fn version_segment(&self, row: usize) -> Option<String> {
        let version = self.api_version(row).or(self.client.api_version());
        version.map(urls::version_segment)
    }

    /// One row's ODS and credentials, or what is the matter with the row.
    pub(crate) fn access(&self, row: usize) -> Result<Access, Failure> {
        let base = self.base(row)?;
        let renewal = self.renewal(row, &base)?;
        let token = match &self.token {
            Some(tokens) => match tokens.get(row) {
                Some(token) => TokenSource::Row {
                    token: Secret::new(token),
                    expired: self
                        .expires
                        .as_ref()
                        .is_some_and(|times| times.is_over(row)),
                },
                None if matches!(renewal, Renewal::Possible(_)) => TokenSource::Missing,
                None => return Err(Failure::new(tokens.missing())),
            },
            None if matches!(renewal, Renewal::Possible(_)) && self.auth_key.is_some() => {
                TokenSource::Missing
            }
            None => {
                // Nobody is read or written to as somebody else than the row says.
                self.check_credentials(row)?;
                self.client_token(&base)?
            }
        };
        Ok(Access {
            api_version: self.api_version(row).map(str::to_owned),
            base,
            token,
            renewal,
        })
    }

    /// When the token of a row ends, where it says so.
    #[cfg(feature = "python")]
    pub(crate) fn token_end(&self, row: usize) -> Option<std::time::SystemTime> {
        self.expires.as_ref()?.get(row)
    }

    /// The API version that a row says.
    pub(crate) fn api_version(&self, row: usize) -> Option<&str> {
        self.api_version.as_ref()?.get(row)
    }

    /// The base URL of one row's ODS.
    pub(crate) fn base(&self, row: usize) -> Result<BaseUrl, Failure> {
        if let Some((version, name)) = self
            .api_version(row)
            .zip(self.options.api_version_col.as_ref())
        {
            urls::check_version(version)
                .map_err(|what| Failure::new(format!("'{name}': {what}")))?;
        }
        match (&self.url, self.client.base()) {
            (Some(urls), _) => match urls.get(row) {
                Some(text) => {
                    // Without a version, the data may stand wherever a row says.
                    let version = self.api_version(row).or(self.client.api_version());
                    let parse = || {
                        let base = BaseUrl::parse(text, self.client.allow_http())?;
                        match version {
                            Some("") => Ok(base),
                            Some(_) | None => base.check_root().map(|()| base),
                        }
                    };
                    remembered(&self.bases, text, parse)
                        .map_err(|what| Failure::new(format!("'{}': {what}", self.options.url_col)))
                }
                None => Err(Failure::new(urls.missing())),
            },
            (None, Some(base)) => Ok(base.clone()),
            (None, None) => Err(Failure::new(format!("missing '{URL_COL}'"))),
        }
    }

    /// Checks that a row has the credentials which it is to bring.
    fn check_credentials(&self, row: usize) -> Result<(), Failure> {
        let columns = (&self.auth_key, &self.auth_secret);
        if let (Some(key), Some(secret)) = columns
            && self.options.oauth_endpoint.is_some()
        {
            for texts in [key, secret] {
                texts
                    .get(row)
                    .ok_or_else(|| Failure::new(texts.missing()))?;
            }
        }
        Ok(())
    }

    /// The client's own credentials, which only its own origin may see.
    fn client_token(&self, base: &BaseUrl) -> Result<TokenSource, Failure> {
        if matches!(self.client.auth(), Auth::None) {
            return Err(Failure::new(format!("missing '{TOKEN_COL}'")));
        }
        self.client.check_origin(base.as_url(), TOKEN_COL)?;
        Ok(TokenSource::Client)
    }

    fn renewal(&self, row: usize, base: &BaseUrl) -> Result<Renewal, Failure> {
        let options = &self.options;
        let settings = [
            ("auth_key_col", &options.auth_key_col),
            ("auth_secret_col", &options.auth_secret_col),
            ("oauth_endpoint", &options.oauth_endpoint),
        ];
        if settings.iter().all(|(_, value)| value.is_none()) {
            return Ok(self.client_renewal());
        }
        let mut gaps: Vec<String> = settings
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| format!("{name} not set"))
            .collect();
        let mut cell = |texts: &Option<Texts>, name: &Option<String>| -> String {
            let Some((texts, name)) = texts.as_ref().zip(name.as_ref()) else {
                return String::new();
            };
            let text = texts.get(row).unwrap_or_default();
            if text.is_empty() {
                gaps.push(format!("empty '{name}'"));
            }
            text.to_owned()
        };
        let client_id = cell(&self.auth_key, &options.auth_key_col);
        let secret = cell(&self.auth_secret, &options.auth_secret_col);
        if !gaps.is_empty() {
            return Ok(Renewal::Impossible(gaps.join(", ")));
        }
        let key = [base.as_url().to_string(), client_id, secret];
        let make = || {
            let endpoint = options.oauth_endpoint.as_deref().unwrap_or_default();
            let at = token_url(base, endpoint, self.client.allow_http())?;
            let [_, client_id, secret] = key.clone();
            Ok(self.client.credentials(at, client_id, Secret::new(secret)))
        };
        remembered(&self.credentials, &key, make)
            .map(Renewal::Possible)
            .map_err(Failure::new)
    }

    /// Where the client's own credentials serve all rows, they renew its own token too.
    fn client_renewal(&self) -> Renewal {
        match self.client.auth() {
            Auth::Credentials(credentials) if self.token.is_none() => {
                Renewal::Possible(credentials.clone())
            }
            _ => Renewal::NotConfigured,
        }
    }
}

/// The rows of a frame that name an item each.
pub(crate) struct ItemRows {
    pub(crate) rows: Rows,
    pub(crate) context: CallContext,
    pub(crate) endpoint: String,
    pub(crate) ids: Keys,
}

impl ItemRows {
    pub(crate) fn new(
        df: &DataFrame,
        client: &EdFiClient,
        ids: Keys,
        endpoint: String,
        options: &BatchOptions,
    ) -> Result<Self> {
        let rows = Rows::new(df, client, options)?;
        Ok(Self {
            context: rows.context(),
            rows,
            endpoint,
            ids,
        })
    }

    /// One row's ODS and credentials, and the id of its item.
    pub(crate) fn item(&self, row: usize) -> Result<(Access, String), Failure> {
        Ok((self.rows.access(row)?, self.ids.need(row)?.to_owned()))
    }

    /// What is the matter with a row that is not to be sent.
    pub(crate) fn check(&self, row: usize) -> Result<(), Failure> {
        self.rows.check(row)?;
        check_id(self.ids.need(row)?)
    }
}

/// Whether a text can be the id of an item.
pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    urls::id_segment(id).map(drop).map_err(Failure::new)
}

/// What stands under a key, or what is made now and stands there from now on.
fn remembered<K, Q, T>(
    memory: &Mutex<HashMap<K, Result<T, String>>>,
    key: &Q,
    make: impl FnOnce() -> Result<T, String>,
) -> Result<T, String>
where
    K: Borrow<Q> + Eq + Hash,
    Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    T: Clone,
{
    let mut memory = lock(memory);
    if let Some(known) = memory.get(key) {
        return known.clone();
    }
    let made = make();
    memory.insert(key.to_owned(), made.clone());
    made
}

/// The token endpoint of an ODS: below its base URL, or where an absolute URL says.
pub(crate) fn token_url(
    base: &BaseUrl,
    endpoint: &str,
    allow_http: bool,
) -> Result<reqwest::Url, String> {
    let endpoint = endpoint.trim();
    let url = match endpoint.contains("://") {
        true => urls::parse_url(endpoint),
        false => Ok(base.join(endpoint)),
    };
    url.and_then(|url| urls::may_carry_secrets(&url, allow_http).map(|()| url))
        .map_err(|what| format!("oauth_endpoint: {what}"))
}
