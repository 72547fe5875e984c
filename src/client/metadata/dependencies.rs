//! In which order an ODS wants its resources written: asked for where it says so, or where ODSs
//! usually have it.

use reqwest::StatusCode;

use super::Metadata;
use super::fetch::is_nothing;
use crate::client::discovery::{self, Discovery};
use crate::client::transport::Response;
use crate::client::urls;
use crate::openapi::Dependencies;
use crate::{Failure, runtime};

/// Where the Data Management Service has it.
const USUAL: &str = "metadata/dependencies";

impl Metadata<'_> {
    /// The document of dependencies; `None` where the feature is switched off.
    pub(crate) async fn dependencies(&self) -> Result<Option<Dependencies>, Failure> {
        for path in self.places().await? {
            let url = self.fetcher.at(&path, None);
            let response = self.fetcher.get(&url, None).await;
            let response = response.map_err(|failure| failure.on_the_way("dependencies"))?;
            match response.status {
                StatusCode::OK => return read(response).await.map(Some),
                status if is_nothing(status) => {}
                _ => return Err(response.refusal().on_the_way("dependencies")),
            }
        }
        Ok(None)
    }

    async fn places(&self) -> Result<Vec<String>, Failure> {
        let segment = self.version().map(urls::version_segment);
        let discovery = match &segment {
            // Below a data URL there is no discovery document.
            Some(segment) if segment.is_empty() => Discovery::default(),
            _ => self.fetcher.discovery(segment.is_some()).await?,
        };
        let data = match &segment {
            Some(segment) => discovery::with_version(self.base(), segment),
            None => discovery.data_root(self.base()),
        };
        let mut places: Vec<String> = discovery
            .dependencies()
            .map(str::to_owned)
            .into_iter()
            .collect();
        places.extend(discovery::dependencies(&data));
        places.push(self.base().join(USUAL).path().to_owned());
        let mut seen = Vec::new();
        places.retain(|path| {
            let path = path.trim_end_matches('/').to_owned();
            let is_new = !seen.contains(&path);
            seen.push(path);
            is_new
        });
        Ok(places)
    }
}

async fn read(mut response: Response) -> Result<Dependencies, Failure> {
    let body = std::mem::take(&mut response.body);
    let read = runtime::compute(move || Dependencies::parse(&body)).await;
    let read = read.map_err(|error| Failure::new(error.to_string()))?;
    read.map_err(|what| response.unusable(&what).on_the_way("dependencies"))
}
