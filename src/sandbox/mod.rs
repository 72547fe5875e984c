//! A small, honest Ed-Fi ODS/API on loopback, for trying things out and for tests.
//!
//! It answers as ODS/API 7.3 does, or [as an older release](SandboxBuilder::release): discovery, OAuth 2.0 client credentials, collections by offset and by
//! page token, single items, upserts, deletes, change queries, metadata. Each district is an ODS of its own
//! below one port, as a multi-tenant deployment has it. Its records are made up, and the same for the same
//! seed. It can also do [wrong things](Faults), each on request, and its collections can
//! [move](Schedule) while they are read.
//!
//! It takes what an ODS takes, and nothing else, unless it is [not strict](SandboxBuilder::strict): bodies
//! are checked by its own documents, descriptor values must exist, references must lead somewhere, and a
//! person who exists is written again only once an association brings them into reach. It has the resources
//! that stand in its documents, and those that were [loaded](Sandbox::load).
//!
//! What it leaves out: all other authorization (a district's client may read all, and delete all that
//! nothing refers to), profiles, composites and the `q` parameter. Of a resource without a definition items
//! are identified by all their references, and by their members called `…Identifier`, `…UniqueId`,
//! `codeValue` and `namespace`.
//!
//! ```
//! use polars_edfi::sandbox::Sandbox;
//!
//! let ods = Sandbox::builder().districts(["255901", "255902"]).records(40).start()?;
//! assert_eq!(ods.districts().height(), 2);
//! assert!(ods.district_url("255901").is_some_and(|url| url.starts_with("http://127.0.0.1:")));
//! # Ok::<(), polars_edfi::Error>(())
//! ```

mod auth;
mod body;
mod builder;
mod cascade;
mod changes;
mod claims;
mod clock;
mod commit;
mod definitions;
mod dependencies;
mod descriptors;
mod district;
mod faults;
mod generate;
mod limits;
mod links;
mod load;
mod log;
mod metadata;
mod mutation;
mod openapi;
mod problem;
mod query;
mod read;
mod release;
mod results;
mod routes;
mod schedule;
mod server;
mod store;
mod swagger;
mod validate;
mod words;
mod write;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use polars::prelude::{Column, DataFrame};
use tokio::sync::oneshot;

pub use self::builder::SandboxBuilder;
use self::claims::ClaimSet;
use self::district::District;
pub use self::faults::{Faults, Miscount};
pub use self::log::LoggedRequest;
pub use self::mutation::Mutation;
pub use self::schedule::Schedule;
use self::server::Shared;
use crate::runtime::lock;
use crate::{Error, Result};

/// A running ODS. Dropping it stops the server and closes its connections.
///
/// Methods that take a district and give back nothing do nothing for a district that is not there.
pub struct Sandbox {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let districts: Vec<_> = self
            .shared
            .districts
            .iter()
            .map(|district| &district.id)
            .collect();
        f.debug_struct("Sandbox")
            .field("url", &self.shared.origin)
            .field("districts", &districts)
            .finish()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Sandbox {
    /// A configuration with the defaults: one district, 100 studentAssessments, any free port.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::default()
    }

