"""Every student assessment of five districts, as one DataFrame.

Runs against the embedded sandbox; point `districts` at real ODSs, and it is your first pipeline.
"""

from pathlib import Path
from tempfile import gettempdir

import polars as pl

import polars_edfi as edfi

pl.Config(tbl_cols=8, tbl_width_chars=120, fmt_str_lengths=36)

with edfi.Sandbox(districts=["255901", "255902", "255903", "255904", "255905"]) as ods:
    # A frame of districts: URL, key, secret. One secret is wrong, as it happens.
    districts = ods.districts().with_columns(
        oAuthSecret=pl.when(pl.col("District BK") == "255903")
        .then(pl.lit("mistyped"))
        .otherwise("oAuthSecret")
    )

    runner = edfi.StudentAssessment()
    tokens = runner.batch_fetch_tokens(
        districts,
        oauth_endpoint="oauth/token",
        account_col="District BK",
        show_progress=True,
        progress_desc="[1/2]",
    )
    districts = districts.join(tokens.drop("oAuthKey"), on="District BK", how="left")
    print("\nThe districts with their tokens' state; one has none:")
    print(districts.select("District BK", "targetUrl", "row status", "message"))

    # A token that ends while the records are read is renewed; the failed district is left out.
    records = runner.batch_get_all(
        districts,
        key_col="District BK",
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
        expires_col="token_expires_at",
        links=False,
        show_progress=True,
        progress_desc="[2/2]",
    )

print(f"\nEvery record of every district: {records.height:,} rows, {records.width} columns:")
print(
    records.select(
        "District BK",
        "studentReference.studentUniqueId",
        "assessmentReference.assessmentIdentifier",
        "scoreResults",
    ).head(5)
)

print("\nOne row per district:")
print(edfi.summary(districts, records, key_col="District BK"))

# Scale scores, percentiles and raw scores have nothing in common but their column.
print("\nMean scale score by assessment and grade:")
scores = edfi.flatten(records, explode="scoreResults")
method = pl.col("scoreResults.assessmentReportingMethodDescriptor").str.split("#").list.last()
grade = pl.col("whenAssessedGradeLevelDescriptor").str.split("#").list.last()
print(
    scores.filter(method == "Scale score")
    .with_columns(
        assessment="assessmentReference.assessmentIdentifier",
        grade=grade,
        score=pl.col("scoreResults.result").cast(pl.Float64, strict=False),
    )
    .drop_nulls("score")
    .group_by("assessment", "grade")
    .agg(students=pl.len(), mean=pl.col("score").mean().round(1))
    .sort("assessment", "grade")
)

path = Path(gettempdir()) / "student_assessments.parquet"
records.write_parquet(path)
print(f"\nWritten to {path}: {path.stat().st_size:,} bytes")
