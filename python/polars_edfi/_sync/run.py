"""One run over many ODSs and resources, side by side within one limit of requests."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._errors import EdFiError
from polars_edfi._progress import Bar
from polars_edfi._sync.asker import Asker
from polars_edfi._sync.parquet import PARQUET_ERROR
from polars_edfi._sync.people import PEOPLE, People
from polars_edfi._sync.places import is_remote
from polars_edfi._sync.report import Row, failed, text_of
from polars_edfi._sync.resource import Resource
from polars_edfi._sync.state import State, check_owner, digest_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from polars_edfi._sync.ledger import Ledger
    from polars_edfi._sync.resource import Copy
    from polars_edfi._sync.sources import Ods


ASIDE = ".polars-edfi"
"""The folder of files that are being written."""
FAILURES = (EdFiError, pl.exceptions.PolarsError, OSError, ArithmeticError, ValueError)
"""What is the failure of one resource, and no other's."""
LOOKERS_AHEAD = 64
"""So many ODSs more than there are workers may be looked at while others do not answer."""


LOGGER = logging.getLogger("polars_edfi")


@dataclass
class Plan:
    """What a run is to do."""

    into: str
    odss: Sequence[Ods]
    keys: pl.Series | None
    """The keys of the frame of districts."""
    endpoints: Sequence[str] | None
    open_copy: Callable[[Ods, str], Copy]
    ledger: Ledger | None
    is_local: bool
    """Whether copies are files of this machine, which are soon looked at."""
    is_part: bool
    """Whether others of the same run are at work in the same folder."""
    key_col: str | None
    verify: str | None
    full: bool
    overlap: int
    options: Mapping[str, Any]


@dataclass(slots=True)
class Job:
    """One resource of one ODS, as it is found before anything is asked."""

    number: int
    """Its place among the resources of its ODS."""
    endpoint: str
    copy: Copy
    state: State | None
    key_fields: tuple[str, ...] | None


@dataclass
class District:
    """One ODS in a run."""

    ods: Ods
    place: int
    jobs: list[Job]
    renamed: list[tuple[str, int | None]]
    versions: tuple[int, int] | None = None
    was_restored: bool = False
    """Whether the ODS has fewer versions than it had when one of its copies was made."""
    people: People | None = None


