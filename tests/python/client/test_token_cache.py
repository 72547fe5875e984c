"""One token for all processes of a user: fetched once, in private, renewed by one of them."""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

fcntl = pytest.importorskip("fcntl", reason="locks and modes are those of Unix here")

ENDPOINT = "ed-fi/students"
#: Processes that read at the same moment; one that fails is told by the exit code.
READERS = """
import os, sys
import polars_edfi as edfi

url, folder, count, before = sys.argv[1:]

def read():
    client = edfi.EdFiClient(base_url=url, api_version="v3", client_id="key",
                             client_secret="secret", token_cache=folder, max_retries=1)
    return client.get_all(endpoint="ed-fi/students", key=1, schema="infer")

if before == "used":
    assert read()["status"] is None
begin, all_are_there = os.pipe()
for _ in range(int(count)):
    if os.fork() == 0:
        os.close(all_are_there)
        os.read(begin, 1)
        answer = read()
        print(answer["status"], answer["message"], flush=True)
        os._exit(answer["status"] is not None)
os.close(all_are_there)
sys.exit(any([os.wait()[1] for _ in range(int(count))]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def arguments(ods: ScriptedOds, folder: Path, count: int, before: str = "new") -> list[str]:
    return [sys.executable, "-c", READERS, ods.url, str(folder), str(count), before]


def read_in_processes(ods: ScriptedOds, folder: Path, count: int, before: str = "new") -> None:
    command = arguments(ods, folder, count, before)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def client(ods: ScriptedOds, folder: Path, **settings: Any) -> edfi.EdFiClient:
    own = {"base_url": ods.url, "api_version": "v3", "client_id": "key", "client_secret": "secret"}
    return edfi.EdFiClient(**(own | {"token_cache": folder, "max_retries": 1} | settings))


def read(client: edfi.EdFiClient) -> Any:
    answer = client.get_all(endpoint=ENDPOINT, key=1, schema="infer")
    return answer["message"]


def of_another_process(folder: Path) -> Path:
    """The same files, of which this process has none in its memory."""
    copies = len([*folder.parent.glob("copy-*")])
    return shutil.copytree(folder, folder.parent / f"copy-{copies}")


def issued(ods: ScriptedOds) -> int:
    return len(ods.paths("/oauth"))


def test_sixteen_processes_ask_once(ods: ScriptedOds, folder: Path) -> None:
    pause = threading.Event()

    def script(request: Request) -> Answer | None:
        if request.path == "/oauth/token":
            pause.wait(0.2)
        return None

    ods.script = script
    read_in_processes(ods, folder, 16)
    assert issued(ods) == 1
    assert {request.token for request in ods.paths()} == {"issued-1"}


def test_a_server_that_allows_one_token_throws_nobody_out(ods: ScriptedOds, folder: Path) -> None:
    def script(request: Request) -> Answer | None:
        if request.path == "/oauth/token":
            ods.tokens.clear()
        return None

    ods.script = script
    own = client(ods, folder)
    # To ask for a token is to get the one that there is, which stays good.
    given = {str(own.fetch_token()["token"]) for _ in range(2)}
    read_in_processes(ods, folder, 6)
    assert str(own.fetch_token()["token"]) in given
    assert read(own) is None
    assert (given, issued(ods)) == ({"issued-1"}, 1)
    assert {request.token for request in ods.paths()} == given


def test_a_refused_token_is_renewed_by_one_of_many(ods: ScriptedOds, folder: Path) -> None:
    read_in_processes(ods, folder, 1)
    ods.tokens.clear()
    read_in_processes(ods, folder, 8)
    assert issued(ods) == 2


def test_a_token_that_others_renewed_is_taken(ods: ScriptedOds, folder: Path) -> None:
    own = client(ods, folder)
    assert read(own) is None
    ods.tokens.clear()
    read_in_processes(ods, folder, 1)
    assert issued(ods) == 2
    ods.requests.clear()
    assert read(own) is None
    first, *others = [request.token for request in ods.requests]
    assert (first, {*others}) == ("issued-1", {"issued-2"})
    # What was renewed is not dropped by who comes late with the one before.
    assert read(client(ods, of_another_process(folder))) is None
    assert issued(ods) == 0


def test_a_refused_token_is_dropped_for_all(ods: ScriptedOds, folder: Path) -> None:
    own = client(ods, folder)
    assert read(own) is None
    ods.tokens.clear()
    ods.script = lambda request: Answer(503) if request.path == "/oauth/token" else None
    assert "auth refresh failed" in read(own)
    assert [*folder.glob("*.json")] == []


def test_files_are_private_and_hold_no_secret(ods: ScriptedOds, folder: Path) -> None:
    secret = "planted-secret-77"
    ods.secret = f"planted-key:{secret}"
    own = client(ods, folder, client_id="planted-key", client_secret=secret)
    assert read(own) is None
    files = [*folder.iterdir()]
    assert sorted(file.suffix for file in files) == [".json", ".lock"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "planted" not in file.name + file.read_text()
    assert "issued-1" not in repr(own)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"\xff" * 100,
        b"[]",
        b"x" * 1_000_000,
        {"format": "polars-edfi token 99"},
        {"owner": "0" * 64},
        {"token": ""},
        {"token": "a\nb"},
        {"renew_at": 0.0},
        {"renew_at": 1e15, "expires_at": 1e15},
        {"written_at": 1e11},
    ],
    ids=lambda wrong: str(wrong)[:30],
)
def test_what_is_no_token_of_this_version_is_fetched_anew(
    ods: ScriptedOds, folder: Path, wrong: bytes | dict[str, object]
) -> None:
    assert read(client(ods, folder)) is None
    other = of_another_process(folder)
    assert read(client(ods, other)) is None
    assert issued(ods) == 1
    third = of_another_process(folder)
    [file] = third.glob("*.json")
    if isinstance(wrong, dict):
        wrong = json.dumps(json.loads(file.read_bytes()) | wrong).encode()
    file.write_bytes(wrong)
    assert read(client(ods, third)) is None
    assert issued(ods) == 2
    # And what was fetched stands there now.
    assert read(client(ods, of_another_process(third))) is None
    assert issued(ods) == 2


def test_a_file_that_others_could_read_is_not_trusted(ods: ScriptedOds, folder: Path) -> None:
    assert read(client(ods, folder)) is None
    other = of_another_process(folder)
    [file] = other.glob("*.json")
    file.chmod(0o644)
    assert read(client(ods, other)) is None
    assert (issued(ods), stat.S_IMODE(file.stat().st_mode)) == (2, 0o600)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711, 0o722])
def test_a_folder_that_others_can_enter_raises(ods: ScriptedOds, folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(edfi.EdFiError, match=rf"token_cache: .*mode {mode:o}.*chmod 700"):
        client(ods, folder)
    assert ods.requests == []
    assert [*folder.iterdir()] == []


def test_a_folder_that_cannot_be_written_raises(ods: ScriptedOds, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in [file, file / "below"]:
        with pytest.raises(edfi.EdFiError, match="token_cache: "):
            client(ods, folder)
    if os.getuid() != 0:
        sealed = tmp_path / "sealed"
        sealed.mkdir(mode=0o500)
        with pytest.raises(edfi.EdFiError, match="token_cache: "):
            client(ods, sealed)
    assert ods.requests == []


def test_a_folder_that_goes_away_costs_nothing_but_the_sharing(
    ods: ScriptedOds, folder: Path
) -> None:
    own = client(ods, folder)
    shutil.rmtree(folder)
    assert read(own) is None
    assert issued(ods) == 1


def test_who_is_killed_with_the_lock_blocks_nobody(ods: ScriptedOds, folder: Path) -> None:
    asked, killed = ods.hold_first_token()
    # One that was forked here could not be killed by its parent's number.
    command = [part.replace("os.fork()", "0") for part in arguments(ods, folder, 1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert asked.wait(30)
        process.kill()
        process.wait(30)
    try:
        assert read(client(ods, folder)) is None
    finally:
        killed.set()
    assert issued(ods) == 2


def test_waiting_for_another_process_ends_with_its_task(ods: ScriptedOds, folder: Path) -> None:
    own = client(ods, folder)
    assert read(own) is None
    other = of_another_process(folder)
    for file in other.glob("*.json"):
        file.unlink()
    ticks = 0

    async def wait() -> None:
        nonlocal ticks
        task = asyncio.create_task(client(ods, other).aio.fetch_token())
        for _ in range(20):
            await asyncio.sleep(0.01)
            ticks += 1
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    [lock] = other.glob("*.lock")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        asyncio.run(wait())
    assert (ticks, issued(ods)) == (20, 1)
    assert read(client(ods, other)) is None


def test_children_find_what_their_parent_fetched(ods: ScriptedOds, folder: Path) -> None:
    read_in_processes(ods, folder, 4, "used")
    assert issued(ods) == 1


def test_rows_with_credentials_of_their_own_share_tokens_too(
    ods: ScriptedOds, folder: Path
) -> None:
    def tokens(folder: Path) -> pl.DataFrame:
        rows = district(ods, oAuthKey="key", oAuthSecret="secret").drop("EdFi Token")
        return edfi.EdFiClient(token_cache=folder).batch_fetch_tokens(
            rows, oauth_endpoint="oauth/token", account_col="District BK"
        )

    def records(folder: Path) -> pl.DataFrame:
        rows = district(ods, oAuthKey="key", oAuthSecret="secret").with_columns(
            pl.lit("dead").alias("EdFi Token")
        )
        return edfi.EdFiClient(token_cache=folder, api_version="v3").batch_get_all(
            rows,
            endpoint=ENDPOINT,
            key_col="District BK",
            schema="infer",
            auth_key_col="oAuthKey",
            auth_secret_col="oAuthSecret",
            oauth_endpoint="oauth/token",
        )

    assert tokens(folder)["EdFi Token"].to_list() == ["issued-1"]
    assert tokens(folder)["EdFi Token"].to_list() == ["issued-1"]
    other = of_another_process(folder)
    again = tokens(other)
    assert again["EdFi Token"].to_list() == ["issued-1"]
    assert again["token_expires_at"].null_count() == 0
    assert records(of_another_process(folder))["message"].null_count() == 3
    assert issued(ods) == 1


def test_a_refused_secret_is_told_and_kept_nowhere(ods: ScriptedOds, folder: Path) -> None:
    wrong = client(ods, folder, client_secret="wrong")
    assert str(wrong.fetch_token()["message"]).startswith("auth error: HTTP 401")
    assert [*folder.glob("*.json")] == []
    assert read(client(ods, folder)) is None
    assert issued(ods) == 2


def test_a_tilde_is_the_home_folder(
    ods: ScriptedOds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    runner = edfi.Resource(
        ENDPOINT,
        base_url=ods.url,
        api_version="v3",
        client_id="key",
        client_secret="secret",
        token_cache="~/tokens",
        metadata_cache=Path("~/documents"),
    )
    df = pl.DataFrame({"key": [1], "payload": ["{}"]})
    runner.batch_post_payload(
        df, payload_col="payload", key_col="key", commit=True, journal="~/night.edfi"
    )
    assert edfi.read_journal("~/night.edfi").height == 1
    assert not Path("~").exists()
    assert {"tokens", "documents", "night.edfi"} <= {path.name for path in tmp_path.iterdir()}
