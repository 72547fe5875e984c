//! What credentials may do: for one client, and for every district of a frame.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::*;

use super::client_defaults::into_error;
use super::input::Keys;
use super::nested::{strings, structs};
use super::options::BatchOptions;
use super::outcome::Outcome;
use super::read::districts::{tell_left_out, visits};
use super::request::Rows;
use super::result;
use super::run::{RowOperation, for_each_row};
use crate::client::session::{Access, CallContext};
use crate::client::token_info::{EducationOrganization, Permitted, TokenInfo};
use crate::client::{Control, EdFiClient};
use crate::{Error, Failure, Result, columns, runtime};

impl EdFiClient {
    /// What this client's credentials may do, as the ODS tells it from 7.3 on.
    ///
    /// Returns one row for each resource: `endpoint` (String), `operations` (List(String):
    /// `Create`, `Read`, `Update`, `Delete`, `ReadChanges`), in the order of the server.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL or credentials, [`Error::Auth`] and [`Error::Http`]
    /// where the ODS tells nothing of operations: its token introspection is off, or its release is
    /// older than 7.3.
    pub async fn permissions(&self) -> Result<DataFrame> {
        self.permissions_under(&Control::new()).await
    }

    pub(crate) async fn permissions_under(&self, control: &Control) -> Result<DataFrame> {
        let access = self.default_access()?;
        let context = self.watched_context(control);
        let told = context.token_info(&access).await;
        let told = told.map_err(|failure| into_error(failure, control))?;
        let Some(resources) = &told.resources else {
            return Err(Error::Http(Failure {
                http_status: Some(200),
                ..Failure::new(
                    "this ODS does not tell which operations are allowed: releases before 7.3 do \
                     not; batch_permissions() shows what it tells",
                )
            }));
        };
        let all: Vec<&Permitted> = resources.iter().collect();
        let columns = permitted(&all)?.into_iter().map(Series::into_column);
        Ok(DataFrame::new(all.len(), columns.collect())?)
    }

    /// What the credentials of each district of a frame may do, for whom, and through which
    /// profiles.
    ///
    /// Each distinct `key_col` is asked for once, in first-seen order; rows with a blank key are
    /// skipped. The columns: `key_col`, `status` (null, or `"error"`), `message`, `http_status`
    /// (Int32), `correlation_id`, `claim_set` (String), `namespace_prefixes` (List(String)),
    /// `education_organizations` (List(Struct: `education_organization_id` Int64,
    /// `name_of_institution`, `type` String)), `profiles` (List(String)), `resources`
    /// (List(Struct: `endpoint` String, `operations` List(String))). What an ODS does not tell is
    /// null: `resources` and `claim_set` before 7.3. A district that fails is a row, too; 404 means
    /// that its token introspection is off.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_permissions(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &BatchOptions,
    ) -> Result<DataFrame> {
        let keys = Keys::required(districts, "key_col", key_col)?;
        let taken = result::ANSWER.iter().map(|column| column.name);
        if taken.chain(TOLD).any(|name| name == key_col) {
            return Err(Error::Config(format!(
                "key_col must not be {key_col:?}: the result has a column of that name"
            )));
        }
        let rows = Rows::new(districts, self, options)?;
        rows.check_complete(districts)?;
        let visits = visits(&keys, &rows);
        tell_left_out(&keys, &rows);
        let places: Vec<usize> = visits.iter().map(|visit| visit.row).collect();
        let operation = Arc::new(Introspection {
            context: rows.context(),
            refused: visits
                .into_iter()
                .filter_map(|visit| Some((visit.row, visit.refused?)))
                .collect(),
            rows,
        });
        let (workers, control) = (options.workers, &options.control);
        let told = for_each_row(&operation, &places, None, workers, control, ()).await;
        let frame = runtime::compute(move || frame(&keys, &places, told)).await??;
        Ok(result::finish(control, result::STATUS_NAME, frame))
    }
}

/// The columns that tell what credentials may do.
const TOLD: [&str; 5] = [
    "claim_set",
    "namespace_prefixes",
    "education_organizations",
    "profiles",
    "resources",
];

/// The districts of a frame, each asked for what its token may do.
struct Introspection {
    context: CallContext,
    rows: Rows,
    refused: HashMap<usize, Failure>,
}

