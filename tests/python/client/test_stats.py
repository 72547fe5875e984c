"""What a call costs: ``client.stats``, and the lines that are logged of it."""

import logging

import polars as pl
import pytest
from conftest import Answer, ScriptedOds, district, rows

import polars_edfi as edfi

BATCH = "polars_edfi"
REQUESTS = "polars_edfi.client.transport"


def owning(ods: ScriptedOds) -> edfi.StudentAssessment:
    key, _, secret = ods.secret.partition(":")
    return edfi.StudentAssessment(
        base_url=ods.url, api_version="v3", client_id=key, client_secret=secret
    )


def test_what_a_batch_costs(ods: ScriptedOds, caplog: pytest.LogCaptureFixture) -> None:
    refusals = [Answer(429, headers={"retry-after": "0"}), Answer(503, {"a": "x"})]

    def script(request: object) -> Answer | None:
        path, body = getattr(request, "path", ""), getattr(request, "body", b"")
        if path == "/oauth/token":
            return None
        return refusals.pop() if refusals else Answer(409) if b"5" in body else None

    ods.script = script
    runner = owning(ods)
    assert runner.stats is None
    df = pl.DataFrame({"key": range(8), "payload": [f'{{"n": {n}}}' for n in range(8)]})
    with caplog.at_level(logging.INFO, BATCH):
        out = runner.batch_post_payload(
            df,
            payload_col="payload",
            key_col="key",
            commit=True,
            workers=1,
            retry_statuses=[503],
            retry_backoff=0,
            allow_statuses={409: "known"},
        )
    assert out["status"].to_list() == [*[None] * 5, "known", None, None]
    stats = runner.stats
    assert stats is not None
    assert stats["requests"] == len(ods.requests) == 11
    assert (stats["retries"], stats["pauses"], stats["token_requests"]) == (2, 1, 1)
    bodies = [request.body for request in ods.requests]
    assert stats["bytes_sent"] == sum(map(len, bodies))
    assert stats["bytes_received"] > 40
    assert 0.1 < stats["seconds"] < 30
    assert stats["rows"] == {None: 7, "known": 1}
    assert runner.stats == stats
    (line,) = [record.getMessage() for record in caplog.records if record.name == BATCH]
    assert line == (
        f"11 requests (2 retries, 1 for tokens), 1 pauses, {stats['bytes_received']} bytes "
        f"received, {stats['bytes_sent']} bytes sent, {stats['seconds']:.3f} s; rows: 7 ok, 1 known"
    )
    dry = runner.batch_post_payload(df, payload_col="payload", key_col="key")
    assert dry.height == 8
    assert runner.stats is not None
    assert runner.stats["requests"] == 0
    assert runner.stats["rows"] == {"dry_run": 8}


def test_each_call_has_its_own(ods: ScriptedOds) -> None:
    runner = owning(ods)
    calls = [
        runner.fetch_token,
        lambda: runner.get_by_id("a"),
        lambda: runner.get_all(key="a", schema="infer"),
        lambda: runner.post_payload("{}", key="a", commit=True),
        lambda: runner.delete_by_id("a", key="a", commit=True),
    ]
    for call in calls:
        before = len(ods.requests)
        call()
        stats = runner.stats
        assert stats is not None
        assert stats["requests"] == len(ods.requests) - before > 0
        assert stats["rows"] == {}
        assert 0 < stats["seconds"] < 30
        assert runner.stats == stats


