"""Frames between Python and Rust: no row is lost, and what cannot cross is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import district

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import ScriptedOds

import polars_edfi as edfi

ENUM = pl.Enum(["a", "b"])
NOTHING_TYPED = [
    pl.List(ENUM),
    pl.List(pl.Categorical()),
    pl.List(pl.List(ENUM)),
    pl.Array(ENUM, 1),
]


def value(dtype: Any) -> Any:
    if isinstance(dtype, pl.List | pl.Array):
        return [value(dtype.inner)]
    return "a"


def in_chunks(dtype: Any) -> pl.Series:
    """Six rows in three chunks, of which two have not one category."""
    chunks = [[value(dtype), None, value(dtype)], [None, None], [None]]
    series = pl.concat([pl.Series(rows, dtype=dtype) for rows in chunks], rechunk=False)
    assert series.n_chunks() == len(chunks)
    return series


@pytest.fixture
def rows(ods: ScriptedOds) -> Callable[[Any], pl.DataFrame]:
    """Six rows of one ODS, such a column before all others."""

    def make(dtype: Any) -> pl.DataFrame:
        keys = [f"k{n}" for n in range(6)]
        ods.items = {key: json.dumps({"id": key}).encode() for key in keys}
        return pl.DataFrame(
            {
                "x": in_chunks(dtype),
                "key": keys,
                "targetUrl": ods.url,
                "EdFi Token": "token",
                "payload": [json.dumps({"n": n}) for n in range(6)],
            }
        )

    return make


@pytest.mark.parametrize("dtype", NOTHING_TYPED, ids=str)
def test_chunks_without_a_category_are_not_lost(
    rows: Callable[[Any], pl.DataFrame], runner: edfi.StudentAssessment, dtype: Any
) -> None:
    df = rows(dtype)
    flat = edfi.flatten(df)
    assert flat["x"].to_list() == df["x"].to_list()
    assert edfi.unflatten(df)["payload"].struct.field("x").to_list() == df["x"].to_list()
    posted = runner.batch_post_payload(
        df, payload_col="payload", key_col="key", row_id_col="x", commit=True
    )
    assert posted["status"].to_list() == [None] * 6
    assert posted["row_id"].to_list() == df["x"].to_list()
    assert posted["row_id"].dtype == dtype
    read = runner.batch_get_by_id(df, id_col="key")
    assert read["status"].to_list() == [None] * 6
    gone = runner.batch_delete_by_id(df, id_col="key", key_col="key", commit=True)
    assert gone["status"].to_list() == ["deleted"] * 6
    whole = runner.batch_get_all(df, key_col="key")
    assert whole["key"].unique(maintain_order=True).to_list() == df["key"].to_list()


@pytest.mark.parametrize("dtype", NOTHING_TYPED, ids=str)
def test_expressions_take_chunks_without_a_category(
    rows: Callable[[Any], pl.DataFrame], ods: ScriptedOds, dtype: Any
) -> None:
    post = pl.struct("x", "key").edfi.post_payload(
        url="targetUrl", token="EdFi Token", api_version="v3", commit=True
    )
    out = rows(dtype).select(post.alias("r"))["r"]
    assert out.struct.field("status").to_list() == [None] * 6
    bodies = [json.loads(request.body) for request in ods.paths() if request.method == "POST"]
    assert sorted(body["key"] for body in bodies) == [f"k{n}" for n in range(6)]


@pytest.mark.parametrize("dtype", NOTHING_TYPED[:3], ids=str)
def test_pages_without_a_category_are_not_lost(
    make_ods: Callable[..., ScriptedOds], runner: edfi.StudentAssessment, dtype: Any
) -> None:
    records = [{"id": f"{n}"} | ({"x": value(dtype)} if n == 0 else {}) for n in range(5)]
    frame = district(make_ods(records), "a").vstack(district(make_ods(0), "b"))
    frame = frame.vstack(district(make_ods(1), "c").with_columns(pl.lit("no").alias("EdFi Token")))
    schema = {"id": pl.String, "x": dtype}
    out = runner.batch_get_all(frame, key_col="District BK", schema=schema, limit=1)
    assert out["id"].to_list() == ["0", "1", "2", "3", "4", None]
    assert out["x"].to_list() == [value(dtype), None, None, None, None, None]
    assert out.schema["x"] == dtype
    lazy = edfi.scan(
        "ed-fi/studentAssessments",
        client=edfi.EdFiClient(
            base_url=frame["targetUrl"][0], bearer_token="token", api_version="v3"
        ),
        schema=schema,
        limit=1,
    )
    assert lazy.select("id", "x").collect()["x"].to_list() == [value(dtype), *[None] * 4]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("o", [object()], dtype=pl.Object),
        pl.Series("o\0", [1]),
        pl.Series("s", [{"n\0": 1}]),
    ],
    ids=["object", "NUL", "nested NUL"],
)
def test_what_cannot_cross_is_refused(ods: ScriptedOds, column: pl.Series) -> None:
    df = district(ods).with_columns(column)
    runner = edfi.StudentAssessment(api_version="v3")
    for call in (
        lambda: edfi.flatten(df),
        lambda: edfi.unflatten(df),
        lambda: runner.batch_get_all(df, key_col="District BK"),
        lambda: edfi.scan_all(df, key_col="District BK"),
    ):
        with pytest.raises(pl.exceptions.SchemaError, match=r"Object|NUL"):
            call()
    assert not ods.requests


@pytest.mark.parametrize("dtype", [pl.Object, pl.List(pl.Object), pl.Struct({"x": pl.Object})])
def test_a_schema_of_python_objects_is_refused(ods: ScriptedOds, dtype: Any) -> None:
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    with pytest.raises(edfi.EdFiError, match="'a' holds Python objects"):
        client.get_all(key="k", schema={"a": dtype})
    assert not ods.requests


def test_parts_of_names_without_nul() -> None:
    df = pl.DataFrame({"s": [{"a": 1}]})
    with pytest.raises(edfi.EdFiError, match="separator must not hold a NUL"):
        edfi.flatten(df, separator="\0")
    with pytest.raises(edfi.EdFiError, match="into must not hold a NUL"):
        edfi.unflatten(df, into="a\0")


def test_a_column_without_a_name_keeps_it(make_ods: Callable[..., ScriptedOds]) -> None:
    df = pl.DataFrame({"": [1], "s": [{"": 2, "a": {"": 3}}]})
    flat = edfi.flatten(df)
    assert flat.to_dicts() == [{"": 1, "s.": 2, "s.a.": 3}]
    ods = make_ods([{"": 1, "id": "a"}])
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    assert client.get_all(key="k", schema="infer")["data"].to_dicts() == [{"": 1, "id": "a"}]
    lazy = edfi.scan("ed-fi/studentAssessments", client=client, schema="infer")
    assert lazy.select("", "id").collect().to_dicts() == [{"": 1, "id": "a"}]


def test_frames_without_columns_keep_their_height() -> None:
    assert edfi.flatten(pl.DataFrame(height=3)).shape == (3, 0)
    assert edfi.unflatten(pl.DataFrame(height=3))["payload"].to_list() == [None] * 3


def test_arrays_of_width_0_cross_as_lists(ods: ScriptedOds) -> None:
    empty = pl.Array(pl.Int64, 0)
    df = pl.DataFrame(
        {
            "a": pl.Series([[], None], dtype=empty),
            "s": pl.Series([[{"b": []}], []], dtype=pl.List(pl.Struct({"b": empty}))),
        }
    )
    flat = edfi.flatten(df)
    assert flat.to_dicts() == df.to_dicts()
    assert flat.schema["a"] == pl.List(pl.Int64)
    expression = pl.struct("a").edfi.post_payload(url="url", token="token")
    with pytest.raises(pl.exceptions.ComputeError, match="Array of width 0"):
        df.with_columns(url=pl.lit(ods.url), token=pl.lit("token")).select(expression)


def test_categories_beyond_their_dtype_are_left_over(make_ods: Callable[..., ScriptedOds]) -> None:
    categories = pl.Categories("test_exchange", physical=pl.UInt8)
    ods = make_ods([{"id": str(n), "c": f"c{n}"} for n in range(300)])
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    out = client.get_all(key="k", schema={"id": pl.String, "c": pl.Categorical(categories)})
    df = out["data"]
    held = df["c"].cast(pl.String)
    left = df["_unknown"].str.json_path_match("$.c")
    assert held.fill_null(left).to_list() == [f"c{n}" for n in range(300)]
    assert held.null_count() == left.len() - left.null_count() == 300 - 255


@pytest.mark.filterwarnings("ignore:explode. .scoreResults. stays as it is:UserWarning")
def test_lists_that_no_record_has_leave_one_row_each(
    make_ods: Callable[..., ScriptedOds], runner: edfi.StudentAssessment
) -> None:
    dead = district(make_ods(1), "dead").with_columns(pl.lit("no").alias("EdFi Token"))
    for records, expected in [
        ([{"id": "1"}, {"id": "2"}], ["1", "2"]),
        ([{"id": "1", "scoreResults": None}, {"id": "2", "scoreResults": []}], ["1", "2"]),
        (
            [{"id": "1", "scoreResults": "text"}, {"id": "2", "scoreResults": [{"a": 1}]}],
            ["1", "2"],
        ),
        ([{"id": "1", "scoreResults": [{"a": 1}, {"a": 2}]}, {"id": "2"}], ["1", "1", "2"]),
    ]:
        frame = district(make_ods(records), "live").vstack(dead)
        out = runner.batch_get_all(
            frame, key_col="District BK", schema="infer", explode="scoreResults"
        )
        assert out["id"].to_list() == [*expected, None]
        assert out["status"].to_list() == [*[None] * len(expected), "error"]


def test_a_list_to_explode_is_looked_for_before_anything_is_sent(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    for schema, error in [
        ({"id": pl.String}, pl.exceptions.ColumnNotFoundError),
        ({"id": pl.String, "l": pl.String}, pl.exceptions.SchemaError),
    ]:
        with pytest.raises(error, match="'l'"):
            runner.batch_get_all(district(ods), key_col="District BK", schema=schema, explode="l")
    with pytest.raises(edfi.EdFiError, match="'x'"):
        runner.batch_get_by_id(district(ods, id="1"), id_col="id", schema={"x": pl.Binary})
    assert not ods.requests


def test_a_list_that_no_document_has_is_refused_before_records_are_read() -> None:
    keys = {"auth_key_col": "oAuthKey", "auth_secret_col": "oAuthSecret"}
    with edfi.Sandbox(districts=["1", "2"], records=5) as sandbox:
        districts = sandbox.districts()
        _, url, key, secret = districts.row(0)
        own = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        runner = edfi.StudentAssessment()
        options: Any = {"key_col": "District BK", "oauth_endpoint": "oauth/token", **keys}
        lists = ["scoreResults", "studentObjectiveAssessments.scoreResults"]
        for wrong in ("nope", "administrationDate", lists):
            told = (
                f'explode: "{wrong if isinstance(wrong, str) else lists[1]}" is no list of .*items'
            )
            for call in (
                lambda wrong=wrong: own.get_all(key=1, explode=wrong),
                lambda wrong=wrong: runner.batch_get_all(districts, explode=wrong, **options),
            ):
                with pytest.raises(edfi.EdFiError, match=told):
                    call()
            scan = edfi.scan_all(districts, explode=wrong, **options)
            with pytest.raises(pl.exceptions.ComputeError, match=told):
                scan.collect()
        lists[0] = "studentObjectiveAssessments"
        read = own.get_all(key=1, explode=lists)["data"]
        assert read is not None
        assert read.height > 5
        # Records that no document describes tell of their lists themselves.
        read = own.get_all(key=1, explode="nope", schema="infer")["data"]
        assert read is not None
        assert read.height == 5


def test_results_of_many_districts_are_few_chunks(
    make_ods: Callable[..., ScriptedOds], runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(1)
    rows = district(ods)
    good = pl.concat([rows.with_columns(pl.lit(f"d{n}").alias("District BK")) for n in range(200)])
    bad = good.with_columns(
        pl.lit("no").alias("EdFi Token"), (pl.lit("x") + pl.col("District BK")).alias("District BK")
    )
    out = runner.batch_get_all(pl.concat([good, bad]), key_col="District BK")
    assert out.height == 400
    assert max(out.n_chunks("all")) <= 3
    ods.records = [{"id": str(n)} for n in range(200)]
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    assert max(client.get_all(key="k", limit=2)["data"].n_chunks("all")) <= 8


def test_a_null_token_beside_a_client_is_an_error(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3")
    df = pl.DataFrame({"token": ["token", None]})
    out = df.select(edfi.get_all(client=client, token="token").alias("r"))["r"].to_list()
    assert out[0]["status"] is None
    assert (out[1]["status"], out[1]["message"]) == ("error", "missing 'EdFi Token'")


def test_server_fields_whatever_the_separator(make_ods: Callable[..., ScriptedOds]) -> None:
    record = {
        "id": "1",
        "_etag": "e",
        "_lastModifiedDate": "2024-01-01T00:00:00",
        "a": {"b": 1},
        "z": 2,
    }
    ods = make_ods([record])
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    schema = {"id": pl.String, "_etag": pl.String, "_lastModifiedDate": pl.String, "a_b": pl.Int64}
    df = client.get_all(key="k", schema=schema, separator="_")["data"]
    assert df.to_dicts() == [
        {
            "id": "1",
            "_etag": "e",
            "_lastModifiedDate": record["_lastModifiedDate"],
            "a_b": 1,
            "_unknown": '{"z":2}',
        }
    ]
    payloads = edfi.unflatten(df, separator="_").with_columns(key=pl.lit("k"))
    payloads = payloads.with_columns(targetUrl=pl.lit(ods.url))
    client.batch_post_payload(
        payloads, payload_col="payload", key_col="key", commit=True, keep_server_fields=True
    )
    assert json.loads(ods.requests[-1].body) == record
