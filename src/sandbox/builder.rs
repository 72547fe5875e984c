//! How a sandbox is configured and started.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::Sandbox;
use super::auth::TokenRules;
use super::definitions::{Definitions, is_descriptor};
use super::district::District;
use super::limits::{Limiter, RequestLimit};
use super::log::Log;
use super::metadata::Template;
use super::release::Release;
use super::server::{Shared, serve};
use super::{generate, openapi};
use crate::{Error, Result};

/// The configuration of a [`Sandbox`]; [`start`](Self::start) makes it run.
#[derive(Debug, Clone)]
#[must_use]
pub struct SandboxBuilder {
    districts: Vec<String>,
    records: usize,
    seed: u64,
    port: u16,
    page_limit: usize,
    release: String,
    token_lifetime: Duration,
    token_limit: Option<usize>,
    latency: Duration,
    skipping: Duration,
    migrated: bool,
    links: bool,
    total_count: bool,
    strict: bool,
    request_limit: Option<RequestLimit>,
    gzip: bool,
    keep_bodies: bool,
    documents: Vec<Value>,
}

impl Default for SandboxBuilder {
    fn default() -> Self {
        Self {
            districts: vec!["255901".to_owned()],
            records: 100,
            seed: 0,
            port: 0,
            page_limit: 500,
            release: Release::default().to_string(),
            token_lifetime: Duration::from_secs(30 * 60),
            token_limit: None,
            latency: Duration::ZERO,
            skipping: Duration::ZERO,
            migrated: false,
            links: true,
            total_count: true,
            strict: true,
            request_limit: None,
            gzip: false,
            keep_bodies: false,
            documents: Vec::new(),
        }
    }
}

impl SandboxBuilder {
    /// The districts, each an ODS of its own below `/{district}`. Default: one, `255901`.
    pub fn districts(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.districts = ids.into_iter().map(Into::into).collect();
        self
    }

    /// How many studentAssessments each district has; a quarter as many students. Default: 100.
    pub fn records(mut self, number: usize) -> Self {
        self.records = number;
        self
    }

    /// The same seed and district give the same records and credentials. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The port on 127.0.0.1; 0, the default, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The most items on a page, and how many there are without `limit`. Default: 500.
    pub fn page_limit(mut self, limit: usize) -> Self {
        self.page_limit = limit;
        self
    }

