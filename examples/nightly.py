"""Every night: the whole ODS of every district into a lake, and who needs a look in the morning.

Runs against the embedded sandbox: two districts are copied, things happen to them, and the copies
follow. ``python examples/nightly.py lake`` leaves the copies in a folder.
"""

import sys
import tempfile

import polars as pl

import polars_edfi as edfi

CREDENTIALS = {
    "key_col": "District BK",
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}


def nightly(districts: pl.DataFrame, lake: str) -> bool:
    """Bring all copies up to date; tell whether all went well."""
    report = edfi.sync(districts, into=lake, **CREDENTIALS)
    report.write_parquet(f"{lake}/last_night.parquet")
    print(
        report.group_by("District BK", maintain_order=True).agg(
            resources=pl.len(),
            failed=(pl.col("status") == "error").sum(),
            changed=(pl.col("mode") != "unchanged").sum(),
            rows=pl.col("rows").sum(),
            written=pl.col("written").sum(),
            deleted=pl.col("deleted").sum(),
            repaired=pl.col("repaired").sum(),
            requests=pl.col("requests").sum(),
        )
    )
    failed = report.filter(pl.col("status") == "error")
    reasons = failed.group_by("District BK", "message", maintain_order=True).len()
    for district, message, resources in reasons.iter_rows():
        print(f"{district}: {resources} resources: {message}", file=sys.stderr)
    return failed.is_empty()


def main(lake: str) -> None:
    """Live through three nights."""
    students, scores = "ed-fi/students", "ed-fi/studentAssessments"
    with edfi.Sandbox(districts=["255901", "255902"], records=400) as ods:
        districts = ods.districts()  # District BK, targetUrl, oAuthKey, oAuthSecret

        print("The first night reads everything.")
        nightly(districts, lake)

        print("The day: a student gets another id, a score is made anew, some come, one goes.")
        ods.mutate("255901", students, "rekey", 0)
        ods.mutate("255901", scores, "recreate", 7)
        ods.mutate("255901", scores, "insert", 25)
        ods.mutate("255902", scores, "delete", 3)

        print("The second night reads what changed; a district with a wrong secret is its own row.")
        wrong = districts.with_columns(
            oAuthSecret=pl.when(pl.col("District BK") == "255902")
            .then(pl.lit("expired"))
            .otherwise("oAuthSecret")
        )
        if not nightly(wrong, lake):
            print("The third night makes up for it.")
            nightly(districts, lake)

    copies = pl.scan_parquet(f"{lake}/{scores}/*.parquet")
    print(copies.group_by("District BK").len().sort("District BK").collect())


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
