"""Who takes part, in which jobs, and under which conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Records on each server; rows that are posted and read by id.
RECORDS, ROWS = 40_000, 5_000


@dataclass(frozen=True)
class Contestant:
    """A way to do the jobs; what is slow does fewer rounds, and fewer requests where it may."""

    name: str
    label: str
    jobs: tuple[str, ...] = ("get_all", "post", "get_by_id", "tokens")
    pace: str = "fast"


OURS, NATIVE, LIMIT = "batches", "native", "limit"
RUNNER, API_CLIENT, COROUTINES = "row_dicts", "api_client", "coroutines"
CONTESTANTS = [
    Contestant(OURS, "polars-edfi, Python batches"),
    Contestant(NATIVE, "polars-edfi, Rust"),
    Contestant("expression", "polars-edfi, expression", ("post", "get_by_id")),
    Contestant("scan", "polars-edfi, scan", ("get_all",)),
    Contestant(COROUTINES, "aiohttp + orjson + polars", pace="medium"),
    Contestant(RUNNER, "tha-edfi-runner", pace="slow"),
    Contestant(API_CLIENT, "edfi-api-client", pace="one at a time"),
    Contestant(LIMIT, "raw loop, answers dropped"),
]


@dataclass(frozen=True)
class Cell:
    """One set of conditions. The main one of a job is measured more often, with all requests."""

    latency: int
    workers: int
    main: bool = False
    #: For ``get_all``: districts, each with a ``parts``th part of all records, in pages.
    districts: int = 1
    parts: int = 1
    limit: int = 500
    #: For the others: requests, by the pace of a contestant.
    count: int = 0
    slow: int = 0
    one_at_a_time: int = 0

    def requests(self, contestant: Contestant) -> int:
        """Say how many rows a contestant takes."""
        fewer = {"slow": self.slow, "one at a time": self.one_at_a_time}
        return fewer.get(contestant.pace) or self.count

    @property
    def common(self) -> int:
        """Say how many rows all contestants take."""
        return min(self.requests(contestant) for contestant in CONTESTANTS)

    @property
    def rounds(self) -> int:
        """Say how often the fast ones are measured."""
        return 7 if self.main and not self.latency else 3


@dataclass(frozen=True)
class Job:
    """What is done under several conditions, and becomes one table."""

    name: str
    title: str
    unit: str
    cells: tuple[Cell, ...]

    def quick(self) -> Job:
        """Leave what matters most."""
        return replace(self, cells=tuple(cell for cell in self.cells if cell.main))


def eighth(latency: int, workers: int, districts: int = 8) -> Cell:
    """Read an eighth of the records in as many pages as all of them have."""
    return Cell(latency, workers, districts=districts, parts=districts * 8, limit=63)


def small(latency: int, workers: int, count: int = ROWS, *, main: bool = False) -> Cell:
    """Send small requests; at a distance slow ones send as many as they can in some 5 seconds."""
    fewer = {"slow": count if main else 1_000, "one_at_a_time": count if main else 1_000}
    if latency:
        fewer = {"slow": min(count, 1_600), "one_at_a_time": min(count, 200)}
    return Cell(latency, workers, main=main, count=count, **fewer)


DISTRICTS = Job(
    "get_all",
    "get_all, 8 districts",
    "records/s",
    (
        Cell(0, 8, main=True, districts=8, parts=8),
        eighth(0, 1),
        eighth(0, 32),
        eighth(20, 1),
        eighth(20, 8),
        eighth(20, 32),
    ),
)
DISTRICT = Job(
    "get_all",
    "get_all, one large district",
    "records/s",
    (Cell(0, 8, main=True), eighth(20, 8, districts=1), eighth(20, 32, districts=1)),
)
POSTS = Job(
    "post",
    "posts",
    "requests/s",
    (
        small(0, 16, main=True),
        small(0, 1),
        small(0, 8),
        small(0, 32),
        small(20, 1, 60),
        small(20, 8, 480),
        small(20, 32, main=True),
    ),
)
BY_ID = Job(
    "get_by_id",
    "get by id, with columns",
    "requests/s",
    (
        small(0, 16, main=True),
        small(0, 1),
        small(0, 32),
        small(20, 8, 480),
        small(20, 32),
    ),
)
TOKENS = Job(
    "tokens",
    "tokens of 200 accounts",
    "requests/s",
    (
        Cell(0, 8, main=True, count=200),
        Cell(0, 1, count=200),
        Cell(20, 1, count=50),
        Cell(20, 8, count=200, one_at_a_time=50),
        Cell(20, 32, count=200, one_at_a_time=50),
    ),
)
JOBS = [DISTRICTS, DISTRICT, POSTS, BY_ID, TOKENS]
#: All records ten times, as eighty districts: what ten times the records take.
TENFOLD = Cell(0, 8, main=True, districts=80, parts=8)