class Run:
    """A run that is under way."""

    def __init__(self, plan: Plan, spools: Path) -> None:
        self.plan = plan
        self.workers: int = plan.options["workers"]
        self.limiter = _native.Limiter(self.workers)
        self.rows: list[tuple[int, int, Row]] = []
        self._spools = spools
        self._pool = ThreadPoolExecutor(self.workers, "polars-edfi-sync")
        # Requests wait for each other anyway; nobody waits for the thread of an ODS that is silent.
        self._lookers = ThreadPoolExecutor(self.workers + LOOKERS_AHEAD, "polars-edfi-look")
        self._looking: list[Future[None]] = []
        self._futures: set[Future[None]] = set()
        self._districts: dict[int, District] = {}
        self._left = len(plan.odss)
        self._lock = threading.Lock()
        self._is_stopped = False
        self._schema = _told(plan.options["schema"])

    def progress(self) -> tuple[int, int, int]:
        """Tell how many resources are done, of how many."""
        found = list(self._districts.values())
        there = sum(len(district.jobs) for district in found)
        named = len(self.plan.odss) * len(self.plan.endpoints or ())
        return len(self.rows), max(there, named), 0

    def go(self) -> list[Row]:
        """Do it all; whatever is raised meanwhile stops the requests first."""
        options = self.plan.options
        with contextlib.ExitStack() as at_end:
            at_end.callback(self._end_threads)
            if options["show_progress"]:
                text = options["label"] or "copying"
                if options["progress_desc"]:
                    text = f"{options['progress_desc']}: {text}"
                at_end.callback(Bar(self, text, "resources").close)
            try:
                self._watch()
                _until_done([*self._looking, *self._futures])
            except BaseException:
                self._stop()
                raise
        return [row for *_, row in sorted(self.rows, key=lambda row: row[:2])]

    def _stop(self) -> None:
        self._is_stopped = True
        self.limiter.cancel()

    def _end_threads(self) -> None:
        """Wait until nothing is at work in the folder, however often that is interrupted.

        Whoever copies there next would find it at work. Work is waited for, not threads: one that
        is joined counts as ended once Ctrl-C comes meanwhile, though it runs (Python 3.11).
        """
        raised: BaseException | None = None
        while True:
            try:
                for pool in (self._pool, self._lookers):
                    pool.shutdown(wait=False, cancel_futures=True)
                left = [work for work in (*self._looking, *self._futures) if not work.done()]
                if not left:
                    break
                wait(left, timeout=0.1)
            except BaseException as error:  # noqa: BLE001 - a signal handler raises what it likes
                raised = error
        if raised is not None:
            raise raised

    def _district(self, place: int, ods: Ods, jobs: list[Job] | None) -> District | None:
        endpoints = self.plan.endpoints
        if ods.client is None:
            for number, endpoint in enumerate(endpoints or [None]):
                self._add(place, number, failed(ods.row, endpoint, ods.failure or ""))
            return None
        listed: dict[str, tuple[str, ...]] = {}
        if endpoints is None:
            try:
                listed = self._listed(ods)
            except EdFiError as error:
                self._add(place, 0, failed(ods.row, None, f"resources: {error}"))
                return None
        if jobs is None:
            jobs = self._jobs(ods, place, endpoints or list(listed))
        anew = [job for job in jobs if self._is_begun_anew(ods, job.state)]
        keyless = [job for job in jobs if job.key_fields is None]
        if (anew or keyless) and not listed:
            with contextlib.suppress(EdFiError):
                listed = self._listed(ods)
        by_name = _in_any_case(listed)
        for job in anew + keyless:
            job.key_fields = by_name.get(job.endpoint.lower(), job.key_fields)
            if job.state is not None:
                job.state = replace(job.state, key_fields=job.key_fields)
        jobs = [job for job in jobs if not self._hides_key(ods, place, job)]
        states = [job.state for job in jobs if job.state and job.state.version is not None]
        return District(ods, place, jobs, self._renamed(states, listed, bool(anew)))

    def _hides_key(self, ods: Ods, place: int, job: Job) -> bool:
        """Tell whether the districts' key takes the name of a part of a resource's own key.

        Such a resource gets its error row.
        """
        key_col = self.plan.key_col
        if key_col is None or key_col not in (job.key_fields or ()):
            return False
        message = f"key_col {key_col!r} is a part of the key of its records; rename the column"
        self._add(place, job.number, failed(ods.row, job.endpoint, f"{message} of the frame"))
        return True

    def _key_fields(self, ods: Ods, job: Job) -> tuple[str, ...] | None:
        """Give the key of a resource that is read in full: an upgrade may have changed it."""
        if self._is_begun_anew(ods, job.state):
            return job.key_fields
        try:
            by_name = _in_any_case(self._listed(ods))
        except EdFiError:
            return job.key_fields
        return by_name.get(job.endpoint.lower(), job.key_fields)

    def _jobs(self, ods: Ods, place: int, endpoints: Sequence[str]) -> list[Job]:
        """Look at the copies of one ODS."""
        jobs: list[Job] = []
        for number, endpoint in enumerate(endpoints):
            try:
                copy = self.plan.open_copy(ods, endpoint)
                state = copy.state()
                if state is not None:
                    check_owner(state, endpoint, ods.source, ods.key, copy.where)
            except FAILURES as error:
                self._add(place, number, failed(ods.row, endpoint, text_of(error)))
                continue
            key_fields = None if state is None else state.key_fields
            jobs.append(Job(number, endpoint, copy, state, key_fields))
        return jobs

    def _renamed(
        self, states: Sequence[State], listed: Mapping[str, object], anew: bool
    ) -> list[tuple[str, int | None]]:
        """Tell which people may have got other keys, and since when.

        Whoever reads everything may meet some of these changes, and remembers to have done so.
        """
        found: list[tuple[str, int | None]] = []
        for endpoint in PEOPLE:
            since = [state.version or 0 for state in states if endpoint in state.people]
            if since:
                found.append((endpoint, max(min(since) - self.plan.overlap, 0)))
            elif anew and (not listed or endpoint in listed):
                found.append((endpoint, None))
        return found

    def _is_begun_anew(self, ods: Ods, state: State | None) -> bool:
        if self.plan.full or state is None or state.version is None:
            return True
        shape = self._shape(ods)
        return state.shape not in ("", shape) and state.shape != digest_of(number_of(shape))

    def _shape(self, ods: Ods) -> str:
        """Tell how records become columns: what was read in another way does not fit."""
        options = self.plan.options
        shape = f"separator {options['separator']!r}, links {options['links']}{self._schema}"
        if ods.value is not None:
            shape += f", key {self.plan.key_col!r} {ods.value.dtype.base_type()}"
        return shape + (f", profile {ods.profile.lower()}" if ods.profile else "")

    def _listed(self, ods: Ods) -> dict[str, tuple[str, ...]]:
        client = native_side(ods.client)
        resources = _native.resources(client, _native.Call(self.limiter))
        separator = self.plan.options["separator"]
        return {
            endpoint: tuple(field.replace(".", separator) for field in key_fields or [])
            for endpoint, key_fields in resources.select("endpoint", "key_fields").iter_rows()
        }

    def _watch(self) -> None:
        """Look at all copies, ask what is new in their ODSs, and begin as soon as that is known."""
        watch = _native.Watch(
            self.limiter,
            limit=self.plan.options["limit"],
            count=self.plan.verify == "count",
            snapshot=self.plan.options["snapshot"],
            overlap=self.plan.overlap,
        )
        try:
            self._looking.append(self._lookers.submit(self._look_at_all, watch))
            for events in watch:
                for event in events:
                    district = self._districts[event[0]]
                    if len(event) == 4:  # noqa: PLR2004 - an ODS
                        self._begun(district, *event[1:])
                    else:
                        self._found(district, district.jobs[event[1]], *event[2:])
            _until_done(self._looking[:1])
        finally:
            watch.close()

    def _look_at_all(self, watch: _native.Watch) -> None:
        """Look at all copies.

        Files of this machine are looked at one after another, since threads would but wait for each
        other; whatever has to be asked or fetched for is so side by side.
        """
        try:
            if not self.plan.odss:
                watch.end()
            for place, ods in enumerate(self.plan.odss):
                if self._is_stopped:
                    return
                jobs, endpoints = None, self.plan.endpoints
                if self.plan.is_local and endpoints is not None and ods.client is not None:
                    jobs = self._jobs(ods, place, endpoints)
                    if not any(
                        job.key_fields is None or self._is_begun_anew(ods, job.state)
                        for job in jobs
                    ):
                        self._look(watch, place, ods, jobs)
                        continue
                self._looking.append(self._lookers.submit(self._look, watch, place, ods, jobs))
        except BaseException:
            watch.end()
            raise

    def _look(self, watch: _native.Watch, place: int, ods: Ods, jobs: list[Job] | None) -> None:
        """Look at the copies of one ODS, and have it asked."""
        try:
            district = self._district(place, ods, jobs)
            if district is not None:
                self._districts[place] = district
                windows = [self._window(ods, job) for job in district.jobs]
                watch.add(place, native_side(district.ods.client), windows, district.renamed)
        finally:
            with self._lock:
                self._left -= 1
                if not self._left:
                    watch.end()

    def _window(self, ods: Ods, job: Job) -> tuple[str, int | None, bytes]:
        """Tell what a resource is asked for, and what is known of it."""
        if job.state is None or self._is_begun_anew(ods, job.state):
            return job.endpoint, None, b""
        begin = max((job.state.version or 0) - self.plan.overlap, 0)
        return job.endpoint, begin, job.state.known

    def _begun(
        self,
        district: District,
        versions: tuple[int, int] | None,
        renamed: list[int],
        failure: tuple[str, int | None] | None,
    ) -> None:
        """Go on with an ODS of which the versions are known."""
        ods = district.ods
        if failure is not None:
            for job in district.jobs:
                self._end(district, job, failed(ods.row, job.endpoint, failure[0]))
            return
        district.versions = versions
        recent = 0 if versions is None else max(versions[1] + 1 - self.plan.overlap, 0)
        begins = [job.state.version or 0 for job in district.jobs if job.state is not None]
        district.was_restored = versions is not None and max(begins, default=0) > versions[1] + 1
        district.people = People(
            lambda endpoint: self._asker(district, endpoint),
            [
                (endpoint, recent if since is None else since)
                for endpoint, since in (district.renamed[place] for place in renamed)
            ],
        )
        for job in district.jobs:
            if versions is None or self._is_begun_anew(ods, job.state):
                self._submit(district, job, Resource.full)

    def _found(  # noqa: PLR0917 - as the native side tells them
        self,
        district: District,
        job: Job,
        is_known: bool,
        window: list[tuple[str, int]] | None,
        count: int | None,
        requests: int,
        failure: tuple[str, int | None] | None,
    ) -> None:
        """Go on with a resource of which it is known what is new."""
        versions = district.versions
        state = job.state
        if failure is not None or versions is None or state is None:
            message = failure[0] if failure else "its change versions are not known"
            self._end(district, job, failed(district.ods.row, job.endpoint, message))
            return
        since = state.version or 0
        if district.was_restored or 0 < since < versions[0]:
            # Or the ODS has forgotten what happened since.
            self._submit(district, job, Resource.full, requests)
            return
        agrees = count is not None and count - state.surplus == state.rows
        is_quiet = district.people is not None and not district.people.renamed
        if self.plan.verify == "count" and is_known and agrees and is_quiet:
            row = Row(district.ods.row, job.endpoint, None, None, "unchanged", since, since)
            row.rows, row.written, row.deleted, row.repaired = state.rows, 0, 0, 0
            row.requests, row.seconds = requests, 0.0
            self._end(district, job, row)
            return
        window = [] if is_known else window
        self._submit(district, job, lambda resource: resource.window(window, count), requests)

    def _asker(self, district: District, endpoint: str) -> Asker:
        ods = district.ods
        if ods.client is None:
            raise AssertionError
        return Asker(
            ods.client, endpoint, self.limiter, self.plan.options, self.plan.key_col, ods.value
        )

    def _submit(
        self,
        district: District,
        job: Job,
        work: Callable[[Resource], Row],
        requests: int = 0,
    ) -> None:
        self._futures.add(self._pool.submit(self._do, district, job, work, requests))

    def _do(
        self, district: District, job: Job, work: Callable[[Resource], Row], requests: int
    ) -> None:
        """Do one resource; what goes wrong with it is its row."""
        ods, state = district.ods, job.state
        asker = self._asker(district, job.endpoint)
        asker.asked = requests
        newest = None if district.versions is None else district.versions[1] + 1
        shape = self._shape(ods)
        fresh = State(job.endpoint, ods.source, ods.key, 0, newest, job.key_fields, shape)
        if district.people is None:
            raise AssertionError
        try:
            resource = Resource(
                asker,
                job.copy,
                state,
                fresh,
                lambda: self._key_fields(ods, job),
                district.people,
                ods.row,
                self.plan.overlap,
                self.plan.verify,
                self._spools,
            )
            row = work(resource)
        except Exception as error:
            if not isinstance(error, FAILURES):
                LOGGER.exception("%s: %s", job.copy.where, type(error).__name__)
            text = text_of(error)
            if state is not None and text.startswith(PARQUET_ERROR):
                text = f"{job.copy.where} is damaged ({text}); remove it to read it anew"
            row = failed(ods.row, job.endpoint, text)
        except BaseException:
            # An interrupt: whoever waits for something else hears nothing of it.
            self._stop()
            raise
        self._end(district, job, row)

    def _end(self, district: District, job: Job, row: Row) -> None:
        self._add(district.place, job.number, row)

    def _add(self, place: int, number: int, row: Row) -> None:
        self.rows.append((place, number, row))


