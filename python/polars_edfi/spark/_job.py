"""A reading on Spark: whose districts, which columns, and how its tasks share the work."""

from __future__ import annotations

from typing import Any

import polars as pl

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError
from polars_edfi.spark import _options, _shares

#: The key of the only district of a client's own ODS; no column of the result.
ALONE = "the ODS"
UNKNOWN = "_unknown"
#: What stands after the key where a district that fails is a row.
ABOUT = ("status", "message", "http_status", "correlation_id")
DEFAULT_WORKERS = int(_options.READ["workers"])
#: So many pieces for each task that runs at once: the last ones end together.
PIECES_PER_TASK = 2


class Job:
    """What the driver knows of a reading. It is pickled with secrets and never shown."""

    def __init__(
        self,
        values: dict[str, Any],
        districts: pl.DataFrame | None,
        key_col: str,
        tasks: int | None,
    ) -> None:
        _options.at_least_one(values, "partitions", "tasks", "workers")
        self.client = _options.of(values, _options.CLIENT)
        self.columns: list[str] | None = values.get("columns")
        self.partitions: int | None = values.get("partitions")
        self.options = _options.of(values, _options.READ)
        self.workers = int(self.options.pop("workers", DEFAULT_WORKERS))
        told = values.get("tasks") or tasks
        # Where nobody knows how many tasks run at once, there are no more of them than requests.
        self.most_parts = self.workers if told is None or self.workers < told else None
        self.tasks: int = told or self.workers
        self.key_col = key_col
        self._clients: dict[str, EdFiClient] = {}
        self.full: pl.Schema | None = None
        self.found: str | None = None
        """The columns as one scan tells another of them."""
        endpoint = values.get("endpoint")
        if not isinstance(endpoint, str) or not endpoint.strip("/ "):
            msg = "name the resource: .load('ed-fi/students')"
            raise EdFiError(msg)
        self.endpoint = endpoint
        if districts is None:
            if "on_error" in self.options:
                msg = "option 'on_error' is for many districts; a single ODS that fails is an error"
                raise EdFiError(msg)
            self.districts, renewal = _shares.one_district(self.client, key_col)
            self.options |= renewal
        else:
            self.districts = districts
            self.options = _shares.renewable(districts, self.options)

    def __getstate__(self) -> dict[str, Any]:
        # Clients stay with their process.
        return {**self.__dict__, "_clients": {}}

    def __repr__(self) -> str:
        return f"<reading of {self.endpoint}>"

    @property
    def is_alone(self) -> bool:
        """Whether there is but one ODS, which has no column of keys."""
        return self.key_col == ALONE

    @property
    def leading(self) -> list[str]:
        """The columns that do not come from records."""
        rows = self.options.get("on_error") == "row"
        return [self.key_col, *(ABOUT if rows else ())]

    def fetch_tokens(self) -> None:
        """Have a token for each district that can have one."""
        options = {**self.options, "workers": self.workers}
        self.districts = _shares.with_tokens(self.districts, self.client, options)
        if self.is_alone:
            _shares.check_token(self.districts, self.client, self.options)

    def scan(
        self,
        districts: pl.DataFrame,
        shares: _shares.Shares,
        schema: pl.Schema | None = None,
    ) -> _native.Scan:
        """Give the scan of some of the districts."""
        rate = {} if shares.max_rate is None else {"max_rate": shares.max_rate}
        options = {**self.options, "workers": shares.workers}
        found = None
        if schema is not None:
            options["schema"], found = schema, self.found
        return _native.Scan(
            native_side(self.client_with(**rate)),
            districts,
            endpoint=self.endpoint,
            key_col=self.key_col,
            found=found,
            **options,
        )

    def client_with(self, **settings: Any) -> EdFiClient:
        """Give a client of these settings, the same again: it knows what its ODSs are like."""
        known = repr(sorted(settings.items()))
        if known not in self._clients:
            plain = _shares.without_credentials(self.client)
            self._clients[known] = EdFiClient(**{**plain, **settings})
        return self._clients[known]

    def whole_share(self) -> _shares.Shares:
        """Give what the driver may have while no task runs."""
        return _shares.Shares(self.workers, self.client.get("max_rate"))

    def find_columns(self) -> pl.Schema:
        """Ask for the columns, and give those that are chosen."""
        self.fetch_tokens()
        scan = self.scan(self.districts, self.whole_share())
        self.full, self.found = scan.schema().schema, scan.found()
        return self.chosen()

    def chosen(self) -> pl.Schema:
        """Give the columns of the result."""
        full = pl.Schema({} if self.full is None else self.full)
        if self.is_alone:
            full.pop(ALONE, None)
        if self.columns is None:
            return full
        # What a district failed of is told whatever was chosen.
        names = [name for name in self.leading if name in full and name not in self.columns]
        for name in self.columns:
            if name not in full:
                msg = f"columns: no column {name!r}; there are {', '.join(full)}"
                raise pl.exceptions.ColumnNotFoundError(msg)
            names.append(name)
        return pl.Schema({name: full[name] for name in dict.fromkeys(names)})

    def given(self, chosen: pl.Schema) -> pl.Schema:
        """Give the columns as a scan takes them, so that no task asks for them."""
        full = self.full or chosen
        leading = self.leading
        renamed = {f"{name}_record": name for name in leading}
        own = {name: dtype for name, dtype in full.items() if name not in {*leading, UNKNOWN}}
        return pl.Schema({renamed.get(name, name): dtype for name, dtype in own.items()})
