//! Tokens that are renewed while a batch runs.
//!
//! One [`Renewals`] belongs to one call: which tokens were refused, how often a renewal failed, and
//! how long renewals pause. The rules are those of the row-dict runner `tha-edfi-runner`, but for
//! one: a refused token that the token endpoint gives again is the valid one, as with gateways that
//! keep a token until it ends. Then the refusal is about the one request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::auth::{Credentials, Owner, Token};
use super::permits::{self, Rank};
use super::retry::later;
use super::secret::Secret;
use super::transport::{SendOptions, Transport};
use crate::Failure;
use crate::runtime::lock;

/// After this many failures in a row, renewals for a client pause.
const FAILURES_BEFORE_PAUSE: u32 = 3;
/// The wait before the second try; the third waits twice as long.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The renewals of one call, for every client that takes part in it.
#[derive(Debug)]
pub(crate) struct Renewals {
    cooldown: Duration,
    clients: Mutex<HashMap<Arc<Owner>, Arc<tokio::sync::Mutex<Client>>>>,
}

/// A token in place of another one.
#[derive(Debug, Clone)]
pub(crate) struct Renewed {
    pub(crate) token: Secret,
    /// Whether this call asked for it; otherwise the process had it, and it may be dead, too.
    pub(crate) requested: bool,
    /// Whether a server has accepted it since.
    accepted: bool,
}

#[derive(Debug, Default)]
struct Client {
    /// The token that this call renewed to.
    renewed: Option<Renewed>,
    refused: HashSet<Secret>,
    /// When a token that had been refused was given again.
    given_again: HashMap<Secret, Instant>,
    failures: u32,
    last_reason: String,
    paused_until: Option<Instant>,
    pauses: u32,
}

impl Client {
    fn fail(&mut self, reason: String, cooldown: Duration) {
        self.failures += 1;
        self.last_reason = reason;
        if self.failures >= FAILURES_BEFORE_PAUSE && !cooldown.is_zero() {
            self.paused_until = Some(later(cooldown));
            self.pauses += 1;
        }
    }

    /// What this call renewed to, if it is that token.
    fn renewed_to(&self, token: &Secret) -> Option<&Renewed> {
        self.renewed
            .as_ref()
            .filter(|renewed| renewed.token == *token)
    }

    fn usable(&self, token: &Secret, stale: Option<&Secret>) -> bool {
        Some(token) != stale && !self.refused.contains(token)
    }
}

impl Renewals {
    pub(crate) fn new(cooldown: Duration) -> Self {
        Self {
            cooldown,
            clients: Mutex::default(),
        }
    }

    fn client(&self, credentials: &Credentials) -> Arc<tokio::sync::Mutex<Client>> {
        let mut clients = lock(&self.clients);
        match clients.get(credentials.owner()) {
            Some(client) => client.clone(),
            None => {
                let owner = credentials.owner().clone();
                clients.entry(owner).or_default().clone()
            }
        }
    }

    /// The token that this call has renewed to already, if it is still good.
    pub(crate) async fn renewed(&self, credentials: &Credentials) -> Option<Secret> {
        let client = self.client(credentials);
        let client = permits::lock(&client).await;
        let cached = credentials.cached()?.token;
        client.renewed_to(&cached).is_some().then_some(cached)
    }

    /// Whether a server refused this token before in this call.
    pub(crate) async fn is_refused(&self, credentials: &Credentials, token: &Secret) -> bool {
        let client = self.client(credentials);
        let client = permits::lock(&client).await;
        client.refused.contains(token)
    }

