"""Copies of whole ODSs by the tasks of a cluster: one for each resource of each district."""

from __future__ import annotations

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import polars as pl

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError
from polars_edfi._sync import places, report
from polars_edfi._sync.lock import only_run
from polars_edfi._sync.run import ASIDE, run
from polars_edfi._sync.sync import planned
from polars_edfi.spark import _options, _shares, _types
from polars_edfi.spark._session import as_polars, shows_options, tasks_at_once

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyspark.sql import SparkSession

    from polars_edfi._sync.run import Plan
    from polars_edfi._sync.sources import Ods

OPTIONS = {
    name: default
    for name, default in _native.defaults("sync").items()
    if name not in _options.BARS and name != "row_id_col"
}
#: Of a row of the report: whose it is, and where it stands among those of its district.
PLACED: dict[str, Any] = {"district": pl.Int64, "place": pl.Int64}
SCHEMA = pl.Schema({**PLACED, **report.SCHEMA})


class Unit(NamedTuple):
    """What one task brings up to date."""

    districts: list[int]
    """Rows of the frame of districts."""
    endpoints: Sequence[str] | None
    place: int
    """Of its first resource, among those of its districts."""


def sync(
    session: SparkSession,
    districts: object,
    endpoints: str | Sequence[str] | None = None,
    *,
    into: str | os.PathLike[str],
    key_col: str,
    format: Literal["parquet", "delta"] = "parquet",  # noqa: A002
    verify: Literal["count", "full"] | None = "count",
    full: bool = False,
    overlap: int | None = None,
    storage_options: Mapping[str, str] | None = None,
    **options: Any,
) -> pl.DataFrame:
    """Copy whole ODSs by the tasks of a cluster, and keep the copies equal to them.

    The copies, their state and the lock are those of :func:`polars_edfi.sync`: either of them goes
    on where the other ended. Each resource of each district is a task of its own (a Delta table is
    one task, since all districts commit to it), and one that is killed is run again.

    Parameters
    ----------
    session
        A SparkSession.
    districts
        One row per district, as :func:`polars_edfi.spark.read` takes them. Tokens are fetched once,
        here, and renewed by the tasks where they end.
    endpoints
        The resources; by default all that each ODS lists.
    into
        A folder that all machines see, or the URL of an object store.
    key_col
        What tells the districts apart.
    format, verify, full, overlap, storage_options
        As in :func:`polars_edfi.sync`.
    **options
        Those of :func:`polars_edfi.sync` and of :class:`polars_edfi.EdFiClient`, and ``tasks`` (how
        many can run at once, where the session does not tell). ``workers`` and ``max_rate`` are
        those of the whole job.

    Returns
    -------
    polars.DataFrame
        The report of :func:`polars_edfi.sync`: one row for each resource of each district.

    Raises
    ------
    EdFiError
        An argument is wrong, or another run is copying into the same place. What goes wrong with a
        district, a resource or its copy is its row.
    """
    values = _options.said(options, _options.CLIENT, OPTIONS, {"tasks": None})
    _options.at_least_one(values, "tasks", "workers")
    client = _options.of(values, _options.CLIENT)
    frame = as_polars(districts)
    own = _shares.renewable(frame, _options.of(values, OPTIONS))
    workers = int(own.pop("workers", OPTIONS["workers"]))
    told = values.get("tasks") or tasks_at_once(session)
    place = places.as_text(into)
    # The machine of a session of Connect is none of the cluster: no folder there is one here.
    is_here = not shows_options(session) and not places.is_remote(place)
    settings: dict[str, Any] = {
        # Tasks begin in folders of their own.
        "into": str(Path(place).absolute()) if is_here else place,
        "format": format,
        "key_col": key_col,
        "verify": verify,
        "full": full,
        "overlap": overlap,
        "storage_options": storage_options,
    }

    def plan_of(frame: pl.DataFrame) -> Plan:
        given = {**settings, "client": EdFiClient(**client), "options": own, "is_part": True}
        return planned(frame, endpoints, **given)

    frame = _shares.with_columns_of_tokens(frame, own)
    # What is wrong is told before anything is sent.
    plan_of(frame)
    with _alone(settings["into"]) if is_here else nullcontext():
        frame = _shares.with_tokens(frame, client, {**own, "workers": workers})
        plan = plan_of(frame)
        units = list(_units(plan, frame, own, workers, one_table=format == "delta"))
        parts = min(len(units), workers if told is None or workers < told else len(units))
        at_once = max(1, min(parts, told or workers))
        shares = _shares.divided(workers, client.get("max_rate"), at_once)
        if shares.max_rate is not None:
            client["max_rate"] = shares.max_rate
        settings["options"] = {**own, "workers": shares.workers}
        rows = _rows(session, _copying(frame, units, parts, client, settings), parts)
    found = pl.concat([rows, _refused(plan)]).sort("district", "place")
    return found.select(report.SCHEMA.keys()).insert_column(
        0, frame[key_col].gather(found["district"].cast(pl.get_index_type()))
    )


