"""What credentials may do: asked of one ODS, and of every district of a frame."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

INFO: dict[str, Any] = {
    "active": True,
    "client_id": "key",
    "namespace_prefixes": ["uri://ed-fi.org", "uri://gbisd.edu"],
    "education_organizations": [
        {
            "education_organization_id": 255901,
            "name_of_institution": "Grand Bend ISD",
            "type": "edfi.LocalEducationAgency",
            "local_education_agency_id": 255901,
        }
    ],
    "student_identification_system": None,
    "assigned_profiles": ["Assessment-Vendor"],
    "claim_set": {"name": "SIS Vendor"},
    "resources": [{"resource": "/ed-fi/students", "operations": ["Create", "Read"]}],
    "services": [],
}
COLUMNS = {
    "District BK": pl.String,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "claim_set": pl.String,
    "namespace_prefixes": pl.List(pl.String),
    "education_organizations": pl.List(
        pl.Struct(
            {
                "education_organization_id": pl.Int64,
                "name_of_institution": pl.String,
                "type": pl.String,
            }
        )
    ),
    "profiles": pl.List(pl.String),
    "resources": pl.List(pl.Struct({"endpoint": pl.String, "operations": pl.List(pl.String)})),
}


def told(
    info: dict[str, Any] | Answer, place: str = "/oauth/token_info"
) -> Callable[[Request], Answer | None]:
    """Answer as an ODS that tells this of a token, and insists on being shown it twice."""

    def script(request: Request) -> Answer | None:
        if request.path != place:
            return None
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert "use-snapshot" not in request.headers
        if request.token is None or parse_qs(request.body.decode()) != {"token": [request.token]}:
            return Answer(400, {"detail": "Two tokens."})
        return info if isinstance(info, Answer) else Answer(200, info)

    return script


def own(ods: ScriptedOds, **options: Any) -> edfi.EdFiClient:
    return edfi.EdFiClient(
        base_url=ods.url, client_id="key", client_secret="secret", max_retries=0, **options
    )


def test_permissions(ods: ScriptedOds) -> None:
    ods.script = told(INFO)
    allowed = own(ods).permissions()
    assert allowed.schema == {"endpoint": pl.String, "operations": pl.List(pl.String)}
    assert allowed.rows() == [("ed-fi/students", ["Create", "Read"])]


@pytest.mark.parametrize("name", ["oauthTokenIntrospection", "tokenInfo"])
def test_the_discovery_document_says_where(ods: ScriptedOds, name: str) -> None:
    place = told(INFO, "/connect/introspect")
    wrong_host = {"urls": {name: "https://internal.test/connect/introspect"}}

    def script(request: Request) -> Answer | None:
        return Answer(200, wrong_host) if request.path == "/" else place(request)

    ods.script, ods.serves_metadata = script, True
    for version in (None, "v3"):
        assert own(ods, api_version=version).permissions().height == 1


@pytest.mark.parametrize(
    ("info", "error", "text"),
    [
        (Answer(404), edfi.HttpError, r"HTTP 404 Not Found .*introspection is off"),
        ({**INFO, "active": False}, edfi.HttpError, "not active"),
        ({"something": "else"}, edfi.HttpError, "not an answer about a token"),
        (Answer(200, "<html>"), edfi.HttpError, "not an answer about a token"),
        (Answer(401, {"detail": "no"}), edfi.AuthError, "HTTP 401"),
        ({"active": True, "client_id": "k"}, edfi.HttpError, "before 7.3.*batch_permissions"),
    ],
)
def test_permissions_that_are_not_told(
    ods: ScriptedOds, info: Any, error: type[Exception], text: str
) -> None:
    ods.script = told(info)
    with pytest.raises(error, match=text):
        own(ods).permissions()


def test_every_district_is_a_row(
    make_ods: Callable[..., ScriptedOds], runner: edfi.StudentAssessment
) -> None:
    answers: list[Any] = [
        INFO,
        {name: value for name, value in INFO.items() if name not in ("claim_set", "resources")},
        Answer(404, {"detail": "Off.", "correlationId": "c-1"}),
        {**INFO, "resources": [], "namespace_prefixes": []},
    ]
    districts = []
    for number, answer in enumerate(answers):
        ods = make_ods()
        ods.script = told(answer)
        districts.append(district(ods, f"d{number}"))
    districts += [districts[0], districts[1].with_columns(pl.lit("d0").alias("District BK"))]
    df = pl.concat(districts)
    allowed = runner.batch_permissions(df, key_col="District BK", workers=2)
    assert allowed.schema == COLUMNS
    assert allowed["District BK"].to_list() == ["d0", "d1", "d2", "d3", "d0"]
    assert allowed["status"].to_list() == [None, None, "error", None, "error"]
    assert allowed["http_status"].to_list() == [200, 200, 404, 200, None]
    assert allowed["correlation_id"].to_list() == [None, None, "c-1", None, None]
    assert allowed["claim_set"].to_list() == ["SIS Vendor", None, None, "SIS Vendor", None]
    assert allowed["resources"].to_list() == [
        [{"endpoint": "ed-fi/students", "operations": ["Create", "Read"]}],
        None,
        None,
        [],
        None,
    ]
    assert allowed["namespace_prefixes"].to_list()[:4] == [
        ["uri://ed-fi.org", "uri://gbisd.edu"],
        ["uri://ed-fi.org", "uri://gbisd.edu"],
        None,
        [],
    ]
    organization = allowed["education_organizations"][0][0]
    assert organization["education_organization_id"] == 255901
    assert allowed["profiles"][0].to_list() == ["Assessment-Vendor"]
    assert runner.rows is allowed
    empty = runner.batch_permissions(df.clear(), key_col="District BK")
    assert (empty.schema, empty.height) == (COLUMNS, 0)
    with pytest.raises(edfi.EdFiError, match="a column of that name"):
        runner.batch_permissions(df.rename({"District BK": "profiles"}), key_col="profiles")


def test_five_hundred_districts_in_ten_seconds(ods: ScriptedOds) -> None:
    """With a token to fetch each: two requests of 50 ms for a district, eight at once."""
    info = told(INFO)
    flying, most, lock = 0, 0, threading.Lock()

    def script(request: Request) -> Answer | None:
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        time.sleep(0.05)
        with lock:
            flying -= 1
        request.path = "/" + request.path.split("/", 2)[2]
        return info(request)

    ods.script, ods.one_at_a_time = script, False
    count = 500
    df = pl.select(key=pl.int_range(count)).with_columns(
        targetUrl=pl.format("{}/d{}", pl.lit(ods.url), "key"), k=pl.lit("key"), s=pl.lit("secret")
    )
    began = time.monotonic()
    allowed = edfi.EdFiClient().batch_permissions(
        df, key_col="key", auth_key_col="k", auth_secret_col="s", oauth_endpoint="oauth/token"
    )
    assert time.monotonic() - began < 10
    assert allowed["status"].null_count() == count
    assert most <= 8


def test_which_calls_would_be_refused() -> None:
    with edfi.Sandbox(["1", "2"], records=1, strict=False) as sandbox:
        sandbox.set_claims("1", {"ed-fi/students": ["Read"]})
        df = sandbox.districts()
        tokens = edfi.EdFiClient().batch_fetch_tokens(
            df, oauth_endpoint="oauth/token", account_col="District BK"
        )
        df = df.join(tokens.drop("oAuthKey"), on="District BK")
        runner = edfi.Resource("ed-fi/students", api_version="v3")
        allowed = runner.batch_permissions(df, key_col="District BK")
        assert allowed["claim_set"].to_list() == ["Narrow", "Sandbox"]
        assert allowed["education_organizations"].list.len().to_list() == [1, 1]
        assert allowed["resources"][0].to_list() == [
            {"endpoint": "ed-fi/students", "operations": ["Read"]}
        ]
        read = runner.batch_get_all(df, key_col="District BK")
        assert read["status"].null_count() == read.height
        payload = (
            '{"studentUniqueId":"1","birthDate":"2010-01-01","firstName":"a","lastSurname":"b"}'
        )
        rows = df.with_columns(payload=pl.lit(payload))
        sent = runner.batch_post_payload(
            rows, payload_col="payload", key_col="District BK", commit=True, details=True
        )
        assert sent["http_status"].to_list() == [403, 201]
        assert str(sent["problem"][0]).endswith("access-denied:action")
        other = edfi.Resource("ed-fi/schools", api_version="v3")
        assert other.batch_get_all(df, key_col="District BK")["http_status"].to_list()[0] == 403
