//! The connections of one client.
//!
//! A connection lives on the worker that opened it, and does not survive a fork: connections are
//! made anew in each process. Loopback never goes through a proxy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use crate::client::urls;
use crate::{Error, Result, runtime};

/// How connections are made.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    user_agent: String,
    roots: Vec<CertificateDer<'static>>,
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    process: u32,
    tls: Option<ClientConfig>,
    /// By worker, after that of other runtimes.
    workers: Vec<WorkerClients>,
}

#[derive(Debug, Default)]
struct WorkerClients {
    plain_loopback: Option<Client>,
    tls_loopback: Option<Client>,
    remote: Option<Client>,
}

impl Pool {
    pub(super) fn new(
        timeout: Duration,
        connect_timeout: Duration,
        user_agent: String,
        ca_certs: Option<&[u8]>,
    ) -> Result<Self> {
        Ok(Self {
            timeout,
            connect_timeout,
            user_agent,
            roots: ca_certs.map_or_else(|| Ok(Vec::new()), certificates)?,
            clients: Mutex::default(),
        })
    }

    /// The connections that serve a URL.
    pub(super) fn client(&self, url: &Url) -> Result<Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, process) = match runtime::worker() {
            Some(worker) => (worker.number + 1, worker.process),
            None => (0, std::process::id()),
        };
        if clients.process != process {
            *clients = Clients {
                process,
                ..Clients::default()
            };
        }
        let loopback = urls::is_loopback(url);
        let tls = url.scheme() == "https";
        let Clients {
            workers,
            tls: known,
            ..
        } = &mut *clients;
        if workers.len() <= number {
            workers.resize_with(number + 1, WorkerClients::default);
        }
        let worker = &mut workers[number];
        let slot = match (loopback, tls) {
            (true, false) => &mut worker.plain_loopback,
            (true, true) => &mut worker.tls_loopback,
            (false, _) => &mut worker.remote,
        };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        let config = match (tls || !loopback, &known) {
            (false, _) => self.tls_config(false)?,
            (true, Some(config)) => config.clone(),
            (true, None) => known.insert(self.tls_config(true)?).clone(),
        };
        let client = self.build(loopback, config)?;
        *slot = Some(client.clone());
        Ok(client)
    }

    /// What TLS trusts; nobody where there is to be none.
    fn tls_config(&self, tls: bool) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        if tls {
            let verifier = Verifier::new_with_extra_roots(self.roots.iter().cloned(), provider)
                .map_err(|error| format!("no trusted certificates: {error}"))?;
            Ok(versions
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth())
        } else {
            Ok(versions
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth())
        }
    }

    fn build(&self, loopback: bool, tls: ClientConfig) -> Result<Client, String> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            // What is sent again is decided here; and each request would be copied for it.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.timeout)
            .tcp_nodelay(true)
            .user_agent(&self.user_agent);
        if loopback {
            builder = builder.no_proxy();
        }
        builder
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))
    }
}

/// The certificates of a PEM bundle.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let mut roots = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots
            .push(certificate.map_err(|error| {
                Error::Config(format!("ca_certs is not a PEM bundle: {error}"))
            })?);
    }
    if roots.is_empty() {
        return Err(Error::Config("ca_certs holds no certificate".into()));
    }
    Ok(roots)
}
