//! What an ODS's own OpenAPI documents say: which resources there are, and their columns.

use polars::prelude::*;

use super::client_defaults::into_error;
use crate::client::metadata::{Described, Metadata};
use crate::client::session::{Access, CallContext};
use crate::client::urls::BaseUrl;
use crate::client::{Control, EdFiClient};
use crate::columns::Layout;
use crate::openapi::Resource;
use crate::{Error, Failure, Result};

/// How the columns of [`EdFiClient::schema`] are named, and which there are.
#[derive(Debug, Clone)]
pub struct SchemaOptions {
    /// What stands between the names of nested properties in the name of a column.
    pub separator: String,
    /// Whether the `link` objects of references are columns.
    pub links: bool,
    /// Stops the call.
    pub control: Control,
}

impl Default for SchemaOptions {
    fn default() -> Self {
        Self {
            separator: ".".into(),
            links: true,
            control: Control::new(),
        }
    }
}

/// The client's own ODS, which may be asked for its metadata without credentials.
struct Own {
    context: CallContext,
    base: BaseUrl,
    access: Option<Access>,
}

impl Own {
    fn new(client: &EdFiClient, control: &Control) -> Result<Self> {
        let base = client
            .base()
            .ok_or_else(|| Error::Config("the client has no base_url".into()))?;
        Ok(Self {
            context: client.watched_context(control),
            base: base.clone(),
            access: client.default_access().ok(),
        })
    }

    fn metadata(&self) -> Metadata<'_> {
        match &self.access {
            Some(access) => Metadata::of(&self.context, access),
            None => Metadata::anonymous(&self.context, &self.base),
        }
    }
}

impl EdFiClient {
    /// The resources and descriptors of this client's ODS, as its own OpenAPI documents list them.
    ///
    /// One row each: `endpoint` (`ed-fi/students`), `namespace` (`ed-fi`), `kind` (`"resource"` or
    /// `"descriptor"`), `description` (String), `key_fields` (List(String): the properties that
    /// identify a record, those of references by their path) and `has_deletes` (Boolean: whether
    /// deleted records can be asked for). No credentials are needed where the ODS shows its
    /// metadata to everybody. What the process has is checked by conditional requests.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL, [`Error::Auth`] and [`Error::Http`] where the ODS
    /// serves no metadata or does not answer as it should.
    pub async fn resources(&self) -> Result<DataFrame> {
        self.resources_under(&Control::new()).await
    }

    pub(crate) async fn resources_under(&self, control: &Control) -> Result<DataFrame> {
        let own = Own::new(self, control)?;
        let documents = own
            .metadata()
            .current()
            .documents()
            .await
            .map_err(|failure| into_error(failure, control))?
            .ok_or_else(no_metadata)?;
        let mut seen = PlHashSet::new();
        let all = documents.iter().flat_map(|document| document.resources());
        let all: Vec<&Resource> = all
            .map(AsRef::as_ref)
            .filter(|resource| seen.insert(&*resource.endpoint))
            .collect();
        let texts = |name: &str, get: fn(&Resource) -> Option<&str>| {
            let values = all.iter().map(|resource| get(resource));
            StringChunked::from_iter_options(name.into(), values).into_column()
        };
        let mut keys = ListStringChunkedBuilder::new("key_fields".into(), all.len(), 3 * all.len());
        for resource in &all {
            keys.append_values_iter(resource.key_fields.iter().map(AsRef::as_ref));
        }
        let has_deletes: BooleanChunked = all.iter().map(|one| Some(one.has_deletes)).collect();
        let columns = vec![
            texts("endpoint", |one| Some(&one.endpoint)),
            texts("namespace", |one| Some(one.namespace())),
            texts("kind", |one| match one.is_descriptor() {
                true => Some("descriptor"),
                false => Some("resource"),
            }),
            texts("description", |one| one.description.as_deref()),
            keys.finish().into_column(),
            has_deletes.with_name("has_deletes".into()).into_column(),
        ];
        Ok(DataFrame::new(all.len(), columns)?)
    }

