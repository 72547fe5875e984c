//! Every student assessment of five districts, as one DataFrame.
//!
//! ```sh
//! cargo run --example quickstart --features examples
//! ```

use polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{BatchOptions, EdFiClient, GetAllOptions, TokenOptions, columns};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ods = Sandbox::builder()
        .districts(["255901", "255902", "255903", "255904", "255905"])
        .records(1200)
        .start()?;

    // A frame of districts: URL, key, secret. One secret is wrong, as it happens.
    let mut districts = ods.districts();
    let wrong = districts.column("District BK")?.str()?.equal("255903");
    let secrets = districts
        .column("oAuthSecret")?
        .str()?
        .set(&wrong, Some("mistyped"))?;
    districts.replace("oAuthSecret", secrets.into_column())?;

    let client = EdFiClient::builder().build()?;
    let tokens = client
        .batch_fetch_tokens(
            &districts,
            "District BK",
            "oauth/token",
            &TokenOptions::default(),
        )
        .await?;
    println!("Tokens, without the tokens themselves:");
    println!(
        "{}",
        tokens.select(["District BK", "token_expires_at", "row status", "message"])?
    );

    // One row per district in both frames, in the same order.
    let new = ["EdFi Token", "token_expires_at", "row status"];
    let districts = districts.hstack(tokens.select(new)?.columns())?;

    // A token that ends while the records are read is renewed; the failed district is left out.
    let options = GetAllOptions {
        batch: BatchOptions {
            auth_key_col: Some("oAuthKey".into()),
            auth_secret_col: Some("oAuthSecret".into()),
            oauth_endpoint: Some("oauth/token".into()),
            expires_col: Some("token_expires_at".into()),
            ..BatchOptions::default()
        },
        links: false,
        ..GetAllOptions::default()
    };
    let records = client
        .batch_get_all(&districts, "District BK", &options)
        .await?;
    println!("Every record of every district: {:?}", records.shape());

    let counts = records.group_by(["District BK"])?.select(["id"]).count()?;
    println!("Records of each district:");
    println!(
        "{}",
        counts.sort(["District BK"], SortMultipleOptions::default())?
    );

    // Scale scores, percentiles and raw scores have nothing in common but their column.
    let scores = columns::flatten(&records, None, ".", Some(&["scoreResults"]))?;
    let methods = scores.column("scoreResults.assessmentReportingMethodDescriptor")?;
    let is_scale = |method: Option<&str>| Some(method?.ends_with("#Scale score"));
    let mask: BooleanChunked = methods.str()?.iter().map(is_scale).collect();
    let mut scores = scores.filter(&mask)?;
    let numbers = scores
        .column("scoreResults.result")?
        .cast(&DataType::Float64)?;
    scores.replace("scoreResults.result", numbers)?;
    let by = [
        "assessmentReference.assessmentIdentifier",
        "whenAssessedGradeLevelDescriptor",
    ];
    #[allow(
        deprecated,
        reason = "the lazy engine would double the build for one line"
    )]
    let means = scores
        .group_by(by)?
        .select(["scoreResults.result"])
        .mean()?;
    println!("Mean scale score by assessment and grade:");
    println!("{}", means.sort(by, SortMultipleOptions::default())?);
    Ok(())
}
