"""Change queries: against the sandbox, and against answers that are written down here."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
RESULTS = "ed-fi/studentAssessments"
FIXED = {"id": pl.String, "changeVersion": pl.Int64}
DATA = f"/data/v3/{RESULTS}"


@pytest.fixture
def sandboxed() -> Iterator[edfi.EdFiClient]:
    with edfi.Sandbox(records=20, seed=77) as ods:
        _, url, key, secret = ods.districts().row(0)
        yield edfi.Resource(RESULTS, base_url=url, client_id=key, client_secret=secret)


def client_of(ods: ScriptedOds, **settings: str) -> edfi.EdFiClient:
    settings = {"api_version": "v3"} | settings
    return edfi.StudentAssessment(base_url=ods.url, bearer_token="token", max_retries=0, **settings)  # type: ignore[arg-type]


def tracked(
    ods: ScriptedOds, newest: object = 9, oldest: object = 0, **lists: list[dict[str, object]]
) -> Callable[[Request], Answer | None]:
    """Change versions, and what was deleted or renamed."""

    def script(request: Request) -> Answer | None:
        last = request.path.rpartition("/")[2]
        if last == "availableChangeVersions":
            body = {"oldestChangeVersion": oldest, "newestChangeVersion": newest}
            return Answer(200, body)
        if last in {"deletes", "keyChanges"}:
            if last not in lists:
                return Answer(404, {"detail": "No such thing."})
            offset, limit = int(request.query["offset"]), int(request.query["limit"])
            page = lists[last][offset : offset + limit]
            headers = {"Total-Count": str(len(lists[last]))} if ods.total_count else {}
            return Answer(200, page, headers)
        return None

    return script


def test_a_window_after_another(sandboxed: edfi.EdFiClient) -> None:
    versions = sandboxed.available_change_versions()
    first = sandboxed.changes(RESULTS)
    assert isinstance(first, edfi.Changes)
    assert first.next_version == versions["newest"] + 1
    assert first.records.height == 20
    assert first.deletes.schema.items() >= FIXED.items()
    assert first.key_changes.schema.items() >= FIXED.items()

    gone, again = first.records["id"].to_list()[:2]
    payload = sandboxed.get_by_id(again)["data"]
    assert payload is not None
    for name in ("id", "_etag", "_lastModifiedDate"):
        del payload[name]
    for one in (gone, again):
        assert sandboxed.delete_by_id(one, key="k", commit=True)["status"] == "deleted"
    assert sandboxed.post_payload(json.dumps(payload), key="k", commit=True)["status"] is None
    then = sandboxed.changes(RESULTS, since=first.next_version, overlap=0)
    # What is made again has a new id, and its old delete is hidden.
    name = "studentAssessmentIdentifier"
    assert then.records[name].to_list() == [payload[name]]
    assert then.records["id"].to_list() != [again]
    assert then.deletes["id"].to_list() == [gone]
    assert then.key_changes.height == 0
    assert then.next_version == first.next_version + 3

    every = sandboxed.deletes(RESULTS, min_change_version=first.next_version)
    assert every["id"].to_list() == [gone]
    assert every.schema.items() >= FIXED.items()
    assert all(name.startswith("keyValues.") for name in every.columns[2:])

    idle = sandboxed.changes(RESULTS, since=then.next_version, schema={"id": pl.String}, overlap=0)
    assert idle.records.schema == {"id": pl.String, "_unknown": pl.String}
    assert idle.deletes.schema.items() >= FIXED.items()
    assert idle.next_version == then.next_version


def test_capitals_before_release_6(ods: ScriptedOds) -> None:
    ods.script = lambda _: Answer(200, {"OldestChangeVersion": 3, "NewestChangeVersion": 2**40})
    assert client_of(ods).available_change_versions() == {"oldest": 3, "newest": 2**40}
    assert [one.path for one in ods.requests] == ["/changeQueries/v1/availableChangeVersions"]


def test_the_discovery_document_says_where(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer | None:
        if request.path == "/":
            # The host in it is not ours.
            urls = {"changeQueries": "https://elsewhere.test/tenant/changeQueries/v1/"}
            return Answer(200, {"urls": urls})
        if request.path == "/tenant/changeQueries/v1/availableChangeVersions":
            return Answer(200, {"oldestChangeVersion": 0, "newestChangeVersion": 5})
        return None

    ods.script, ods.serves_metadata = script, True
    client = client_of(ods, api_version=None)  # type: ignore[arg-type]
    assert client.available_change_versions() == {"oldest": 0, "newest": 5}


@pytest.mark.parametrize("body", [[], {}, {"oldestChangeVersion": 1}, "<html>", "null"])
def test_answers_that_are_none(ods: ScriptedOds, body: object) -> None:
    ods.script = lambda _: Answer(200, body)  # type: ignore[arg-type]
    with pytest.raises(edfi.HttpError, match="oldestChangeVersion"):
        client_of(ods).available_change_versions()


def test_turned_off(ods: ScriptedOds) -> None:
    client = client_of(ods)
    for call in (
        client.available_change_versions,
        lambda: client.deletes(RESULTS),
        lambda: client.key_changes(RESULTS),
        lambda: client.changes(RESULTS, since=1),
    ):
        ods.script = lambda _: Answer(404, {"detail": "Gone fishing."})
        with pytest.raises(edfi.HttpError, match="change queries are turned off"):
            call()


@pytest.mark.parametrize("total_count", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 500])
def test_deletes_of_old_releases(make_ods: MakeOds, total_count: bool, limit: int) -> None:
    ods = make_ods(0)
    ods.total_count = total_count
    deletes: list[dict[str, object]] = [{"id": "a", "changeVersion": n} for n in range(1, 6)]
    ods.script = tracked(ods, deletes=deletes)
    out = client_of(ods).deletes(RESULTS, limit=limit, min_change_version=1, max_change_version=7)
    assert out.to_dict(as_series=False) == {"id": ["a"] * 5, "changeVersion": [1, 2, 3, 4, 5]}
    for request in ods.paths():
        assert request.query["minChangeVersion"] == "1"
        assert request.query["maxChangeVersion"] == "7"


def test_one_deletion_on_two_pages_is_one(make_ods: MakeOds) -> None:
    ods = make_ods(0)
    ods.total_count = False
    rows: list[dict[str, object]] = [
        {"id": "a", "changeVersion": 1, "keyValues": {"k": 1}},
        {"id": "b", "changeVersion": 2, "keyValues": {"k": 2}},
        {"id": "b", "changeVersion": 2, "keyValues": {"k": 2}},
        {"id": "a", "changeVersion": 3, "keyValues": {"k": 1}},
    ]
    ods.script = tracked(ods, deletes=rows)
    out = client_of(ods).deletes(RESULTS, limit=2)
    assert out.rows() == [("a", 1, 1), ("b", 2, 2), ("a", 3, 1)]
    assert out.columns == ["id", "changeVersion", "keyValues.k"]


def test_fewer_deletes_than_counted_is_an_error(make_ods: MakeOds) -> None:
    ods = make_ods(0)
    ods.script = lambda _: Answer(200, [{"id": "a", "changeVersion": 1}], {"Total-Count": "3"})
    with pytest.raises(edfi.HttpError, match="1 record came where the server counts 3"):
        client_of(ods).deletes(RESULTS)


def test_without_key_changes(make_ods: MakeOds) -> None:
    ods = make_ods(3)
    ods.script = tracked(ods, deletes=[])
    changes = client_of(ods).changes(RESULTS, since=4, overlap=0)
    assert changes.records.height == 3
    assert changes.key_changes.schema == FIXED
    data = ods.paths()
    assert [one.path for one in data] == [f"{DATA}/keyChanges", DATA, f"{DATA}/deletes"]
    for request in data:
        assert (request.query["minChangeVersion"], request.query["maxChangeVersion"]) == ("4", "9")


def test_an_empty_window_asks_for_nothing(ods: ScriptedOds) -> None:
    ods.script = tracked(ods)
    changes = client_of(ods).changes(RESULTS, since=10, overlap=0)
    assert changes.next_version == 10
    assert changes.records.columns == ["id"]
    # What the columns are is asked of the metadata.
    assert ods.requests[0].path == "/changeQueries/v1/availableChangeVersions"
    assert ods.paths() == []
    with pytest.warns(UserWarning, match="restored"):
        assert client_of(ods).changes(RESULTS, since=12, overlap=0).next_version == 10


def test_a_late_commit_is_in_the_next_window(make_ods: MakeOds) -> None:
    ods = make_ods(3)
    ods.script = tracked(ods, newest=2_000, deletes=[], keyChanges=[])
    client_of(ods).changes(RESULTS, since=2_001)
    lows = {request.query["minChangeVersion"] for request in ods.paths()}
    assert lows == {"1001"}
    ods.requests.clear()
    client_of(ods).changes(RESULTS, since=2_000, overlap=5)
    assert {request.query["minChangeVersion"] for request in ods.paths()} == {"1995"}
    with pytest.raises(edfi.EdFiError, match="overlap"):
        client_of(ods).changes(RESULTS, since=1, overlap=-1)


def test_results_without_rows_have_the_columns_of_others(sandboxed: edfi.EdFiClient) -> None:
    first = sandboxed.changes(RESULTS)
    gone = first.records["id"][0]
    sandboxed.delete_by_id(gone, key="k", commit=True)
    full = sandboxed.changes(RESULTS, since=first.next_version, overlap=0)
    empty = sandboxed.changes(RESULTS, since=full.next_version, overlap=0)
    assert full.deletes.height == 1
    assert empty.records.height == empty.deletes.height == empty.key_changes.height == 0
    assert empty.records.schema == first.records.schema
    assert dict(empty.deletes.schema) == dict(full.deletes.schema)
    assert {name.partition(".")[0] for name in empty.key_changes.columns} == {
        "id",
        "changeVersion",
        "oldKeyValues",
        "newKeyValues",
    }


def test_release_5_names_and_ids(make_ods: MakeOds) -> None:
    ods = make_ods(0)
    guid = "CFA3FEA8-EDF4-4C50-B95E-1808E616460A"
    record = {"Id": guid, "ChangeVersion": 7, "KeyValues": {"studentUniqueId": "604854"}}
    ods.script = tracked(ods, deletes=[record])
    out = client_of(ods).deletes(RESULTS)
    assert out.row(0, named=True) == {
        "id": "cfa3fea8edf44c50b95e1808e616460a",
        "changeVersion": 7,
        "keyValues.studentUniqueId": "604854",
    }


def test_a_window_that_begins_before_memory_does(ods: ScriptedOds) -> None:
    ods.script = tracked(ods, oldest=5)
    with pytest.raises(edfi.EdFiError, match="read everything anew"):
        client_of(ods).changes(RESULTS, since=4)


@pytest.mark.parametrize(
    ("window", "what"),
    [
        ({"min_change_version": -1}, "min_change_version must be a whole number"),
        ({"max_change_version": -1}, "max_change_version must be a whole number"),
        ({"min_change_version": 2, "max_change_version": 1}, "must not be greater"),
        ({"min_change_version": 1.5}, "min_change_version"),
        ({"max_change_version": "7"}, "max_change_version"),
        ({"min_change_version": 2**70}, "min_change_version"),
    ],
)
def test_a_wrong_window_is_refused(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    window: dict[str, int],
    what: str,
) -> None:
    client = client_of(ods)
    for call in (
        lambda: client.deletes(RESULTS, **window),
        lambda: client.key_changes(RESULTS, **window),
        lambda: client.get_all(key="a", **window),  # type: ignore[arg-type]
        lambda: runner.batch_get_all(district(ods), key_col="District BK", **window),  # type: ignore[arg-type]
    ):
        with pytest.raises(edfi.EdFiError, match=what):
            call()
    assert ods.requests == []


@pytest.mark.parametrize("since", [-1, 1.5, "2"])
def test_a_wrong_since_is_refused(ods: ScriptedOds, since: int) -> None:
    with pytest.raises(edfi.EdFiError, match="since"):
        client_of(ods).changes(RESULTS, since=since)
    assert ods.requests == []


class Snapshots:
    """A server with, or without, a list of snapshots."""

    def __init__(self, ods: ScriptedOds, listed: Answer) -> None:
        self.ods = ods
        self.listed = listed

    def __call__(self, request: Request) -> Answer | None:
        return self.listed if request.path.endswith("/snapshots") else None


def test_the_newest_snapshot_goes_by_its_name(make_ods: MakeOds) -> None:
    ods = make_ods(5)
    taken = [("old", "2026-01-01T00:00:00"), ("new", "2026-03-01T00:00:00"), ("mid", "2026-02-01")]
    listed = [{"id": n, "snapshotIdentifier": n, "snapshotDateTime": at} for n, at in taken]
    ods.script = Snapshots(ods, Answer(200, listed))
    out = client_of(ods).get_all(key="a", limit=2, snapshot=True)
    assert out["status"] is None, out["message"]
    for request in ods.paths():
        assert request.headers["snapshot-identifier"] == "new"
        assert request.headers["use-snapshot"] == "true"


def test_use_snapshot_where_there_is_no_list(make_ods: MakeOds) -> None:
    ods = make_ods(5)
    ods.script = Snapshots(ods, Answer(404, {"detail": "No such thing."}))
    assert client_of(ods).get_all(key="a", limit=2, snapshot=True)["status"] is None
    for request in ods.paths():
        assert "snapshot-identifier" not in request.headers
        assert request.headers["use-snapshot"] == "true"
    ods.requests.clear()
    assert client_of(ods).get_all(key="a")["status"] is None
    assert [one.path for one in ods.paths()] == [DATA]
    assert "use-snapshot" not in ods.paths()[0].headers


@pytest.mark.parametrize("status", [404, 410])
def test_no_snapshot_says_so(ods: ScriptedOds, status: int) -> None:
    ods.script = lambda _: Answer(status, {"detail": "Nothing here."})
    message = client_of(ods).get_all(key="a", snapshot=True)["message"]
    assert message is not None
    assert re.search(r"Nothing here\..*\(snapshot: ", message)
    assert "snapshot" not in str(client_of(ods).get_all(key="a")["message"])


def test_an_empty_list_of_snapshots_is_an_error(ods: ScriptedOds) -> None:
    ods.script = Snapshots(ods, Answer(200, []))
    out = client_of(ods).get_all(key="a", snapshot=True)
    assert out["status"] == "error"
    assert "no snapshot" in str(out["message"])
    assert ods.paths() == []


@pytest.mark.parametrize("limit", [2, 3, 500])
@pytest.mark.parametrize("change", ["deletes", "key_changes"])
def test_versions_that_are_texts_tell_changes_apart(
    ods: ScriptedOds, change: str, limit: int
) -> None:
    ids = ["a" * 32, "a" * 32, "b" * 32, "b" * 32, "c" * 32]
    versions: list[object] = ["1", "3", "x", "y", None]
    told: list[dict[str, object]] = [
        {"id": name, "changeVersion": version} for name, version in zip(ids, versions, strict=True)
    ]
    ods.script = tracked(ods, deletes=told, keyChanges=told)
    out = getattr(client_of(ods), change)(RESULTS, limit=limit)
    assert out["id"].to_list() == ids
    assert out["changeVersion"].to_list() == [1, 3, None, None, None]
    # What is no text and no number at all.
    told[:] = [{"id": [], "changeVersion": []}]
    out = getattr(client_of(ods), change)(RESULTS, limit=limit)
    assert out.select(FIXED.keys()).rows() == [(None, None)]
    assert out.select(FIXED.keys()).schema == FIXED


NO_VERSIONS = [2**63 - 1, 2**64, -(2**63), -1, 1.5, "7", None, [], {}]


@pytest.mark.parametrize("newest", NO_VERSIONS)
def test_a_newest_version_that_none_follows_is_an_error(ods: ScriptedOds, newest: object) -> None:
    ods.script = tracked(ods, newest=newest, deletes=[], keyChanges=[])
    client = client_of(ods)
    for call in (
        client.available_change_versions,
        lambda: client.changes(RESULTS, since=1, schema="infer"),
        lambda: client.changes(RESULTS, schema="infer"),
    ):
        with pytest.raises(edfi.HttpError, match="newestChangeVersion"):
            call()


@pytest.mark.parametrize("wrong", NO_VERSIONS)
@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_a_copy_stays_where_versions_are_none(
    ods: ScriptedOds, tmp_path: Path, wrong: object, which: str
) -> None:
    file = tmp_path / RESULTS / "data.parquet"

    def copy(**versions: object) -> tuple[str | None, str | None, str]:
        ods.script = tracked(ods, **versions, deletes=[], keyChanges=[])  # type: ignore[arg-type]
        schema = {"id": pl.String, "n": pl.Int64}
        report = edfi.sync(client_of(ods), [RESULTS], into=tmp_path, schema=schema)
        return report["status"][0], report["mode"][0], report["message"][0] or ""

    for _ in range(2):
        before = file.read_bytes() if file.exists() else None
        status, mode, message = copy(**{which: wrong})
        assert (status, mode) == ("error", None)
        assert "newestChangeVersion" in message
        assert (file.read_bytes() if file.exists() else None) == before
        copy()
        assert pl.read_parquet(file)["n"].to_list() == [0, 1, 2]


def test_a_window_is_not_asked_for_twice(ods: ScriptedOds) -> None:
    client = client_of(ods)
    for options in ({}, {"min_change_version": 3}, {"max_change_version": 7}):
        del ods.requests[:]
        params = {"minchangeversion": 3, "maxchangeversion": "7"}
        client.get_all(key="a", schema="infer", params=params, **options)
        (asked,) = ods.paths()
        window = {k: v for k, v in asked.query.items() if "hange" in k}
        assert window == {"minChangeVersion": "3", "maxChangeVersion": "7"}
    for params, options in (
        ({"minChangeVersion": 3}, {"min_change_version": 4}),
        ({"maxChangeVersion": "x"}, {}),
        ({"minChangeVersion": 3, "MinChangeVersion": 4}, {}),
        ({"minChangeVersion": 3}, {"max_change_version": 2}),
    ):
        with pytest.raises(edfi.EdFiError, match=r"hange_?[vV]ersion"):
            client.get_all(key="a", schema="infer", params=params, **options)