    /// In which order this client's ODS wants its resources written.
    ///
    /// One row for each entry of its document of dependencies, sorted: `endpoint`
    /// (`ed-fi/students`), `order` (Int32: what is of one order can be written side by side) and
    /// `operations` (List(String): `"Create"`, `"Update"`). People stand in it twice: they are
    /// created early, and who exists can be written again only after their associations. Asked for
    /// anew by each call; no credentials are needed where the ODS shows its metadata to everybody.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL; [`Error::Auth`] and [`Error::Http`] where the feature
    /// is switched off (404), or the ODS does not answer as it should.
    pub async fn dependencies(&self) -> Result<DataFrame> {
        self.dependencies_under(&Control::new()).await
    }

    pub(crate) async fn dependencies_under(&self, control: &Control) -> Result<DataFrame> {
        let own = Own::new(self, control)?;
        let document = own.metadata().dependencies().await;
        let document = document
            .map_err(|failure| into_error(failure, control))?
            .ok_or_else(|| Error::Http(no_dependencies()))?;
        let entries = document.entries();
        let endpoints = entries.iter().map(|entry| Some(&*entry.endpoint));
        let orders: Int32Chunked = entries.iter().map(|entry| Some(entry.order)).collect();
        let mut operations =
            ListStringChunkedBuilder::new("operations".into(), entries.len(), 2 * entries.len());
        for entry in entries {
            operations.append_values_iter(entry.operations.iter().map(AsRef::as_ref));
        }
        let columns = vec![
            StringChunked::from_iter_options("endpoint".into(), endpoints).into_column(),
            orders.with_name("order".into()).into_column(),
            operations.finish().into_column(),
        ];
        Ok(DataFrame::new(entries.len(), columns)?)
    }

    /// The columns of a resource's flattened records, as this client's ODS describes them in its
    /// own OpenAPI document: the columns of [`EdFiClient::get_all`] but `_unknown`.
    ///
    /// `date` is Date, `date-time` Datetime(us, UTC), `int32` Int32, other integers Int64, numbers
    /// Float64; nested objects become a column per leaf, arrays a List. `id`, `_etag` and
    /// `_lastModifiedDate` are there even if the document does not name them. Objects without
    /// known properties, and objects inside themselves, have no column: what records hold there
    /// goes to `_unknown`. What the process has is checked by conditional requests; where the server
    /// gives no ETags, each client asks for a document once.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL or if the document does not know the endpoint,
    /// [`Error::Auth`] and [`Error::Http`] where the ODS serves no metadata or does not answer as
    /// it should.
    pub async fn schema(&self, endpoint: &str, options: &SchemaOptions) -> Result<Schema> {
        let endpoint = self.endpoint_or(Some(endpoint))?;
        let own = Own::new(self, &options.control)?;
        let metadata = own.metadata().current();
        let described = metadata
            .describe(&endpoint)
            .await
            .map_err(|failure| into_error(failure, &options.control))?;
        if matches!(described, Described::NoMetadata) {
            return Err(no_metadata());
        }
        let Some(record) = described.record() else {
            let hint = match described {
                Described::Unknown(Some(meant)) => format!("did you mean {meant}?"),
                _ => "resources() lists what they describe".to_owned(),
            };
            return Err(Error::Config(format!(
                "the OpenAPI documents of this ODS do not describe {endpoint}; {hint}"
            )));
        };
        let record = match options.links {
            true => record.clone(),
            false => record.without_links(),
        };
        let plan = Layout::from_record(&record, &options.separator).plan(&options.separator, &[]);
        let columns = plan.schema().len() - usize::from(plan.unknown().is_some());
        let known = plan.schema().iter().take(columns);
        Ok(known
            .map(|(name, dtype)| (name.clone(), dtype.clone()))
            .collect())
    }
}

/// What is said of an ODS whose document of dependencies is switched off.
pub(super) fn no_dependencies() -> Failure {
    Failure {
        http_status: Some(404),
        ..Failure::new(
            "HTTP 404 Not Found: this ODS serves no document of dependencies; the feature is \
             switched off",
        )
    }
}

fn no_metadata() -> Error {
    Error::Http(Failure::new("this ODS serves no OpenAPI metadata"))
}
