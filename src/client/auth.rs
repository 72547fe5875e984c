//! OAuth2 client credentials (RFC 6749, section 4.4), and the tokens that this process holds.
//!
//! An ODS from 7.3 on allows few live tokens for one client, so there is one cache for the whole
//! process, and whoever needs a token that is being fetched waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use futures_util::FutureExt;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::flight::Flight;
use super::secret::Secret;
use super::token_cache::{TokenFile, TokenFolder, Turn};
use super::transport::{Request, Response, SendOptions, Transport};
use crate::Failure;
use crate::per_process::PerProcess;
use crate::runtime::lock;

/// A token is renewed this long before its end.
const MARGIN: Duration = Duration::from_secs(60);
/// Assumed where the server names no lifetime: the ODS's own default.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(1800);
/// No server gives tokens that live for three years: a larger `expires_in` is a point in time.
pub(super) const LONGEST_LIFETIME: f64 = 1e8;
/// No header can carry a longer one to an ODS.
pub(super) const LONGEST_TOKEN: usize = 1 << 14;
/// A point in time beyond this is counted in milliseconds.
const LAST_SECOND: f64 = 1e11;
/// No calendar goes on after the year 9999, in seconds since 1970.
const LAST_YEAR: f64 = 253_402_300_800.0;

type Slots = HashMap<Arc<Owner>, Arc<PerProcess<Slot>>>;

static CACHE: PerProcess<Mutex<Slots>> = PerProcess::new();

/// What a client proves itself with, and where. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    owner: Arc<Owner>,
    secret: Secret,
    slot: Arc<PerProcess<Slot>>,
}

/// A bearer token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Token {
    /// The token itself.
    pub token: Secret,
    /// When the server says that it ends; `None` for a token that was given, not fetched.
    pub expires_at: Option<SystemTime>,
    pub(super) renew_at: Option<SystemTime>,
}

impl Token {
    pub(crate) fn given(token: Secret) -> Self {
        Self {
            token,
            expires_at: None,
            renew_at: None,
        }
    }

