//! The expression plugin: columns in, a Struct out, over the same functions as the batches.

use std::collections::HashMap;

use polars::prelude::*;

use super::call::{TICK, off_the_main_thread};
use super::plugin::export_expression;
use super::plugin_arguments::PluginArguments;
use super::sigint::Watch;
use crate::frame::{Collections, Items, result};
use crate::{
    Control, DeleteOptions, Error, GetAllOptions, Outcome, Result, SchemaChoice, TokenOptions,
};

/// The names of the inputs, which stand in messages: those of the batches' columns.
const PAYLOAD: &str = "payload";
const ID: &str = "id";
const URL: &str = "targetUrl";
const TOKEN: &str = "EdFi Token";
const KEY: &str = "oAuthKey";
const SECRET: &str = "oAuthSecret";

impl PluginArguments {
    /// The inputs by name: `first`, then those that there are.
    fn rows(&self, inputs: &[Series], first: Option<&'static str>) -> Result<Rows> {
        let mut names = Vec::from_iter(first);
        names.extend(self.has_url.then_some(URL));
        names.extend(self.has_token.then_some(TOKEN));
        Rows::new(inputs, &names)
    }
}

/// The inputs as a frame of the rows that there is something to do for.
struct Rows {
    df: DataFrame,
    /// Where each row of the result stands in `df`; `None` where it is the same.
    places: Option<IdxCa>,
}

