"""What a row brings: its ODS, its credentials, its status."""

from collections import Counter
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from writes.support import MakeOds, frame, number, numbered, post


def test_cells_that_are_missing(make_ods: MakeOds) -> None:
    """Nothing goes to the runner's own ODS in their place."""
    own, other = make_ods(), make_ods()
    runner = edfi.StudentAssessment(
        base_url=own.url, bearer_token="own", api_version="v3", max_retries=0
    )
    df = pl.DataFrame(
        {
            "key": range(6),
            "payload": ["{}"] * 6,
            "targetUrl": [None, "  ", other.url, other.url, None, f" {other.url}/ "],
            "EdFi Token": ["token", "token", None, " ", None, " token "],
        }
    )
    out = post(runner, df)
    assert out["status"].to_list() == ["error"] * 5 + [None]
    assert out["message"].to_list()[:5] == [
        "missing 'targetUrl'",
        "missing 'targetUrl'",
        "missing 'EdFi Token'",
        "missing 'EdFi Token'",
        "missing 'targetUrl'",
    ]
    assert own.requests == []
    assert [request.token for request in other.requests] == ["token"]


@pytest.mark.parametrize("url", [None, "", "x", "ftp://x.org", "http://ods.example.org/api"])
def test_urls_that_are_none_or_not_safe(make_ods: MakeOds, url: str | None) -> None:
    own = make_ods()
    runner = edfi.StudentAssessment(base_url=own.url, bearer_token="own", api_version="v3")
    out = post(runner, frame(own, ["{}"] * 2, targetUrl=[url, own.url]))
    assert out["status"].to_list() == ["error", None]
    assert len(own.requests) == 1
    if url == "http://ods.example.org/api":
        assert "allow_http=True" in out["message"][0]


def test_the_runners_credentials_stay_at_home(make_ods: MakeOds) -> None:
    own, other = make_ods(), make_ods()
    own.secret = "k:s"
    runner = edfi.StudentAssessment(
        base_url=own.url, client_id="k", client_secret="s", api_version="v3"
    )
    df = frame(own, ["{}"] * 3, targetUrl=[own.url, other.url, own.url]).drop("EdFi Token")
    out = post(runner, df, workers=1)
    assert out["status"].to_list() == [None, "error", None]
    assert out["message"][1].startswith("missing 'EdFi Token'")
    assert other.requests == []
    assert [request.method for request in own.paths("/oauth")] == ["POST"]


def test_columns_that_are_absent_are_served_by_the_runner(ods: ScriptedOds) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    df = frame(ods, ["{}"]).drop("EdFi Token", "targetUrl")
    assert post(runner, df)["status"].to_list() == [None]


def test_rows_of_many_districts_keep_to_their_own(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    servers = [make_ods() for _ in range(3)]
    for place, server in enumerate(servers):
        server.tokens = {f"token-{place}"}
    df = pl.concat(
        frame(server, numbered(20), **{"EdFi Token": f"token-{place}", "place": place})
        for place, server in enumerate(servers)
    ).sample(fraction=1, shuffle=True, seed=1)
    out = post(runner, df, key_col="place", workers=6)
    assert out["status"].null_count() == 60
    assert out["key"].to_list() == df["place"].to_list()
    for server in servers:
        assert sorted(map(number, server.requests)) == list(range(20))


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({}, [0, 3, 4]),
        ({"skip_statuses": []}, [0, 1, 2, 3, 4]),
        ({"skip_statuses": ["odd"]}, [0, 1, 2, 4]),
        ({"skip_statuses": "error"}, [0, 2, 3, 4]),
        ({"status_col": "other"}, [1]),
    ],
)
@pytest.mark.parametrize("commit", [True, False])
def test_rows_that_are_done_with(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    arguments: dict[str, Any],
    kept: list[int],
    commit: bool,
) -> None:
    df = frame(ods, numbered(5)).with_columns(
        pl.Series("row status", [None, "error", "warning", "odd", ""]),
        pl.Series("other", ["error", None, "warning", "error", "error"]),
        pl.Series("own id", [10, 11, 12, 13, 14]),
    )
    out = post(runner, df, commit=commit, row_id_col="own id", **arguments)
    assert out["row_index"].to_list() == kept
    assert out["key"].to_list() == kept
    assert out["row_id"].to_list() == [10 + row for row in kept]
    assert sorted(map(number, ods.requests)) == (kept if commit else [])


def test_results_come_back_onto_the_frame(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.script = lambda request: Answer(400) if number(request) % 2 else None
    df = frame(ods, numbered(6)).with_columns(
        pl.when(pl.col("key") == 2).then(pl.lit("error")).alias("row status")
    )
    out = post(runner, df)
    back = df.with_row_index("row_index").join(
        out.drop("key"), on="row_index", how="left", maintain_order="left"
    )
    assert back["http_status"].to_list() == [201, 400, None, 400, 201, 400]


def test_versions_and_endpoints(ods: ScriptedOds) -> None:
    runner = edfi.Resource("/tpdm/candidates/", api_version="7.1")
    df = frame(ods, ["{}"] * 4, version=["v2", None, " ", "6.2"])
    post(runner, df, api_version_col="version", workers=1)
    post(runner, df.head(1), endpoint="/ed-fi/students/")
    assert [request.path for request in ods.paths()] == [
        "/data/v2/tpdm/candidates",
        *["/data/v3/tpdm/candidates"] * 3,
        "/data/v3/ed-fi/students",
    ]


def test_the_version_is_asked_for_once(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer | None:
        if request.method == "GET":
            url = f"https://elsewhere{request.path}data/v9/"
            return Answer(200, {"urls": {"dataManagementApi": url}})
        return Answer(201)

    ods.script, ods.serves_metadata = script, True
    out = post(edfi.StudentAssessment(), frame(ods, numbered(10)), workers=4)
    assert out["status"].null_count() == 10
    assert Counter((request.method, request.path) for request in ods.requests) == {
        ("GET", "/"): 1,
        ("POST", "/data/v9/ed-fi/studentAssessments"): 10,
    }
