"""Reading by tasks: the same rows as in one process, in parts, and what is wrong said clearly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from conftest import auth_of, client_of, collection, scripted
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.datasource import InputPartition
from pyspark.sql.types import LongType, StringType, StructField, StructType

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark
from polars_edfi.spark import _options, _types
from polars_edfi.spark._job import ALONE, Job
from polars_edfi.spark._reader import MOST_BYTES, Reader, Unit, grouped, together
from polars_edfi.spark._session import tasks_at_once

ASSESSMENTS = edfi.endpoints.STUDENT_ASSESSMENTS


def load(spark: SparkSession, options: dict[str, Any], endpoint: str = ASSESSMENTS) -> DataFrame:
    return spark.read.format("edfi").options(**options).load(endpoint)


def rows(frame: DataFrame) -> pl.DataFrame:
    found = pl.from_arrow(frame.toArrow())
    assert isinstance(found, pl.DataFrame)
    return found


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    by = [name for name in ("District BK", "id") if name in expected.columns]
    expected = expected.select(found.columns).cast(dict(found.schema)).sort(by)
    assert found.sort(by).equals(expected)


def test_one_ods_gives_the_rows_and_the_columns_of_get_all(
    spark: SparkSession, auth: dict[str, str]
) -> None:
    frame = load(spark, {**auth, "limit": "50", "partitions": "4"})
    expected = client_of(auth).get_all(key="1", endpoint=ASSESSMENTS)["data"]
    assert frame.columns == expected.columns
    assert dict(frame.dtypes)["reportedSchoolReference.schoolId"] == "bigint"
    same(rows(frame), expected)
    assert frame.rdd.getNumPartitions() > 1


def test_many_districts_are_spread_and_have_their_key_first(
    spark: SparkSession, ods: edfi.Sandbox
) -> None:
    districts = ods.districts()
    columns = ["id", "studentReference.studentUniqueId"]
    frame = edfi_spark.read(spark, districts, ASSESSMENTS, key_col="District BK", columns=columns)
    assert frame.columns == ["District BK", *columns]
    found = rows(frame)
    assert found["District BK"].value_counts(sort=True)["count"].to_list() == [1200] * 3
    for row in range(3):
        key = districts["District BK"][row]
        expected = client_of(auth_of(ods, row)).get_all(key=key, endpoint=ASSESSMENTS)["data"]
        same(
            found.filter(pl.col("District BK") == key),
            expected.with_columns(pl.lit(key).alias("District BK")),
        )


@pytest.mark.parametrize("schema", ["auto", "infer"])
def test_districts_that_do_not_agree_give_what_they_give_in_one_process(
    spark: SparkSession, schema: str
) -> None:
    """Where one has numbers and another has texts, a column of texts holds both."""
    with collection(6) as one, collection(6) as other:
        for record in other.records:
            record["n"] = f"no. {record['n']}"
            record["list"] = [{"m": "text"}]
        for record in one.records:
            record["list"] = [{"m": record["n"]}]
        kinds = (one, "integer"), (other, "string")
        for ods, kind in kinds:
            ods.serves_metadata, ods.script = True, documented(ods, kind)
        districts = pl.DataFrame(
            {"k": ["1", "2"], "targetUrl": [one.url, other.url]}
            | {"oAuthKey": ["key"] * 2, "oAuthSecret": ["secret"] * 2}
        )
        given = {"key_col": "k", "api_version": "v3", "schema": schema}
        columns = ["id", "n", "list"]
        found = edfi_spark.read(spark, districts, "ed-fi/students", columns=columns, **given)
        tokens = edfi.EdFiClient().batch_fetch_tokens(
            districts, oauth_endpoint="oauth/token", account_col="k"
        )
        client = edfi.Resource("ed-fi/students", api_version="v3")
        districts = districts.join(tokens.select("k", "EdFi Token"), on="k")
        expected = client.batch_get_all(districts, key_col="k", schema=schema)
        assert expected["n"].sort()[0] == "0"
        assert rows(found).sort("k", "id").equals(expected.select("k", *columns).sort("k", "id"))


def documented(ods: Any, kind: str) -> Any:
    """An ODS whose document says of what kind the numbers of its students are."""

    def answer(request: Any) -> Any:
        if request.path == "/":
            return scripted.Answer(200, {"urls": {"openApiMetadata": f"{ods.url}/metadata/"}})
        if request.path == "/metadata/":
            return scripted.Answer(
                200, [{"name": "Resources", "endpointUri": f"{ods.url}/metadata/r"}]
            )
        if request.path == "/metadata/r":
            items = {"type": "object", "properties": {"m": {"type": kind}}}
            properties = {"n": {"type": kind}, "list": {"type": "array", "items": items}}
            record = {"type": "array", "items": {"type": "object", "properties": properties}}
            answered = {"200": {"content": {"application/json": {"schema": record}}}}
            paths = {"/ed-fi/students": {"get": {"responses": answered}}}
            return scripted.Answer(200, {"openapi": "3.0.0", "info": {}, "paths": paths})
        return None

    return answer


def test_districts_may_be_a_pandas_or_a_spark_frame(spark: SparkSession, ods: edfi.Sandbox) -> None:
    districts = ods.districts()
    plain = spark.createDataFrame(districts.rows(), districts.columns)
    for frame in (districts.to_pandas(), plain):
        found = edfi_spark.read(spark, frame, "ed-fi/schools", key_col="District BK")
        assert found.select("District BK").distinct().count() == 3


def test_a_district_without_a_token_is_an_error_that_names_it_or_a_row(
    spark: SparkSession, ods: edfi.Sandbox
) -> None:
    tokens = edfi.EdFiClient(api_version="v3").batch_fetch_tokens(
        ods.districts(), oauth_endpoint="oauth/token", account_col="District BK"
    )
    districts = ods.districts().drop("oAuthKey", "oAuthSecret").join(tokens, on="District BK")
    districts = districts.select("District BK", "targetUrl", "EdFi Token").with_columns(
        pl.when(pl.col("District BK") != "2").then("EdFi Token").alias("EdFi Token")
    )
    with pytest.raises(edfi.EdFiError, match="District BK 2: missing 'EdFi Token'"):
        edfi_spark.read(spark, districts, ASSESSMENTS, key_col="District BK")
    frame = edfi_spark.read(
        spark, districts, ASSESSMENTS, key_col="District BK", columns=["id"], on_error="row"
    )
    found = rows(frame)
    failed = found.filter(pl.col("status") == "error")
    assert failed.select("District BK", "message", "id").rows() == [
        ("2", "missing 'EdFi Token'", None)
    ]
    assert found.height == 2401


def test_options_that_are_wrong_are_named(spark: SparkSession, auth: dict[str, str]) -> None:
    for wrong, text in (
        ({"base_ulr": "x"}, "unknown option 'base_ulr'; did you mean 'base_url'?"),
        ({"workers": "many"}, "option 'workers' must be an integer"),
        ({"workers": "0"}, "option 'workers' must be at least 1"),
        ({"columns": "id,nme"}, "no column 'nme'"),
        ({"client_secret": "wrong"}, "auth error: HTTP 401"),
    ):
        with pytest.raises(Exception, match=text):
            load(spark, {**auth, **wrong})
    with pytest.raises(Exception, match="options 'client_id' and 'client_secret'"):
        load(spark, {"base_url": auth["base_url"]})
    with pytest.raises(TypeError, match=r"districts must be .*, got NoneType"):
        edfi_spark.read(spark, None, ASSESSMENTS, key_col="k")


def test_a_given_schema_holds(spark: SparkSession, auth: dict[str, str]) -> None:
    schema = StructType(
        [
            StructField("id", StringType()),
            StructField("reportedSchoolReference.schoolId", LongType()),
        ]
    )
    frame = spark.read.format("edfi").options(**auth).schema(schema).load(ASSESSMENTS)
    expected = client_of(auth).get_all(key="1", endpoint=ASSESSMENTS)["data"]
    same(rows(frame), expected.select("id", "reportedSchoolReference.schoolId"))


def test_what_a_format_is_registered_with_stands_in_no_option(
    spark: SparkSession, ods: edfi.Sandbox, auth: dict[str, str]
) -> None:
    edfi_spark.register(spark, "second", **auth_of(ods, 1))
    try:
        read = spark.read.format("second").load(ASSESSMENTS)
        assert read.count() == 1200
        # What a query says of its own goes before.
        assert load(spark, auth).count() == 1200
        with pytest.raises(Exception, match="auth error: HTTP 401"):
            spark.read.format("second").option("clientSecret", "wrong").load(ASSESSMENTS)
        stream = spark.readStream.format("second").load(ASSESSMENTS)
        assert stream.columns[0] == "_change"
    finally:
        edfi_spark.register(spark)
    for wrong, text in (
        ({"base_ulr": "x"}, "did you mean 'base_url'"),
        ({"workers": 3}, "unknown option 'workers'"),
        ({"name": "a b"}, "name must be letters"),
        ({"max_rate": -1}, "max_rate must be"),
    ):
        with pytest.raises(edfi.EdFiError, match=text):
            edfi_spark.register(spark, **wrong)


def test_a_session_that_grows_by_itself_tells_how_far() -> None:
    class Session:
        def __init__(self, **conf: str) -> None:
            self.sparkContext = self
            self.defaultParallelism = 2
            self.conf = {f"spark.{name.replace('_', '.')}": value for name, value in conf.items()}

        def getConf(self) -> dict[str, str]:  # noqa: N802 - Spark's name
            return self.conf

    grows = {"dynamicAllocation_enabled": "true"}
    up_to = {**grows, "dynamicAllocation_maxExecutors": "10", "executor_cores": "4"}
    given: Any = [Session(), Session(**up_to), Session(**up_to, task_cpus="2"), Session(**grows)]
    assert [tasks_at_once(session) for session in given] == [2, 40, 20, None]


# What follows plans and reads without Spark between them.

SCHEMA = StructType([StructField("id", StringType()), StructField("n", LongType())])


def reading(url: str, tasks: int | None = 4, **options: Any) -> Reader:
    values = {"base_url": url, "client_id": "key", "client_secret": "secret", **options}
    return Reader(Job({"endpoint": "ed-fi/students", **values}, None, ALONE, tasks), SCHEMA)


def read(reader: Reader, parts: list[InputPartition]) -> list[int]:
    return [n for part in parts for batch in reader.read(part) for n in batch["n"].to_pylist()]


def test_requests_in_flight_and_rates_are_the_jobs_not_the_tasks() -> None:
    with collection(200) as ods:
        parts = list(
            reading(ods.url, limit=10, partitions=4, workers=8, max_rate=100.0).partitions()
        )
        assert [part.shares for part in parts] == [(2, 25.0)] * 4
        # No more tasks than requests.
        few = list(reading(ods.url, limit=10, partitions=4, workers=2).partitions())
        assert len(few) == 2
        assert [part.shares.workers for part in few] == [1, 1]
        assert sorted(read(reading(ods.url), few)) == list(range(200))
        # Where nobody knows how many tasks run at once, all of them may.
        unknown = reading(ods.url, tasks=None, limit=5, partitions=20, workers=4, max_rate=100.0)
        parts = list(unknown.partitions())
        assert [part.shares for part in parts] == [(1, 25.0)] * 4


def test_one_token_serves_all_tasks_and_stands_in_no_repr() -> None:
    with collection(200) as ods:
        reader = reading(ods.url, limit=10, partitions=4)
        parts = list(reader.partitions())
        read(reader, parts)
        read(reader, list(reader.partitions()))
        fetched = [request for request in ods.requests if request.path.endswith("/token")]
        assert len(fetched) == 1
        shown = repr((reader, parts, reader.job))
        assert "secret" not in shown
        assert not any(token in shown for token in ods.tokens)


def test_pieces_are_put_together_evenly() -> None:
    units = [Unit(pl.DataFrame(), records, None, None) for records in (5, 1, 4, 2, 3, 3)]
    parts = grouped(units, 3)
    assert [sum(unit.records for unit in part) for part in parts] == [6, 6, 6]


def test_pages_cross_together_the_first_of_them_at_once() -> None:
    pages = [pl.DataFrame({"n": range(start, start + 500)}) for start in range(0, 15_000, 500)]
    seen: list[int] = []

    def coming() -> Iterator[pl.DataFrame]:
        for number, page in enumerate(pages):
            seen.append(number)
            yield page

    batches = together(coming())
    first = next(batches)
    assert (first.height, seen) == (500, [0])
    rest = list(batches)
    assert [batch.height for batch in rest] == [1_000, 2_000, 4_000, 4_500, 3_000]
    assert pl.concat([first, *rest]).equals(pl.concat(pages))
    assert all(batch.n_chunks() == 1 for batch in rest)


def test_pages_of_other_columns_or_of_many_bytes_cross_apart() -> None:
    small, other = pl.DataFrame({"n": [1]}), pl.DataFrame({"n": ["x"]})
    large = pl.DataFrame({"n": ["x" * MOST_BYTES]})
    pages = [small, small, other, small, large, large, small]
    assert [batch["n"].len() for batch in together(pages)] == [1] * 7
    assert list(together([])) == []
    assert [batch.height for batch in together([small.clear(), small.clear()])] == [0]
    assert [batch.height for batch in together([small, small, small, small, small])] == [1, 2, 2]


def test_every_dtype_crosses_as_spark_wants_it() -> None:
    frame = pl.DataFrame(
        {
            "list": [[{"a": ["x"], "b": 1}], None],
            "when": pl.Series([0, None]).cast(pl.Datetime("us", "UTC")),
            "day": pl.Series([1, None]).cast(pl.Date),
            "nothing": pl.Series([None, None], dtype=pl.Null),
            "none": pl.Series([[], None], dtype=pl.List(pl.Null)),
            "time": pl.Series([1_000_000_000, None]).cast(pl.Time),
            "small": pl.Series([1, None], dtype=pl.UInt8),
            "flag": [True, None],
        }
    )
    spark_schema = _types.spark_schema(frame.schema)
    schema = _types.arrow_schema(spark_schema)
    batches = list(_types.record_batches(frame, schema))
    assert [batch.schema for batch in batches] == [schema]
    assert batches[0]["list"].to_pylist() == [[{"a": ["x"], "b": 1}], None]
    assert batches[0]["time"].to_pylist() == ["00:00:01", None]


def test_options_are_spelt_as_in_python_or_as_in_spark() -> None:
    with collection(5) as ods:
        auth = {"baseUrl": ods.url, "clientId": "key", "CLIENTSECRET": "secret"}
        values = _options.parse(
            {
                **auth,
                "path": "ed-fi/students",
                "links": "False",
                "maxRate": "2.5",
                "columns": "id, n",
            },
            _options.CLIENT,
            _options.READ,
            _options.JOB_READ,
        )
    assert values == {
        "base_url": ods.url,
        "client_id": "key",
        "client_secret": "secret",
        "endpoint": "ed-fi/students",
        "links": False,
        "max_rate": 2.5,
        "columns": ["id", "n"],
    }
    for wrong in ({"links": "perhaps"}, {"limit": "secret"}, {"params": "{"}):
        with pytest.raises(edfi.EdFiError) as raised:
            _options.parse(wrong, _options.READ)
        assert "secret" not in str(raised.value)
    with pytest.raises(edfi.EdFiError, match="given twice"):
        _options.parse({"base_url": "a", "baseUrl": "b"}, _options.CLIENT)
