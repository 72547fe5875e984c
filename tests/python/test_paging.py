"""Pages by token, against a server that is written down here and not the sandbox."""

from collections.abc import Callable
from typing import Literal

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
Paging = Literal["auto", "offset", "cursor"]

PATH = "/data/v3/ed-fi/studentAssessments"


class Tokens:
    """Tokens, and the page that each leads to: how many records, and the token of the next one.

    A token is ``"begin:end"`` with characters that a URL must escape. ``sizes`` are those of the
    pages, over and over again.
    """

    def __init__(self, ods: ScriptedOds, sizes: list[int], partitions: int | None = None) -> None:
        self.ods = ods
        self.sizes = sizes
        self.partitions = partitions
        self.pages = self.issued = 0

    def __call__(self, request: Request) -> Answer | None:
        records, query = self.ods.records, request.query
        if request.path == f"{PATH}/partitions":
            if self.partitions is None:
                return Answer(404, {"detail": "No such item."})
            step = -(-len(records) // self.partitions)
            starts = range(0, len(records), step)
            tokens = [self.token(at, min(at + step, len(records))) for at in starts]
            return Answer(200, {"pageTokens": tokens})
        if request.path != PATH:
            return None
        if "pageToken" not in query:
            assert "pageSize" not in query
            answer = self.ods.page(request)
            assert answer.status == 200
            answer.headers["Next-Page-Token"] = self.token(int(query["limit"]), len(records))
            return answer
        assert not {"offset", "limit", "totalCount"} & query.keys()
        begin, end, _ = (int(part) for part in query["pageToken"].strip("+/=& ").split(":"))
        size = min(self.sizes[self.pages % len(self.sizes)], int(query["pageSize"]), end - begin)
        self.pages += 1
        page = records[begin : begin + size]
        # One more page after the last record.
        headers = {} if begin == end else {"Next-Page-Token": self.token(begin + size, end)}
        return Answer(200, page, headers)

    def token(self, begin: int, end: int) -> str:
        self.issued += 1
        return f"+/{begin}:{end}:{self.issued}=&="


def read(ods: ScriptedOds, runner: edfi.EdFiClient, paging: Paging, **more: object) -> pl.DataFrame:
    arguments = {"limit": 3} | more
    return runner.batch_get_all(district(ods), key_col="District BK", paging=paging, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("paging", ["auto", "cursor"])
@pytest.mark.parametrize("sizes", [[3], [0, 1], [2, 0, 0, 3]])
@pytest.mark.parametrize("partitions", [None, 1, 4])
def test_a_walk_ends_where_no_token_comes(
    make_ods: MakeOds,
    runner: edfi.StudentAssessment,
    paging: Paging,
    sizes: list[int],
    partitions: int | None,
) -> None:
    ods = make_ods(40)
    ods.script = Tokens(ods, sizes, partitions)
    out = read(ods, runner, paging, params={"schoolId": 7, "x y": "a&b#c"}, min_change_version=2)
    assert out["status"].to_list() == [None] * 40
    assert out["n"].to_list() == list(range(40))
    for request in ods.paths():
        assert request.query["schoolId"] == "7"
        assert request.query["x y"] == "a&b#c"
        assert request.query["minChangeVersion"] == "2"
    # Parts of five pages at least.
    asked = [one.query["number"] for one in ods.paths() if one.path.endswith("/partitions")]
    assert asked == ["3"]


def test_without_a_token_auto_goes_by_offset(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(40)
    out = read(ods, runner, "auto")
    assert out["n"].to_list() == list(range(40))
    # Pages of three, each of which begins with the last record of the one before.
    assert len(ods.paths()) == 20
    assert {request.path for request in ods.paths()} == {PATH}


def test_offset_takes_no_notice_of_tokens(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(40)
    ods.script = Tokens(ods, [3], 4)
    assert read(ods, runner, "offset")["n"].to_list() == list(range(40))
    assert all("offset" in request.query for request in ods.paths())


def test_cursor_without_tokens_is_an_error_row(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(40)
    ods.script = lambda request: (
        Answer(200, [{"id": "1"}]) if request.path.endswith("/partitions") else None
    )
    out = read(ods, runner, "cursor")
    assert out["status"].to_list() == ["error"]
    assert "no page tokens" in out["message"][0]


def test_partitions_alone_are_enough_for_cursor(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(40)
    tokens = Tokens(ods, [2], 5)

    def script(request: Request) -> Answer | None:
        answer = tokens(request)
        if answer is not None and "offset" in request.query:
            del answer.headers["Next-Page-Token"]
        return answer

    ods.script = script
    assert read(ods, runner, "cursor")["n"].to_list() == list(range(40))


def test_a_token_that_comes_again_is_an_error(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(40)

    def script(request: Request) -> Answer:
        answer = ods.page(Request("GET", PATH, {"limit": "3", "offset": "0"}, {}, b""))
        answer.headers["Next-Page-Token"] = "b" if request.query.get("pageToken") == "a" else "a"
        return answer

    ods.script = script
    out = read(ods, runner, "auto")
    assert out["status"].to_list() == ["error"]
    assert "came before" in out["message"][0]
    assert len(ods.paths()) < 5


def test_smaller_pages_by_token(make_ods: MakeOds, runner: edfi.StudentAssessment) -> None:
    ods = make_ods(40)
    tokens = Tokens(ods, [3])

    def script(request: Request) -> Answer | None:
        if int(request.query.get("pageSize", 0)) > 2:
            return Answer(400, {"errors": ["Page size must be a value between 0 and 2."]})
        return tokens(request)

    ods.script = script
    assert read(ods, runner, "auto")["n"].to_list() == list(range(40))


def test_a_count_that_went_down_is_no_error(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(40)
    tokens = Tokens(ods, [3], 4)

    def script(request: Request) -> Answer | None:
        answer = tokens(request)
        if request.query.get("offset") == "0" and request.query["limit"] != "0":
            # A record that is deleted before its page is read.
            ods.records = ods.records[:39]
        return answer

    ods.script = script
    assert read(ods, runner, "auto").height == 39
    assert [one.query["limit"] for one in ods.paths() if "limit" in one.query] == ["3", "0"]


def test_a_word_that_is_no_paging_raises(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    with pytest.raises(edfi.EdFiError, match="paging must be one of"):
        read(ods, runner, "token")  # type: ignore[arg-type]
    assert ods.requests == []


@pytest.mark.parametrize("odd", [None, 17, ""])
def test_a_record_without_an_id_stands_among_others(ods: ScriptedOds, odd: object) -> None:
    ods.records = [{"id": f"{n:032x}", "_etag": str(n), "n": n} for n in range(40)]
    ods.records[17]["id"] = odd
    client = edfi.Resource(
        "ed-fi/students", base_url=ods.url, api_version="v3", bearer_token="token"
    )
    read = client.get_all(key="a", schema="infer", limit=7, workers=3)
    assert read["message"] is None
    assert read["data"]["n"].to_list() == list(range(40))
    scan = edfi.scan("ed-fi/students", client=client, schema={"n": pl.Int64}, limit=7)
    assert scan.collect()["n"].to_list() == list(range(40))