def _in_any_case(
    listed: Mapping[str, tuple[str, ...]],
) -> dict[str, tuple[str, ...]]:
    """Give the key fields by the names of resources in lower case, however somebody writes them."""
    return {endpoint.lower(): fields for endpoint, fields in listed.items()}


def _told(schema: Any) -> str:
    """Tell a schema from others, where one is given."""
    if isinstance(schema, str):
        return "" if schema in ("auto", "openapi") else f", schema {schema}"
    fields = schema.to_schema() if isinstance(schema, pl.Struct) else schema
    names = repr(list(dict(fields).items()))
    return f", schema {hashlib.sha256(names.encode()).hexdigest()[:16]}"


def _until_done(futures: Iterable[Future[Any]]) -> None:
    """Wait in short steps: between these, Python hears of signals whichever thread got them."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=0.1)
        for future in done:
            future.result()


def run(plan: Plan) -> list[Row]:
    """Run a plan, with room for new files where a rename brings them into their places."""
    if is_remote(plan.into):
        with tempfile.TemporaryDirectory(prefix="polars-edfi-") as folder:
            return Run(plan, Path(folder)).go()
    spools = Path(plan.into, ASIDE)
    try:
        if plan.is_part:
            # Another try of the same part may still be at its end.
            spools /= uuid.uuid4().hex
            spools.mkdir(parents=True)
        else:
            # What a killed run has left goes first.
            shutil.rmtree(spools, ignore_errors=True)
            spools.mkdir()
    except OSError as error:
        msg = f"into: {error.strerror or error}: {str(spools)!r}"
        raise EdFiError(msg) from None
    try:
        return Run(plan, spools).go()
    finally:
        shutil.rmtree(spools, ignore_errors=True)
