"""Bodies, headers, URLs and documents that nobody would send: an error or an answer, never more.

Each test takes apart what stands in its corpus and in ``corpus/``, by a seed. What was once found
to break something is kept there. ``SOAK=1`` tries many more, ``SEED=n`` begins elsewhere.
"""

from __future__ import annotations

import json
import os
import random
import string
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

COUNT = 4000 if os.environ.get("SOAK") else 60
SEED = int(os.environ.get("SEED", "0"))
KEPT = Path(__file__).parent / "corpus"
WORDS = [b"null", b"1e400", b"-0", b'"\\ud800"', b"[[", b"]}", b'{"":{}}', b"\x00", b"\xff", b","]
NESTED = '{"a":[' * 20 + "1" + "]}" * 20


def mutate(chance: random.Random, text: bytes) -> bytes:
    """One to four small wounds."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.randint(1, 8))
        match chance.randrange(6):
            case 0:
                del data[at:end]
            case 1:
                data[at:at] = chance.choice(WORDS)
            case 2:
                data[at:at] = data[at:end] * chance.randint(1, 40)
            case 3 if data:
                data[min(at, len(data) - 1)] = chance.randrange(256)
            case 4:
                data[at:end] = bytes(reversed(data[at:end]))
            case _:
                del data[at:]
    return bytes(data)


def bodies(kind: str, corpus: list[str]) -> list[bytes]:
    kept = [path.read_bytes() for path in sorted(KEPT.glob(f"{kind}-*"))]
    chance = random.Random(f"{kind}{SEED}")
    seeds = [text.encode() for text in corpus] + kept
    return kept + seeds + [mutate(chance, chance.choice(seeds)) for _ in range(COUNT)]


def owning(ods: ScriptedOds, **settings: Any) -> edfi.EdFiClient:
    few: dict[str, Any] = {"api_version": "v3", "bearer_token": "token", "max_retries": 0}
    return edfi.Resource("ed-fi/things", **(few | {"base_url": ods.url, "timeout": 10} | settings))


PAGES = [
    '[{"id":"a","n":1,"x":{"y":[1,2,{"z":null}]}},{"id":"b","n":2.5,"d":"2024-01-31"}]',
    '[{"id":"a","l":[]},{"id":"b","l":[{"m":"\\u00e9\\ud83d\\ude00"}]},{"id":"c","l":null}]',
    f'[{{"id":"a","n":123456789012345678901234567890}},{{"id":"b","n":{NESTED}}}]',
    "[]",
]


def test_pages(ods: ScriptedOds) -> None:
    """Python reads a page as the library does, or both refuse it."""
    schema = {"id": pl.String, "n": pl.Int64, "x": pl.Struct({"y": pl.List(pl.String)})}
    runner = owning(ods)
    for body in bodies("page", PAGES):
        pages = [body]
        ods.script = lambda _, pages=pages: Answer(200, pages.pop() if pages else b"[]")  # type: ignore[misc]
        for given in ("infer", schema):
            pages[:] = [body]
            read = runner.get_all(key=1, schema=given)  # type: ignore[arg-type]
            try:
                records = json.loads(body)
            except (ValueError, RecursionError):
                records = None
            is_page = isinstance(records, list) and all(isinstance(it, dict) for it in records)
            if not is_page:
                assert read["status"] == "error", body
            elif read["data"] is not None:
                ids = {json.dumps(it["id"]) for it in records or [] if it.get("id") is not None}
                assert read["data"].height >= len(ids), body


ERRORS = [
    '{"detail":"No.","correlationId":"c","validationErrors":{"$.a":["b","c"]},"errors":["d"]}',
    '{"message":"The request is invalid.","modelState":{"request.a":["is wrong"]}}',
    '{"error":"invalid_client","error_description":"no"}',
    '{"type":"urn:ed-fi:api:bad-request","errors":[{"path":"$.a","message":"m"}]}',
]


def test_error_bodies(ods: ScriptedOds) -> None:
    texts = bodies("error", ERRORS)
    ods.script = lambda request: Answer(400, texts[json.loads(request.body)["n"]])
    payloads = [f'{{"n": {n}}}' for n in range(len(texts))]
    df = pl.DataFrame({"key": range(len(texts)), "payload": payloads})
    out = owning(ods).batch_post_payload(
        df, payload_col="payload", key_col="key", commit=True, details=True
    )
    assert out["http_status"].unique().to_list() == [400]
    assert out["message"].str.starts_with("HTTP 400 Bad Request").all()
    assert out["message"].str.len_bytes().max() < 2_500  # type: ignore[operator]
    assert not out["message"].str.contains("[\x00-\x1f]").any()


def test_headers(ods: ScriptedOds) -> None:
    """``Retry-After``, ``Total-Count`` and ``Next-Page-Token``, whatever they say."""
    chance = random.Random(SEED)
    seeds = ["0", "-1", "1e9", "NaN", "inf", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "1.5", " 2"]
    runner = owning(ods, max_wait=0.01, max_retries=1)
    for _ in range(COUNT):
        text = mutate(chance, chance.choice(seeds).encode()).decode("latin-1")
        text = "".join(letter for letter in text if letter in string.printable[:95])
        names = ("retry-after", "total-count", "next-page-token")
        headers = dict.fromkeys(chance.sample(names, 2), text)
        answers = [Answer(chance.choice([200, 429, 503]), "[]", headers)]
        ods.script = lambda _, answers=answers: answers.pop() if answers else Answer(200, "[]")  # type: ignore[misc]
        began = time.monotonic()
        read = runner.get_all(key=1, schema="infer")
        assert time.monotonic() - began < 5, headers
        assert (read["data"] is None) == (read["status"] == "error")


def test_urls(ods: ScriptedOds) -> None:
    """No cell leads to another host, and none ends a batch."""
    texts = [
        body.decode("utf-8", "replace")
        for body in bodies("url", [ods.url, f"{ods.url}/a/b?c#d", "http://[::1]:1/", "//x", "a:b"])
    ]
    texts = [text for text in texts if "127.0.0.1" in text or "://" not in text]
    df = pl.DataFrame({"key": range(len(texts)), "targetUrl": texts, "EdFi Token": "token"})
    df = df.with_columns(payload=pl.lit("{}"), id=pl.col("targetUrl"))
    runner = edfi.Resource("ed-fi/things", api_version="v3", max_retries=0, timeout=5)
    out = runner.batch_post_payload(df, payload_col="payload", key_col="key")
    assert out.height == df.height
    assert set(out["status"]) <= {"dry_run", "error"}
    ids = df.with_columns(targetUrl=pl.lit(ods.url))
    out = runner.batch_get_by_id(ids, id_col="id")
    assert out.height == df.height
    assert all(request.path.count("/") == 5 for request in ods.paths())


DOCUMENT = {
    "openapi": "3.0.1",
    "paths": {
        "/ed-fi/things": {
            "get": {
                "parameters": [
                    {"name": "n", "in": "query", "x-Ed-Fi-isIdentity": True},
                    {"$ref": "#/components/parameters/p"},
                ]
            },
            "post": {"requestBody": {"$ref": "#/components/requestBodies/thing"}},
        }
    },
    "components": {
        "parameters": {"p": {"name": "limit", "in": "query"}},
        "requestBodies": {
            "thing": {
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/thing"}}}
            }
        },
        "schemas": {
            "thing": {
                "type": "object",
                "required": ["n"],
                "properties": {
                    "id": {"type": "string"},
                    "n": {"type": "integer", "format": "int32"},
                    "ref": {"$ref": "#/components/schemas/ref"},
                    "all": {"type": "array", "items": {"$ref": "#/components/schemas/thing"}},
                },
            },
            "ref": {"type": "object", "properties": {"a": {"type": "string", "format": "date"}}},
        },
    },
}


def test_documents(make_ods: Any) -> None:
    """An OpenAPI document becomes a schema or an error."""
    document = json.dumps(DOCUMENT, separators=(",", ":"))
    for body in bodies("document", [document])[: COUNT // 2]:
        ods = make_ods()

        def script(request: Request, ods: ScriptedOds = ods, body: bytes = body) -> Answer | None:
            if request.path in ("/", "/metadata/", "/metadata"):
                section = {"name": "Resources", "endpointUri": f"{ods.url}/metadata/r"}
                return Answer(200, [section] if request.path != "/" else {"version": "7.1"})
            return Answer(200, body) if request.path == "/metadata/r" else None

        ods.script, ods.serves_metadata = script, True
        runner = owning(ods)
        for call in (runner.resources, lambda it=runner: it.schema("ed-fi/things")):
            try:
                call()
            except edfi.EdFiError as error:
                assert len(str(error)) < 2_500  # noqa: PT017


def cell(chance: random.Random, depth: int) -> object:
    """A value as JSON has it."""
    kind = chance.randrange(8 if depth else 6)
    if kind == 6:
        return [cell(chance, depth - 1) for _ in range(chance.randrange(3))]
    if kind == 7:
        return {chance.choice("abc"): cell(chance, depth - 1) for _ in range(chance.randrange(3))}
    texts = ["", "é😀", '\x00\x1f\\"/', "null", "\u2028", "x" * 300]
    numbers = [0, -1, 2**53 + 1, -(2**63), 2**63 - 1]
    return [
        None,
        chance.random() < 0.5,
        chance.choice(numbers),
        chance.choice([0.1, -0.0, 1e308, 5e-324, 1e22, 123456.789]),
        chance.choice(texts),
        "".join(chance.choice(string.printable) for _ in range(5)),
    ][kind]


def without_nulls(value: object) -> object:
    """What is left of a value where nulls and what holds nothing are left out, but for lists."""
    if isinstance(value, dict):
        parts = {name: without_nulls(part) for name, part in value.items() if part is not None}
        return {name: part for name, part in parts.items() if part != {} and part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value


def test_payloads(ods: ScriptedOds) -> None:
    """A Struct is written as JSON that holds what it holds, whatever stands in it."""
    chance = random.Random(SEED)
    for _ in range(COUNT // 4):
        value = {"k": cell(chance, 0), "v": [cell(chance, 0)], "s": {"t": cell(chance, 0)}}
        df = pl.DataFrame({"key": [1], "payload": [value]}, strict=False)
        sent = df["payload"].to_list()[0]
        ods.items.clear()
        out = owning(ods).batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True, keep_server_fields=True
        )
        assert out["status"].to_list() == [None], (value, out["message"][0])
        (body,) = ods.items.values()
        assert json.loads(body) == without_nulls(sent), (value, body)


@pytest.mark.parametrize("kept", sorted(KEPT.glob("*")), ids=lambda path: path.name)
def test_what_was_once_found_stays_mended(ods: ScriptedOds, kept: Path) -> None:
    began = time.monotonic()
    ods.script = lambda _: Answer(200, kept.read_bytes())
    owning(ods).get_all(key=1, schema="infer")
    ods.script = lambda _: Answer(400, kept.read_bytes())
    assert len(str(owning(ods).get_by_id("a")["message"])) < 2_500
    assert time.monotonic() - began < 20
