"""The Rust side; not public."""

from collections.abc import Callable
from typing import Any

import polars as pl

__version__: str

class Call:
    def __init__(self) -> None: ...
    def progress(self) -> tuple[int, int, int]: ...
    def warnings(self) -> list[str]: ...
    def is_cancelled(self) -> bool: ...

class Client:
    def __init__(self, **arguments: Any) -> None: ...
    def fetch_token(self, call: Call) -> tuple[str | None, int | None, str | None]: ...
    def batch_fetch_tokens(
        self,
        df: pl.DataFrame,
        call: Call,
        on_tick: Callable[[], None] | None,
        **arguments: Any,
    ) -> pl.DataFrame: ...
    def get_all(
        self, call: Call, on_tick: Callable[[], None] | None, **arguments: Any
    ) -> tuple[pl.DataFrame | None, str | None, int | None, str | None]: ...
    def batch_get_all(
        self,
        df: pl.DataFrame,
        call: Call,
        on_tick: Callable[[], None] | None,
        **arguments: Any,
    ) -> pl.DataFrame: ...
    def post_payload(
        self, payload: str, call: Call, **arguments: Any
    ) -> tuple[str | None, str | None, int | None, str | None, str | None]: ...
    def batch_post_payload(
        self,
        df: pl.DataFrame,
        call: Call,
        on_tick: Callable[[], None] | None,
        **arguments: Any,
    ) -> pl.DataFrame: ...
    def get_by_id(
        self, id: str, endpoint: str | None, call: Call
    ) -> tuple[str | None, str | None, int | None, str | None]: ...
    def batch_get_by_id(
        self,
        df: pl.DataFrame,
        call: Call,
        on_tick: Callable[[], None] | None,
        **arguments: Any,
    ) -> pl.DataFrame: ...
    def delete_by_id(
        self, id: str, call: Call, **arguments: Any
    ) -> tuple[str | None, str | None, int | None, str | None, str | None]: ...
    def batch_delete_by_id(
        self,
        df: pl.DataFrame,
        call: Call,
        on_tick: Callable[[], None] | None,
        **arguments: Any,
    ) -> pl.DataFrame: ...

class Sandbox:
    def __init__(
        self,
        districts: list[str],
        records: int,
        seed: int,
        port: int,
        page_limit: int,
        token_lifetime: float,
        latency: float,
    ) -> None: ...
    @property
    def url(self) -> str: ...
    def districts(self) -> pl.DataFrame: ...
    def load_jsonl(self, district: str, endpoint: str, path: str) -> int: ...
    def request_count(self) -> int: ...
    def stop(self) -> None: ...

def flatten(
    df: pl.DataFrame, columns: list[str] | None, separator: str, explode: list[str] | None
) -> pl.DataFrame: ...
def unflatten(
    df: pl.DataFrame, into: str, separator: str, columns: list[str] | None
) -> pl.DataFrame: ...
def keep_client(client: Client) -> tuple[int, bool, bool]: ...
def endpoint(text: str) -> str: ...
def check_schema(df: pl.DataFrame) -> None: ...