def test_rows_of_reads(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = pl.concat([district(ods, "a"), district(ods, "b", **{"EdFi Token": "wrong"})])
    runner.batch_get_all(df, key_col="District BK", schema="infer")
    assert runner.stats is not None
    assert runner.stats["rows"] == {None: 3, "error": 1}
    tokens = pl.DataFrame(
        {"a": ["x", "y"], "targetUrl": ods.url, "oAuthKey": "key", "oAuthSecret": ["secret", "no"]}
    )
    runner.batch_fetch_tokens(tokens, oauth_endpoint="oauth/token", account_col="a")
    assert runner.stats["rows"] == {None: 1, "error": 1}
    assert runner.stats["token_requests"] == 2


def test_scans_and_sinks_are_counted(ods: ScriptedOds) -> None:
    runner = owning(ods)
    scan = edfi.scan("ed-fi/students", client=runner, schema={"id": pl.String}, limit=2)
    assert scan.collect().height == 3
    stats = runner.stats
    assert stats is not None
    assert stats["requests"] == len(ods.requests)
    assert (stats["token_requests"], stats["rows"]) == (1, {})
    assert 0 < stats["seconds"] < 30
    assert runner.stats == stats

    ods.requests.clear()
    lf = pl.LazyFrame({"k": range(10_003)}).with_columns(
        payload='{"n": ' + pl.col("k").cast(pl.String) + "}",
        **{"row status": pl.when(pl.col("k") % 1000 > 2).then(pl.lit("error"))},
    )
    out = lf.edfi.sink_post_payload(client=runner, payload_col="payload", key_col="k", commit=True)
    stats = runner.stats
    assert stats is not None
    assert stats["rows"] == {None: out.height} == {None: 33}
    assert stats["requests"] == len(ods.requests) == 33


def test_every_batch_logs_its_cost(ods: ScriptedOds, caplog: pytest.LogCaptureFixture) -> None:
    runner = owning(ods)
    df = pl.DataFrame({"id": ["a"], "payload": ['{"n": 1}'], "n": [1], "k": ["x"]})
    frames = {"ed-fi/students": df}
    calls = [
        lambda: runner.batch_find_ids(df, key_cols=["n"]),
        lambda: runner.batch_permissions(df, key_col="k"),
        lambda: runner.validate(frames),
        lambda: runner.compare(frames, key_cols=["n"]),
        lambda: runner.send(frames, order=["ed-fi/students"], commit=True),
        lambda: runner.remove(frames, order=["ed-fi/students"], commit=True),
        lambda: runner.batch_put_payload(
            df, payload_col="payload", id_col="id", key_col="k", commit=True
        ),
    ]
    for call in calls:
        caplog.clear()
        with caplog.at_level(logging.INFO, BATCH):
            out = call()
        lines = [record.getMessage() for record in caplog.records if record.name == BATCH]
        (line,) = [line for line in lines if "bytes sent" in line]
        assert runner.stats is not None
        assert line.startswith(f"{runner.stats['requests']} requests (")
        if "status" in out.columns:
            assert sum(runner.stats["rows"].values()) == out.height > 0


def test_a_line_for_each_request_names_nobody(
    ods: ScriptedOds, runner: edfi.StudentAssessment, caplog: pytest.LogCaptureFixture
) -> None:
    df = rows(ods, pl.Series("id", ["Jane Doe/1", "deletes2", "x"]), payload='{"name": "Jane"}')
    with caplog.at_level(logging.DEBUG, BATCH):
        runner.batch_get_by_id(df, id_col="id")
        runner.batch_delete_by_id(df, id_col="id", key_col="key", commit=True)
        runner.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
        runner.batch_get_all(
            district(ods),
            key_col="District BK",
            schema="infer",
            params={"lastSurname": "Doe"},
        )
    lines = [record.getMessage() for record in caplog.records if record.name == REQUESTS]
    root = f"{ods.url}/data/v3/ed-fi/studentAssessments"
    starts = {line.partition(", ")[0] for line in lines}
    assert starts >= {
        f"GET {root}/{{id}} 404",
        f"DELETE {root}/{{id}} 404",
        f"POST {root} 201",
        f"GET {root}?lastSurname=...&offset=0&limit=500&totalCount=true 200",
    }
    assert all(line.endswith(" bytes") for line in lines)
    assert not any(word in caplog.text for word in ("Jane", "Doe", "deletes2", "EdFi"))


def test_no_line_for_each_request_by_default(
    ods: ScriptedOds, runner: edfi.StudentAssessment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, BATCH):
        runner.batch_get_all(district(ods), key_col="District BK", schema="infer")
    assert {record.name for record in caplog.records} == {BATCH}
