"""A small Ed-Fi ODS on this machine, for trying things out and for tests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from polars_edfi import _native
from polars_edfi._errors import EdFiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import polars as pl

MutationKind: TypeAlias = Literal["insert", "delete", "edit", "recreate", "rekey"]


class Sandbox:
    """An Ed-Fi ODS/API in this process, on loopback, with records that it makes itself.

    Each district has its own URL, key, secret and records. It answers as an ODS/API 7.3 does,
    or as an older ``release``. The records are believable, and the same for the same ``seed``.

    Parameters
    ----------
    districts
        The districts' names; each becomes a path below the sandbox's URL.
    records
        How many ``studentAssessments`` each district has; there are fewer of the other resources
        (``students`` and their enrolments, ``schools``, ``assessments``, descriptors). With 0 there
        are only descriptors and school years.
    seed
        What the records are made from.
    port
        0 takes any free port.
    page_limit
        The largest page that a request may ask for.
    release
        From ``"5.2"`` to ``"7.3"``. Before 7.3 collections are in the order of their natural keys,
        and there is no cursor paging.
    strict
        Refuse what an ODS refuses: a descriptor value that does not exist, a reference that leads
        nowhere, a student without an enrolment who is posted again (403), a resource that the
        metadata does not list. ``False`` takes all of that.
    token_lifetime
        Seconds until a token ends.
    token_limit
        How many live tokens a client may have; one more is answered 429. An ODS/API 7.3 has 15.
    request_limit
        How many requests are taken in how many seconds; one more is answered 429 with
        ``Retry-After``.
    latency
        Seconds before each answer.
    skipping
        Seconds that a page takes longer for each 1,000 records that its offset skips, as the
        databases of ODS/API 5 to 7.2 go through them row by row.
    migrated
        All records have one change version, as those of a database that was migrated.
    documents
        Files of OpenAPI 3 documents of an ODS, one of its resources or its descriptors, in place of
        the sandbox's own: it serves them, and goes by their schemas, references and natural keys.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901"], records=10) as ods:
    ...     districts = ods.districts()
    >>> districts.columns
    ['District BK', 'targetUrl', 'oAuthKey', 'oAuthSecret']
    """

    def __init__(
        self,
        districts: Sequence[str] = ("255901",),
        records: int = 1200,
        *,
        seed: int = 0,
        port: int = 0,
        page_limit: int = 500,
        release: str = "7.3",
        strict: bool = True,
        token_lifetime: float = 1800.0,
        token_limit: int | None = None,
        request_limit: tuple[int, float] | None = None,
        latency: float = 0.0,
        skipping: float = 0.0,
        migrated: bool = False,
        documents: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        if isinstance(districts, str) or not isinstance(districts, Iterable):
            msg = f"districts must be a list of names, got {districts!r}"
            raise EdFiError(msg)
        self._native = _native.Sandbox(
            districts=[str(district) for district in districts],
            records=records,
            seed=seed,
            port=port,
            page_limit=page_limit,
            release=release,
            strict=strict,
            token_lifetime=token_lifetime,
            token_limit=token_limit,
            request_limit=request_limit,
            latency=latency,
            skipping=skipping,
            migrated=migrated,
            documents=[Path(document).read_text(encoding="utf-8") for document in documents],
        )

    @property
    def url(self) -> str:
        """Where it is; a district's base URL is one path segment longer."""
        return self._native.url

    def districts(self) -> pl.DataFrame:
        """Give a frame of the districts, as ``batch_fetch_tokens`` takes it.

        Returns
        -------
        DataFrame
            ``District BK``, ``targetUrl``, ``oAuthKey``, ``oAuthSecret``, all String.
        """
        return self._native.districts()

    def load_jsonl(self, district: str, endpoint: str, path: str | os.PathLike[str]) -> int:
        """Replace a resource's records by those of a file.

        Parameters
        ----------
        district
            Whose records.
        endpoint
            Which resource, such as ``"ed-fi/students"``; it need not exist before.
        path
            A file with one JSON object per line, gzipped if its name ends in ``.gz``.

        Returns
        -------
        int
            How many records there are now.
        """
        return self._native.load_jsonl(district, endpoint, os.fspath(path))

    def mutate(
        self,
        district: str,
        endpoint: str,
        kind: MutationKind,
        number: int,
        *,
        late: int = 0,
    ) -> None:
        """Change a collection now, as another client's write would.

        Parameters
        ----------
        district, endpoint
            Which collection. References to it are not looked at.
        kind
            ``"insert"`` makes ``number`` new items. ``"delete"``, ``"edit"`` (a new change
            version), ``"recreate"`` (the same natural key under a new id) and ``"rekey"`` (another
            natural key) mean the item at that place; beyond the last one the count starts again.
        number
            How many, or which.
        late
            Take the change version now, and commit before the so many-th request that follows:
            the newest change version counts it, no read sees it until then.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=40) as ods:
        ...     ods.mutate("255901", "ed-fi/students", "insert", 3)
        """
        self._native.mutate(district, endpoint, kind, number, late)

    def take_snapshot(self, district: str) -> None:
        """Keep what a district holds now for reads with ``snapshot=True``.

        A later snapshot takes its place. Before the first one such reads are answered 404.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=40) as ods:
        ...     ods.take_snapshot("255901")
        """
        self._native.take_snapshot(district)

    def set_schedule(
        self,
        district: str,
        endpoint: str,
        *,
        before: Mapping[int, Sequence[tuple[MutationKind, int]]] | None = None,
        after: Mapping[int, Sequence[tuple[MutationKind, int]]] | None = None,
        seed: int | None = None,
        per_request: float = 1.0,
        until: int | None = None,
        shuffle: int | None = None,
    ) -> None:
        """Let a collection move while it is read.

        It takes the place of the schedule before; without any of these arguments nothing moves
        any more.

        Parameters
        ----------
        district, endpoint
            Which collection.
        before, after
            What happens (see ``mutate``) before or after a request is served, by its number. The
            first GET of the collection, its deletes, changed keys or partitions is 1.
        seed, per_request, until
            Random mutations, on average so many for each request, until the request of that number.
        shuffle
            Serve requests that come together in another order, by this seed.

        Examples
        --------
        A record of the first page goes when that page was served:

        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=40) as ods:
        ...     ods.set_schedule("255901", "ed-fi/students", after={1: [("delete", 2)]})
        """

        def plain(
            steps: Mapping[int, Sequence[tuple[MutationKind, int]]] | None,
        ) -> dict[int, list[tuple[str, int]]]:
            return {
                request: [(kind, number) for kind, number in mutations]
                for request, mutations in (steps or {}).items()
            }

        self._native.set_schedule(
            district, endpoint, plain(before), plain(after), seed, per_request, until, shuffle
        )

    def set_faults(
        self,
        district: str,
        *,
        statuses: Sequence[int] = (),
        retry_after: int | None = None,
        no_total_count: bool = False,
        miscount: tuple[Literal["high", "low", "at most"], int] | None = None,
        page_cap: int | None = None,
        short_pages: Sequence[int] = (),
        ignore_filters: bool = False,
    ) -> None:
        """Do something wrong from now on; without arguments nothing any more.

        Parameters
        ----------
        district
            Which district.
        statuses
            What the next data requests are answered instead of doing the work; 0 lets one through.
        retry_after
            ``Retry-After``, in seconds, of a 429 or 503 among them.
        no_total_count
            Leave out ``Total-Count``.
        miscount
            ``Total-Count`` is so much too high or too low, or never above a number.
        page_cap
            No page holds more records, whatever ``limit`` says.
        short_pages
            So many records the next pages fall short; 0 leaves one whole.
        ignore_filters
            Filters are ignored and everything is given, as older servers do with names that they
            do not know.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=40) as ods:
        ...     ods.set_faults("255901", statuses=[503, 429], retry_after=1)
        """
        self._native.set_faults(
            district,
            list(statuses),
            retry_after,
            no_total_count,
            miscount,
            page_cap,
            list(short_pages),
            ignore_filters,
        )

    def set_claims(
        self, district: str, resources: Mapping[str, Sequence[str]], *, name: str = "Narrow"
    ) -> None:
        """Let the district's client do these operations with these resources, and nothing else.

        Parameters
        ----------
        district
            Which district.
        resources
            The operations (``"Create"``, ``"Read"``, ``"Update"``, ``"Delete"``,
            ``"ReadChanges"``) that are allowed, by endpoint. All else is answered 403.
        name
            What the claim set is called.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=1) as ods:
        ...     ods.set_claims("255901", {"ed-fi/students": ["Read"]})
        """
        claims = [(endpoint, list(operations)) for endpoint, operations in resources.items()]
        self._native.set_claims(district, name, claims)

    def stop(self) -> None:
        """Stop serving; a second time does nothing."""
        self._native.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
