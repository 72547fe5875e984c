"""What the driver calls: the source is made known to a session, and many districts are read."""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind
from polars_edfi.spark import _options
from polars_edfi.spark._job import Job
from polars_edfi.spark._source import DistrictsSource, EdFiDataSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession


#: What Spark has where nobody set how many executors there may be.
UNLIMITED = 2**31 - 1
#: The formats of this process.
OURS: set[str] = set()


def register(session: SparkSession, name: str = "edfi", **settings: Any) -> None:
    """Make a format known to a session, with what a client has to know.

    Parameters
    ----------
    session
        A SparkSession, classic or Connect.
    name
        The name of the format; one for each ODS where there are several.
    **settings
        Those of :class:`polars_edfi.EdFiClient`: ``base_url``, ``client_id``, ``client_secret``
        and so on. Every reading and writing of this format has them, unless an option of its own
        says something else. **Spark Connect writes the options of a query into its event log and
        UI**, so there secrets are taken here and nowhere else.

    Raises
    ------
    EdFiError
        ``session`` is none, or a setting is wrong.
    """
    if not hasattr(session, "dataSource"):
        msg = f"session must be a SparkSession, got {kind(session)}"
        raise EdFiError(msg)
    if not isinstance(name, str) or not name.isidentifier():
        msg = "name must be letters, digits and '_', as a format of Spark's has"
        raise EdFiError(msg)
    given = _options.said(settings, _options.CLIENT)
    EdFiClient(**given)
    # A class that is found in no module travels as a whole, with what is said in it.
    said = {
        "tasks": tasks_at_once(session),
        "filters": tells_filters(session),
        "short_name": name,
        "settings": given,
        "shows_options": shows_options(session),
    }
    source: Any = type("EdFi", (EdFiDataSource,), said)
    session.dataSource.register(source)
    _mark_streams(session, name)


def _mark_streams(session: SparkSession, name: str) -> None:
    """Have a stream of this format say that it is one.

    Spark asks a Python source for its columns without saying what they are for, and a stream has
    one more: the option ``stream`` tells. The class of readers is the session's, classic or
    Connect.
    """
    OURS.add(name.lower())
    reader: Any = type(session.readStream)
    plain = reader.format
    if getattr(plain, "marks_edfi", False):
        return

    @functools.wraps(plain)
    def marking(self: Any, source: str) -> Any:
        chosen = plain(self, source)
        is_ours = isinstance(source, str) and source.lower() in OURS
        return chosen.option("stream", "true") if is_ours else chosen

    marking.marks_edfi = True  # type: ignore[attr-defined]
    reader.format = marking


def read(
    session: SparkSession,
    districts: object,
    endpoint: str,
    *,
    key_col: str,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> DataFrame:
    """Read a resource of many districts, spread over the tasks of a cluster.

    Tokens and columns are asked for now, by the driver; the records by each action anew.

    Parameters
    ----------
    session
        A SparkSession.
    districts
        One row per district, as :func:`polars_edfi.scan_all` takes them: a Polars, pandas or Spark
        frame. Where it has ``oAuthKey`` and ``oAuthSecret`` and no options name others, these are
        what tokens are fetched with (from ``oauth/token``) and renewed by the tasks.
    endpoint
        The resource, such as ``"ed-fi/students"``.
    key_col
        What tells districts apart; the first column of the result.
    columns
        The only columns that are decoded; all by default. ``key_col`` comes in any case.
    **options
        Those of :func:`polars_edfi.scan_all` and of :class:`polars_edfi.EdFiClient`, and
        ``partitions`` (about so many; two for each task that can run at once by default) and
        ``tasks`` (how many can run at once, where the session does not tell). ``workers`` and
        ``max_rate`` are those of the whole job.

    Returns
    -------
    pyspark.sql.DataFrame
        ``key_col``, then the flattened records; with ``on_error="row"`` ``status``, ``message``,
        ``http_status`` and ``correlation_id`` stand between them.

    Raises
    ------
    EdFiError
        An argument is wrong, or a district has no token; the text names it. With
        ``on_error="row"`` such a district is a row.
    AuthError, HttpError
        A district does not answer as it should when its columns are asked for.
    """
    told = {"endpoint": endpoint, "columns": columns, **options}
    values = _options.said(told, _options.CLIENT, _options.READ, _options.JOB_READ)
    if "columns" in values:
        values["columns"] = list(values["columns"])
    job = Job(values, as_polars(districts), key_col, tasks_at_once(session))
    job.find_columns()
    name = f"edfi_{uuid.uuid4().hex}"
    said = {"planned": job, "short_name": name, "filters": tells_filters(session)}
    source: Any = type("Districts", (DistrictsSource,), said)
    session.dataSource.register(source)
    return session.read.format(name).load()


def tasks_at_once(session: SparkSession) -> int | None:
    """Give how many tasks a session can run at once, where it tells."""
    try:
        context = session.sparkContext
        now, conf = int(context.defaultParallelism), context.getConf()
    except Exception:  # noqa: BLE001 - a session of Spark Connect has no context, and says so its way
        return None
    if conf.get("spark.dynamicAllocation.enabled", "false") != "true":
        return now
    # It grows as soon as there is work. Without a limit there is no telling.
    executors = int(str(conf.get("spark.dynamicAllocation.maxExecutors", "0")))
    cores, cpus = conf.get("spark.executor.cores", "1"), conf.get("spark.task.cpus", "1")
    each = int(str(cores)) // int(str(cpus))
    return max(now, executors * each) if 0 < executors < UNLIMITED else None


def shows_options(session: SparkSession) -> bool:
    """Tell whether a session writes the options of a query where everybody reads them."""
    return ".connect." in type(session).__module__


def tells_filters(session: SparkSession) -> bool:
    """Tell whether a session tells Python sources of filters, as PySpark 4.1 can."""
    return bool(session.conf.get("spark.sql.python.filterPushdown.enabled", "false") == "true")


def as_polars(districts: object) -> pl.DataFrame:
    """Give a frame of districts, whosever it is."""
    if isinstance(districts, pl.LazyFrame):
        return districts.collect()
    if isinstance(districts, pl.DataFrame):
        return districts
    if hasattr(districts, "toArrow"):
        districts = districts.toArrow()
    try:
        frame = None if districts is None else pl.DataFrame(districts)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        frame = None
    if not isinstance(frame, pl.DataFrame):
        msg = f"districts must be a Polars, pandas or Spark frame, got {kind(districts)}"
        raise TypeError(msg)
    return frame
