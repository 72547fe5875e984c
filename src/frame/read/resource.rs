//! One resource of many ODSs: what their documents say of it, and its records.

use std::collections::BTreeSet;
use std::sync::Arc;

use polars::prelude::*;

use super::assemble::documented_layout;
use super::options::{GetAllOptions, OnShort, SchemaChoice};
use super::source::{District, Source};
use super::whole::{Records, WholePages};
use crate::client::metadata::{Described, Metadata};
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::client::urls;
use crate::openapi::{self, Record};
use crate::{Error, Failure, Result, columns};

/// What is the same for all ODSs of one call.
pub(crate) struct Resource<'a> {
    source: Arc<Source<WholePages>>,
    endpoint: String,
    options: &'a GetAllOptions,
}

/// What came of one ODS.
pub(super) struct Outcome {
    /// What its document says of the records.
    pub(super) record: Option<Record>,
    pub(super) records: Result<Records, Failure>,
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self {
            record: None,
            records: Err(failure),
        }
    }
}

impl<'a> Resource<'a> {
    pub(super) fn new(context: Arc<CallContext>, options: &'a GetAllOptions) -> Result<Self> {
        let endpoint = context
            .client
            .endpoint_or(options.batch.endpoint.as_deref())?;
        let source = Source::of_wholes(context, endpoint.clone(), options);
        Ok(Self {
            source: Arc::new(source),
            endpoint,
            options,
        })
    }

    /// The permits of the call's requests.
    pub(super) fn requests(&self) -> &Permits {
        &self.source.requests
    }

    /// What the ODS's own document says of the resource, as far as the call has to know.
    pub(super) async fn describe(&self, access: &Access) -> Result<Described, Failure> {
        let calls = (&*self.source.context, self.requests());
        describe(calls, access, &self.endpoint, self.options).await
    }

    /// The error of a parameter that a document does not know.
    pub(super) fn unknown_param(&self, described: &Described) -> Option<String> {
        unknown_param(described, self.options)
    }

    /// The error of a list to explode that documents do not know: no record brings it then.
    pub(super) fn unknown_list(&self, record: &Record) -> Result<()> {
        let GetAllOptions {
            explode, separator, ..
        } = self.options;
        let plan = documented_layout(record, self.options).plan(separator, &[]);
        let empty = DataFrame::empty_with_schema(plan.schema());
        let is_list = |column: &&Column| matches!(column.dtype(), DataType::List(_));
        let lists = empty.columns().iter().filter(is_list);
        let lists: Vec<String> = lists.map(|column| column.name().to_string()).collect();
        let (_, left) = columns::explode_lists(empty, explode, separator)?;
        match left.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::Config(format!(
                "explode: {name:?} is no list of {} by the ODS's OpenAPI document; its lists: {}",
                self.endpoint,
                lists.join(", ")
            ))),
        }
    }

    /// The columns that a document says, where they may come from it.
    pub(super) fn record_of(&self, described: &Described) -> Option<Record> {
        match asks_for_document(self.options) {
            true => described.record().cloned(),
            false => None,
        }
    }

    /// Reads an ODS of which it is known what its document says.
    pub(super) async fn read_described(
        &self,
        access: &Access,
        described: Result<Described, Failure>,
    ) -> Outcome {
        let described = match described {
            Ok(described) => described,
            Err(failure) => return failure.into(),
        };
        Outcome {
            record: self.record_of(&described),
            records: self.records(access).await,
        }
    }

    /// Reads the records of one ODS; parameters that its document does not know are its failure.
    #[cfg(feature = "python")]
    pub(super) async fn read_alone(&self, access: &Access) -> Result<Records, Failure> {
        let described = self.describe(access).await?;
        match self.unknown_param(&described) {
            Some(wrong) => Err(Failure::new(wrong)),
            None => self.records(access).await,
        }
    }

    async fn records(&self, access: &Access) -> Result<Records, Failure> {
        let on_short = self.options.on_short;
        Source::read_whole(&self.source, access, on_short == OnShort::Error).await
    }
}

/// Whether the columns may come from a document.
fn asks_for_document(options: &GetAllOptions) -> bool {
    matches!(options.schema, SchemaChoice::Auto | SchemaChoice::OpenApi)
}

fn unknown_param(described: &Described, options: &GetAllOptions) -> Option<String> {
    openapi::unknown_param(described.resource()?, &options.params)
}

/// What an ODS's own document says of a resource, as far as the call has to know.
async fn describe(
    (context, requests): (&CallContext, &Permits),
    access: &Access,
    endpoint: &str,
    options: &GetAllOptions,
) -> Result<Described, Failure> {
    let needed = asks_for_document(options);
    if !needed && options.params.is_empty() {
        return Ok(Described::NoMetadata);
    }
    let metadata = Metadata::of(context, access).limited(requests);
    let described = Box::pin(metadata.describe(endpoint)).await;
    match (described, &options.schema) {
        (Ok(described), SchemaChoice::OpenApi) if described.record().is_none() => {
            Err(Failure::new(match described {
                Described::NoMetadata => {
                    "this ODS serves no OpenAPI metadata; schema=\"infer\" and \"auto\" do without"
                        .to_owned()
                }
                Described::Unknown(Some(meant)) => {
                    format!("this ODS has no {endpoint}; did you mean {meant}?")
                }
                _ => format!(
                    "the OpenAPI document of this ODS does not describe {endpoint}; \
                     schema=\"infer\" and \"auto\" do without"
                ),
            }))
        }
        (Ok(described), _) => {
            if needed && matches!(described, Described::Unknown(_)) {
                let base = urls::shown(access.base.as_url());
                log::info!("{base}: no document knows {endpoint}; inferred");
            }
            Ok(described)
        }
        (Err(failure), _) if needed => Err(failure),
        (Err(_), _) => {
            log::warn!("the names of parameters are not checked: the metadata fails");
            Ok(Described::NoMetadata)
        }
    }
}

/// Districts that failed when they were asked for their columns: what their documents had to allow
/// is asked before they are read after all.
pub(super) struct Unchecked {
    pub(super) districts: BTreeSet<usize>,
    pub(super) options: GetAllOptions,
}

impl Unchecked {
    pub(super) async fn check(
        &self,
        calls: (&CallContext, &Permits),
        district: &District,
        endpoint: &str,
    ) -> Result<(), Failure> {
        let options = &self.options;
        // Without either the columns are all that a document tells, and they are known.
        let matters = !options.params.is_empty() || matches!(options.schema, SchemaChoice::OpenApi);
        if !matters || !self.districts.contains(&district.number) {
            return Ok(());
        }
        let described = describe(calls, &district.access, endpoint, options).await?;
        match unknown_param(&described, options) {
            Some(wrong) => Err(Failure::new(wrong)),
            None => Ok(()),
        }
    }
}
