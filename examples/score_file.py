"""A vendor's score file becomes studentAssessments in two districts' ODSs.

From CSV to posted rows: payloads are built by Polars expressions, looked at in a dry run, sent, and
what the ODSs refuse is joined back, mended and sent again. Runs against the embedded sandbox; with
districts of your own in place of `ods.districts()`, it is your first upload.
"""

import json
from datetime import datetime
from pathlib import Path

import polars as pl

import polars_edfi as edfi

pl.Config(
    tbl_rows=12, tbl_cols=8, tbl_width_chars=140, fmt_str_lengths=150, tbl_hide_dataframe_shape=True
)

ED_FI = "uri://ed-fi.org"
GRADES = {3: "Third grade", 4: "Fourth grade", 5: "Fifth grade"}


def score(column: str, method: str, datatype: str) -> pl.Expr:
    """Make one element of scoreResults from a column of the file."""
    return pl.struct(
        assessmentReportingMethodDescriptor=pl.lit(
            f"{ED_FI}/AssessmentReportingMethodDescriptor#{method}"
        ),
        resultDatatypeTypeDescriptor=pl.lit(f"{ED_FI}/ResultDatatypeTypeDescriptor#{datatype}"),
        result=pl.col(column).cast(pl.String),
    )


def payloads(scores: pl.DataFrame) -> pl.DataFrame:
    """Put a payload beside each row: each name below is a path in the JSON."""
    given = pl.element().struct.field("result").is_not_null()
    fields = {
        "studentAssessmentIdentifier": pl.format("reading-2025-spring-{}", "Student ID"),
        "assessmentReference.assessmentIdentifier": pl.lit("BENCHMARK-READING"),
        "assessmentReference.namespace": pl.lit(f"{ED_FI}/Assessment"),
        "studentReference.studentUniqueId": pl.col("Student ID"),
        "schoolYearTypeReference.schoolYear": pl.lit(2025),
        "administrationDate": pl.col("Test Date").str.to_datetime("%m/%d/%Y", time_zone="UTC"),
        "whenAssessedGradeLevelDescriptor": f"{ED_FI}/GradeLevelDescriptor#"
        + pl.col("Grade").replace_strict(GRADES),
        "scoreResults": pl.concat_list(
            score("Scale Score", "Scale score", "Integer"),
            score("Percentile", "Percentile rank", "Integer"),
            score("Level", "Proficiency level", "Level"),
        ).list.eval(pl.element().filter(given)),
    }
    return edfi.unflatten(scores.with_columns(**fields), columns=list(fields))


def enroll(runner: edfi.EdFiClient, scores: pl.DataFrame) -> None:
    """Do the student information system's part: the ODSs know their students already."""
    fields = {
        "studentUniqueId": (100201 + pl.int_range(pl.len())).cast(pl.String),
        "firstName": pl.col("First Name"),
        "lastSurname": pl.col("Last Name"),
        "birthDate": pl.date(2020 - pl.col("Grade") - 3, 9, 15),
    }
    students = edfi.unflatten(scores.with_columns(**fields), columns=list(fields))
    runner.batch_post_payload(
        students, payload_col="payload", key_col="District", endpoint="ed-fi/students", commit=True
    )


with edfi.Sandbox(districts=["255901", "255902"], records=40) as ods:
    runner = edfi.StudentAssessment()
    districts = ods.districts()
    tokens = runner.batch_fetch_tokens(
        districts, oauth_endpoint="oauth/token", account_col="District BK"
    )
    districts = districts.join(
        tokens.select("District BK", "EdFi Token"), on="District BK", how="left"
    )

    # One row per student; district and student ids are names, not numbers.
    scores = pl.read_csv(
        Path(__file__).with_name("scores.csv"),
        schema_overrides={"District": pl.String, "Student ID": pl.String},
    ).join(districts, left_on="District", right_on="District BK", how="left")
    enroll(runner, scores)

    # 1. Payloads, and a dry run: nothing is sent without commit=True.
    rows = payloads(scores)
    print("One payload:")
    print(json.dumps(rows["payload"][0], indent=2, default=datetime.isoformat))
    dry = runner.batch_post_payload(rows, payload_col="payload", key_col="Student ID")
    print("\nA dry run:", dict(dry["status"].value_counts().iter_rows()))

    # 2. Commit. Whatever happens, each row has one result.
    sent = runner.batch_post_payload(rows, payload_col="payload", key_col="Student ID", commit=True)
    print("\nSent:")
    print(sent.select("key", "status", "http_status", "resource_id"))

    # 3. What was refused, back on the rows of the file.
    failed = sent.filter(pl.col("status") == "error").select("row_index", "message")
    refused = scores.with_row_index("row_index").join(failed, on="row_index")
    print("\nRefused, and why:")
    print(refused.select("row_index", "Last Name", "Student ID", "message"))

    # 4. Look their ids up by name, and send those again. A post is an upsert: a row that is sent
    # twice does no harm.
    roster = runner.batch_get_all(
        districts, key_col="District BK", endpoint="ed-fi/students"
    ).select(
        pl.col("District BK").alias("District"),
        pl.col("lastSurname").alias("Last Name"),
        pl.col("firstName").alias("First Name"),
        pl.col("studentUniqueId").alias("Student ID"),
    )
    mended = refused.drop("Student ID").join(
        roster, on=["District", "Last Name", "First Name"], how="left"
    )
    again = runner.batch_post_payload(
        payloads(mended),
        payload_col="payload",
        key_col="Student ID",
        row_id_col="row_index",
        commit=True,
    )
    print("\nMended and sent again; row_id is the row of the file:")
    print(again.select("key", "status", "http_status", "resource_id", "row_id"))
