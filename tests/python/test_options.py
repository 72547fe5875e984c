"""Options: they stand once, in Rust; Python shows them, and refuses others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import ScriptedOds, district

import polars_edfi as edfi
from polars_edfi import _native, options

if TYPE_CHECKING:
    from collections.abc import Callable

Client = edfi.EdFiClient
Sinks = pl.LazyFrame({"a": [1]}).edfi  # type: ignore[attr-defined]
CALLS: list[tuple[str, type, Callable[..., Any]]] = [
    ("EdFiClient", options.ClientOptions, Client),
    ("EdFiClient", options.ClientOptions, edfi.Resource),
    ("batch_fetch_tokens", options.BatchFetchTokensOptions, Client.batch_fetch_tokens),
    ("get_all", options.GetAllOptions, Client.get_all),
    ("batch_get_all", options.BatchGetAllOptions, Client.batch_get_all),
    ("get_by_id", options.EndpointOption, Client.get_by_id),
    ("batch_get_by_id", options.BatchGetByIdOptions, Client.batch_get_by_id),
    ("post_payload", options.PostOptions, Client.post_payload),
    ("batch_post_payload", options.BatchPostOptions, Client.batch_post_payload),
    ("batch_post_payload", options.BatchPostOptions, Sinks.sink_post_payload),
    ("delete_by_id", options.DeleteOptions, Client.delete_by_id),
    ("batch_put_payload", options.BatchPostOptions, Client.batch_put_payload),
    ("batch_find_ids", options.BatchFindIdsOptions, Client.batch_find_ids),
    ("batch_delete_by_id", options.BatchDeleteOptions, Client.batch_delete_by_id),
    ("batch_delete_by_id", options.BatchDeleteOptions, Sinks.sink_delete_by_id),
    ("send", options.SendOptions, Client.send),
    ("remove", options.RemoveOptions, Client.remove),
    ("deletes", options.DeletesOptions, Client.deletes),
    ("key_changes", options.DeletesOptions, Client.key_changes),
    ("changes", options.ChangesOptions, Client.changes),
    ("batch_permissions", options.RowOptions, Client.batch_permissions),
    ("validate", options.ValidateOptions, Client.validate),
    ("compare", options.CompareOptions, Client.compare),
    ("schema", options.ColumnOptions, Client.schema),
    ("count", options.ParamsOption, Client.count),
    ("scan", options.ScanOptions, edfi.scan),
    ("scan_all", options.ScanAllOptions, edfi.scan_all),
    ("expression.post_payload", options.PostExpressionOptions, edfi.post_payload),
    ("expression.get_by_id", options.ExpressionOptions, edfi.get_by_id),
    ("expression.get_all", options.GetAllExpressionOptions, edfi.get_all),
    ("expression.delete_by_id", options.DeleteExpressionOptions, edfi.delete_by_id),
    ("expression.fetch_token", options.FetchTokenExpressionOptions, edfi.fetch_token),
]


@pytest.mark.parametrize(("name", "described", "call"), CALLS)
def test_every_option_is_shown(name: str, described: type, call: Callable[..., Any]) -> None:
    defaults = _native.defaults(name)
    assert set(described.__annotations__) == set(defaults)
    shown = inspect.signature(call).parameters
    doc = inspect.getdoc(call)
    assert doc is not None
    assert "**options" not in doc
    for option, default in defaults.items():
        assert shown[option].default == default
        assert shown[option].kind is inspect.Parameter.KEYWORD_ONLY
        kind = shown[option].annotation
        assert f"\n{option} : {kind}, default {default!r}\n    " in doc


def test_the_contract_of_defaults() -> None:
    shown = inspect.signature(Client.batch_post_payload).parameters
    assert {name: p.default for name, p in shown.items() if p.default is not p.empty} == {
        "endpoint": None,
        "workers": 8,
        "show_progress": False,
        "progress_desc": None,
        "label": None,
        "skip_statuses": ["error", "warning"],
        "status_col": "row status",
        "url_col": "targetUrl",
        "token_col": "EdFi Token",
        "api_version_col": None,
        "auth_key_col": None,
        "auth_secret_col": None,
        "oauth_endpoint": None,
        "expires_col": None,
        "refresh_cooldown": 30.0,
        "row_id_col": None,
        "commit": False,
        "details": False,
        "etag_col": None,
        "order_by_col": None,
        "keep_server_fields": False,
        "retry_statuses": None,
        "retry_messages": None,
        "max_retries": 2,
        "retry_backoff": 1.0,
        "allow_statuses": None,
        "retry_broken": False,
        "journal": None,
        "resend_after": None,
        "journal_sync": "normal",
        "validate": False,
    }


def test_a_default_can_be_given(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = district(ods)
    shown = inspect.signature(runner.batch_get_all).parameters.values()
    defaults = {p.name: p.default for p in shown if p.default is not p.empty}
    out = runner.batch_get_all(df, key_col="District BK", **defaults)  # type: ignore[arg-type]
    assert out.equals(runner.batch_get_all(df, key_col="District BK"))


@pytest.mark.parametrize(
    "call",
    [
        Client,
        lambda **given: edfi.Resource("ed-fi/students", **given),
        lambda **given: Client().get_all(key=1, **given),
        lambda **given: Client().batch_get_all(pl.DataFrame({"k": [1]}), key_col="k", **given),
        lambda **given: Client().post_payload({}, key=1, **given),
        lambda **given: Client().changes("ed-fi/students", **given),
        lambda **given: edfi.scan("ed-fi/students", client=Client(), **given),
        lambda **given: edfi.get_all("u", token="t", **given),
        lambda **given: edfi.fetch_token("u", client_id="k", client_secret="s", **given),
        lambda **given: Sinks.sink_delete_by_id(id_col="a", key_col="a", **given),
    ],
)
@pytest.mark.parametrize("kind", [TypeError, edfi.EdFiError])
def test_an_option_that_nobody_knows(call: Callable[..., Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match="unknown option 'zzz'; there are "):
        call(zzz=1)


def test_the_nearest_option_is_named(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    text = r"^unknown option 'worker'; did you mean 'workers'\?$"
    with pytest.raises(TypeError, match=text):
        runner.batch_get_all(district(ods), key_col="District BK", worker=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=text):
        edfi.get_all("u", token="t", worker=2)  # type: ignore[call-arg]
    assert ods.requests == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"paging": "sideways"},
            "paging must be one of 'auto', 'offset', 'cursor', 'windows', got 'sideways'",
        ),
        ({"on_short": 1}, "on_short must be one of 'error', 'warn', got 1"),
        ({"schema": "opanapi"}, "schema must be one of 'auto', 'infer', 'openapi', a Schema, a .*"),
        ({"schema": {"id": "nope"}}, "schema: .*"),
        ({"workers": 0}, "workers must be a whole number >= 1, got 0"),
        ({"workers": 2**64}, "workers must be a whole number >= 1, got 18446744073709551616"),
        ({"workers": True}, "workers must be a whole number >= 1, got True"),
        ({"limit": 1.5}, "limit must be a whole number >= 1, got 1.5"),
        ({"endpoint": 3}, "endpoint must be a text, got 3"),
        ({"skip_statuses": [3]}, r"skip_statuses must be a text or a list of texts, got \[3\]"),
        ({"refresh_cooldown": -1}, "refresh_cooldown must be a number of seconds >= 0, got -1"),
        ({"links": "no"}, "links must be True or False, got 'no'"),
        ({"params": "x"}, "params must be a dict of .*, got str"),
        ({"explode": {"a": 1}}, "explode must be a text or a list of texts.*"),
        ({"min_change_version": "1"}, "min_change_version must be a whole number, got '1'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_values_say_what_is_right(
    ods: ScriptedOds, runner: edfi.StudentAssessment, wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(edfi.EdFiError, match=f"^{text}$"):
        runner.batch_get_all(district(ods), key_col="District BK", **wrong)
    assert ods.requests == []


def test_a_wrong_secret_is_not_repeated() -> None:
    with pytest.raises(edfi.EdFiError, match="client_secret must be a text, not int") as raised:
        Client(base_url="https://o.org", client_id="a", client_secret=55512)  # type: ignore[arg-type]
    assert "55512" not in str(raised.value)


def test_anything_with_arrow_columns_is_a_frame(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    class Stream:
        def __init__(self, df: pl.DataFrame) -> None:
            self._df = df

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self._df.__arrow_c_stream__(requested_schema)

    df = district(ods)
    out = runner.batch_get_all(Stream(df), key_col="District BK")  # type: ignore[arg-type]
    assert out.equals(runner.batch_get_all(df, key_col="District BK"))
    with pytest.raises(TypeError, match=r"got pathlib\.PosixPath"):
        runner.batch_get_all(__import__("pathlib").Path(), key_col="District BK")
