"""Reading: what comes back, and what is sent."""

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district
from polars.exceptions import ColumnNotFoundError, SchemaError
from polars.testing import assert_frame_equal

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
RESULT = {
    "District BK": pl.String,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
}


def test_records_become_one_flat_frame(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    out = runner.batch_get_all(district(ods), key_col="District BK")
    expected = pl.DataFrame(
        {
            "District BK": ["a"] * 3,
            "status": [None] * 3,
            "message": [None] * 3,
            "http_status": [200] * 3,
            "correlation_id": [None] * 3,
            "id": [f"{n:032x}" for n in range(3)],
            "n": [0, 1, 2],
            "ref.name": ["r0", "r1", "r2"],
        },
        schema_overrides=RESULT,
    )
    assert_frame_equal(out, expected)
    assert runner.rows is out


@pytest.mark.parametrize("total_count", [True, False])
@pytest.mark.parametrize("limit", [1, 3, 7, 10, 500])
@pytest.mark.parametrize("workers", [1, 4])
def test_pages_make_no_difference(
    make_ods: MakeOds,
    runner: edfi.StudentAssessment,
    total_count: bool,
    limit: int,
    workers: int,
) -> None:
    ods = make_ods(21)
    ods.total_count = total_count
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=limit, workers=workers)
    assert out["n"].to_list() == list(range(21))


def test_a_server_with_smaller_pages_is_asked_for_those(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(25)
    ods.max_limit = 10
    out = runner.batch_get_all(district(ods), key_col="District BK")
    assert out["n"].to_list() == list(range(25))
    assert [request.query["limit"] for request in ods.paths()] == ["500", "10", "10", "10"]


def test_one_bad_district_leaves_the_others_whole(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    good, html, dead = make_ods(2), make_ods(), make_ods()
    html.script = lambda _: Answer(200, "<html>Sign in, Ada</html>", {"content-type": "text/html"})
    dead.stop()
    dead.stop = lambda: None  # type: ignore[method-assign]
    df = pl.concat([district(html, "html"), district(good, "good"), district(dead, "dead")])
    out = runner.batch_get_all(df, key_col="District BK")
    assert out["District BK"].to_list() == ["html", "good", "good", "dead"]
    assert out["status"].to_list() == ["error", None, None, "error"]
    assert out["http_status"].to_list() == [200, 200, 200, None]
    assert "Ada" not in out["message"][0]
    assert out["message"][3].startswith("metadata: could not connect")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, '{"a": 1}'), "HTTP 200 OK"),
        (Answer(200, '[{"id": "x"}, {"id'), "HTTP 200 OK"),
        (Answer(200, "[1, 2]"), "HTTP 200 OK"),
        (Answer(204), "HTTP 204 No Content"),
        (Answer(302, headers={"location": "http://127.0.0.1:9/"}), "HTTP 302 Found"),
        (Answer(403, {"detail": "No.", "errors": ["Why."]}), "HTTP 403 Forbidden: No.; Why."),
        (Answer(500, {"message": "Oh."}), "HTTP 500 Internal Server Error: Oh."),
        (Answer(401, {"detail": "x"}), "auth error: HTTP 401"),
        (Answer(200, "[" * 200_000), "HTTP 200 OK"),
        (Answer(200, '[{"id": "x"}]', cut=5), "connection broken"),
        (Answer(close=True), "connection broken"),
    ],
)
def test_what_is_no_page_is_an_error_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer, message: str
) -> None:
    ods.script = lambda _: answer
    out = runner.batch_get_all(district(ods), key_col="District BK")
    assert out.schema == RESULT
    assert out["status"].to_list() == ["error"]
    assert out["message"][0].startswith(message)


def test_a_key_that_comes_back_with_another_api_version_is_an_error_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda request: ods.page(request) if "2025/ed-fi" in request.path else None
    versions = ["v3/2025", "/v3/2025/", "v3/2026", "v3/2026"]
    df = pl.concat(district(ods, "a", version=version) for version in versions)
    how: dict[str, Any] = {"key_col": "District BK", "api_version_col": "version"}
    out = runner.batch_get_all(df, **how, schema="infer")
    lazy = edfi.scan_all(df, **how, schema="infer", on_error="row").collect()
    for read in (out, lazy):
        assert read["status"].to_list() == [None] * 3 + ["error"]
        assert read["message"][3].startswith("not read: this key stands in the frame with another")
        assert "another API version" in read["message"][3]
    with pytest.raises(edfi.EdFiError, match="another API version"):
        edfi.scan_all(df, **how, schema="infer").collect()


