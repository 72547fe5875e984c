//! Types from the OpenAPI document that an ODS serves about itself.

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{
    BatchOptions, Control, EdFiClient, Error, GetAllOptions, SchemaChoice, SchemaOptions, blocking,
};
use serde_json::{Value, json};

use crate::real_data::{document, grand_bend, shared_data};
use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, STUDENTS, client, failure, names, of_district, own, rows_of,
    sandbox, soon, start, texts, with_tokens, words,
};

fn typed(endpoint: &str) -> GetAllOptions {
    GetAllOptions {
        batch: BatchOptions {
            endpoint: Some(endpoint.into()),
            ..BatchOptions::default()
        },
        schema: SchemaChoice::OpenApi,
        ..GetAllOptions::default()
    }
}

fn own_client(ods: &Sandbox, district: &str) -> EdFiClient {
    own(ods, district).build().expect("a client")
}

fn metadata_requests(ods: &Sandbox, district: &str) -> usize {
    let requests = of_district(ods, district);
    requests
        .iter()
        .filter(|one| one.path.starts_with("/metadata/"))
        .count()
}

#[tokio::test]
async fn columns_have_the_documents_types() {
    let ods = start();
    let client = own_client(&ods, BAD);
    let df = soon(client.get_all(&typed(STUDENTS)))
        .await
        .expect("a frame");
    let utc = DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
    let dtype = |name: &str| df.column(name).expect("a column").dtype().clone();
    assert_eq!(dtype("birthDate"), DataType::Date);
    assert_eq!(dtype("multipleBirthStatus"), DataType::Boolean);
    assert_eq!(dtype("_lastModifiedDate"), utc);
    assert_eq!(df.column("birthDate").expect("a column").null_count(), 0);
    assert_eq!(names(&df).last(), Some(&"_unknown"));
    let schema = soon(client.schema(STUDENTS, &SchemaOptions::default()))
        .await
        .expect("a schema");
    let mut expected = schema.clone();
    expected.with_column("_unknown".into(), DataType::String);
    assert_eq!(**df.schema(), expected);
    let count = soon(client.count(STUDENTS, &[])).await.expect("a count");
    assert_eq!(count as usize, df.height());
}

#[tokio::test]
async fn a_second_read_asks_for_no_metadata() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let options = GetAllOptions::default();
    let (client, another) = (client(), client());
    // The first client fetches the list, where it needs one, and one document. Another one asks
    // whether that is still the same.
    for (client, expected) in [(&client, 1..=2), (&client, 0..=0), (&another, 1..=1)] {
        ods.clear_requests();
        let df = soon(client.batch_get_all(&districts, KEY, &options))
            .await
            .expect("a frame");
        assert_eq!(texts(&df, "_unknown").iter().flatten().count(), 0);
        for district in DISTRICTS {
            let asked = metadata_requests(&ods, district);
            assert!(expected.contains(&asked), "{district}: {asked}");
        }
    }
}

#[tokio::test]
async fn metadata_requests_are_within_the_workers() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let options = GetAllOptions {
        batch: BatchOptions {
            workers: 1,
            ..BatchOptions::default()
        },
        ..GetAllOptions::default()
    };
    let client = client();
    let call = client.batch_get_all(&districts, KEY, &options);
    let df = soon(call).await.expect("a frame");
    assert_eq!(df.height(), 120);
    assert_eq!(ods.max_in_flight(), 1);
}