    fn lasting(token: Secret, lifetime: Lifetime) -> Self {
        let now = SystemTime::now();
        let (expires_at, remaining) = match lifetime {
            Lifetime::For(remaining) => (now + remaining, remaining),
            Lifetime::Until(end) => (end, end.duration_since(now).unwrap_or_default()),
        };
        let renew_at = match remaining {
            // What no clock can say is told by a 401: nobody gives tokens that are over already.
            Duration::ZERO => now + DEFAULT_LIFETIME - MARGIN,
            // A token that lives for less than two margins is used for half of its life.
            remaining => expires_at - MARGIN.min(remaining / 2),
        };
        Self {
            token,
            expires_at: Some(expires_at),
            renew_at: Some(renew_at),
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.renew_at.is_none_or(|end| SystemTime::now() < end)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lifetime {
    For(Duration),
    Until(SystemTime),
}

/// Whose token it is. The secret takes part as a digest: a wrong secret never finds the token
/// that the right one was given.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    token_url: Url,
    client_id: String,
    secret: [u8; 32],
    /// Where this user's other processes find it, too.
    folder: Option<TokenFolder>,
}

impl Owner {
    fn file(&self) -> Option<TokenFile> {
        let folder = self.folder.as_ref()?;
        Some(folder.file(self.token_url.as_str(), &self.client_id, &self.secret))
    }
}

#[derive(Debug, Default)]
struct Slot {
    flight: Flight<Token>,
    token: Mutex<Option<Token>>,
}

impl Slot {
    fn fresh(&self) -> Option<Token> {
        let token = lock(&self.token);
        token.as_ref().filter(|token| token.is_fresh()).cloned()
    }

    fn set(&self, token: Option<Token>) {
        *lock(&self.token) = token;
    }
}

impl Credentials {
    pub(super) fn new(
        token_url: Url,
        client_id: String,
        secret: Secret,
        folder: Option<TokenFolder>,
    ) -> Self {
        let owner = Arc::new(Owner {
            token_url,
            client_id,
            secret: secret.sha256(),
            folder,
        });
        let mut cache = lock(CACHE.get());
        let slot = cache.entry(owner.clone()).or_default().clone();
        Self {
            owner,
            secret,
            slot,
        }
    }

    /// The same credentials for another token endpoint.
    pub(crate) fn at(&self, token_url: Url) -> Self {
        let (client_id, folder) = (self.client_id().to_owned(), self.owner.folder.clone());
        Self::new(token_url, client_id, self.secret.clone(), folder)
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.owner.client_id
    }

    pub(crate) fn token_url(&self) -> &Url {
        &self.owner.token_url
    }

    /// Tells credentials apart.
    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// The token of this process, if there is one with some life left.
    pub(crate) fn cached(&self) -> Option<Token> {
        self.slot.get().fresh()
    }

    /// Takes a token that somebody else fetched with these credentials, unless there is one.
    #[cfg(feature = "python")]
    pub(crate) fn adopt(&self, token: Secret, end: SystemTime) {
        let slot = self.slot.get();
        if slot.fresh().is_none() {
            slot.set(Some(Token::lasting(token, Lifetime::Until(end))));
        }
    }

    /// Forgets a token that a server refused.
    pub(crate) fn forget(&self, refused: &Secret) {
        if let Some(file) = self.owner.file() {
            file.forget(refused);
        }
        let mut token = lock(&self.slot.get().token);
        if token.as_ref().is_some_and(|token| token.token == *refused) {
            *token = None;
        }
    }

    /// Fetches a token, whatever this process holds, and leaves it there. Where processes share
    /// tokens, one that they have is as good.
    pub(crate) async fn fetch(
        &self,
        transport: &Transport,
        options: SendOptions<'_>,
    ) -> Result<Token, Failure> {
        let (slot, patience) = (self.slot.get(), transport.patience(options.policy));
        let turn = slot.flight.turn(options.cancellation, patience).await?;
        if let Some(failure) = turn.shared_failure() {
            return Err(failure);
        }
        let shared = async || Ok(self.shared(transport, options, |_| true).await?.0);
        turn.fetch(shared().boxed()).await
    }

    /// The token of this process if it is usable, that of another process, or a new one, and
    /// whether it is new. Whoever comes while a token is being fetched waits for that one, or for why there is none.
    pub(crate) async fn token(
        &self,
        transport: &Transport,
        options: SendOptions<'_>,
        usable: impl Fn(&Token) -> bool + Send + Sync,
    ) -> Result<(Token, bool), Failure> {
        let slot = self.slot.get();
        if let Some(token) = slot.fresh().filter(&usable) {
            return Ok((token, false));
        }
        let patience = transport.patience(options.policy);
        let turn = slot.flight.turn(options.cancellation, patience).await?;
        if let Some(token) = slot.fresh().filter(&usable) {
            return Ok((token, false));
        }
        if let Some(failure) = turn.recent_failure() {
            return Err(failure);
        }
        let mut is_new = true;
        let token = turn
            .fetch(
                async {
                    let (token, requested) = self.shared(transport, options, &usable).await?;
                    is_new = requested;
                    Ok(token)
                }
                .boxed(),
            )
            .await?;
        Ok((token, is_new))
    }

    /// The token that another process has, or a new one that others find, and whether it is new.
    async fn shared(
        &self,
        transport: &Transport,
        options: SendOptions<'_>,
        usable: impl Fn(&Token) -> bool + Send + Sync,
    ) -> Result<(Token, bool), Failure> {
        let Some(file) = self.owner.file() else {
            return Ok((self.renew(transport, options).await?, true));
        };
        let patience = transport.patience(options.policy).with_silence();
        let _held = match file.turn(usable, patience, options.cancellation).await? {
            Turn::Found(token) => {
                self.slot.get().set(Some(token.clone()));
                return Ok((token, false));
            }
            Turn::Fetch(held) => held,
        };
        let renewed = self.renew(transport, options).await;
        match &renewed {
            Ok(token) => file.keep(token),
            Err(failure) if is_refusal(failure) => file.clear(),
            Err(_) => {}
        }
        Ok((renewed?, true))
    }

    /// Asks for a token and keeps it. A refused secret does not keep the token that an accepted
    /// one got before.
    async fn renew(
        &self,
        transport: &Transport,
        options: SendOptions<'_>,
    ) -> Result<Token, Failure> {
        let fetched = self.request(transport, options).await;
        match &fetched {
            Ok(token) => self.slot.get().set(Some(token.clone())),
            Err(failure) if is_refusal(failure) => self.slot.get().set(None),
            Err(_) => {}
        }
        fetched
    }

    async fn request(
        &self,
        transport: &Transport,
        options: SendOptions<'_>,
    ) -> Result<Token, Failure> {
        let basic = format!("{}:{}", self.client_id(), self.secret.reveal());
        let basic = base64::engine::general_purpose::STANDARD.encode(basic);
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}"))
            .map_err(|_| Failure::new("the credentials cannot stand in a header"))?;
        authorization.set_sensitive(true);
        let mut request = Request {
            authorization: Some(authorization),
            body: Some(bytes::Bytes::from_static(b"grant_type=client_credentials")),
            small: true,
            token: true,
            ..Request::form(self.owner.token_url.clone())
        };
        let response = transport.send(&mut request, options).await?;
        read_token(&response).map_err(|mut failure| {
            failure.message = self.secret.redact(failure.message);
            failure
        })
    }
}

fn read_token(response: &Response) -> Result<Token, Failure> {
    if response.status != StatusCode::OK && response.status != StatusCode::CREATED {
        return Err(refused(response));
    }
    let body: Value = serde_json::from_slice(&response.body)
        .map_err(|_| response.unusable("the token endpoint did not answer with JSON"))?;
    let token = body
        .get("access_token")
        .and_then(Value::as_str)
        .map(Secret::new);
    match token {
        Some(token) if (1..=LONGEST_TOKEN).contains(&token.len()) && token.bearer().is_some() => {
            Ok(Token::lasting(token, lifetime(body.get("expires_in"))))
        }
        _ => Err(response.unusable("the answer holds no access_token")),
    }
}

/// The failure of a refused request; here a 401 says why, too.
fn refused(response: &Response) -> Failure {
    let mut failure = response.failure();
    if response.status == StatusCode::UNAUTHORIZED
        && let Some(detail) = response.detail()
    {
        failure.message = format!("{}: {detail}", failure.message);
    }
    failure
}

/// Whether a token endpoint does not know the client, or not its secret.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.http_status, Some(400 | 401 | 403))
}

