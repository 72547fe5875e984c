"""Items of the sandbox, read and deleted."""

import polars as pl
from polars.testing import assert_frame_equal

import polars_edfi as edfi
from items.support import ANSWER, delete, read


def test_items_of_the_sandbox() -> None:
    with edfi.Sandbox(["1", "2"], 40) as ods:
        districts = ods.districts()
        tokens = edfi.EdFiClient().batch_fetch_tokens(
            districts, oauth_endpoint="oauth/token", account_col="District BK"
        )
        districts = districts.join(tokens.drop("oAuthKey"), on="District BK")
        runner = edfi.StudentAssessment()
        records = runner.batch_get_all(districts, key_col="District BK", schema="infer")
        items = records.select("District BK", "id").join(
            districts.drop("message"), on="District BK"
        )
        out = read(runner, items, schema=None, flatten=True)
        wanted = [name for name in records.columns if name not in (*ANSWER, "District BK", "id")]
        assert_frame_equal(out.select(wanted), records.select(wanted))
        assert out["id_record"].to_list() == records["id"].to_list()

        some = items.head(50)
        gone = delete(runner, some, key_col="District BK")
        assert gone["status"].unique().to_list() == ["deleted"]
        left = runner.batch_get_all(districts, key_col="District BK")
        assert left["id"].to_list() == records["id"].to_list()[50:]
        assert read(runner, some)["http_status"].unique().to_list() == [404]
        assert delete(runner, some, key_col="District BK")["http_status"].unique().to_list() == [
            404
        ]

        students = runner.batch_get_all(districts, key_col="District BK", endpoint="ed-fi/students")
        needed = students.join(districts.drop("message", "row status"), on="District BK").filter(
            pl.col("studentUniqueId").is_in(left["studentReference.studentUniqueId"].implode())
        )
        refused = delete(
            runner,
            needed.select("id", "District BK", "targetUrl", "EdFi Token"),
            key_col="District BK",
            endpoint="ed-fi/students",
        )
        assert refused["http_status"].unique().to_list() == [409]
        assert refused["message"].str.contains("'StudentAssessment'").all()
        assert refused["correlation_id"].null_count() == 0
