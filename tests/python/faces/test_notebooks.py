"""In a notebook: faces without data, bars of its own, an interrupt key that stops calls."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Request, ScriptedOds

LIMIT = 60


def test_the_face_of_a_client(ods: ScriptedOds) -> None:
    client = edfi.Resource(
        "ed-fi/students",
        base_url=ods.url,
        client_id="the key",
        client_secret="the secret",
        headers={"x-key": "the header"},
    )
    face = client._repr_html_()
    assert ods.url in face
    assert "ed-fi/students" in face
    assert "last call" not in face
    for secret in ["the key", "the secret", "the header"]:
        assert secret not in face
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    df = pl.DataFrame({"id": ["604822", ods.records[0]["id"]], "key": ["Garcia", "Lopez"]})
    runner.batch_delete_by_id(df, id_col="id", key_col="key", commit=True)
    face = runner._repr_html_()
    assert "2 requests, 0 retries" in face
    ods.script = lambda _: Answer(409)
    runner.batch_post_payload(
        df.with_columns(payload=pl.lit("{}")),
        payload_col="payload",
        key_col="key",
        allow_statuses={409: "<b>"},
        commit=True,
    )
    face = runner._repr_html_()
    assert "2 &lt;b&gt;, 2 requests" in face
    for word in ["604822", "Garcia", ">token<", ods.records[0]["id"]]:
        assert word not in face
    assert len(face) < 1000


def test_the_face_of_changes() -> None:
    records = pl.DataFrame({"id": ["1", "2"], "lastSurname": ["Garcia", "<b>"]})
    face = edfi.Changes(records, records.head(1), records.head(0), 12345)._repr_html_()
    for value in [">records<", ">2<", ">1<", ">0<", ">12345<"]:
        assert value in face
    assert "Garcia" not in face
    assert "lastSurname" not in face


class Notebook:
    """A kernel, and what the cells that run in it show."""

    def __init__(self, loop: asyncio.Runner, manager: Any, client: Any) -> None:
        self.loop, self.manager, self.client = loop, manager, client
        self.messages: list[dict[str, Any]] = []

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell; give its reply, with all that it showed in ``messages``."""
        self.messages.clear()
        cell = self.client.execute_interactive(
            code, timeout=LIMIT, output_hook=self.messages.append
        )
        reply: dict[str, Any] = self.loop.run(cell)
        return reply["content"]  # type: ignore[no-any-return]

    def shown(self, kind: str) -> list[Any]:
        """The data that the cell showed in a media type."""
        data = [message["content"].get("data", {}) for message in self.messages]
        return [one[kind] for one in data if kind in one]


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    pytest.importorskip("ipykernel")
    jupyter = pytest.importorskip("jupyter_client.manager")
    # On a loop of its own: the one that its blocking clients make is never closed.
    with asyncio.Runner() as loop:
        start = jupyter.start_new_async_kernel(LIMIT, kernel_name="python3")
        manager, client = loop.run(start)
        try:
            notebook = Notebook(loop, manager, client)
            path = [entry for entry in sys.path if entry]
            cell = f"import sys; sys.path[:] = {path!r}\nimport polars_edfi as edfi"
            assert notebook.run(cell)["status"] == "ok"
            yield notebook
        finally:
            client.stop_channels()
            loop.run(manager.shutdown_kernel(now=True))


def new_client(notebook: Notebook, ods: ScriptedOds) -> None:
    made = f"base_url={ods.url!r}, bearer_token='token', api_version='v3'"
    start = f"import polars as pl\nclient = edfi.StudentAssessment({made})"
    assert notebook.run(start)["status"] == "ok"


def test_a_cell_shows_a_face(notebook: Notebook, ods: ScriptedOds) -> None:
    new_client(notebook, ods)
    assert notebook.run("client")["status"] == "ok"
    assert [ods.url in face for face in notebook.shown("text/html")] == [True]
    read = "client.batch_get_all(pl.DataFrame({'k': ['a']}), key_col='k')"
    assert notebook.run(f"edfi.report({read})")["status"] == "ok"
    (face,) = notebook.shown("text/html")
    assert face.startswith('<div class="edfi-report">')
    assert notebook.shown("text/plain") == ["Report(3 ok)"]


def test_the_bar_is_the_notebook_s_own(notebook: Notebook, ods: ScriptedOds) -> None:
    pytest.importorskip("ipywidgets")
    new_client(notebook, ods)
    districts = "pl.DataFrame({'k': ['a', 'b']})"
    read = f"df = client.batch_get_all({districts}, key_col='k', show_progress=True)"
    assert notebook.run(read)["status"] == "ok"
    assert len(notebook.shown("application/vnd.jupyter.widget-view+json")) == 1
    state: dict[str, Any] = {}
    for message in notebook.messages:
        data = message["content"].get("data", {})
        if message["msg_type"] in ("comm_open", "comm_msg"):
            state.setdefault(message["content"]["comm_id"], {}).update(data.get("state", {}))
    (bar,) = [one for one in state.values() if one.get("_model_name") == "FloatProgressModel"]
    assert (bar["value"], bar["max"], bar["bar_style"]) == (2, 2, "success")
    texts = [one["value"] for one in state.values() if one.get("_model_name") == "HTMLModel"]
    assert any("fetching" in text for text in texts)
    assert not [one for one in notebook.messages if one["msg_type"] == "stream"]


@pytest.mark.parametrize(
    "call",
    [
        "client.get_all(key='a')",
        "client.batch_get_all(pl.DataFrame({'k': ['a']}), key_col='k', show_progress=True)",
    ],
)
def test_the_interrupt_key_stops_a_call(notebook: Notebook, ods: ScriptedOds, call: str) -> None:
    new_client(notebook, ods)
    release = threading.Event()

    def silent(_: Request) -> Answer | None:
        os.kill(notebook.manager.provisioner.pid, signal.SIGINT)  # as the interrupt key does
        release.wait(LIMIT)
        return None

    ods.one_at_a_time = False
    ods.script = silent
    try:
        reply = notebook.run(call)
    finally:
        release.set()
    assert reply["status"] == "error"
    assert reply["ename"] == "KeyboardInterrupt"
    assert notebook.run("1 + 1")["status"] == "ok"
    assert notebook.shown("text/plain") == ["2"]