fn lifetime(expires_in: Option<&Value>) -> Lifetime {
    let number = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match number {
        Some(seconds) if !seconds.is_finite() || seconds < 0.0 => Lifetime::For(Duration::ZERO),
        Some(seconds) if seconds / 1e3 >= LAST_YEAR => Lifetime::For(Duration::ZERO),
        Some(seconds) if seconds > LAST_SECOND => Lifetime::Until(epoch(seconds / 1e3)),
        Some(seconds) if seconds > LONGEST_LIFETIME => Lifetime::Until(epoch(seconds)),
        Some(seconds) => Lifetime::For(Duration::from_secs_f64(seconds)),
        None => Lifetime::For(DEFAULT_LIFETIME),
    }
}

/// A point in time from seconds since 1970; beyond what the clock can say, now.
pub(crate) fn epoch(seconds: f64) -> SystemTime {
    Duration::try_from_secs_f64(seconds.max(0.0))
        .ok()
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .unwrap_or_else(SystemTime::now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lifetimes_in_every_dress() {
        let plain = Lifetime::For(Duration::from_secs(1800));
        for value in [json!(1800), json!("1800"), json!(1800.0), json!(null)] {
            assert_eq!(lifetime(Some(&value)), plain, "{value}");
        }
        let end = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        for value in [json!(1_900_000_000_u64), json!(1_900_000_000_000_u64)] {
            assert_eq!(lifetime(Some(&value)), Lifetime::Until(end), "{value}");
        }
    }

    #[test]
    fn short_tokens_are_used_too() {
        let token = Token::lasting("t".into(), Lifetime::For(Duration::from_secs(2)));
        assert!(token.is_fresh());
        // A server that says 0 does not mean it.
        let token = Token::lasting("t".into(), Lifetime::For(Duration::ZERO));
        assert!(token.is_fresh());
    }
}