    /// Notes that a request of some time was answered with 401, and says whether its token is in
    /// doubt: not if it was given again since. A renewed token that is refused before any server
    /// has accepted it counts as a failed renewal, once, however many requests report it.
    pub(crate) async fn refuse(
        &self,
        credentials: &Credentials,
        token: &Secret,
        sent: Instant,
    ) -> bool {
        let client = self.client(credentials);
        let mut client = permits::lock(&client).await;
        if client.given_again.get(token).is_some_and(|at| *at >= sent) {
            return false;
        }
        client.refused.insert(token.clone());
        credentials.forget(token);
        if let Some(renewed) = client.renewed_to(token).cloned() {
            client.renewed = None;
            if renewed.requested && !renewed.accepted {
                let reason = "refreshed token was rejected: auth error: HTTP 401".to_owned();
                client.fail(reason, self.cooldown);
            }
        }
        true
    }

    /// Notes that a server accepted a token; the count of failures starts anew with a renewed one.
    pub(crate) async fn accept(&self, credentials: &Credentials, token: &Secret) {
        let client = self.client(credentials);
        let mut client = permits::lock(&client).await;
        if let Some(renewed) = client.renewed.as_mut().filter(|one| one.token == *token) {
            renewed.accepted = true;
            client.failures = 0;
            client.pauses = 0;
            client.paused_until = None;
        }
    }

    /// Another token than `stale`: one that is there already, or a new one; none where the token
    /// endpoint gives `stale` again. One request serves everyone who waits here, and is sent once.
    /// The error is the reason, without a prefix.
    pub(crate) async fn renew(
        &self,
        credentials: &Credentials,
        stale: Option<&Secret>,
        transport: &Transport,
        options: SendOptions<'_>,
    ) -> Result<Option<Renewed>, String> {
        let client = self.client(credentials);
        let mut waited = false;
        loop {
            let pause = {
                let mut client = permits::lock(&client).await;
                if let Some(cached) = credentials.cached()
                    && client.usable(&cached.token, stale)
                {
                    let known = client.renewed_to(&cached.token);
                    let renewed = known.cloned().unwrap_or(Renewed {
                        token: cached.token,
                        requested: false,
                        accepted: false,
                    });
                    client.renewed = Some(renewed.clone());
                    return Ok(Some(renewed));
                }
                match client.paused_until {
                    Some(until) if until > Instant::now() => {
                        let pause = until - Instant::now();
                        if waited || client.pauses > 1 {
                            return Err(format!(
                                "{} (refresh paused {} s after {} failed refreshes)",
                                client.last_reason,
                                pause.as_secs_f64().ceil(),
                                client.failures
                            ));
                        }
                        pause
                    }
                    _ => {
                        return self
                            .attempt(&mut client, credentials, stale, transport, options)
                            .await;
                    }
                }
            };
            // The first pause is waited out without the lock, then looked at again.
            let pause = options.cancellation.sleep(pause);
            if permits::lend(Rank::Again, pause).await.is_err() {
                return Err(Failure::not_sent().message);
            }
            waited = true;
        }
    }

    async fn attempt(
        &self,
        client: &mut Client,
        credentials: &Credentials,
        stale: Option<&Secret>,
        transport: &Transport,
        options: SendOptions<'_>,
    ) -> Result<Option<Renewed>, String> {
        if (1..FAILURES_BEFORE_PAUSE).contains(&client.failures) {
            let backoff = FIRST_BACKOFF * (1 << (client.failures - 1));
            let backoff = options.cancellation.sleep(backoff);
            if permits::lend(Rank::Again, backoff).await.is_err() {
                return Err(Failure::not_sent().message);
            }
        }
        let usable = |token: &Token| client.usable(&token.token, stale);
        let token = credentials.token(transport, options, usable);
        match token.await {
            Ok((token, requested)) => {
                let token = token.token;
                if client.refused.remove(&token) {
                    client.given_again.insert(token.clone(), Instant::now());
                }
                let renewed = Renewed {
                    token,
                    requested,
                    accepted: false,
                };
                client.renewed = Some(renewed.clone());
                Ok((Some(&renewed.token) != stale).then_some(renewed))
            }
            Err(failure) => {
                client.fail(failure.message, self.cooldown);
                Err(client.last_reason.clone())
            }
        }
    }
}
