//! The rules once more, slowly: over whole records, one path after another.

use polars::prelude::*;

/// A JSON value. Numbers are their text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    Number(String),
    String(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// A value as it stands in a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(u64),
    String(String),
    List(Vec<Cell>),
    Struct(Vec<Cell>),
}

/// A column: its name, its dtype and its cells.
pub(super) type Expected = Vec<(String, DataType, Vec<Cell>)>;

enum Kind {
    Integer(i64),
    Float(f64),
    Text,
}

fn kind(number: &str) -> Kind {
    if number.contains(['.', 'e', 'E']) {
        match number.parse::<f64>().unwrap() {
            value if value.is_finite() => Kind::Float(value),
            _ => Kind::Text,
        }
    } else {
        number.parse().map_or(Kind::Text, Kind::Integer)
    }
}

/// The sign of a number, its digits without zeros at either end, and their power of ten.
fn decimal(number: &str) -> (bool, String, i32) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    let zeros = all.len() - digits.len();
    let power = exponent.parse::<i32>().unwrap() - fraction.len() as i32 + zeros as i32;
    match digits.trim_start_matches('0') {
        "" => (false, String::new(), 0),
        digits => (number.starts_with('-'), digits.to_owned(), power),
    }
}

impl Json {
    /// The canonical text, or with other spaces the text of a server.
    pub(super) fn write(
        &self,
        canonical: bool,
        space: &mut impl FnMut() -> &'static str,
    ) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(text) if canonical => match kind(text) {
                Kind::Integer(value) => value.to_string(),
                Kind::Float(value) => {
                    let shortest = serde_json::to_string(&value).unwrap();
                    // A float that holds not all digits does not stand for the number.
                    match decimal(&shortest) == decimal(text) {
                        true => shortest,
                        false => text.clone(),
                    }
                }
                Kind::Text => text.clone(),
            },
            Self::Number(text) => text.clone(),
            Self::String(text) => serde_json::to_string(text).unwrap(),
            Self::List(values) => {
                let values: Vec<String> = values
                    .iter()
                    .map(|value| format!("{}{}{}", space(), value.write(canonical, space), space()))
                    .collect();
                format!("[{}]", values.join(","))
            }
            Self::Object(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| {
                        let key = serde_json::to_string(key).unwrap();
                        format!(
                            "{}{key}{}:{}{}",
                            space(),
                            space(),
                            value.write(canonical, space),
                            space()
                        )
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// The columns of records.
pub(super) fn columns(records: &[Json], separator: &str, reserved: &[&str]) -> Expected {
    let mut paths: Vec<Vec<String>> = Vec::new();
    for record in records {
        leaves(records, record, &mut Vec::new(), &mut paths);
    }
    let mut taken: Vec<String> = reserved.iter().map(|&name| name.to_owned()).collect();
    paths
        .into_iter()
        .map(|path| {
            let mut name = path.join(separator);
            while taken.contains(&name) {
                name += "_record";
            }
            taken.push(name.clone());
            let values: Vec<&Json> = records.iter().map(|record| at(record, &path)).collect();
            let dtype = resolve(&values);
            let cells = values.iter().map(|value| convert(value, &dtype)).collect();
            (name, dtype, cells)
        })
        .collect()
}

fn at<'a>(record: &'a Json, path: &[String]) -> &'a Json {
    let mut value = record;
    for key in path {
        value = value.get(key).unwrap_or(&Json::Null);
    }
    value
}

/// Adds the paths of the leaves of one record, in the order in which they stand there.
fn leaves(records: &[Json], value: &Json, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let Json::Object(members) = value else { return };
    for (key, value) in members {
        path.push(key.clone());
        let all: Vec<&Json> = records.iter().map(|record| at(record, path)).collect();
        let mut present = all.iter().filter(|value| ***value != Json::Null);
        let objects = present
            .clone()
            .all(|value| matches!(value, Json::Object(_)));
        if objects && present.any(|value| **value != Json::Object(Vec::new())) {
            leaves(records, value, path, paths);
        } else if !paths.contains(path) {
            paths.push(path.clone());
        }
        path.pop();
    }
}

fn resolve(values: &[&Json]) -> DataType {
    let values: Vec<&Json> = values
        .iter()
        .copied()
        .filter(|value| **value != Json::Null)
        .collect();
    let all = |test: &dyn Fn(&Json) -> bool| values.iter().all(|value| test(value));
    if values.is_empty() {
        DataType::Null
    } else if all(&|value| matches!(value, Json::Boolean(_))) {
        DataType::Boolean
    } else if all(&|value| matches!(value, Json::Number(_))) {
        let kinds: Vec<Kind> = values
            .iter()
            .map(|value| match value {
                Json::Number(text) => kind(text),
                _ => unreachable!(),
            })
            .collect();
        let wide =
            |kind: &Kind| matches!(kind, Kind::Integer(value) if value.unsigned_abs() > 1 << 53);
        if kinds.iter().any(|kind| matches!(kind, Kind::Text)) {
            DataType::String
        } else if kinds.iter().all(|kind| matches!(kind, Kind::Integer(_))) {
            DataType::Int64
        } else if kinds.iter().any(wide) {
            DataType::String
        } else {
            DataType::Float64
        }
    } else if all(&|value| matches!(value, Json::List(_))) {
        let elements: Vec<&Json> = values
            .iter()
            .flat_map(|value| match value {
                Json::List(elements) => elements.iter(),
                _ => unreachable!(),
            })
            .collect();
        let is_empty =
            |element: &&&Json| matches!(element, Json::Object(members) if members.is_empty());
        let is_there = |element: &&&Json| ***element != Json::Null;
        let count = elements.iter().filter(is_there).count();
        // An object without properties is not nothing in a list.
        let inner = match count > 0 && elements.iter().filter(is_empty).count() == count {
            true => DataType::Struct(Vec::new()),
            false => resolve(&elements),
        };
        DataType::List(Box::new(inner))
    } else if all(&|value| matches!(value, Json::Object(_))) {
        let mut keys: Vec<&String> = Vec::new();
        for value in &values {
            let Json::Object(members) = value else {
                unreachable!()
            };
            for (key, _) in members {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        if keys.is_empty() {
            return DataType::Null;
        }
        let fields = keys.into_iter().map(|key| {
            let values: Vec<&Json> = values.iter().filter_map(|value| value.get(key)).collect();
            Field::new(key.as_str().into(), resolve(&values))
        });
        DataType::Struct(fields.collect())
    } else {
        DataType::String
    }
}

fn convert(value: &Json, dtype: &DataType) -> Cell {
    match (value, dtype) {
        (Json::Null, _) | (_, DataType::Null) => Cell::Null,
        (Json::Boolean(value), DataType::Boolean) => Cell::Boolean(*value),
        (Json::Number(text), DataType::Int64) => Cell::Integer(text.parse().unwrap()),
        (Json::Number(text), DataType::Float64) => match kind(text) {
            Kind::Integer(value) => Cell::Float((value as f64).to_bits()),
            Kind::Float(value) => Cell::Float(value.to_bits()),
            Kind::Text => unreachable!(),
        },
        (Json::String(text), DataType::String) => Cell::String(text.clone()),
        (value, DataType::String) => Cell::String(value.write(true, &mut || "")),
        (Json::List(values), DataType::List(inner)) => {
            Cell::List(values.iter().map(|value| convert(value, inner)).collect())
        }
        (value, DataType::Struct(fields)) => Cell::Struct(
            fields
                .iter()
                .map(|field| {
                    convert(
                        value.get(field.name()).unwrap_or(&Json::Null),
                        field.dtype(),
                    )
                })
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// The columns that a frame has.
pub(super) fn of_frame(df: &DataFrame) -> Expected {
    df.columns()
        .iter()
        .map(|column| {
            let series = column.as_materialized_series();
            (
                column.name().to_string(),
                column.dtype().clone(),
                cells(series),
            )
        })
        .collect()
}

fn cells(series: &Series) -> Vec<Cell> {
    match series.dtype() {
        DataType::Struct(_) => {
            let fields = series.struct_().unwrap().fields_as_series();
            let fields: Vec<Vec<Cell>> = fields.iter().map(cells).collect();
            let nulls = series.is_null();
            (0..series.len())
                .map(|row| match nulls.get(row) {
                    Some(true) => Cell::Null,
                    _ => Cell::Struct(fields.iter().map(|field| field[row].clone()).collect()),
                })
                .collect()
        }
        DataType::List(_) => {
            let lists = series.list().unwrap();
            let lists = (0..series.len()).map(|row| lists.get_as_series(row));
            opt(lists, |list| Cell::List(cells(&list)))
        }
        DataType::Null => vec![Cell::Null; series.len()],
        DataType::Boolean => opt(series.bool().unwrap().iter(), Cell::Boolean),
        DataType::Int64 => opt(series.i64().unwrap().iter(), Cell::Integer),
        DataType::Float64 => opt(series.f64().unwrap().iter(), |v: f64| {
            Cell::Float(v.to_bits())
        }),
        DataType::String => opt(series.str().unwrap().iter(), |v: &str| {
            Cell::String(v.to_owned())
        }),
        other => panic!("{other}"),
    }
}

fn opt<T>(values: impl Iterator<Item = Option<T>>, cell: impl Fn(T) -> Cell) -> Vec<Cell> {
    values
        .map(|value| value.map_or(Cell::Null, &cell))
        .collect()
}
