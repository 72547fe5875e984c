//! What credentials may do.

use polars::prelude::*;
use polars_edfi::sandbox::Faults;
use polars_edfi::{BatchOptions, Error, blocking};

use crate::support::{
    BAD, DISTRICTS, KEY, STUDENTS, client, own, sandbox, soon, start, texts, with_tokens, words,
};

#[tokio::test]
async fn a_client_hears_what_its_claim_set_allows() {
    let ods = start();
    ods.set_claims("255901", "Reader", [(STUDENTS, &["Read"][..])]);
    let own = own(&ods, "255901").build().expect("a client");
    let allowed = soon(own.permissions()).await.expect("permissions");
    assert_eq!(words(&allowed, "endpoint"), [STUDENTS]);
    let operations = allowed.column("operations").expect("operations");
    assert_eq!(
        operations.dtype(),
        &DataType::List(Box::new(DataType::String))
    );
    assert!(soon(own.count(STUDENTS, &[])).await.expect("a count") > 0);
    match soon(own.count("ed-fi/schools", &[])).await {
        Err(Error::Http(failure)) => assert_eq!(failure.http_status, Some(403)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_district_that_tells_nothing_is_a_row() {
    let ods = start();
    let off = Faults {
        no_token_info: true,
        ..Faults::default()
    };
    ods.set_faults(BAD, off);
    let districts = with_tokens(&ods).await;
    let (client, options) = (client(), BatchOptions::default());
    let allowed = soon(client.batch_permissions(&districts, KEY, &options)).await;
    let allowed = allowed.expect("a frame");
    assert_eq!(words(&allowed, KEY), DISTRICTS);
    assert_eq!(
        texts(&allowed, "status"),
        [None, Some("error".to_owned()), None]
    );
    for name in ["claim_set", "resources", "education_organizations"] {
        assert_eq!(
            allowed.column(name).expect("a column").null_count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn releases_before_7_3_tell_no_operations() {
    let ods = sandbox().release("7.2").start().expect("a sandbox");
    let own: blocking::EdFiClient = own(&ods, BAD).build().expect("a client").into();
    let error = own.permissions().expect_err("nothing to tell");
    assert!(error.to_string().contains("batch_permissions"), "{error}");
    let districts = ods.districts();
    let options = BatchOptions {
        auth_key_col: Some("oAuthKey".into()),
        auth_secret_col: Some("oAuthSecret".into()),
        oauth_endpoint: Some("oauth/token".into()),
        ..BatchOptions::default()
    };
    let allowed = own.batch_permissions(&districts, KEY, &options);
    let allowed = allowed.expect("a frame");
    assert_eq!(texts(&allowed, "status"), [None, None, None]);
    assert_eq!(
        allowed.column("resources").expect("a column").null_count(),
        3
    );
}
