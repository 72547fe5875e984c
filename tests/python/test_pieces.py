"""Collections in pieces for readers that do not know each other: none lost, none twice."""

import threading
from collections.abc import Callable
from random import Random

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from polars_edfi import _native
from polars_edfi._base import native_side

SCHEMA = {"id": pl.String, "n": pl.Int64}


def scan(ods: ScriptedOds, **options: object) -> _native.Scan:
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    options = {"limit": 10, "workers": 4, "schema": SCHEMA} | options
    return _native.Scan(native_side(client), None, endpoint="ed-fi/students", **options)


def pieces(planned: _native.Scan, number: int) -> list[str]:
    return [piece for _, _, piece, _ in planned.pieces(number) if piece is not None]


def read(planned: _native.Scan, piece: str) -> list[int]:
    return [n for page in planned.pages(["n"], None, [], None, piece) for n in page["n"]]


def record(n: int, etag: str | None = None) -> dict[str, object]:
    return {"id": f"{n:032x}", "n": n} | ({"_etag": etag} if etag else {})


def edit(ods: ScriptedOds, *numbers: int) -> None:
    """Changes records in their places."""
    for one in ods.records:
        if one["n"] in numbers:
            one["_etag"] += "'"


def move(ods: ScriptedOds, n: int, place: int) -> None:
    """Gives a record another key."""
    one = next(one for one in ods.records if one["n"] == n)
    ods.records.remove(one)
    ods.records.insert(place, one | {"_etag": one["_etag"] + "'"})


def read_around(
    ods: ScriptedOds, order: list[int], moment: str, change: Callable[[ScriptedOds], None]
) -> list[int]:
    """Read two pieces of 400 records, with a change before both or between them."""
    ods.records = [record(n, "1") for n in range(400)]
    planned = scan(ods)
    parts = pieces(planned, 2)
    if moment == "before":
        change(ods)
    found = read(planned, parts[order[0]])
    if moment == "between":
        change(ods)
    return found + read(planned, parts[order[1]])


