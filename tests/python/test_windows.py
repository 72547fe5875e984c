"""Reading by windows of change versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
ENDPOINT = "ed-fi/students"
SCHEMA = {"id": pl.String, "n": pl.Int64}
VERSIONS = "availableChangeVersions"


class Versioned:
    """An ODS before 7.3 whose records have change versions, of which it does not tell."""

    def __init__(self, ods: ScriptedOds, versions: list[int], *, newest: int | None = None) -> None:
        self.ods = ods
        self.records = [{"id": f"{n:032x}", "n": n} for n in range(len(versions))]
        self.versions = versions
        self.newest = max(versions, default=0) if newest is None else newest
        self.before: Callable[[int], None] = lambda _: None
        self.pages = 0
        self.change_queries = True
        self.looks_at_versions = True
        ods.script = self.answer

    def answer(self, request: Request) -> Answer | None:
        if request.path.endswith(VERSIONS):
            if not self.change_queries:
                return Answer(404)
            return Answer(200, {"oldestChangeVersion": 0, "newestChangeVersion": self.newest})
        if "offset" not in request.query:
            return None
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        self.pages += limit > 0
        self.before(self.pages)
        low = int(request.query.get("minChangeVersion", "0"))
        high = int(request.query.get("maxChangeVersion", "9" * 15))
        there = [
            record
            for record, version in zip(self.records, self.versions, strict=True)
            if low <= version <= high or not self.looks_at_versions
        ]
        headers = {"Total-Count": str(len(there))} if "totalCount" in request.query else {}
        return Answer(200, there[offset : offset + limit], headers)

    def offsets(self) -> list[int]:
        return [int(one.query["offset"]) for one in self.ods.paths() if "offset" in one.query]


def read(ods: ScriptedOds, how: str, **options: Any) -> pl.DataFrame:
    options = {"schema": SCHEMA, "limit": 5, "paging": "windows", "workers": 3} | options
    client = edfi.Resource(
        ENDPOINT, base_url=ods.url, api_version="v3", bearer_token="token", max_retries=0
    )
    if how == "scan":
        return edfi.scan(ENDPOINT, client=client, **options).collect()
    if how == "get_all":
        result = client.get_all(key="k", **options)
        if result["status"] is not None:
            raise edfi.HttpError(result["message"])
        assert result["data"] is not None
        return result["data"]
    out = client.batch_get_all(district(ods), key_col="District BK", **options)
    if "error" in out["status"]:
        raise edfi.HttpError(out["message"][0])
    return out


READERS = ["get_all", "batch_get_all", "scan"]
#: Windows hold 100 pages at most: here 500 records.
SPREADS: dict[str, list[int]] = {
    "even": list(range(1, 2201)),
    "sparse": [n**3 for n in range(2200)],
    "migrated": [7] * 2200,
    "migrated in part": [7] * 1500 + list(range(1000, 1700)),
}


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("spread", SPREADS)
def test_windows_give_each_record_once(make_ods: MakeOds, how: str, spread: str) -> None:
    ods = make_ods()
    server = Versioned(ods, SPREADS[spread])
    out = read(ods, how)
    assert sorted(out["n"]) == list(range(2200))
    deepest = {"even": 500, "sparse": 500, "migrated": 2200, "migrated in part": 1500}[spread]
    assert max(server.offsets()) <= deepest


@pytest.mark.parametrize("how", READERS)
def test_what_changes_meanwhile_is_read_once_more(make_ods: MakeOds, how: str) -> None:
    ods = make_ods()
    server = Versioned(ods, list(range(1, 1601)))

    def edit(page: int) -> None:
        # The last record leaves its window before that is read; one that was read comes again.
        moved = {40: 1599, 300: 3}.get(page)
        if moved is not None:
            server.newest += 1
            server.versions[moved] = server.newest
            server.records[moved] = server.records[moved] | {"n": -moved}

    server.before = edit
    out = read(ods, how, workers=1)
    assert out["id"].n_unique() == out.height == 1600
    assert -1599 in out["n"]
    if how != "scan":
        assert -3 in out["n"]


@pytest.mark.parametrize("how", READERS)
def test_a_late_commit_is_not_lost(make_ods: MakeOds, how: str) -> None:
    ods = make_ods()
    server = Versioned(ods, list(range(1, 1601)), newest=1610)

    def commit(page: int) -> None:
        if page == 330:
            server.versions[1599] = 1605

    server.before = commit
    # It moves between windows of which the one it goes to was read before.
    out = read(ods, how, workers=1)
    assert out["id"].n_unique() == out.height == 1600


@pytest.mark.parametrize("how", READERS)
def test_a_late_commit_does_not_hide_behind_others(make_ods: MakeOds, how: str) -> None:
    ods = make_ods()
    versions = [*range(1, 481), *range(4000, 4480), *range(8990, 8995)]
    server = Versioned(ods, versions, newest=9000)
    stay = set(range(len(versions)))
    moved = []

    def script(request: Request) -> Answer | None:
        answer = server.answer(request)
        in_last = int(request.query.get("minChangeVersion", "0")) > 4500
        if in_last and request.query["limit"] != "0" and not moved:
            # The last window is read: now the last record of the first one goes there, and as many
            # others are committed as go by that. The newest version stays.
            moved.append(True)
            server.versions[479] = 8999
            for at, version in ((470, 8998), (950, 4300)):
                server.records.insert(at, {"id": f"late{at}", "n": -1})
                server.versions.insert(at, version)
        return answer

    ods.script = script
    out = read(ods, how, workers=8)
    assert moved
    assert stay <= set(out["n"])


@pytest.mark.parametrize("how", READERS)
def test_a_window_of_the_caller_in_a_busy_ods(make_ods: MakeOds, how: str) -> None:
    ods = make_ods()
    server = Versioned(ods, list(range(1, 4001)))

    def script(request: Request) -> Answer | None:
        server.newest += 1
        low, high = (request.query.get(f"{name}ChangeVersion") for name in ("min", "max"))
        if low is not None and high is not None and int(low) > int(high):
            return Answer(400, {"detail": "minChangeVersion is greater than maxChangeVersion."})
        return server.answer(request)

    ods.script = script
    out = read(ods, how, min_change_version=101, max_change_version=2000)
    assert sorted(out["n"]) == list(range(100, 2000))


def test_records_that_come_and_go(make_ods: MakeOds) -> None:
    for how in READERS:
        ods = make_ods()
        server = Versioned(ods, list(range(1, 1601)))

        def move(page: int, server: Versioned = server) -> None:
            if page % 20 == 0:
                del server.records[page], server.versions[page]
            if page % 30 == 0:
                server.newest += 1
                server.records.insert(5, {"id": f"new{page}", "n": -page})
                server.versions.insert(5, server.newest)

        before = {record["id"] for record in server.records}
        server.before = move
        out = read(ods, how)
        stayed = before & {record["id"] for record in server.records}
        assert stayed <= set(out["id"])
        assert out["id"].n_unique() == out.height


def test_a_window_of_the_caller_is_divided(make_ods: MakeOds) -> None:
    ods = make_ods()
    server = Versioned(ods, list(range(1, 3001)))
    for how in READERS:
        out = read(ods, how, min_change_version=101, max_change_version=2000)
        assert sorted(out["n"]) == list(range(100, 2000))
    assert max(server.offsets()) <= 500


def test_a_server_without_change_queries(make_ods: MakeOds) -> None:
    ods = make_ods()
    server = Versioned(ods, list(range(1, 1201)))
    server.change_queries = False
    for how in READERS:
        with pytest.raises(edfi.HttpError, match='paging="windows" needs change queries'):
            read(ods, how)
    # A small collection needs none.
    assert read(ods, "get_all", limit=500).height == 1200


@pytest.mark.parametrize("how", READERS)
def test_a_server_that_does_not_look_at_versions(make_ods: MakeOds, how: str) -> None:
    ods = make_ods()
    server = Versioned(ods, list(range(1, 1201)))
    server.looks_at_versions = False
    assert read(ods, how)["n"].to_list() == list(range(1200))
    assert len(server.offsets()) < 320


def test_only_large_collections_are_read_so_unasked(make_ods: MakeOds) -> None:
    ods = make_ods()
    server = Versioned(ods, [1] * 1200)
    assert read(ods, "get_all", paging="auto").height == 1200
    assert not any(request.path.endswith(VERSIONS) for request in ods.requests)
    ods = make_ods()
    server = Versioned(ods, [n // 2 for n in range(100_100)])
    out = read(ods, "get_all", paging="auto", limit=500, workers=8)
    assert out["n"].n_unique() == out.height == 100_100
    assert max(server.offsets()) <= 50_000
    assert len(server.offsets()) < 220


def test_the_head_of_a_scan_has_no_windows(make_ods: MakeOds) -> None:
    ods = make_ods()
    Versioned(ods, list(range(1, 1201)))
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    lf = edfi.scan(ENDPOINT, client=client, schema=SCHEMA, limit=5, paging="windows")
    assert lf.head(12).collect()["n"].to_list() == list(range(12))
    assert len(ods.requests) == 3