    /// The release of the ODS/API that it answers as, from `"5.2"` to `"7.3"`, the default.
    ///
    /// Before 7.3 collections are in the order of their natural keys, and there are no page tokens and no
    /// partitions; before 6.1 there are no changed keys; 5.x writes what changed in PascalCase with ids as
    /// GUIDs in capitals, gives 25 items without `limit`, and up to 5.3 deletes have no keys and no count.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.release = release.into();
        self
    }

    /// How long a token lives. Default: 30 minutes.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How many live tokens a client may have; one more is answered 429. ODS/API 7.3 has 15.
    /// Default: `None`, no limit.
    pub fn token_limit(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.token_limit = limit.into();
        self
    }

    /// How long every request waits before it is answered. Default: not at all.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// How much longer a page takes for each 1,000 records that its offset skips, as the databases of
    /// ODS/API 5 to 7.2 go through them row by row. Default: no longer.
    pub fn skipping(mut self, per_thousand: Duration) -> Self {
        self.skipping = per_thousand;
        self
    }

    /// Whether all records have one change version, as those of a database that was migrated.
    /// Default: false.
    pub fn migrated(mut self, migrated: bool) -> Self {
        self.migrated = migrated;
        self
    }

    /// Whether references have `link` objects. Default: yes.
    pub fn links(mut self, links: bool) -> Self {
        self.links = links;
        self
    }

    /// Whether `totalCount=true` is answered. Default: yes.
    pub fn total_count(mut self, total_count: bool) -> Self {
        self.total_count = total_count;
        self
    }

    /// Whether it takes what an ODS takes, and nothing else. Default: yes.
    ///
    /// Otherwise descriptors may have any value, references are looked up only where the district holds
    /// something that they could mean, members that a schema does not have are kept, people may be written
    /// again without an association, and resources that stand in no document come to be when somebody
    /// posts to them.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// How many requests the host takes in a window of time, and whether the 429 to one more says when to
    /// come again. Default: any number.
    pub fn request_limit(mut self, requests: usize, window: Duration, retry_after: bool) -> Self {
        self.request_limit = Some(RequestLimit {
            requests,
            window,
            retry_after,
        });
        self
    }

    /// Whether bodies are compressed for those who accept it. Default: no.
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Whether [`Sandbox::requests`] has the bodies as they were sent. Default: no.
    pub fn keep_bodies(mut self, keep: bool) -> Self {
        self.keep_bodies = keep;
        self
    }

    /// An OpenAPI 3 document of an ODS, of its resources or of its descriptors, in place of the sandbox's
    /// own: it is served as metadata, bodies are validated by it, and natural keys are taken from it.
    pub fn openapi(mut self, document: Value) -> Self {
        self.documents.push(document);
        self
    }

    /// Makes the records and starts the server.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where a district is named twice or not at all, where a document is not OpenAPI 3,
    /// for a release that is none, or where the port cannot be had.
    pub fn start(self) -> Result<Sandbox> {
        for (index, id) in self.districts.iter().enumerate() {
            if id.trim().is_empty() || self.districts[..index].contains(id) {
                return Err(Error::Config(format!(
                    "district {id:?} is blank or there twice"
                )));
            }
        }
        let (mut resources, mut descriptors) = (openapi::resources(), openapi::descriptors());
        for document in self.documents {
            let mut paths = document["paths"].as_object().into_iter().flatten();
            let of_descriptors = paths.any(|(path, _)| is_descriptor(path));
            *(if of_descriptors {
                &mut descriptors
            } else {
                &mut resources
            }) = document;
        }
        let release = Release::read(&self.release)?;
        let definitions = Definitions::new([&resources, &descriptors].into_iter())?;

        let districts: Vec<_> = self
            .districts
            .iter()
            .map(|id| District::new(id, self.seed))
            .collect();
        for district in &districts {
            district.state().one_version = self.migrated;
            generate::fill(district, self.seed, self.records, self.links);
            district.state().one_version = false;
        }

        let no_port = |error: std::io::Error| {
            Error::Config(format!(
                "the sandbox cannot listen on 127.0.0.1:{}: {error}",
                self.port
            ))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).map_err(no_port)?;
        listener.set_nonblocking(true).map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let shared = Arc::new(Shared {
            origin: format!("http://{address}"),
            districts,
            definitions,
            resources: Template::new(resources),
            descriptors: Template::new(descriptors),
            page_limit: self.page_limit,
            release,
            latency: self.latency,
            skipping: self.skipping,
            links: self.links,
            total_count: self.total_count,
            strict: self.strict,
            limiter: Limiter::new(self.request_limit),
            gzip: self.gzip,
            keep_bodies: self.keep_bodies,
            token_rules: Mutex::new(TokenRules {
                lifetime: self.token_lifetime,
                limit: self.token_limit,
            }),
            log: Log::default(),
            flights: Arc::default(),
        });
        let no_runtime =
            |error: std::io::Error| Error::Config(format!("the sandbox cannot start: {error}"));
        // One thread is enough to fill loopback, and leaves the other cores to the client.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(no_runtime)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("edfi-sandbox".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => {
                            serve(served, listener, async {
                                let _ = stopped.await;
                            })
                            .await;
                        }
                        Err(error) => log::error!("the sandbox cannot listen: {error}"),
                    }
                });
            });
        Ok(Sandbox {
            shared,
            stop: Some(stop),
            thread: Some(thread.map_err(no_runtime)?),
        })
    }
}
