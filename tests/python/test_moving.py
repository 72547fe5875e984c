"""Collections that move while they are read, and counts that lie: whole, or an error."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
ENDPOINT = "ed-fi/studentAssessments"
SCHEMA = {"id": pl.String, "n": pl.Int64}
READERS = ["get_all", "batch_get_all", "scan"]


def client_of(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.Resource(
        ENDPOINT, base_url=ods.url, api_version="v3", bearer_token="token", max_retries=0
    )


def read(ods: ScriptedOds, how: str, **options: Any) -> pl.DataFrame:
    """Read everything; an error is raised whatever the face."""
    options = {"schema": SCHEMA, "limit": 25, "paging": "offset", "workers": 1} | options
    if how == "scan":
        return edfi.scan(ENDPOINT, client=client_of(ods), **options).collect()
    if how == "get_all":
        result = client_of(ods).get_all(key="k", **options)
        if result["status"] is not None:
            raise edfi.HttpError(result["message"])
        assert result["data"] is not None
        return result["data"]
    out = client_of(ods).batch_get_all(district(ods), key_col="District BK", **options)
    if "error" in out["status"]:
        raise edfi.HttpError(out["message"][0])
    return out


def before_request(
    ods: ScriptedOds, number: int, change: Callable[[list[dict[str, Any]]], object]
) -> None:
    """Change the records before the n-th page is served."""
    served = [0]

    def script(request: Request) -> Answer | None:
        if "offset" in request.query:
            served[0] += 1
            if served[0] == number:
                change(ods.records)
        return None

    ods.script = script


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("gone", [0, 3, 24])
@pytest.mark.parametrize("page", [2, 3, 5])
def test_a_record_deleted_while_pages_are_read(
    make_ods: MakeOds, how: str, gone: int, page: int
) -> None:
    ods = make_ods(120)
    stay = {record["id"] for number, record in enumerate(ods.records) if number != gone}
    before_request(ods, page, lambda records: records.pop(gone))
    out = read(ods, how)
    assert stay <= set(out["id"])
    assert out["id"].n_unique() == out.height
    # The seam is mended with the pages about it.
    assert len(ods.paths()) <= 7


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("workers", [1, 4])
def test_many_deleted_at_once(make_ods: MakeOds, how: str, workers: int) -> None:
    ods = make_ods(400)
    stay = {record["id"] for record in ods.records[80:]}

    def shrink(records: list[dict[str, Any]]) -> None:
        del records[:80]

    before_request(ods, 6, shrink)
    out = read(ods, how, workers=workers)
    assert stay <= set(out["id"])
    assert out["id"].n_unique() == out.height


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("late", [24, 48, 72, 96])
def test_pages_that_come_from_before_a_burst_of_deletes(
    make_ods: MakeOds, how: str, late: int
) -> None:
    """One page is served after the deletes, those around it before."""
    ods = make_ods(400)
    stay = {record["id"] for record in ods.records[80:]}
    before, asked, others = ods.records, threading.Event(), threading.Semaphore(0)
    ods.one_at_a_time = False

    def script(request: Request) -> Answer | None:
        offset = int(request.query["offset"])
        if offset > 96 or asked.is_set():
            return None
        if offset == late:
            # By then all others that go side by side have their answers.
            for _ in range(3):
                others.acquire(timeout=10)
            ods.records = before[80:]
            asked.set()
        elif offset:
            others.release()
            return Answer(200, before[offset : offset + 25], {"Total-Count": "400"})
        return None

    ods.script = script
    out = read(ods, how, workers=4)
    assert stay <= set(out["id"])
    assert out["id"].n_unique() == out.height


@pytest.mark.parametrize("how", READERS)
def test_inserts_and_edits_come_once(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(120)
    stay = {record["id"] for record in ods.records}

    def grow(records: list[dict[str, Any]]) -> None:
        new = [{"id": f"new{n}", "n": -n} for n in range(30)]
        records[:0] = new
        records[54] = records[54] | {"n": 10_000}

    before_request(ods, 2, grow)
    out = read(ods, how)
    assert stay <= set(out["id"])
    assert out["id"].n_unique() == out.height


@pytest.mark.parametrize("how", ["get_all", "batch_get_all"])
def test_of_a_record_that_comes_twice_the_later_is_kept(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(60)

    def edit(records: list[dict[str, Any]]) -> None:
        # The last record of page 1, which is the first of page 2.
        records[24] = records[24] | {"n": 10_000}

    before_request(ods, 2, edit)
    out = read(ods, how)
    assert out.height == 60
    assert out["n"].to_list() == [*range(24), 10_000, *range(25, 60)]


@pytest.mark.parametrize("how", READERS)
def test_a_record_whose_key_changed_is_no_seam(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(120)
    for record in ods.records:
        record["_etag"] = "1"
    stay = {record["id"] for record in ods.records[3:]}

    def rename(records: list[dict[str, Any]]) -> None:
        moved = records.pop(10)
        records.insert(40, moved | {"_etag": "2"})
        del records[:3]

    before_request(ods, 2, rename)
    out = read(ods, how)
    assert stay <= set(out["id"])
    assert out["id"].n_unique() == out.height


@pytest.mark.parametrize("how", READERS)
def test_etags_that_say_nothing(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(120)

    def script(_: Request) -> Answer | None:
        for record in ods.records:
            record["_etag"] = str(random.random())
        return None

    ods.script = script
    out = read(ods, how)
    assert out["id"].to_list() == [record["id"] for record in ods.records]
    assert len(ods.paths()) <= 7


@pytest.mark.parametrize("how", READERS)
def test_a_collection_that_moves_too_fast_is_an_error(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(4_000)

    def script(request: Request) -> Answer | None:
        if "offset" in request.query:
            del ods.records[:40]
        return None

    ods.script = script
    with pytest.raises(edfi.HttpError, match=r"changes faster .* paging=\"cursor\".* snapshot"):
        read(ods, how)
    pages = -(-4_000 // 24)
    assert len(ods.paths()) < 5 * pages


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize(
    ("cap", "total"),
    [(500, lambda _: "1000"), (50, lambda _: None), (97, lambda _: None), (50, str)],
    ids=["capped count", "silent cap", "short pages", "silent cap with a count"],
)
def test_counts_that_lie_cost_no_record(
    make_ods: MakeOds, how: str, cap: int, total: Callable[[int], str | None]
) -> None:
    ods = make_ods(1_230)

    def script(request: Request) -> Answer | None:
        if "offset" not in request.query:
            return None
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        count = total(len(ods.records))
        asked = request.query.get("totalCount") == "true"
        headers = {"Total-Count": count} if count and asked else {}
        return Answer(200, ods.records[offset : offset + min(limit, cap)], headers)

    ods.script = script
    out = read(ods, how, limit=100 if cap == 97 else 500, workers=4)
    assert out["n"].to_list() == list(range(1_230))


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("total", ["18446744073709551615", "1000000000000", "4294967295", "5e9"])
def test_no_number_of_a_server_sizes_the_work(make_ods: MakeOds, how: str, total: str) -> None:
    ods = make_ods(23)

    def script(request: Request) -> Answer | None:
        if "offset" not in request.query:
            return None
        answer = ods.page(request)
        answer.headers["Total-Count"] = total
        return answer

    ods.script = script
    if total == "5e9":
        assert read(ods, how, workers=8).height == 23
    else:
        with pytest.raises(
            edfi.HttpError, match=f"23 records came where the server counts {total}"
        ):
            read(ods, how, workers=8)
    assert len(ods.paths()) < 12


@pytest.mark.parametrize("how", READERS)
def test_a_count_of_nothing_beside_a_full_page(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(23)

    def script(request: Request) -> Answer | None:
        if "offset" not in request.query:
            return None
        answer = ods.page(request)
        answer.headers["Total-Count"] = "0"
        return answer

    ods.script = script
    assert read(ods, how, limit=5)["n"].to_list() == list(range(23))


@pytest.mark.parametrize("how", ["get_all", "batch_get_all"])
def test_a_district_does_not_vanish(make_ods: MakeOds, how: str) -> None:
    ods = make_ods(23)
    ods.records = ods.records[:10]
    firsts = [0]

    def script(request: Request) -> Answer | None:
        if "offset" not in request.query:
            return None
        firsts[0] += request.query["offset"] == "0"
        if firsts[0] > 1:
            return Answer(200, [])
        answer = ods.page(request)
        answer.headers["Total-Count"] = "23"
        return answer

    ods.script = script
    with pytest.raises(edfi.HttpError, match="0 records came where the server counts 23"):
        read(ods, how)


def test_a_scan_counts_different_records(make_ods: MakeOds) -> None:
    ods = make_ods(23)

    def script(request: Request) -> Answer | None:
        if "offset" not in request.query:
            return None
        answer = ods.page(request)
        # The second page is the first once more.
        if request.query["offset"] == "4":
            answer.body = ods.records[:5]
        return answer

    ods.script = script
    with pytest.raises(edfi.HttpError):
        read(ods, "scan", limit=5)


@pytest.mark.parametrize("records", [1, 499, 500, 501, 1_200, 3_000])
@pytest.mark.parametrize("how", READERS)
def test_a_quiet_collection_costs_a_page_in_500_more(
    make_ods: MakeOds, how: str, records: int
) -> None:
    ods = make_ods(records)
    assert read(ods, how, limit=500, workers=4).height == records
    assert len(ods.paths()) <= -(-records // 500) + 1


@pytest.mark.parametrize("kind", ["deletes", "key_changes"])
def test_deletes_and_key_changes_that_move(make_ods: MakeOds, kind: str) -> None:
    ods = make_ods(120)
    for version, record in enumerate(ods.records):
        record["changeVersion"] = version
    stay = {record["id"] for record in ods.records[1:]}
    before_request(ods, 2, lambda records: records.pop(0))
    call = getattr(client_of(ods), kind)
    out = call(ENDPOINT, limit=25, workers=1)
    assert stay <= set(out["id"])
    assert out["id"].n_unique() == out.height


@pytest.mark.parametrize("columns", [["n"], ["s"], [], ["id"]])
@pytest.mark.parametrize("named", [True, False])
def test_a_scan_of_some_columns_knows_its_records(
    make_ods: MakeOds, columns: list[str], named: bool
) -> None:
    records = [{"id": f"{n}"} | {"n": n, "s": "same"} for n in range(120)]
    ods = make_ods([{k: v for k, v in one.items() if named or k != "id"} for one in records])
    before_request(ods, 2, lambda records: records.pop(3))
    schema = {"id": pl.String, "n": pl.Int64, "s": pl.String}
    lf = edfi.scan(ENDPOINT, client=client_of(ods), schema=schema, limit=25, workers=1)
    out = lf.with_row_index("row").select("row", *columns).collect()
    assert out.height == 120
    if columns == ["n"]:
        assert out["n"].to_list() == list(range(120))


def test_records_without_an_id(make_ods: MakeOds) -> None:
    ods = make_ods([{"n": n // 2, "s": "x" * (n % 3)} for n in range(60)])
    for how in READERS:
        options = {"schema": {"n": pl.Int64, "s": pl.String}}
        assert read(ods, how, limit=7, **options)["n"].to_list() == [n // 2 for n in range(60)]
    # Equal ones count each for itself.
    ods.records = [{"n": 1}] * 30
    for how in READERS:
        assert read(ods, how, limit=7, schema={"n": pl.Int64}).height == 30


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("inserted", [1, 30, 80])
def test_what_comes_before_records_without_an_id_doubles_none(
    make_ods: MakeOds, how: str, inserted: int
) -> None:
    ods = make_ods([{"n": n} for n in range(200)])

    def grow(records: list[dict[str, Any]]) -> None:
        records[:0] = [{"n": -1 - n} for n in range(inserted)]

    before_request(ods, 3, grow)
    out = read(ods, how, schema={"n": pl.Int64})
    assert out["n"].is_unique().all()
    assert set(range(200)) <= set(out["n"])


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOAK", "0")) * 400 or 12))
def test_random_schedules(make_ods: MakeOds, seed: int) -> None:
    rng = random.Random(seed)
    ods = make_ods(rng.randrange(1, 300))
    named = rng.random() < 0.7
    counts = rng.choice(["right", "absent", "capped", "high"])

    def script(request: Request) -> Answer | None:
        if "offset" not in request.query:
            return None
        if rng.random() < 0.4:
            for _ in range(rng.randrange(3)):
                records, at = ods.records, rng.randrange(len(ods.records) + 1)
                if rng.random() < 0.5 and at < len(records):
                    alive.discard(records.pop(at)["n"])
                else:
                    number = -rng.randrange(1, 1 << 60)
                    records.insert(at, {"id": f"{number}", "n": number})
        answer = ods.page(request)
        if not named and isinstance(answer.body, list):
            answer.body = [{"n": record["n"]} for record in answer.body]
        count = int(answer.headers.pop("Total-Count", "-1"))
        if count >= 0 and counts != "absent":
            shown = {"right": count, "capped": min(count, 40), "high": count + 2}[counts]
            answer.headers["Total-Count"] = str(shown)
        return answer

    ods.script = script
    for how in READERS:
        alive = {record["n"] for record in ods.records}
        try:
            out = read(ods, how, limit=rng.choice([5, 20, 100]), workers=rng.choice([1, 4]))
        except edfi.HttpError:
            continue
        assert alive <= set(out["n"]), f"seed {seed}, {how}, {counts}"
        assert out["n"].n_unique() == out.height, f"seed {seed}, {how}, {counts}"


@pytest.mark.parametrize("late", [1, 5, 40])
@pytest.mark.parametrize("overlap", [0, 50])
def test_a_late_commit_is_in_a_window_that_overlaps(
    make_ods: MakeOds, late: int, overlap: int
) -> None:
    """A write takes its version at once, and is committed when the newest is higher already."""
    ods = make_ods(100)
    versions = {record["id"]: n + 1 for n, record in enumerate(ods.records)}
    newest = [100]

    def script(request: Request) -> Answer | None:
        if request.path.endswith("availableChangeVersions"):
            return Answer(200, {"oldestChangeVersion": 0, "newestChangeVersion": newest[0]})
        if "offset" not in request.query:
            return None
        if not request.path.endswith(ENDPOINT):
            return Answer(200, [], {"Total-Count": "0"})
        low = int(request.query.get("minChangeVersion", "0"))
        high = int(request.query.get("maxChangeVersion", "1000000"))
        records = [one for one in ods.records if low <= versions[one["id"]] <= high]
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        page = records[offset : offset + limit]
        return Answer(200, page, {"Total-Count": str(len(records))})

    ods.script = script
    client = client_of(ods)
    options: dict[str, Any] = {"overlap": overlap, "schema": SCHEMA, "limit": 25}
    begun = newest[0] + 1
    newest[0] += late
    first = client.changes(ENDPOINT, since=begun, **options)
    # Now it is committed: an edit of a record that has been there all the time.
    moved = ods.records[3]["id"]
    versions[moved] = begun
    told = set(first.records["id"])
    second = client.changes(ENDPOINT, since=first.next_version, **options)
    told |= set(second.records["id"])
    assert (moved in told) == (overlap > 0)
