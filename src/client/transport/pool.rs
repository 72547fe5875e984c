//! The connections of one client.
//!
//! A connection lives on the worker that opened it, and does not survive a fork: connections are
//! made anew in each process. Loopback never goes through a proxy. How many connections are kept
//! idle is bounded, however many origins there are: those that were used longest ago go first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use super::host::{Host, Lease};
use super::tls;
use super::watch::WatchConnects;
use crate::client::urls;
use crate::per_process::PerProcess;
use crate::runtime::lock;
use crate::{Result, runtime};

/// How many connections a worker keeps idle, to one origin and to all of them.
const MOST_IDLE: usize = 64;

/// How connections are made, and those that are there.
#[derive(Debug)]
pub(super) struct Pool {
    connect_timeout: Duration,
    user_agent: String,
    headers: HeaderMap,
    roots: Vec<CertificateDer<'static>>,
    connections: PerProcess<Mutex<Connections>>,
}

#[derive(Debug, Default)]
struct Connections {
    tls: Option<ClientConfig>,
    /// By worker, after that of other runtimes; each by origin.
    workers: Vec<HashMap<String, Arc<Host>>>,
}

impl Pool {
    pub(super) fn new(
        connect_timeout: Duration,
        user_agent: String,
        headers: HeaderMap,
        ca_certs: Option<&[u8]>,
    ) -> Result<Self> {
        Ok(Self {
            connect_timeout,
            user_agent,
            headers,
            roots: ca_certs.map_or_else(|| Ok(Vec::new()), tls::certificates)?,
            connections: PerProcess::new(),
        })
    }

    /// Forgets all connections.
    #[cfg(feature = "python")]
    pub(super) fn close(&self) {
        let mut connections = lock(self.connections.get());
        connections.workers.clear();
    }

    /// A connection to the origin of a URL.
    pub(super) fn lease(&self, url: &Url) -> Result<Lease, String> {
        let mut connections = lock(self.connections.get());
        let number = runtime::worker().map_or(0, |worker| worker + 1);
        let Connections { workers, tls } = &mut *connections;
        if workers.len() <= number {
            workers.resize_with(number + 1, HashMap::default);
        }
        let hosts = &mut workers[number];
        let origin = urls::origin(url);
        let host = match hosts.get(origin) {
            Some(host) => host.clone(),
            None => {
                let host = Arc::new(self.host(url, tls)?);
                hosts.insert(origin.to_owned(), host.clone());
                host
            }
        };
        let connections = host.connections();
        let lease = host.lease();
        if host.connections() > connections {
            close_idle(hosts);
        }
        Ok(lease)
    }

    fn host(&self, url: &Url, known: &mut Option<ClientConfig>) -> Result<Host, String> {
        let loopback = urls::is_loopback(url);
        let tls = match (url.scheme() == "https" || !loopback, &known) {
            (false, _) => tls::none()?,
            (true, Some(config)) => config.clone(),
            (true, None) => known.insert(tls::trusting(&self.roots)?).clone(),
        };
        // Many threads may have been in calls at once; those that are left need fewer.
        let few = |builder: ClientBuilder| builder.pool_max_idle_per_host(MOST_IDLE);
        let keeping = self.client(tls.clone(), loopback, few)?;
        let once = |builder: ClientBuilder| builder.pool_max_idle_per_host(0);
        Ok(Host::new(keeping, self.client(tls, loopback, once)?))
    }

    fn client(
        &self,
        tls: ClientConfig,
        loopback: bool,
        with: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, String> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            // What is sent again is decided here; and each request would be copied for it.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            // Bodies are taken apart here, where it is seen how much comes of how little.
            .no_gzip()
            .connect_timeout(self.connect_timeout)
            .connector_layer(WatchConnects)
            .tcp_nodelay(true)
            .user_agent(&self.user_agent)
            .default_headers(self.headers.clone());
        if loopback {
            builder = builder.no_proxy();
        }
        with(builder)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))
    }
}

/// Closes idle connections until few enough are left; a request in flight keeps its own.
fn close_idle(hosts: &mut HashMap<String, Arc<Host>>) {
    let mut kept: usize = hosts.values().map(|host| host.connections()).sum();
    while hosts.len() > 1 && kept > MOST_IDLE {
        let oldest = hosts.iter().min_by_key(|(_, host)| host.used());
        let Some(origin) = oldest.map(|(origin, _)| origin.clone()) else {
            return;
        };
        if let Some(host) = hosts.remove(&origin) {
            kept -= host.connections();
        }
    }
}
