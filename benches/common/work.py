"""What every contestant is told to do, in the shapes that it may want it in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

#: The column that tells districts and accounts apart.
KEY = "District BK"
RESOURCE = "data/v3/ed-fi/studentAssessments"


@dataclass(frozen=True)
class Work:
    """One piece of work.

    ``get_all`` reads ``districts`` districts, each with a ``parts``th part of all ``records``,
    in pages of ``limit``. ``post`` and ``get_by_id`` take the first ``count`` of ``rows``, a
    file of JSON with ``key``, ``id`` and ``payload`` a line. ``tokens`` takes ``count`` accounts.
    """

    job: str
    url: str
    token: str
    workers: int
    districts: int
    parts: int
    records: int
    limit: int
    count: int
    #: Results are compared by this many rows of ``rows``, which every contestant takes.
    common: int
    rows: str
    #: A Parquet file without rows, whose columns are those of a record.
    schema: str

    @classmethod
    def parse(cls, text: str) -> Work:
        """Read the argument of a contestant's process."""
        return cls(**json.loads(text))

    @property
    def ods(self) -> str:
        """The base URL for everything but ``get_all``."""
        return f"{self.url}/1of{self.parts}"

    @property
    def headers(self) -> dict[str, str]:
        """What a client of one's own sends."""
        return {"Authorization": f"Bearer {self.token}"}

    def read_districts(self) -> list[dict[str, Any]]:
        """Name one row per district to read; more districts than parts begin again."""
        parts = self.parts
        return [
            {
                KEY: str(number + 1),
                "targetUrl": f"{self.url}/{number % parts + 1}of{parts}",
                "EdFi Token": self.token,
            }
            for number in range(self.districts)
        ]

    def read_accounts(self) -> list[dict[str, Any]]:
        """Name one row per account."""
        return [
            {
                KEY: str(number + 1),
                "targetUrl": self.ods,
                "oAuthKey": f"key-{number + 1}",
                "oAuthSecret": "secret",
            }
            for number in range(self.count)
        ]

    def read_rows(self) -> pl.DataFrame:
        """Read what is to be posted, or asked for by its id."""
        return pl.read_ndjson(self.rows, n_rows=self.count).with_columns(
            pl.lit(self.ods).alias("targetUrl"), pl.lit(self.token).alias("EdFi Token")
        )


#: What a contestant makes of its work, beforehand: the call that is measured.
Call = Callable[[], pl.DataFrame]


class SkipError(Exception):
    """A contestant cannot take part, and says why."""
