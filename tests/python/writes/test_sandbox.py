"""Records that are read, edited and posted to the sandbox."""

import json

import polars as pl

import polars_edfi as edfi
from writes.support import post
from writes.wire import STUDENT_ASSESSMENTS, client, wire


def test_fetch_edit_and_post_back() -> None:
    with edfi.Sandbox(["1"], 200) as ods:
        runner = client(ods)
        before = wire(ods, STUDENT_ASSESSMENTS)
        records = runner.get_all(key=1)["data"]
        assert records is not None
        minutes = pl.col("assessedMinutes").fill_null(0) + 1
        edited = edfi.unflatten(records.with_columns(assessedMinutes=minutes))
        out = post(runner, edited.with_row_index("key"), workers=4)
        assert out["http_status"].to_list() == [200] * 200, out["message"].drop_nulls().head()
        assert out["resource_id"].to_list() == records["id"].to_list()
        after = wire(ods, STUDENT_ASSESSMENTS)
    for record in before:
        record["assessedMinutes"] = record.get("assessedMinutes", 0) + 1
    assert after == before


def test_upserts_validation_and_conflicts() -> None:
    student = {
        "studentUniqueId": "1",
        "firstName": "A",
        "lastSurname": "B",
        "birthDate": "2015-02-03",
    }
    # An ODS refuses to write a student again who is not enrolled.
    with edfi.Sandbox(["1"], 4, strict=False) as ods:
        runner = client(ods, "ed-fi/students")
        texts = [
            json.dumps(student),
            json.dumps(student | {"firstName": "C"}),
            json.dumps({"studentUniqueId": "2", "birthDate": "soon"}),
            json.dumps(student | {"id": "0" * 32}),
        ]
        df = pl.DataFrame({"key": range(4), "payload": texts})
        out = post(runner, df, workers=1)
        assert out["http_status"].to_list() == [201, 200, 400, 400]
        assert out["resource_id"][0] == out["resource_id"][1] is not None
        for text in ("$.firstName: ", "$.lastSurname: ", "$.birthDate: "):
            assert text in out["message"][2]
        assert out["correlation_id"].is_null().to_list() == [True, True, False, False]
        found = runner.get_by_id(out["resource_id"][0])["data"]
        assert found is not None
        assert found["firstName"] == "C"
        lost = {
            "studentAssessmentIdentifier": "x",
            "assessmentReference": {
                "assessmentIdentifier": "STATE-ELA",
                "namespace": "uri://ed-fi.org/Assessment",
            },
            "studentReference": {"studentUniqueId": "nobody"},
            "administrationDate": "2024-05-01T00:00:00Z",
        }
        result = runner.post_payload(
            lost, key=1, endpoint=edfi.endpoints.STUDENT_ASSESSMENTS, commit=True
        )
        assert result["http_status"] == 409
        assert "'Student' item does not exist" in str(result["message"])