def test_pieces_are_the_collection(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods(230)
    planned = scan(ods)
    parts = pieces(planned, 4)
    assert len(parts) == 4
    assert [n for part in parts for n in read(planned, part)] == list(range(230))
    # Too few to be divided.
    assert len(pieces(scan(make_ods(40)), 4)) == 1


def test_the_last_piece_has_no_end(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods(200)
    planned = scan(ods)
    parts = pieces(planned, 2)
    ods.records += [record(n) for n in range(200, 280)]
    assert read(planned, parts[1])[-1] == 279


def test_what_comes_and_goes_between_planning_and_reading_loses_nothing(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods(200)
    planned = scan(ods)
    parts = pieces(planned, 4)
    # Records go before each seam, the seams' own among them, and others come.
    gone = {0, 1, 2, 30, 48, 49, 50, 51, 99, 100, 101, 102, 149, 150}
    ods.records = [one for one in ods.records if one["n"] not in gone]
    for n, place in ((1001, 0), (1002, 20), (1003, 60), (1004, 120)):
        ods.records.insert(place, record(n))
    ods.records.append(record(1005))
    found = [n for part in parts for n in read(planned, part)]
    assert len(found) == len(set(found))
    assert set(found) >= set(range(200)) - gone
    assert 1005 in found


def test_seams_that_have_moved_by_pages_are_found(make_ods: Callable[..., ScriptedOds]) -> None:
    for moved in (
        lambda records: records[35:],
        lambda records: [record(n) for n in range(1000, 1035)] + records,
    ):
        ods = make_ods(400)
        planned = scan(ods)
        parts = pieces(planned, 3)
        ods.records = moved(ods.records)
        found = [n for part in parts[::-1] for n in read(planned, part)]
        assert sorted(found) == sorted(one["n"] for one in ods.records)


def test_pieces_in_any_order_lose_nothing_while_others_delete(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods(400)
    planned = scan(ods, workers=1)
    parts = pieces(planned, 4)
    lock = threading.Lock()
    asked = 0

    def delete_now_and_then(request: Request) -> Answer | None:
        nonlocal asked
        if request.path.endswith("/students"):
            with lock:
                asked += 1
                if asked % 3 == 0 and len(ods.records) > 250:
                    del ods.records[(asked * 7) % 100]
        return None

    ods.script = delete_now_and_then
    found = [n for part in parts[::-1] for n in read(planned, part)]
    assert {one["n"] for one in ods.records} <= set(found)
    assert len(found) == len(set(found))


def test_changed_records_of_a_seam_before_a_new_one_are_not_lost(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods([record(n, "1") for n in range(400)])
    planned = scan(ods, limit=20)
    parts = pieces(planned, 2)
    for one in ods.records[200:205]:
        one["_etag"] = "2"
    found = read(planned, parts[0])
    del ods.records[:6]
    # It stands at the begin of the page that is asked for, and hides that others stand before it.
    ods.records.insert(199, record(1000))
    found += read(planned, parts[1])
    assert len(found) == len(set(found))
    assert set(range(6, 400)) <= set(found)


def test_a_seam_that_is_gone_is_an_error_that_says_what_to_do(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods(400)
    planned = scan(ods)
    parts = pieces(planned, 2)
    # Where the second piece begins, fifty records are remembered, as far as a page has them.
    ods.records = [one for one in ods.records if not 200 <= one["n"] < 250]
    with pytest.raises(edfi.EdFiError, match='paging="cursor"'):
        read(planned, parts[1])


@pytest.mark.parametrize("place", [5, 120, 195, 230, 390])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("moment", ["before", "between"])
def test_a_record_of_a_seam_that_gets_another_key_moves_no_seam(
    make_ods: Callable[..., ScriptedOds], place: int, order: list[int], moment: str
) -> None:
    found = read_around(make_ods([]), order, moment, lambda ods: move(ods, 203, place))
    stayed = [n for n in found if n != 203]
    assert sorted(stayed) == [n for n in range(400) if n != 203]


@pytest.mark.parametrize("edited", [[200], [200, 201, 202], [201], [199, 200, 203]])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("moment", ["before", "between"])
def test_records_of_a_seam_that_are_edited_are_read_once(
    make_ods: Callable[..., ScriptedOds], edited: list[int], order: list[int], moment: str
) -> None:
    found = read_around(make_ods([]), order, moment, lambda ods: edit(ods, *edited))
    assert sorted(found) == list(range(400))


@pytest.mark.parametrize("seed", range(40))
def test_what_stays_and_keeps_its_key_is_in_one_piece(
    make_ods: Callable[..., ScriptedOds], seed: int
) -> None:
    random = Random(seed)
    ods = make_ods(0)
    ods.records = [record(n, "1") for n in range(400)]
    planned = scan(ods)
    parts = pieces(planned, 3)
    unsteady, added = set(), iter(range(1_000, 2_000))

    def change() -> None:
        for _ in range(random.randrange(12)):
            seam = random.choice([134, 268])
            one = random.choice(ods.records[max(seam - 12, 0) : seam + 20])
            match random.choice(["edit", "edit", "edit", "delete", "insert", "move", "shift"]):
                case "edit":
                    one["_etag"] += "'"
                case "delete":
                    unsteady.add(one["n"])
                    ods.records.remove(one)
                case "insert":
                    ods.records.insert(ods.records.index(one), record(next(added), "1"))
                case "move":
                    unsteady.add(one["n"])
                    move(ods, one["n"], random.randrange(len(ods.records)))
                case "shift":
                    unsteady.update(gone["n"] for gone in ods.records[:3])
                    del ods.records[:3]

    found = []
    for part in random.sample(parts, len(parts)):
        change()
        found += read(planned, part)
    steady = sorted(n for n in range(400) if n not in unsteady)
    assert sorted(n for n in found if n < 400 and n not in unsteady) == steady


def test_a_seam_whose_records_all_changed_is_an_error(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods(0)
    ods.records = [record(n, "1") for n in range(400)]
    planned = scan(ods)
    parts = pieces(planned, 2)
    edit(ods, *range(200, 250))
    with pytest.raises(edfi.EdFiError, match="gone or have changed"):
        read(planned, parts[1])
    with pytest.raises(edfi.EdFiError, match="gone or have changed"):
        read(planned, parts[0])


def test_etags_that_change_by_themselves_mark_seams_by_id(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods(0)
    ods.records = [record(n, "1") for n in range(400)]

    def change_all(request: Request) -> Answer | None:
        if request.path.endswith("/students"):
            for one in ods.records:
                one["_etag"] += "'"
        return None

    ods.script = change_all
    planned = scan(ods, workers=1)
    parts = pieces(planned, 3)
    assert len(parts) == 3
    assert [n for part in parts for n in read(planned, part)] == list(range(400))


def test_page_tokens_divide_where_there_are_any() -> None:
    with edfi.Sandbox(districts=["1"], records=300, page_limit=10) as ods:
        _, url, key, secret = ods.districts().row(0)
        client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        planned = _native.Scan(
            native_side(client),
            None,
            endpoint="ed-fi/studentAssessments",
            schema={"id": pl.String},
            limit=10,
        )
        parts = pieces(planned, 3)
        assert len(parts) == 3
        assert all("tokens" in part for part in parts)
        ids = [
            one
            for part in parts
            for page in planned.pages(["id"], None, [], None, part)
            for one in page["id"]
        ]
        assert len(ids) == len(set(ids)) == 300


@pytest.mark.parametrize("total", [2**63 - 1, 2**64 - 1, 2**64, -1])
def test_counts_beyond_all_records_lose_nothing(ods: ScriptedOds, total: int) -> None:
    ods.records = [record(n) for n in range(30)]

    def script(request: Request) -> Answer | None:
        answer = ods.page(request) if "limit" in request.query else None
        if answer is not None:
            answer.headers["Total-Count"] = str(total)
        return answer

    ods.script = script
    districts = pl.DataFrame(
        {"k": ["a", "b", "c"], "targetUrl": ods.url, "EdFi Token": "token"},
    )
    side = native_side(edfi.EdFiClient(api_version="v3"))
    options = {"endpoint": "ed-fi/students", "key_col": "k", "schema": SCHEMA, "limit": 10}
    found = _native.Scan(side, districts, **options).pieces(9)
    assert {row for row, *_ in found} == {0, 1, 2}
    assert all(piece is not None for _, _, piece, _ in found)


def test_districts_that_fail_say_why_in_their_place(make_ods: Callable[..., ScriptedOds]) -> None:
    ods, other = make_ods(5), make_ods(5)
    districts = pl.DataFrame(
        {
            "k": ["a", "b", "c"],
            "targetUrl": [ods.url, other.url, ods.url],
            "EdFi Token": ["token", "wrong", None],
        }
    )
    side = native_side(edfi.EdFiClient(api_version="v3"))
    options = {"endpoint": "ed-fi/students", "key_col": "k", "schema": SCHEMA}
    planned = _native.Scan(side, districts, on_error="row", **options)
    found = planned.pieces(4)
    assert [(row, failure and failure[0]) for row, _, _, failure in found] == [
        (0, None),
        (1, "auth error: HTTP 401"),
        (2, "missing 'EdFi Token'"),
    ]
    with pytest.raises(edfi.EdFiError, match="k b: auth error"):
        _native.Scan(side, districts.head(2), **options).pieces(4)
