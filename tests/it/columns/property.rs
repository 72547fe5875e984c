//! The same records give the same frame, wherever the pages end: random records against the
//! [reference](super::reference).

use fastrand::Rng;
use polars::prelude::*;
use polars_edfi::columns::{Layout, PageDecoder};

use super::reference::{self, Json};

pub(super) const KEYS: [&str; 24] = [
    "id",
    "a",
    "b",
    "c",
    "a.b",
    "a.b.c",
    "",
    ".",
    "\"",
    "é",
    "😀",
    "link",
    "studentReference",
    "x_record",
    "a_record",
    "k1",
    "k2",
    "k3",
    "k4",
    "k5",
    "k6",
    "k7",
    "k8",
    "\t\n",
];

const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "1",
    "-1",
    "255901001",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "123456789012345678901234567890",
    "0.5",
    "-0.0",
    "1.0",
    "1e3",
    "1E-7",
    "0.1000000000000000055511151231257827",
    "5e-324",
    "1.7976931348623157e308",
    "1e309",
    "-2.5e+400",
    "33.333333333333336",
    "100000000000000000000.0",
];

/// How records look this time: few keys and one type each, or anything anywhere.
pub(super) struct Style {
    pub(super) keys: usize,
    pub(super) chaos: u32,
    pub(super) depth: usize,
}

fn value(rng: &mut Rng, style: &Style, key: &str, depth: usize) -> Json {
    if rng.u32(..100) < 10 {
        return Json::Null;
    }
    // By its key a property has one kind of value; at times it has another.
    let kind = if rng.u32(..100) < style.chaos {
        rng.usize(..7)
    } else {
        key.len() + style.keys
    };
    match kind % 7 {
        0 => Json::Boolean(rng.bool()),
        1 if rng.u32(..100) < 80 => Json::Number(rng.i32(..1000).to_string()),
        2 if rng.u32(..100) < 80 => Json::Number(rng.f64().to_string()),
        1 | 2 => Json::Number(rng.choice(NUMBERS).unwrap().to_owned()),
        3 if depth > 0 => {
            let length = rng.usize(..4);
            Json::List(
                (0..length)
                    .map(|_| value(rng, style, &format!("{key}e"), depth - 1))
                    .collect(),
            )
        }
        4 | 5 if depth > 0 => object(rng, style, depth - 1),
        _ => Json::String(text(rng)),
    }
}

fn text(rng: &mut Rng) -> String {
    let common = [
        "",
        "18",
        "uri://ed-fi.org/GradeLevelDescriptor#Eleventh grade",
        "uri://ed-fi.org/GradeLevelDescriptor#Twelfth grade",
        "exactly12byt",
        "thirteen byte",
    ];
    match rng.u32(..10) {
        0 => (0..rng.usize(..30)).map(|_| rng.char(..)).collect(),
        1 => format!("{:032x}", rng.u128(..)),
        _ => (*rng.choice(&common).unwrap()).to_owned(),
    }
}

pub(super) fn object(rng: &mut Rng, style: &Style, depth: usize) -> Json {
    let mut keys: Vec<&str> = KEYS[..style.keys].to_vec();
    if rng.u32(..100) < style.chaos {
        rng.shuffle(&mut keys);
    }
    let kept = match rng.u32(..10) {
        0 => 0,
        _ if depth < style.depth => 350 / style.keys.max(6) as u32,
        _ => 80,
    };
    let mut members = Vec::new();
    for key in keys {
        if rng.u32(..100) < kept {
            members.push((key.to_owned(), value(rng, style, key, depth)));
        }
    }
    Json::Object(members)
}

pub(super) fn page(rng: &mut Rng, records: &[Json]) -> String {
    let spaces = rng.bool();
    let mut space = || match rng.u32(..20) {
        0 if spaces => " ",
        1 if spaces => "\r\n\t",
        _ => "",
    };
    Json::List(records.to_vec()).write(false, &mut space)
}

/// The frame of records that come in pages of random lengths.
fn frame(rng: &mut Rng, records: &[Json]) -> DataFrame {
    let longest = *rng.choice(&[1, 2, 3, 10, 1000]).unwrap();
    let mut decoder = PageDecoder::default();
    let mut layout = Layout::new();
    let mut pages = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rng.usize(..=longest).min(rest.len()));
        rest = later;
        let page = decoder.decode(page(rng, now).as_bytes()).unwrap();
        layout.add(&page);
        pages.push(page);
    }
    let plan = layout.plan(".", &["id", "status"]);
    let mut frame = DataFrame::empty_with_schema(plan.schema());
    for page in pages {
        frame.vstack_mut_owned(plan.frame(page).unwrap()).unwrap();
    }
    frame
}

#[test]
fn records_alone_decide_what_the_frame_is() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let style = Style {
            keys: rng.usize(1..=KEYS.len()),
            chaos: *rng.choice(&[0, 0, 1, 5, 50]).unwrap(),
            depth: rng.usize(..4),
        };
        let count = rng.usize(..25);
        let records: Vec<Json> = (0..count)
            .map(|_| object(&mut rng, &style, style.depth))
            .collect();
        let df = frame(&mut rng, &records);
        let again = frame(&mut rng, &records);
        assert_eq!(df.schema(), again.schema(), "seed {seed}");
        assert!(df.equals_missing(&again), "seed {seed}");
        let (expected, got) = (
            reference::columns(&records, ".", &["id", "status"]),
            reference::of_frame(&df),
        );
        let header = |columns: &reference::Expected| -> Vec<(String, DataType)> {
            columns
                .iter()
                .map(|(name, dtype, _)| (name.clone(), dtype.clone()))
                .collect()
        };
        assert_eq!(header(&got), header(&expected), "seed {seed}");
        for (expected, got) in expected.iter().zip(&got) {
            assert_eq!(got, expected, "seed {seed}");
        }
        assert_eq!(df.height(), count);
    }
}