impl Rows {
    /// Inputs of length one serve all rows; a row whose first input is null has a null result,
    /// unless that is its token, without which it fails.
    fn new(inputs: &[Series], names: &[&'static str]) -> Result<Self> {
        let inputs = &inputs[..names.len().min(inputs.len())];
        let lengths = inputs.iter().map(|series| series.len());
        let height = match lengths.clone().min() {
            None => 1,
            Some(0) => 0,
            Some(_) => lengths.max().unwrap_or(0),
        };
        let column = |(series, name): (&Series, &&'static str)| {
            let series = match series.len() {
                len if len == height => series.clone(),
                1 | 0 => series.new_from_index(0, height),
                len => {
                    return Err(Error::Config(format!(
                        "the inputs of an expression are {len} and {height} rows long"
                    )));
                }
            };
            Ok(series.with_name((*name).into()).into_column())
        };
        let columns: Vec<Column> = inputs
            .iter()
            .zip(names)
            .map(column)
            .collect::<Result<_>>()?;
        let first = columns.first().filter(|first| first.name() != TOKEN);
        let present = first.map(Column::is_not_null);
        let df = DataFrame::new(height, columns)?;
        let Some(present) = present.filter(|present| !present.all()) else {
            return Ok(Self { df, places: None });
        };
        let mut next: IdxSize = 0;
        let places = present.iter().map(|is| {
            (is == Some(true)).then(|| {
                next += 1;
                next - 1
            })
        });
        let places = Some(places.collect());
        // In this thread: a forked process may lack those of Polars.
        let df = df.filter_seq(&present)?;
        Ok(Self { df, places })
    }

    /// A Struct of columns of a result, a row of which stands for each row of `df`.
    fn result(&self, columns: Vec<Column>) -> Result<Series> {
        let name = PlSmallStr::from_static("edfi");
        let height = self.df.height();
        let series = StructChunked::from_columns(name, height, &columns)?.into_series();
        Ok(match &self.places {
            Some(places) => series.take(places)?,
            None => series,
        })
    }

    /// The same of what became of each row, and what it brought.
    fn read(&self, outcomes: &[Outcome], data: Series) -> Result<Series> {
        let mut columns = result::fill(result::ANSWER, outcomes);
        columns.push(data.into_column());
        self.result(columns)
    }
}

/// Waits for a call, and turns its error into one of Polars. Ctrl-C cancels it: Python raises once
/// the query is back there.
fn wait(
    control: &Control,
    call: impl Future<Output = Result<Series>> + Send,
) -> PolarsResult<Series> {
    let watch = Watch::new();
    let mut call = Box::pin(call);
    let watched = async {
        loop {
            match watch.interrupts() {
                0 => {}
                1 => control.cancel(),
                _ => control.abort(),
            }
            if let Ok(outcome) = tokio::time::timeout(TICK, &mut call).await {
                return outcome;
            }
        }
    };
    let outcome = off_the_main_thread(watched);
    outcome.map_err(|error| PolarsError::ComputeError(error.to_string().into()))
}

fn struct_of(fields: Vec<Field>) -> Field {
    Field::new("edfi".into(), DataType::Struct(fields))
}

/// The type of what was read: what is told of the request, and `data`.
fn read_type(data: DataType) -> Field {
    let mut fields = result::fields(result::ANSWER);
    fields.push(Field::new("data".into(), data));
    struct_of(fields)
}

fn write_type(_: &[Field], _: PluginArguments) -> PolarsResult<Field> {
    Ok(struct_of(result::fields(result::WRITE)))
}

fn item_type(inputs: &[Field], arguments: PluginArguments) -> PolarsResult<Field> {
    Ok(read_type(arguments.item(inputs)))
}

fn list_type(inputs: &[Field], arguments: PluginArguments) -> PolarsResult<Field> {
    let data = match arguments.has_schema {
        true => DataType::List(Box::new(arguments.item(inputs))),
        false => DataType::String,
    };
    Ok(read_type(data))
}

fn token_type(_: &[Field], _: PluginArguments) -> PolarsResult<Field> {
    Ok(struct_of(result::fields(result::TOKEN)))
}

/// Numbers rows by their credentials, those with the same alike: they share one request.
///
/// Polars could group them, with threads that a forked process does not have.
fn accounts(df: &DataFrame) -> Result<Vec<IdxSize>> {
    let columns = df
        .columns()
        .iter()
        .map(|column| column.cast(&DataType::String));
    let columns: Vec<Column> = columns.collect::<PolarsResult<_>>()?;
    let columns: Vec<&StringChunked> = columns
        .iter()
        .map(Column::str)
        .collect::<PolarsResult<_>>()?;
    let mut numbers: HashMap<Vec<Option<&str>>, IdxSize> = HashMap::new();
    let account = |row: usize| {
        let next = numbers.len() as IdxSize;
        *numbers
            .entry(columns.iter().map(|column| column.get(row)).collect())
            .or_insert(next)
    };
    Ok((0..df.height()).map(account).collect())
}

fn post_payload(inputs: &[Series], arguments: PluginArguments) -> PolarsResult<Series> {
    let control = arguments.control();
    wait(&control, async {
        let options = arguments.post(&control);
        let rows = arguments.rows(inputs, Some(PAYLOAD))?;
        let client = arguments.client()?;
        let report = client.post_rows(&rows.df, PAYLOAD, None, &options).await?;
        rows.result(report.outcomes(result::WRITE))
    })
}

fn delete_by_id(inputs: &[Series], arguments: PluginArguments) -> PolarsResult<Series> {
    let control = arguments.control();
    wait(&control, async {
        let options = DeleteOptions {
            batch: arguments.batch(&control),
            commit: arguments.commit,
            ..DeleteOptions::default()
        };
        let rows = arguments.rows(inputs, Some(ID))?;
        let client = arguments.client()?;
        let report = client.delete_rows(&rows.df, ID, None, &options).await?;
        rows.result(report.outcomes(result::WRITE))
    })
}

fn get_by_id(inputs: &[Series], arguments: PluginArguments) -> PolarsResult<Series> {
    let control = arguments.control();
    wait(&control, async {
        let rows = arguments.rows(inputs, Some(ID))?;
        let mut items = Items::read(
            &arguments.client()?,
            &rows.df,
            ID,
            &arguments.batch(&control),
        )
        .await?;
        let data = match arguments.schema(inputs) {
            Some(schema) => items.given(&schema, false)?,
            None => items.json("data"),
        };
        rows.read(&items.outcomes, data)
    })
}

fn get_all(inputs: &[Series], arguments: PluginArguments) -> PolarsResult<Series> {
    let control = arguments.control();
    wait(&control, async {
        let options = GetAllOptions {
            batch: arguments.batch(&control),
            params: arguments.params.clone(),
            limit: arguments.limit,
            schema: SchemaChoice::Infer,
            ..GetAllOptions::default()
        };
        let rows = arguments.rows(inputs, None)?;
        let read = Collections::read(&arguments.client()?, &rows.df, &options).await?;
        let outcomes = read.outcomes();
        let data = match arguments.schema(inputs) {
            Some(schema) => read.lists("data", &schema)?,
            None => read.json("data")?,
        };
        rows.read(&outcomes, data)
    })
}

fn fetch_token(inputs: &[Series], arguments: PluginArguments) -> PolarsResult<Series> {
    let control = arguments.control();
    wait(&control, async {
        let rows = Rows::new(inputs, &[URL, KEY, SECRET])?;
        let account = accounts(&rows.df)?;
        let mut df = rows.df.clone();
        df.with_column(Column::new("account".into(), account.clone()))?;
        let options = TokenOptions {
            workers: arguments.workers,
            control: control.clone(),
            ..TokenOptions::default()
        };
        let client = arguments.client()?;
        let fetched = client
            .fetch_tokens(&df, "account", &arguments.oauth_endpoint, &options)
            .await?;
        let account = IdxCa::from_vec("account".into(), account);
        let columns = result::fill(result::TOKEN, &fetched).into_iter();
        let columns: PolarsResult<Vec<Column>> =
            columns.map(|column| column.take(&account)).collect();
        rows.result(columns?)
    })
}

export_expression!(
    "_polars_plugin_post_payload",
    "_polars_plugin_field_post_payload",
    post_payload_export,
    post_payload,
    write_type
);
export_expression!(
    "_polars_plugin_delete_by_id",
    "_polars_plugin_field_delete_by_id",
    delete_by_id_export,
    delete_by_id,
    write_type
);
export_expression!(
    "_polars_plugin_get_by_id",
    "_polars_plugin_field_get_by_id",
    get_by_id_export,
    get_by_id,
    item_type
);
export_expression!(
    "_polars_plugin_get_all",
    "_polars_plugin_field_get_all",
    get_all_export,
    get_all,
    list_type
);
export_expression!(
    "_polars_plugin_fetch_token",
    "_polars_plugin_field_fetch_token",
    fetch_token_export,
    fetch_token,
    token_type
);
