"""Payloads that are JSON text go out byte for byte."""

from typing import Any

import polars as pl
import pytest
from conftest import ScriptedOds

import polars_edfi as edfi
from writes.support import bodies, frame, post


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        ' {"a" :\t1 }\r\n',
        '\n\n{"a": 1}',
        '{"a":"ü \\u00fc \U0001f600 \\ud83d\\ude00 \\/"}',
        '{"lone": "\\ud800"}',
        '{"n": 1.0, "m": 1e5, "o": 1E+05, "p": -0.0, "q": 123456789012345678901234567890.10}',
        '{"huge": 1e999, "tiny": 1e-999}',
        '{"a": 1, "a": 2}',
        '{"id": "x", "_etag": "1", "studentReference": {"link": {"rel": "Student"}}, "b": null}',
        '{"": {"": []}}',
        '{"long": "' + "x" * 300_000 + '"}',
        '{"deep": ' + "[" * 100 + "]" * 100 + "}",
    ],
    ids=lambda text: text[:30],
)
def test_json_text_is_sent_byte_for_byte(
    ods: ScriptedOds, runner: edfi.StudentAssessment, text: str
) -> None:
    out = post(runner, frame(ods, [text]))
    assert out["status"].to_list() == [None], out["message"]
    assert bodies(ods) == [text.encode()]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(['{"a":1}'])], ids=str)
def test_json_text_may_be_categorical(
    ods: ScriptedOds, runner: edfi.StudentAssessment, dtype: Any
) -> None:
    post(runner, frame(ods, pl.Series(['{"a":1}'] * 2, dtype=dtype)))
    assert bodies(ods) == [b'{"a":1}'] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing 'payload'"),
        ("", "missing 'payload'"),
        (" \t", "missing 'payload'"),
        ("[]", "invalid JSON: "),
        ('[{"Ada": 1}]', "invalid JSON: "),
        ("null", "invalid JSON: "),
        ('"Ada"', "invalid JSON: "),
        ("1", "invalid JSON: "),
        ('{"Ada": 1', "invalid JSON: "),
        ('{"Ada": 1}}', "invalid JSON: "),
        ('{"Ada": 1} {"Ada": 2}', "invalid JSON: "),
        ("{'Ada': 1}", "invalid JSON: "),
        ('{"Ada": NaN}', "invalid JSON: "),
        ('{"Ada": 1,}', "invalid JSON: "),
        ('{"Ada": 01}', "invalid JSON: "),
        ('{"Ada": "\n"}', "invalid JSON: "),
        ('{"Ada": "\\x"}', "invalid JSON: "),
        ("\ufeff{}", "invalid JSON: "),
        ('{"a": ' + "[" * 100_000, "invalid JSON: "),
    ],
    ids=lambda text: str(text)[:20],
)
def test_bad_json_is_the_error_of_its_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, text: str | None, message: str
) -> None:
    out = post(runner, frame(ods, ['{"n": 0}', text, '{"n": 2}']))
    assert out["status"].to_list() == [None, "error", None]
    assert out["message"][1].startswith(message)
    assert "Ada" not in out["message"][1]
    assert out.select("http_status", "correlation_id", "resource_id").row(1) == (None,) * 3
    assert out["attempts"].to_list() == [1, 0, 1]
    assert sorted(bodies(ods)) == [b'{"n": 0}', b'{"n": 2}']


def test_one_bad_payload_among_thousands() -> None:
    count, bad = 3000, 1717
    texts = [
        f'{{"studentUniqueId": "{n}", "firstName": "A", "lastSurname": "B", ' for n in range(count)
    ]
    texts = [text + '"birthDate": "2015-01-02"}' for text in texts]
    texts[bad] = texts[bad][:-1]
    with edfi.Sandbox(["1"], 0) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        runner = edfi.Resource("ed-fi/students", base_url=url, client_id=key, client_secret=secret)
        before = runner.get_all(key=1)["data"]
        assert before is not None
        out = post(runner, pl.DataFrame({"payload": texts, "key": range(count)}))
        after = runner.get_all(key=1)["data"]
    assert after is not None
    assert out.filter(pl.col("status").is_not_null())["row_index"].to_list() == [bad]
    assert out["row_index"].to_list() == list(range(count))
    good = out.filter(pl.col("status").is_null())
    assert good["http_status"].unique().to_list() == [201]
    assert good["resource_id"].n_unique() == count - 1
    assert after.height - before.height == count - 1