/// What one district said.
#[derive(Default)]
struct Told {
    outcome: Outcome,
    info: TokenInfo,
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        Self {
            outcome: failure.into(),
            ..Self::default()
        }
    }
}

impl RowOperation for Introspection {
    type Request = Access;
    type Outcome = Told;

    fn district(&self, row: usize) -> Option<&str> {
        self.rows.url(row)
    }

    fn prepare(&self, row: usize) -> Result<Access, Failure> {
        match self.refused.get(&row) {
            Some(failure) => Err(failure.clone()),
            None => self.rows.access(row),
        }
    }

    async fn send(&self, access: Access) -> Told {
        match self.context.token_info(&access).await {
            Ok(info) => Told {
                outcome: Outcome::read(),
                info,
            },
            Err(failure) => failure.into(),
        }
    }
}

fn frame(keys: &Keys, rows: &[usize], told: Vec<Told>) -> Result<DataFrame> {
    let index: Vec<IdxSize> = rows.iter().map(|row| *row as IdxSize).collect();
    let (outcomes, infos): (Vec<Outcome>, Vec<TokenInfo>) =
        told.into_iter().map(|one| (one.outcome, one.info)).unzip();
    let mut columns = vec![keys.take(&index)?];
    columns.extend(result::fill(result::ANSWER, &outcomes));
    let [claim_set, prefixes, organizations, profiles, resources] = TOLD;
    let claims = infos.iter().map(|info| info.claim_set.as_deref());
    columns.push(strings(claim_set, claims).into_column());
    let texts = |name: &str, get: fn(&TokenInfo) -> Option<&Vec<String>>| {
        let all: Vec<&str> = infos
            .iter()
            .filter_map(get)
            .flatten()
            .map(AsRef::as_ref)
            .collect();
        let elements = strings("", all.iter().copied().map(Some));
        let lengths = infos.iter().map(|info| get(info).map(Vec::len));
        lists(name, &elements, lengths)
    };
    columns.push(texts(prefixes, |info| info.namespace_prefixes.as_ref())?);
    let all = infos
        .iter()
        .filter_map(|i| i.education_organizations.as_ref());
    let lengths = infos.iter().map(|info| {
        let all = info.education_organizations.as_ref();
        all.map(Vec::len)
    });
    let elements = education_organizations(&all.flatten().collect::<Vec<_>>())?;
    columns.push(lists(organizations, &elements, lengths)?);
    columns.push(texts(profiles, |info| info.profiles.as_ref())?);
    let all = infos.iter().filter_map(|info| info.resources.as_ref());
    let lengths = infos
        .iter()
        .map(|info| info.resources.as_ref().map(Vec::len));
    let elements = structs(&permitted(&all.flatten().collect::<Vec<_>>())?)?;
    columns.push(lists(resources, &elements, lengths)?);
    Ok(DataFrame::new(rows.len(), columns)?)
}

fn education_organizations(all: &[&EducationOrganization]) -> Result<Series> {
    let ids: Int64Chunked = all.iter().map(|one| one.id).collect();
    structs(&[
        ids.with_name("education_organization_id".into())
            .into_series(),
        strings(
            "name_of_institution",
            all.iter().map(|one| one.name.as_deref()),
        ),
        strings("type", all.iter().map(|one| one.kind.as_deref())),
    ])
}

/// `endpoint` (String) and `operations` (List(String)).
fn permitted(all: &[&Permitted]) -> Result<[Series; 2]> {
    let operations = all.iter().flat_map(|one| &one.operations);
    let operations: Vec<Option<&str>> = operations.map(|one| Some(&**one)).collect();
    let elements = strings("", operations.into_iter());
    let lengths = all.iter().map(|one| Some(one.operations.len()));
    Ok([
        strings("endpoint", all.iter().map(|one| Some(&*one.endpoint))),
        lists("operations", &elements, lengths)?.take_materialized_series(),
    ])
}

/// Elements in lists of these lengths; `None` is null.
fn lists(
    name: &str,
    elements: &Series,
    lengths: impl Iterator<Item = Option<usize>>,
) -> Result<Column> {
    let lengths: Vec<_> = lengths.collect();
    Ok(columns::lists(name, elements, &lengths)?.into_column())
}
