//! Records that are missing, come twice, or come in another type: never a short table that looks whole.

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, Control, Error, GetAllOptions, OnShort, SchemaChoice};
use serde_json::Value;

use super::{assert_all_whole, assert_others_whole, failed, read, read_with, small_pages};
use crate::support::{
    BAD, DISTRICTS, Leaves, RESULTS, assert_same, client, data_requests, leaves, own, records,
    rows_of, sandbox, soon, start, with_texts, with_tokens, words,
};

fn losing(records: usize, reads: usize) -> Faults {
    Faults {
        lose_records: records,
        lose_reads: reads,
        ..Faults::default()
    }
}

#[tokio::test]
async fn records_lost_once_are_read_again() {
    let ods = start();
    let df = read_with(&ods, losing(3, 1)).await;
    assert_all_whole(&df, &ods);
    // Four pages, one more since the last is shorter than the count says, then four again.
    assert_eq!(data_requests(&ods, BAD).len(), 9);
}

#[tokio::test]
async fn records_lost_for_ever_are_an_error_with_both_numbers() {
    let ods = start();
    for (lost, left) in [(1, "39"), (12, "28"), (40, "0")] {
        let df = read_with(&ods, losing(lost, usize::MAX)).await;
        let message = failed(&df, None);
        assert!(
            message.contains(left) && message.contains("40"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn records_lost_for_ever_can_be_a_warning() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.set_faults(BAD, losing(3, usize::MAX));
    let control = Control::new();
    let options = GetAllOptions {
        on_short: OnShort::Warn,
        ..small_pages(BatchOptions {
            control: control.clone(),
            ..BatchOptions::default()
        })
    };
    let df = read(&client(), &districts, &options).await;
    assert_others_whole(&df, &ods);
    assert_same(&records(&rows_of(&df, BAD)), &ods.items(BAD, RESULTS)[..37]);
    let warnings = control.warnings();
    assert_eq!(warnings.len(), 1);
    for part in [BAD, "37", "40"] {
        assert!(warnings[0].contains(part), "{}", warnings[0]);
    }
}

#[tokio::test]
async fn one_district_alone_is_held_against_the_count_too() {
    let ods = start();
    ods.set_faults(BAD, losing(3, usize::MAX));
    let client = own(&ods, BAD).build().expect("a client");
    let mut options = small_pages(BatchOptions::default());
    match soon(client.get_all(&options)).await {
        Err(Error::Http(failure)) => assert!(failure.message.contains("37"), "{failure}"),
        other => panic!("{other:?}"),
    }
    options.on_short = OnShort::Warn;
    let df = soon(client.get_all(&options)).await.expect("records");
    assert_eq!(
        (df.height(), options.batch.control.warnings().len()),
        (37, 1)
    );
}

#[tokio::test]
async fn missing_records_are_noticed_without_their_ids_in_the_schema() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.set_faults(BAD, losing(3, usize::MAX));
    let column = Field::new("serialNumber".into(), DataType::String);
    let options = GetAllOptions {
        schema: SchemaChoice::Given(Schema::from_iter([column])),
        ..small_pages(BatchOptions::default())
    };
    let df = read(&client(), &districts, &options).await;
    let message = failed(&df, None);
    assert!(
        message.contains("37") && message.contains("40"),
        "{message}"
    );
    assert_eq!(df.height(), 81);
}

#[tokio::test]
async fn a_record_that_comes_again_is_kept_once() {
    let ods = start();
    let repeating = Faults {
        repeat_records: true,
        ..Faults::default()
    };
    assert_all_whole(&read_with(&ods, repeating.clone()).await, &ods);
    // Nor does it stand for one that is missing.
    let both = Faults {
        repeat_records: true,
        ..losing(3, usize::MAX)
    };
    let message = failed(&read_with(&ods, both).await, None);
    assert!(
        message.contains("37") && message.contains("40"),
        "{message}"
    );
    let uncounted = Faults {
        no_total_count: true,
        ..repeating
    };
    assert_all_whole(&read_with(&ods, uncounted).await, &ods);
}

#[tokio::test]
async fn without_a_count_pages_are_read_to_a_short_one() {
    let ods = start();
    let uncounted = Faults {
        no_total_count: true,
        ..Faults::default()
    };
    assert_all_whole(&read_with(&ods, uncounted).await, &ods);
    // The fifth page holds the last record alone, which is the end.
    let queries: Vec<String> = data_requests(&ods, BAD)
        .into_iter()
        .map(|request| request.query)
        .collect();
    assert_eq!(queries.len(), 5);
    assert!(queries[4].contains("offset=39"), "{queries:?}");

    let ods = sandbox().total_count(false).start().expect("a sandbox");
    assert_all_whole(&read_with(&ods, Faults::default()).await, &ods);
}

#[tokio::test]
async fn a_server_that_does_not_page_is_not_read_for_ever() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let token = &words(&districts, "EdFi Token")[0];
    let districts = with_texts(&districts, "EdFi Token", [Some(token.as_str()); 3]).slice(1, 1);
    // A gateway that loses the query on the way: neither offset nor totalCount arrive.
    let queryless = |query: &str| Faults {
        redirect_to: Some(format!("/{}/data/v3/{RESULTS}{query}", DISTRICTS[0])),
        ..Faults::default()
    };
    // Each page is all there is.
    ods.set_faults(BAD, queryless(""));
    let options = small_pages(BatchOptions::default());
    let df = read(&client(), &districts, &options).await;
    assert_same(&records(&df), &ods.items(DISTRICTS[0], RESULTS));
    // Each page is the first of more.
    ods.set_faults(BAD, queryless("?limit=11"));
    let message = failed(&read(&client(), &districts, &options).await, None);
    assert!(message.contains("the server does not page"), "{message}");
}

#[tokio::test]
async fn without_ids_rows_are_counted() {
    let ods = start();
    let nameless = Faults {
        no_ids: true,
        ..Faults::default()
    };
    let df = read_with(&ods, nameless.clone()).await;
    let mut items = ods.items(BAD, RESULTS);
    for item in &mut items {
        item.as_object_mut().expect("an object").shift_remove("id");
    }
    assert_same(&records(&rows_of(&df, BAD)), &items);

    let df = read_with(
        &ods,
        Faults {
            no_ids: true,
            ..losing(2, usize::MAX)
        },
    )
    .await;
    let message = failed(&df, None);
    assert!(
        message.contains("38") && message.contains("40"),
        "{message}"
    );
    let df = read_with(
        &ods,
        Faults {
            no_ids: true,
            ..losing(2, 1)
        },
    )
    .await;
    assert_eq!(rows_of(&df, BAD).height(), 40);
}

/// What a mistyping district serves: in every third record, numbers and booleans are strings.
fn as_text(value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => value.to_string().into(),
        Value::Array(items) => items.iter().map(as_text).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), as_text(value)))
            .collect(),
        other => other.clone(),
    }
}

fn texts_of(rows: &[Leaves]) -> Vec<Leaves> {
    let text = |(name, value): (&String, &Value)| (name.clone(), as_text(value));
    rows.iter()
        .map(|row| row.iter().map(text).collect())
        .collect()
}

fn items(ods: &Sandbox, district: &str) -> Vec<Leaves> {
    ods.items(district, RESULTS).iter().map(leaves).collect()
}

#[tokio::test]
async fn a_type_that_changes_late_changes_no_value() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.set_faults(
        BAD,
        Faults {
            mistype: true,
            ..Faults::default()
        },
    );
    let df = read(&client(), &districts, &small_pages(BatchOptions::default())).await;
    // A column widens for all districts: what it holds is compared as text.
    for district in DISTRICTS {
        let rows = records(&rows_of(&df, district));
        assert_eq!(
            texts_of(&rows),
            texts_of(&items(&ods, district)),
            "{district}"
        );
    }
    let widened = df
        .column("schoolYearTypeReference.schoolYear")
        .expect("a column");
    assert_eq!(widened.dtype(), &DataType::String);
    assert_eq!(widened.null_count(), 0);
}
