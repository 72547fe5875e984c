"""Filters of a query that reach the ODSs, where Spark tells its sources of them (4.1 and later)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from conftest import collection, scripted
from pyspark.sql import SparkSession, datasource
from pyspark.sql.types import LongType, StringType, StructField, StructType

from polars_edfi import spark as edfi_spark
from polars_edfi.spark._job import ALONE, Job
from polars_edfi.spark._reader import FilteringReader, values_of

SETTING = "spark.sql.python.filterPushdown.enabled"
STUDENTS = "ed-fi/students"
FIELDS = {"studentUniqueId": {"type": "string"}, "n": {"type": "integer", "format": "int64"}}
SCHEMA = StructType(
    [
        StructField("id", StringType()),
        StructField("studentUniqueId", StringType()),
        StructField("n", LongType()),
    ]
)

pytestmark = pytest.mark.skipif(
    not hasattr(datasource, "EqualTo"), reason="this PySpark tells sources of no filter"
)


class Filtering:
    """An ODS whose document lists ``studentUniqueId`` as a parameter, and that goes by it."""

    def __init__(self, ods: Any) -> None:
        self.ods = ods
        for record in ods.records:
            record["studentUniqueId"] = f"s{record['n'] % 40}"
        ods.script, ods.serves_metadata = self.answer, True

    def answer(self, request: Any) -> Any:
        url = self.ods.url
        if request.path == "/":
            return scripted.Answer(200, {"urls": {"openApiMetadata": f"{url}/metadata/"}})
        if request.path == "/metadata/":
            listed = {"name": "Resources", "endpointUri": f"{url}/metadata/r"}
            return scripted.Answer(200, [listed])
        if request.path == "/metadata/r":
            return scripted.Answer(200, self.document())
        wanted = request.query.get("studentUniqueId")
        if wanted is None or "offset" not in request.query:
            return None
        rows = [record for record in self.ods.records if record["studentUniqueId"] == wanted]
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        headers = {"Total-Count": str(len(rows))}
        return scripted.Answer(200, rows[offset : offset + limit], headers)

    def document(self) -> dict[str, Any]:
        items = {"type": "array", "items": {"$ref": "#/components/schemas/student"}}
        names = ("studentUniqueId", "offset", "limit")
        get = {
            "parameters": [{"name": name, "in": "query"} for name in names],
            "responses": {"200": {"content": {"application/json": {"schema": items}}}},
        }
        student = {"type": "object", "properties": {"id": {"type": "string"}} | FIELDS}
        return {
            "openapi": "3.0.1",
            "servers": [{"url": f"{self.ods.url}/data/v3"}],
            "paths": {f"/{STUDENTS}": {"get": get}},
            "components": {"schemas": {"student": student}},
        }

    def asked(self) -> list[str | None]:
        """The students that pages were asked for, since the last call."""
        pages = [request for request in self.ods.requests if "offset" in request.query]
        self.ods.requests.clear()
        return [request.query.get("studentUniqueId") for request in pages]


@pytest.fixture
def ods() -> Iterator[Filtering]:
    with collection(400) as ods:
        yield Filtering(ods)


@pytest.fixture
def telling(spark: SparkSession) -> Iterator[SparkSession]:
    """A session that tells sources of filters."""
    spark.conf.set(SETTING, "true")
    edfi_spark.register(spark)
    yield spark
    spark.conf.unset(SETTING)
    edfi_spark.register(spark)


def test_an_equality_of_a_query_reaches_the_server(telling: SparkSession, ods: Filtering) -> None:
    auth = {"base_url": ods.ods.url, "client_id": "key", "client_secret": "secret"}
    frame = telling.read.format("edfi").options(**auth, limit="50").load(STUDENTS)
    ods.asked()
    found = frame.where("studentUniqueId = 's7' and n > 100").select("n").collect()
    assert sorted(row.n for row in found) == [n for n in range(101, 400) if n % 40 == 7]
    assert set(ods.asked()) == {"s7"}
    assert frame.where("n = 3").count() == 1
    assert set(ods.asked()) == {None}


def test_other_districts_than_a_query_names_are_not_asked(
    telling: SparkSession, ods: Filtering
) -> None:
    with collection(50) as other:
        quiet = Filtering(other)
        districts = pl.DataFrame(
            {
                "k": ["1", "2"],
                "targetUrl": [ods.ods.url, other.url],
                "oAuthKey": ["key", "key"],
                "oAuthSecret": ["secret", "secret"],
            }
        )
        frame = edfi_spark.read(telling, districts, STUDENTS, key_col="k", limit=50)
        quiet.asked()
        assert frame.where("k = '1' and studentUniqueId in ('s7', 's8')").count() == 20
        assert quiet.asked() == []
        assert frame.where("k = '3'").count() == 0


# What follows plans and reads without Spark between them.


def reader(url: str, *filters: Any, **options: Any) -> FilteringReader:
    values = {"base_url": url, "client_id": "key", "client_secret": "secret", **options}
    made = FilteringReader(Job({"endpoint": STUDENTS, **values}, None, ALONE, 4), SCHEMA)
    assert made.pushFilters(list(filters)) == list(filters), "Spark applies all of them as well"
    return made


def read(made: FilteringReader) -> tuple[int, list[int]]:
    parts = made.partitions()
    rows = [n for part in parts for batch in made.read(part) for n in batch["n"].to_pylist()]
    return len(parts), sorted(rows)


def test_few_values_are_asked_for_one_by_one_and_many_are_read_in_parts(ods: Filtering) -> None:
    path = ("studentUniqueId",)
    few = reader(ods.ods.url, datasource.In(path, ("s1", "s2")), limit=20)
    assert read(few) == (1, [n for n in range(400) if n % 40 in (1, 2)])
    assert {"s1", "s2"} <= set(ods.asked())
    many = tuple(f"s{n}" for n in range(30))
    parts, rows = read(reader(ods.ods.url, datasource.In(path, many), limit=20))
    assert parts > 1
    assert rows == [n for n in range(400) if n % 40 < 30]
    assert set(ods.asked()) == {None}


def test_a_server_that_refuses_a_filter_is_read_whole(ods: Filtering) -> None:
    def script(request: Any) -> Any:
        if "studentUniqueId" in request.query:
            return scripted.Answer(400, {"detail": "Not a parameter."})
        return ods.answer(request)

    ods.ods.script = script
    parts, rows = read(
        reader(ods.ods.url, datasource.EqualTo(("studentUniqueId",), "s1"), limit=20)
    )
    assert parts > 1
    assert rows == [n for n in range(400) if n % 40 == 1]


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("GreaterThan", ("n",), 1),
        ("EqualTo", ("ref", "n"), 1),
        ("EqualTo", ("n",), 1.5),
        ("EqualTo", ("n",), None),
        ("EqualTo", ("n",), dt.datetime(2025, 1, 1, tzinfo=dt.UTC)),
        ("In", ("n",), ()),
        ("In", ("n",), (1, "1")),
    ],
)
def test_what_no_server_can_be_asked_for_is_left_to_spark(
    name: str, path: tuple[str, ...], value: Any
) -> None:
    assert values_of(getattr(datasource, name)(path, value)) is None


def test_a_session_that_tells_of_no_filter_reads_as_ever(
    spark: SparkSession, ods: Filtering
) -> None:
    auth = {"base_url": ods.ods.url, "client_id": "key", "client_secret": "secret"}
    frame = spark.read.format("edfi").options(**auth).load(STUDENTS)
    assert frame.where("studentUniqueId = 's7'").count() == 10