#[tokio::test]
async fn values_that_do_not_fit_are_kept_and_counted() {
    let ods = start();
    let client = own_client(&ods, BAD);
    let records = [
        json!({"studentUniqueId": "1", "birthDate": "2012-01-02", "multipleBirthStatus": "yes"}),
        json!({"studentUniqueId": "2", "birthDate": "2012-02-30", "shoeSize": 36}),
        json!({"studentUniqueId": "3", "birthDate": "2012-02-29"}),
    ];
    ods.load(BAD, STUDENTS, records).expect("records");
    let control = Control::new();
    let mut options = typed(STUDENTS);
    options.batch.control = control.clone();
    let df = soon(client.get_all(&options)).await.expect("a frame");
    let tail = df.tail(Some(3));
    let unknown: Vec<Option<Value>> = texts(&tail, "_unknown")
        .iter()
        .map(|text| Some(serde_json::from_str(text.as_ref()?).expect("JSON")))
        .collect();
    assert_eq!(
        unknown,
        [
            Some(json!({"multipleBirthStatus": "yes"})),
            Some(json!({"birthDate": "2012-02-30", "shoeSize": 36})),
            None
        ]
    );
    assert_eq!(tail.column("birthDate").expect("a column").null_count(), 1);
    let warnings = control.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("2 records hold"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_district_whose_metadata_fails_is_an_error() {
    let ods = sandbox().start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    let faults = Faults {
        metadata_statuses: vec![500; 20],
        ..Faults::default()
    };
    ods.set_faults(BAD, faults);
    let client = client();
    let options = GetAllOptions::default();
    let call = client.batch_get_all(&districts, KEY, &options);
    let df = soon(call).await.expect("a frame");
    let (message, status) = failure(&df, BAD);
    assert!(message.starts_with("metadata: HTTP 500"), "{message}");
    assert!(message.contains("OpenAPI metadata"), "{message}");
    assert_eq!(status, None);
    assert_eq!(rows_of(&df, DISTRICTS[0]).height(), 40);

    let faults = Faults {
        no_metadata: true,
        ..Faults::default()
    };
    ods.set_faults(BAD, faults);
    let df = soon(own_client(&ods, BAD).get_all(&GetAllOptions::default()))
        .await
        .expect("a frame");
    assert!(!names(&df).contains(&"_unknown"));
    let refused = soon(own_client(&ods, BAD).get_all(&typed(RESULTS))).await;
    assert!(matches!(refused, Err(Error::Http(_))), "{refused:?}");
}

#[tokio::test]
async fn parameters_that_nobody_knows_are_refused() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let options = GetAllOptions {
        params: vec![("studentUniqeId".into(), "1".into())],
        ..typed(STUDENTS)
    };
    let client = client();
    let refused = soon(client.batch_get_all(&districts, KEY, &options)).await;
    match refused {
        Err(Error::Config(text)) => assert!(text.contains("\"studentUniqueId\""), "{text}"),
        other => panic!("{other:?}"),
    }
    let data = ods.requests();
    assert!(data.iter().all(|one| !one.path.starts_with("/data/")));
}

#[test]
fn the_same_without_await() {
    let ods = start();
    let client: blocking::EdFiClient = own_client(&ods, BAD).into();
    let resources = client.resources().expect("a frame");
    assert_eq!(
        names(&resources),
        [
            "endpoint",
            "namespace",
            "kind",
            "description",
            "key_fields",
            "has_deletes"
        ]
    );
    assert!(words(&resources, "endpoint").contains(&RESULTS.to_owned()));
    let without = SchemaOptions {
        links: false,
        ..SchemaOptions::default()
    };
    let schema = client.schema(RESULTS, &without).expect("a schema");
    assert!(schema.iter_names().all(|name| !name.contains("link")));
    assert_eq!(client.count(RESULTS, &[]).expect("a count"), 40);
}

#[tokio::test]
async fn grand_bend_fits_the_data_standards_document() {
    let Some(data) = shared_data() else { return };
    let ods = sandbox()
        .districts(["gb"])
        .records(0)
        .openapi(document(&data, "resources-ds-5.0.json"))
        .start()
        .expect("a sandbox");
    let client = own_client(&ods, "gb");
    let (mut resources, mut records) = (0, 0);
    for (endpoint, bodies) in grand_bend(&data) {
        ods.load("gb", &endpoint, bodies.iter().cloned())
            .expect("records");
        let df = soon(client.get_all(&typed(&endpoint)))
            .await
            .expect("a frame");
        assert_eq!(df.height(), bodies.len(), "{endpoint}");
        let left = texts(&df, "_unknown").into_iter().flatten().next();
        assert_eq!(left, None, "{endpoint}");
        resources += 1;
        records += df.height();
    }
    assert_eq!((resources, records), (85, 17_089));
}
