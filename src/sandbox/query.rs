//! What a reading request asks for: the query string, taken apart and checked.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// Parameters that are not filters on members.
const OWN: [&str; 9] = [
    "offset",
    "limit",
    "totalCount",
    "pageToken",
    "pageSize",
    "minChangeVersion",
    "maxChangeVersion",
    "number",
    "q",
];

/// A query string: decoded names and values in their order. Names are compared without regard to case.
#[derive(Hash)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        Self(
            raw.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What is left for filters on members.
    pub(super) fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(|(name, _)| !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Problem::parameter(name, format!("The value '{text}' is not valid for {name}."))
                })
            })
            .transpose()
    }

    /// The window of change versions, both ends included.
    pub(super) fn change_versions(&self) -> Result<(u64, u64), Problem> {
        let from = self.number("minChangeVersion")?.unwrap_or(0);
        let to = self.number("maxChangeVersion")?.unwrap_or(u64::MAX);
        if from > to {
            let text = "The minChangeVersion must not be greater than the maxChangeVersion.";
            return Err(Problem::parameter("minChangeVersion", text));
        }
        Ok((from, to))
    }

    /// How many partitions are asked for.
    pub(super) fn partitions(&self) -> Result<usize, Problem> {
        match self.number::<i64>("number")?.unwrap_or(10) {
            number @ 1..=200 => Ok(number as usize),
            _ => Err(Problem::parameter(
                "number",
                "Number of partitions must be omitted or set to a value between 1 and 200.",
            )),
        }
    }

    /// Whether the total is asked for.
    pub(super) fn total_count(&self) -> Result<bool, Problem> {
        match self.get("totalCount") {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(Problem::parameter(
                "totalCount",
                format!("The value '{text}' is not valid for totalCount."),
            )),
        }
    }

    /// The page by `offset` and `limit`.
    pub(super) fn window(&self, Limits { most, default }: Limits) -> Result<Window, Problem> {
        let offset = self.number::<i32>("offset")?.unwrap_or(0);
        let offset = usize::try_from(offset)
            .map_err(|_| Problem::parameter("offset", "Offset cannot be a negative value."))?;
        let limit = bounded(self.number::<i32>("limit")?, most, default).ok_or_else(|| {
            let text = format!("Limit must be omitted or set to a value between 0 and {most}.");
            Problem::parameter("limit", text)
        })?;
        Ok(Window { offset, limit })
    }

    /// The page of a collection, by offset or by token.
    pub(super) fn page(&self, limits: Limits) -> Result<Page, Problem> {
        let size = self.number::<i32>("pageSize")?;
        let Some(token) = self.get("pageToken") else {
            if size.is_some() {
                let text = "PageToken is required when pageSize is specified.";
                return Err(Problem::parameter("pageSize", text));
            }
            return Ok(Page::Window(self.window(limits)?));
        };
        for other in ["offset", "limit", "totalCount"] {
            if self.get(other).is_some() {
                let text = format!("{other} cannot be used with pageToken.");
                return Err(Problem::parameter(other, text));
            }
        }
        let (from, to, gap) = read_token(token)
            .ok_or_else(|| Problem::parameter("pageToken", "The page token is not valid."))?;
        let most = limits.most;
        let size = bounded(size, most, most).ok_or_else(|| {
            let text = format!("Page size must be omitted or set to a value between 0 and {most}.");
            Problem::parameter("pageSize", text)
        })?;
        Ok(Page::Cursor {
            from,
            to,
            size,
            gap,
        })
    }
}

/// How many items a page may have, and has where the request says nothing.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) most: usize,
    pub(super) default: usize,
}

/// Items from `offset`, at most `limit` of them.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) offset: usize,
    pub(super) limit: usize,
}

/// Which items a page holds.
pub(super) enum Page {
    Window(Window),
    /// The first `size` items whose sequence numbers are in `from..=to`.
    Cursor {
        from: u64,
        to: u64,
        size: usize,
        /// Whether there may be an empty page before.
        gap: bool,
    },
}

/// A page token for the sequence numbers `from..=to`, with or without a gap before them.
pub(super) fn page_token(from: u64, to: u64, gap: bool) -> String {
    let tail = if gap { "" } else { "," };
    BASE64_URL_SAFE_NO_PAD.encode(format!("{from},{to}{tail}"))
}

fn read_token(token: &str) -> Option<(u64, u64, bool)> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (from, to) = text.split_once(',')?;
    let end = to.trim_end_matches(',');
    Some((from.parse().ok()?, end.parse().ok()?, end == to))
}

fn bounded(number: Option<i32>, most: usize, default: usize) -> Option<usize> {
    let Some(number) = number else {
        return Some(default);
    };
    usize::try_from(number)
        .ok()
        .filter(|number| *number <= most)
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