def test_passing_trouble_passes(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    answers = [Answer(503, headers={"retry-after": "0"})]
    ods.script = lambda _: answers.pop() if answers else None
    out = runner.batch_get_all(district(ods), key_col="District BK")
    assert out["status"].null_count() == 3
    assert len(ods.paths()) == 2


def test_a_longer_wait_than_allowed_is_an_error(ods: ScriptedOds) -> None:
    ods.script = lambda _: Answer(429, {"detail": "Slowly."}, {"retry-after": "3600"})
    out = edfi.StudentAssessment(api_version="v3", max_wait=1).batch_get_all(
        district(ods), key_col="District BK"
    )
    assert out["message"][0].startswith("HTTP 429 Too Many Requests: Slowly.")
    assert "3600 s" in out["message"][0]
    assert len(ods.paths()) == 1


def test_cells_that_are_missing(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = pl.DataFrame(
        {
            "District BK": ["a", " b ", None, "  ", "c", "a"],
            "targetUrl": [None, ods.url, ods.url, ods.url, ods.url + "/", None],
            "EdFi Token": ["token", " ", "token", "token", " token ", "token"],
        }
    )
    out = runner.batch_get_all(df, key_col="District BK")
    assert out["District BK"].to_list() == ["a", "b", "c", "c", "c"]
    assert out["message"].to_list()[:2] == ["missing 'targetUrl'", "missing 'EdFi Token'"]


def test_the_same_key_with_another_url_is_told(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    one, two = make_ods(1), make_ods(1)
    df = pl.concat([district(one), district(two), district(one), district(two)])
    out = runner.batch_get_all(df, key_col="District BK")
    assert out["status"].to_list() == [None, "error"]
    assert (len(one.paths()), len(two.paths())) == (1, 0)


def test_rows_that_are_done_with_are_left_out(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(1)
    rows = [district(ods, k, **{"row status": s}) for k, s in [("a", "error"), ("b", None)]]
    df = pl.concat(rows, how="vertical_relaxed")
    out = runner.batch_get_all(df, key_col="District BK")
    assert out["District BK"].to_list() == ["b"]
    out = runner.batch_get_all(df, key_col="District BK", skip_statuses=[])
    assert out["District BK"].to_list() == ["a", "b"]


def test_keys_keep_their_type(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = district(ods).with_columns(pl.lit(25590, pl.UInt16).alias("District BK"))
    out = runner.batch_get_all(df, key_col="District BK")
    assert out["District BK"].dtype == pl.UInt16


@pytest.mark.parametrize("rows", [0, 2])
def test_empty_frames_and_frames_of_nulls(rows: int, runner: edfi.StudentAssessment) -> None:
    df = pl.DataFrame({name: [None] * rows for name in ["District BK", "targetUrl", "EdFi Token"]})
    out = runner.batch_get_all(df, key_col="District BK")
    assert out.height == 0
    assert out.schema == RESULT | {"District BK": pl.Null}


def test_wrong_calls_raise_before_anything_is_sent(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    df = district(ods)
    calls: list[tuple[type[Exception], str, dict[str, object]]] = [
        (ColumnNotFoundError, "Distrikt", {"key_col": "Distrikt"}),
        (ColumnNotFoundError, "url", {"url_col": "url"}),
        (ColumnNotFoundError, "nope", {"row_id_col": "nope"}),
        (edfi.EdFiError, "workers", {"workers": 0}),
        (edfi.EdFiError, "limit", {"limit": 0}),
        (edfi.EdFiError, "refresh_cooldown", {"refresh_cooldown": float("nan")}),
        (edfi.EdFiError, "refresh_cooldown", {"refresh_cooldown": -1}),
        (edfi.EdFiError, "offset", {"params": {"offset": 5}}),
        (edfi.EdFiError, "schema", {"schema": "guess"}),
        (edfi.EdFiError, "on_short", {"on_short": "ignore"}),
        (edfi.EdFiError, "endpoint", {"endpoint": "../oauth"}),
    ]
    for kind, text, arguments in calls:
        with pytest.raises(kind, match=text):
            runner.batch_get_all(df, **({"key_col": "District BK"} | arguments))
    with pytest.raises(SchemaError, match="targetUrl"):
        runner.batch_get_all(df.with_columns(targetUrl=1), key_col="District BK")
    with pytest.raises(ColumnNotFoundError, match="EdFi Token"):
        runner.batch_get_all(df.drop("EdFi Token"), key_col="District BK")
    with pytest.raises(TypeError, match="collect"):
        runner.batch_get_all(df.lazy(), key_col="District BK")  # type: ignore[arg-type]
    assert ods.requests == []


def test_records_that_are_missing(make_ods: MakeOds, runner: edfi.StudentAssessment) -> None:
    ods = make_ods(10)
    lost = [1]

    def lose(request: Request) -> Answer | None:
        if request.path.startswith("/data") and lost:
            answer = ods.page(request)
            # The last page shares its first record with the one before.
            if request.query["offset"] == "8":
                lost.pop()
                answer.body = answer.body[:1]
            return answer
        return None

    ods.script = lose
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=5)
    assert out["n"].to_list() == list(range(10))

    lost.extend([1] * 100)
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=5)
    assert out["status"].to_list() == ["error"]
    assert "9" in out["message"][0]
    assert "10" in out["message"][0]
    with pytest.warns(UserWarning, match="District BK a: 9 records"):
        out = runner.batch_get_all(district(ods), key_col="District BK", limit=5, on_short="warn")
    assert out.height == 9


def test_a_record_read_twice_is_kept_once_the_later_one(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    records = [{"id": i, "n": n} for n, i in enumerate(["x", "y", "z", "y"])]
    ods = make_ods(records)
    ods.script = lambda r: Answer(200, records[int(r.query["offset"]) :][:2], {"total-count": "3"})
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=2)
    assert dict(out.select("id", "n").iter_rows()) == {"x": 0, "z": 2, "y": 3}
    assert out.height == 3


def test_a_type_that_changes_on_the_last_page(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    records = [{"id": str(n), "v": n, "o": {"a": n}} for n in range(6)]
    records[5] = {"id": "5", "v": "five", "o": "none", "extra": True}
    ods = make_ods(records)
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=2)
    assert out["v"].to_list() == ["0", "1", "2", "3", "4", "five"]
    assert out["o"].to_list() == ['{"a":0}', '{"a":1}', '{"a":2}', '{"a":3}', '{"a":4}', "none"]
    assert out["extra"].to_list() == [None] * 5 + [True]


def test_a_given_schema_is_the_schema(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.records[1]["n"] = "many"
    schema = {"n": pl.Int32, "when": pl.Date}
    out = runner.batch_get_all(district(ods), key_col="District BK", schema=schema)
    assert out.schema == RESULT | {"n": pl.Int32, "when": pl.Date, "_unknown": pl.String}
    assert out["n"].to_list() == [0, None, 2]
    assert json.loads(out["_unknown"][1]) == {
        "id": f"{1:032x}",
        "n": "many",
        "ref": {"name": "r1"},
    }


def test_a_property_whose_name_is_taken(make_ods: MakeOds, runner: edfi.StudentAssessment) -> None:
    ods = make_ods([{"id": "1", "status": "active", "District BK": 7}])
    out = runner.batch_get_all(district(ods), key_col="District BK")
    assert out.row(0, named=True) | {"correlation_id": 0} == {
        "District BK": "a",
        "status": None,
        "message": None,
        "http_status": 200,
        "correlation_id": 0,
        "id": "1",
        "status_record": "active",
        "District BK_record": 7,
    }


def test_explode_and_links(make_ods: MakeOds, runner: edfi.StudentAssessment) -> None:
    link = {"rel": "Student", "href": "/x"}
    ods = make_ods(
        [
            {"id": "1", "ref": {"n": 1, "link": link}, "scores": [{"s": 1}, {"s": 2}]},
            {"id": "2", "ref": {"n": 2, "link": link}, "scores": []},
            {"id": "3", "ref": {"n": 3, "link": link}},
        ]
    )
    out = runner.batch_get_all(district(ods), key_col="District BK", links=False, explode="scores")
    assert out.columns[5:] == ["id", "ref.n", "scores.s"]
    assert out["id"].to_list() == ["1", "1", "2", "3"]
    assert out["scores.s"].to_list() == [1, 2, None, None]


def test_params_versions_and_snapshots_are_sent_with_every_page(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(4)
    runner.batch_get_all(
        district(ods),
        key_col="District BK",
        limit=3,
        params={"namespace": "uri://a b#c", "flag": True, "none": None},
        min_change_version=5,
        snapshot=True,
    )
    assert len(ods.paths()) == 2
    for request in ods.paths():
        assert request.query["namespace"] == "uri://a b#c"
        assert request.query["flag"] == "true"
        assert request.query["minChangeVersion"] == "5"
        assert "none" not in request.query
        assert request.headers["use-snapshot"] == "true"


def test_a_row_gives_the_root_of_its_ods(ods: ScriptedOds) -> None:
    rows = district(ods, oAuthKey="key", oAuthSecret="secret", id="a").with_columns(
        pl.col("targetUrl") + "/data/v3"
    )
    told = f"'targetUrl': give the root of the ODS, {ods.url}, without /data/v3"
    runner = edfi.StudentAssessment()
    for out in (
        runner.batch_get_all(rows, key_col="District BK"),
        runner.batch_get_by_id(rows, id_col="id"),
        runner.batch_delete_by_id(rows, id_col="id", key_col="id", commit=True),
        runner.batch_fetch_tokens(rows, account_col="id", oauth_endpoint="oauth/token"),
    ):
        assert out["message"][0].startswith(told)
    assert not ods.requests
    plain = edfi.StudentAssessment(api_version="", max_retries=0)
    out = plain.batch_get_all(rows, key_col="District BK", schema="infer")
    assert out["status"].to_list() == [None] * 3


def test_discovery_says_the_path_and_nothing_else(ods: ScriptedOds) -> None:
    document = {"urls": {"dataManagementApi": "https://elsewhere.example.org/other/data/"}}

    def script(request: Request) -> Answer | None:
        if request.path == "/":
            assert request.token is None
            return Answer(200, document)
        return ods.page(request)

    ods.script, ods.serves_metadata = script, True
    out = edfi.StudentAssessment().batch_get_all(
        district(ods), key_col="District BK", schema="infer"
    )
    assert out.height == 3
    paths = [request.path for request in ods.requests]
    assert paths == ["/", "/other/data/ed-fi/studentAssessments"]


@pytest.mark.parametrize("version", ["v3", "V3", "7.1", "5.3", "/v3/"])
def test_versions(ods: ScriptedOds, version: str) -> None:
    out = edfi.StudentAssessment(api_version=version).batch_get_all(
        district(ods, version=version), key_col="District BK", api_version_col="version"
    )
    assert out["status"].null_count() == 3
    assert [request.path for request in ods.paths()] == ["/data/v3/ed-fi/studentAssessments"]


def test_just_so_many_requests_are_in_flight(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    # Three first pages, then fifteen others: nobody is answered before three are there.
    barrier = threading.Barrier(3, timeout=30)
    lock = threading.Lock()
    running, most = [0], [0]
    servers = [make_ods(6) for _ in range(3)]
    for ods in servers:

        def page(request: Request, page: Callable[[Request], Answer] = ods.page) -> Answer:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            barrier.wait()
            with lock:
                running[0] -= 1
            return page(request)

        ods.page = page  # type: ignore[method-assign]
    df = pl.concat([district(ods, str(n)) for n, ods in enumerate(servers)])
    out = runner.batch_get_all(df, key_col="District BK", limit=1, workers=3)
    assert out["n"].to_list() == list(range(6)) * 3
    assert most[0] == 3


def test_gzip(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    body = gzip.compress(json.dumps(ods.records).encode())
    ods.script = lambda _: Answer(200, body, {"content-encoding": "gzip", "total-count": "3"})
    assert runner.batch_get_all(district(ods), key_col="District BK").height == 3
    assert "gzip" in ods.paths()[0].headers["accept-encoding"]


def test_real_records_come_back_as_they_are(data: Path) -> None:
    path = data / "records" / "grandbend" / "studentAssessments.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        records = [json.loads(line) for line in lines]
    with edfi.Sandbox(districts=["a", "b"], records=1) as sandbox:
        for name in ["a", "b"]:
            assert sandbox.load_jsonl(name, "ed-fi/studentAssessments", path) == len(records)
        out = edfi.StudentAssessment().batch_get_all(
            sandbox.districts(),
            key_col="District BK",
            auth_key_col="oAuthKey",
            auth_secret_col="oAuthSecret",
            oauth_endpoint="oauth/token",
            limit=100,
            schema="infer",
        )
    assert out["status"].null_count() == 2 * len(records)
    key = [
        "studentAssessmentIdentifier",
        "assessmentReference.assessmentIdentifier",
        "assessmentReference.namespace",
        "studentReference.studentUniqueId",
    ]
    expected = {tuple(leaves[name] for name in key): leaves for leaves in map(flat, records)}
    assert len(expected) == len(records)
    for name in ["a", "b"]:
        rows = out.filter(pl.col("District BK") == name)
        assert rows.height == len(records) == rows["id"].n_unique()
        for row in rows.select(pl.exclude(RESULT)).iter_rows(named=True):
            came = without_nulls({k: v for k, v in row.items() if not k.startswith(("id", "_"))})
            came = {k: v for k, v in came.items() if ".link." not in k}
            assert came == expected[tuple(row[name] for name in key)]


def flat(record: dict[str, object], prefix: str = "") -> dict[str, object]:
    """What a record should look like, written without the library."""
    leaves: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None and k != "link"}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def test_a_server_that_does_not_page(make_ods: MakeOds, runner: edfi.StudentAssessment) -> None:
    ods = make_ods(5)
    ods.script = lambda _: Answer(200, ods.records)
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=2)
    assert out["n"].to_list() == list(range(5))
    ods.script = lambda _: Answer(200, ods.records[:2])
    out = runner.batch_get_all(district(ods), key_col="District BK", limit=2)
    assert out["status"].to_list() == ["error"]
    assert "does not page" in out["message"][0]


def test_few_records_of_many_districts_are_those_of_one(make_ods: MakeOds) -> None:
    """The records of small districts are kept as text, and read once more together."""
    odd: list[dict[str, object]] = [
        {"n": 1, "deep": {"b": [], "a": {}}},
        {"n": 2.50, "deep": {"a": None, "c": [[1, None], []]}, "text": '\u00e9\u2400\n"\\'},
        {"n": 2**63, "text": None, "exact": 922337203685477.5, "list": [{"x": 1}, {"y": [True]}]},
        {"n": -0.0, "text": {"b": 1, "a": [1e300, None]}, "late": {"x.y": {"z": 1}}},
        {"": 1, "n": "text", "list": [], "empty": {}, "mixed": [1, "a", {"b": 1.0}]},
        {},
    ]
    records = [{"id": f"{n}"} | odd[n % len(odd)] for n in range(90)]
    records[50].pop("id")
    one = make_ods(records)
    whole = one.records
    many = make_ods()

    def script(request: Request) -> Answer | None:
        if request.token == "bad":
            return Answer(400, {"detail": "Not here."})
        if request.token is None or "limit" not in request.query:
            return None
        number = int(request.token)
        return Answer(200, whole[number : number + 1], {"Total-Count": "1"})

    many.script = script
    runner = edfi.StudentAssessment(api_version="v3", max_retries=0)
    tokens = [f"{n}" for n in range(90)]
    tokens[7:7] = ["bad"]
    df = pl.DataFrame({"District BK": tokens, "EdFi Token": tokens}).with_columns(
        targetUrl=pl.lit(many.url)
    )
    about = ["District BK", "status", "message", "http_status", "correlation_id"]
    schemas: list[Any] = ["infer", {"n": pl.Float64, "list": pl.List(pl.Struct({"x": pl.Int8}))}]
    for schema in schemas:
        expected = runner.batch_get_all(district(one), key_col="District BK", schema=schema)
        assert expected.height == 90
        for workers in (1, 16):
            out = runner.batch_get_all(df, key_col="District BK", schema=schema, workers=workers)
            assert out["District BK"].to_list() == tokens
            assert out["status"].drop_nulls().to_list() == ["error"]
            bad = out.row(7, named=True)
            assert all(value is None for name, value in bad.items() if name not in about)
            out = out.filter(pl.col("status").is_null())
            assert_frame_equal(out.drop(about), expected.drop(about))