@contextmanager
def _alone(into: str) -> Iterator[None]:
    """Keep other runs away, and what a killed one has left."""
    aside = Path(into, ASIDE)
    with only_run(into):
        shutil.rmtree(aside, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _refused(plan: Plan) -> pl.DataFrame:
    """Give the rows of districts that are not asked: only the whole frame tells why."""
    rows = [
        (place, report.failed(ods.row, endpoint, ods.failure or ""))
        for ods in plan.odss
        if ods.client is None
        for place, endpoint in enumerate(plan.endpoints or [None])
    ]
    return _placed([row for _, row in rows], [place for place, _ in rows])


def _placed(rows: list[report.Row], placed: list[int]) -> pl.DataFrame:
    """Give rows of the report with what tells where they stand in it."""
    district = pl.Series("district", [row.district for row in rows], pl.Int64)
    place = pl.Series("place", placed, pl.Int64)
    return report.frame(rows, None).select(district, place, pl.all())


def _units(
    plan: Plan, frame: pl.DataFrame, options: Mapping[str, Any], workers: int, *, one_table: bool
) -> Iterator[Unit]:
    """Divide the work; a district of which nothing is known yet is told about by one task."""
    tokens = frame.get_column(options.get("token_col", _shares.TOKEN), default=None)
    asked = [ods for ods in plan.odss if ods.client is not None]

    def listed(ods: Ods) -> list[str] | None:
        if tokens is not None and tokens[ods.row] is None:
            return None
        if plan.endpoints is not None:
            return list(plan.endpoints)
        try:
            client = native_side(ods.client)
            found = _native.resources(client, _native.Call(_native.Limiter(1)))
        except EdFiError:
            return None
        return found["endpoint"].to_list()

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(listed, asked))
    together: dict[str, tuple[list[int], int]] = {}
    for ods, known in zip(asked, found, strict=True):
        if known is None:
            yield Unit([ods.row], plan.endpoints, 0)
            continue
        for place, endpoint in enumerate(known):
            if one_table:
                together.setdefault(endpoint, ([], place))[0].append(ods.row)
            else:
                yield Unit([ods.row], [endpoint], place)
    for endpoint, (rows, place) in together.items():
        yield Unit(rows, [endpoint], place)


def _copying(
    frame: pl.DataFrame,
    units: list[Unit],
    parts: int,
    client: dict[str, Any],
    settings: dict[str, Any],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Give what a task does: what it knows travels inside of it, and is no row of Spark's."""
    schema = _types.arrow_schema(_types.spark_schema(SCHEMA))

    def copy(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column(0).to_pylist():
                for unit in units[part::parts]:
                    own = EdFiClient(**client)
                    given = frame[unit.districts]
                    plan = planned(given, unit.endpoints, **settings, client=own, is_part=True)
                    rows = run(plan)
                    placed = _places(rows, unit.place)
                    for row in rows:
                        row.district = unit.districts[row.district]
                    yield from _types.record_batches(_placed(rows, placed), schema)

    return copy


def _places(rows: list[report.Row], first: int) -> list[int]:
    """Tell which of the resources of its district each row is about."""
    seen: Counter[int] = Counter()
    found = []
    for row in rows:
        found.append(first + seen[row.district])
        seen[row.district] += 1
    return found


def _rows(session: SparkSession, copy: Callable[..., Any], parts: int) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema=SCHEMA)
    # A range of as many partitions as it has numbers: one for each.
    numbers = session.range(0, parts, 1, parts)
    table = numbers.mapInArrow(copy, _types.spark_schema(SCHEMA)).toArrow()
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)  # noqa: S101 - a table is never a column
    return found.cast(SCHEMA)