    /// Where the server is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.origin.clone()
    }

    /// The base URL of a district's ODS, `None` for a district that is not there.
    #[must_use]
    pub fn district_url(&self, district: &str) -> Option<String> {
        self.shared
            .district(district)
            .map(|district| self.shared.root(district))
    }

    /// Key and secret of a district, `None` for a district that is not there.
    #[must_use]
    pub fn credentials(&self, district: &str) -> Option<(String, String)> {
        self.shared
            .district(district)
            .map(|district| (district.key.clone(), district.secret.clone()))
    }

    /// The districts as the batch calls take them: the String columns `District BK`, `targetUrl`, `oAuthKey`
    /// and `oAuthSecret`.
    #[must_use]
    pub fn districts(&self) -> DataFrame {
        let column = |name: &str, value: &dyn Fn(&District) -> String| {
            let values: Vec<String> = self.shared.districts.iter().map(value).collect();
            Column::new(name.into(), values)
        };
        let columns = vec![
            column("District BK", &|district| district.id.clone()),
            column("targetUrl", &|district| self.shared.root(district)),
            column("oAuthKey", &|district| district.key.clone()),
            column("oAuthSecret", &|district| district.secret.clone()),
        ];
        DataFrame::new(self.shared.districts.len(), columns).unwrap_or_default()
    }

    /// Replaces the district's faults, from the next request on; `Faults::default()` ends them.
    pub fn set_faults(&self, district: &str, faults: Faults) {
        if let Some(district) = self.shared.district(district) {
            district.set_faults(faults);
        }
    }

    /// Gives the district's client a claim set: it may do these operations (`Create`, `Read`, `Update`,
    /// `Delete`, `ReadChanges`) with these resources, and is answered 403 for all else.
    pub fn set_claims<'a>(
        &self,
        district: &str,
        name: &str,
        resources: impl IntoIterator<Item = (&'a str, &'a [&'a str])>,
    ) {
        if let Some(district) = self.shared.district(district) {
            let resources = resources.into_iter().map(|(endpoint, operations)| {
                let operations = operations.iter().map(|one| (*one).to_owned());
                (endpoint.trim_matches('/').to_owned(), operations.collect())
            });
            district.set_claims(ClaimSet {
                name: name.to_owned(),
                resources: resources.collect(),
            });
        }
    }

    /// Begins a schedule by which the collection moves while it is read, in place of the one before;
    /// `Schedule::default()` ends it.
    pub fn set_schedule(&self, district: &str, endpoint: &str, schedule: Schedule) {
        if let Some(district) = self.shared.district(district) {
            let endpoint = endpoint.trim_matches('/');
            district.state().movement.start(endpoint, schedule);
        }
    }

    /// Changes a collection now, as another client's write would; a late one waits for requests.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an unknown district, and an endpoint that is none.
    pub fn mutate(&self, district: &str, endpoint: &str, mutation: &Mutation) -> Result<()> {
        let district = self.known(district)?;
        let endpoint = load::endpoint_of(endpoint)?;
        self.shared.committer(district).mutate(
            &mut district.state(),
            &endpoint,
            self.shared.release.order(),
            mutation,
        );
        Ok(())
    }

    fn known(&self, district: &str) -> Result<&District> {
        self.shared
            .district(district)
            .ok_or_else(|| Error::Config(format!("the sandbox has no district {district:?}")))
    }

    /// How long tokens live that are given from now on.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        lock(&self.shared.token_rules).lifetime = lifetime;
    }

    /// Ends the life of all the district's tokens.
    pub fn revoke_tokens(&self, district: &str) {
        if let Some(district) = self.shared.district(district) {
            district.revoke_tokens();
        }
    }

    /// Keeps what the district holds now for requests with `Use-Snapshot: true`; before the first one such
    /// requests are answered 404.
    pub fn take_snapshot(&self, district: &str) {
        if let Some(district) = self.shared.district(district) {
            let mut state = district.state();
            state.snapshot = Some(state.tables.clone());
            state.snapshot_version = state.change_version;
        }
    }

    /// The requests since the start or [`clear_requests`](Self::clear_requests), at most the last 100,000.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.all()
    }

    /// Forgets the requests, and the highest number of them at once.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
        self.shared.flights.reset();
    }

    /// The highest number of requests at work at once.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.shared.flights.most()
    }

    /// The items that a district's resource holds, in the order of their arrival; empty where there are none.
    #[must_use]
    pub fn items(&self, district: &str, endpoint: &str) -> Vec<serde_json::Value> {
        let district = self.shared.district(district);
        district.map_or_else(Vec::new, |district| {
            load::items(district, endpoint.trim_matches('/'))
        })
    }

    /// Puts these records in place of what the resource holds; gives back their number.
    ///
    /// They are served as they are, whatever a schema says, with `id`, `_etag` and `_lastModifiedDate` where
    /// they have none. Records that share a natural key are all kept.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an unknown district, an endpoint that is none, a record that is no JSON object.
    pub fn load(
        &self,
        district: &str,
        endpoint: &str,
        bodies: impl IntoIterator<Item = serde_json::Value>,
    ) -> Result<usize> {
        load::load(
            &self.shared.definitions,
            self.known(district)?,
            &load::endpoint_of(endpoint)?,
            bodies,
        )
    }

    /// [`load`](Self::load) for a file with one JSON object on each line, gzip-compressed where its name
    /// ends in `.gz`. Blank lines are skipped.
    ///
    /// # Errors
    ///
    /// As for `load`, and [`Error::Config`] for a file that cannot be read or a line that is not JSON.
    pub fn load_jsonl(&self, district: &str, endpoint: &str, path: &Path) -> Result<usize> {
        let unreadable =
            |error: std::io::Error| Error::Config(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        let reader: Box<dyn Read> = if is_packed {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut bodies: Vec<serde_json::Value> = Vec::new();
        for (index, line) in BufReader::new(reader).lines().enumerate() {
            let line = line.map_err(unreadable)?;
            if line.trim().is_empty() {
                continue;
            }
            bodies.push(serde_json::from_str(&line).map_err(|error| {
                Error::Config(format!(
                    "{}, line {}: not JSON: {error}",
                    path.display(),
                    index + 1
                ))
            })?);
        }
        self.load(district, endpoint, bodies)
    }
}
