//! The filter of a query in Polars' own words: what of it can be looked for, and which rows pass.

use std::sync::Arc;

use polars::prelude::*;

use super::filter::Filter;
use super::scan::Scan;
use crate::Result;

/// Conditions that a row must all meet.
pub(super) struct Predicate(Vec<Expr>);

/// What of a predicate a scan can look for.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) filters: Vec<Filter>,
    /// The numbers of the districts whose keys pass; `None` is all of them.
    pub(super) districts: Option<Vec<usize>>,
}

impl Predicate {
    pub(super) fn new(whole: Expr) -> Self {
        let (mut left, mut parts) = (vec![whole], Vec::new());
        while let Some(part) = left.pop() {
            match part {
                Expr::BinaryExpr {
                    left: one,
                    op: Operator::And | Operator::LogicalAnd,
                    right: two,
                } => left.extend([two, one].map(Arc::unwrap_or_clone)),
                // What a sort may find out on its way, so that less comes to it: no condition of the query.
                Expr::Display { .. } => {}
                part => parts.push(part),
            }
        }
        Self(parts)
    }

    fn whole(&self) -> Option<Expr> {
        self.0.iter().cloned().reduce(|one, two| one.and(two))
    }

    /// The rows that pass.
    pub(super) fn of(&self, rows: DataFrame) -> Result<DataFrame> {
        Ok(match self.whole() {
            Some(whole) => rows.lazy().filter(whole).collect()?,
            None => rows,
        })
    }

    /// Whether a row passes or not whatever the others are, as far as that can be read: then the rows of
    /// one page after another are those of all pages together.
    pub(super) fn is_by_row(&self) -> bool {
        self.0.iter().all(is_by_row)
    }

    /// What a scan can look for. An expression that cannot be read is not in it.
    pub(super) fn wanted(&self, scan: &Scan) -> Result<Wanted> {
        let keys = scan.keys()?;
        let is_about_keys = |part: &&Expr| match &keys {
            Some(keys) => is_by_row(part) && is_about(part, keys.name()),
            None => false,
        };
        let (about_keys, others): (Vec<&Expr>, Vec<_>) = self.0.iter().partition(is_about_keys);
        let filters = others.into_iter().filter_map(filter);
        let about_keys = Self(about_keys.into_iter().cloned().collect());
        Ok(Wanted {
            filters: filters.filter(|filter| scan.takes(filter)).collect(),
            districts: keys.and_then(|keys| about_keys.rows(keys)),
        })
    }

    /// The numbers of the rows of a column that pass.
    fn rows(&self, column: Column) -> Option<Vec<usize>> {
        let frame = DataFrame::new(column.len(), vec![column]).ok()?;
        let passes = frame.lazy().select([self.whole()?]).collect().ok()?;
        let passes = passes.columns().first()?.bool().ok()?.clone();
        let passes = passes.iter().enumerate();
        Some(
            passes
                .filter_map(|(row, passes)| (passes == Some(true)).then_some(row))
                .collect(),
        )
    }
}

fn is_by_row(part: &Expr) -> bool {
    let mut left = vec![part];
    while let Some(part) = left.pop() {
        match part {
            Expr::Column(_) | Expr::Literal(LiteralValue::Dyn(_) | LiteralValue::Scalar(_)) => {}
            Expr::Alias(input, _) | Expr::Cast { expr: input, .. } => left.push(input),
            Expr::BinaryExpr {
                left: one,
                right: two,
                ..
            } => left.extend([&**one, &**two]),
            Expr::Ternary {
                predicate,
                truthy,
                falsy,
            } => left.extend([&**predicate, &**truthy, &**falsy]),
            Expr::Function {
                input,
                function: FunctionExpr::Boolean(function),
            } => match (function, &input[..]) {
                (BooleanFunction::IsIn { .. }, [input, listed]) if is_constant(listed) => {
                    left.push(input);
                }
                (
                    BooleanFunction::AllHorizontal
                    | BooleanFunction::AnyHorizontal
                    | BooleanFunction::IsNotNull
                    | BooleanFunction::IsNull
                    | BooleanFunction::Not,
                    inputs,
                ) => left.extend(inputs),
                _ => return false,
            },
            _ => return false,
        }
    }
    true
}

/// Whether a part is about this column and no other.
fn is_about(part: &Expr, name: &str) -> bool {
    let mut columns = part.into_iter().filter_map(|one| match one {
        Expr::Column(column) => Some(column.as_str()),
        _ => None,
    });
    columns.next() == Some(name) && columns.all(|column| column == name)
}

/// The column and the values of which a row must have one there.
fn filter(part: &Expr) -> Option<Filter> {
    let (name, values) = match part {
        Expr::Column(name) => (name, Series::new(PlSmallStr::EMPTY, [true])),
        Expr::BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        } => match (&**left, &**right) {
            (Expr::Column(name), value) | (value, Expr::Column(name)) => {
                (name, constant(value).filter(|value| value.len() == 1)?)
            }
            _ => return None,
        },
        Expr::Function {
            input,
            function: FunctionExpr::Boolean(function),
        } => match (function, &input[..]) {
            (BooleanFunction::Not, [Expr::Column(name)]) => {
                (name, Series::new(PlSmallStr::EMPTY, [false]))
            }
            (BooleanFunction::IsIn { nulls_equal }, [Expr::Column(name), listed]) => {
                let values = items(constant(listed)?)?;
                if *nulls_equal && values.null_count() > 0 {
                    return None;
                }
                (name, values)
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(Filter::is_in(name.as_str(), values))
}

/// Whether no row takes part in a value.
fn is_constant(value: &Expr) -> bool {
    value.into_iter().all(|part| {
        matches!(
            part,
            Expr::Literal(_)
                | Expr::Alias(..)
                | Expr::Cast { .. }
                | Expr::Agg(AggExpr::Implode { .. })
        )
    })
}

fn constant(value: &Expr) -> Option<Series> {
    if !is_constant(value) {
        return None;
    }
    let value = DataFrame::empty().lazy().select([value.clone()]).collect();
    let value = value
        .ok()?
        .columns()
        .first()?
        .as_materialized_series()
        .clone();
    Some(value)
}

/// What stands in the one list of a column of lists.
fn items(listed: Series) -> Option<Series> {
    let is_nested = matches!(listed.dtype(), DataType::List(_) | DataType::Array(..));
    if is_nested && listed.len() != 1 {
        return None;
    }
    let options = ExplodeOptions {
        empty_as_null: false,
        keep_nulls: true,
    };
    listed.explode(options).ok()
}
