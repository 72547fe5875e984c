"""Grand Bend, shuffled, into a strict ODS: what can be there is there, whatever the order."""

import gzip
import itertools
import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from send.support import problem

Json = dict[str, Any]
MakeOds = Callable[..., ScriptedOds]
ORGANIZATIONS = (
    "communityOrganizations",
    "communityProviders",
    "educationServiceCenters",
    "localEducationAgencies",
    "organizationDepartments",
    "postSecondaryInstitutions",
    "schools",
)
PEOPLE = {
    "ed-fi/students": ("studentUniqueId", ["ed-fi/studentSchoolAssociations"]),
    "ed-fi/contacts": ("contactUniqueId", ["ed-fi/studentContactAssociations"]),
    "ed-fi/staffs": (
        "staffUniqueId",
        [
            "ed-fi/staffEducationOrganizationAssignmentAssociations",
            "ed-fi/staffEducationOrganizationEmploymentAssociations",
        ],
    ),
}


def singular(resource: str) -> str:
    for ending, one in [("people", "person"), ("ies", "y"), ("s", "")]:
        if resource.endswith(ending):
            return resource.removesuffix(ending) + one
    return resource


def scalars(body: Json) -> dict[str, list[str]]:
    """What an item may be called by: its own values, and those of its references."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in body.items():
        if isinstance(value, dict):
            for inner, part in value.items():
                if not isinstance(part, dict | list):
                    found[inner].append(str(part))
        elif not isinstance(value, list):
            found[name].insert(0, str(value))
            if name.endswith(("Id", "uniqueId")):
                found["educationOrganizationId"].insert(0, str(value))
    return found


def references(body: Any) -> Iterator[tuple[str, Json]]:
    """All references at any depth."""
    if isinstance(body, list):
        for value in body:
            yield from references(value)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name.endswith("Reference") and isinstance(value, dict):
                yield name.removesuffix("Reference"), value
            else:
                yield from references(value)


class District:
    """Items that refer to each other, found by the names of references alone."""

    def __init__(self, resources: list[str]) -> None:
        self.resources = {singular(name.partition("/")[2]).lower(): name for name in resources}
        self.items: dict[str, list[Json]] = defaultdict(list)
        self.indexes: dict[tuple[str, tuple[str, ...]], set[tuple[str, ...]]] = {}
        self.people: dict[str, set[str]] = defaultdict(set)
        self.reached: dict[str, set[str]] = defaultdict(set)

    def targets(self, name: str) -> list[str]:
        lower = name.lower()
        if lower.endswith("schoolyeartype"):
            return []
        if lower.endswith("educationorganization"):
            return [f"ed-fi/{name}" for name in ORGANIZATIONS]
        if lower.endswith("generalstudentprogramassociation"):
            return [one for one in self.resources.values() if one.endswith("ProgramAssociations")]
        ends = [end for end in self.resources if lower.endswith(end)]
        return [self.resources[max(ends, key=len)]] if ends else []

    def missing(self, body: Json) -> str | None:
        """What a body refers to that is not there."""
        for name, value in references(body):
            targets = self.targets(name)
            fields = tuple(sorted(field for field in value if field != "link"))
            wanted = tuple(str(value[field]) for field in fields)
            if targets and not any(wanted in self.index(one, fields) for one in targets):
                return singular(targets[0].partition("/")[2])
        return None

    def index(self, endpoint: str, fields: tuple[str, ...]) -> set[tuple[str, ...]]:
        index = self.indexes.get((endpoint, fields))
        if index is None:
            index = self.indexes[endpoint, fields] = set()
            for body in self.items[endpoint]:
                self.add_to(index, fields, body)
        return index

    def add_to(self, index: set[tuple[str, ...]], fields: tuple[str, ...], body: Json) -> None:
        found = scalars(body)
        index.update(itertools.product(*(found.get(field, []) for field in fields)))

    def add(self, endpoint: str, body: Json) -> None:
        self.items[endpoint].append(body)
        for (of, fields), index in self.indexes.items():
            if of == endpoint:
                self.add_to(index, fields, body)
        if endpoint in PEOPLE:
            self.people[endpoint].add(body[PEOPLE[endpoint][0]])
        for person, (name, associations) in PEOPLE.items():
            if endpoint in associations:
                self.reached[person].update(scalars(body)[name])

    def may_write(self, endpoint: str, body: Json) -> bool:
        if endpoint not in PEOPLE:
            return True
        name = body[PEOPLE[endpoint][0]]
        return name not in self.people[endpoint] or name in self.reached[endpoint]


@pytest.fixture(scope="module")
def records(data: Path) -> dict[str, list[str]]:
    found = {}
    for path in sorted((data / "records/grandbend").glob("*.jsonl.gz")):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        found[f"ed-fi/{path.name.removesuffix('.jsonl.gz')}"] = lines
    return found


@pytest.fixture(scope="module")
def order(data: Path) -> list[Json]:
    text = (data / "metadata/ods7-ds5.2.0-dependencies.json").read_text()
    entries: list[Json] = json.loads(text)
    return entries


def resolvable(records: dict[str, list[str]]) -> set[str]:
    """What is there in the end, if everything is tried again until nothing more comes."""
    district = District(list(records))
    left = [(name, line, json.loads(line)) for name, lines in records.items() for line in lines]
    done: set[str] = set()
    while True:
        still = []
        for name, line, body in left:
            if district.missing(body) is None:
                district.add(name, body)
                done.add(line)
            else:
                still.append((name, line, body))
        if len(still) == len(left):
            return done
        left = still


class StrictOds:
    """Writes to a district, with a log, a deadlock now and then, and an order of its own."""

    def __init__(self, district: District, order: list[Json], rng: random.Random) -> None:
        self.district, self.order, self.rng = district, order, rng
        self.log: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        if request.path == "/metadata/data/v3/dependencies":
            return Answer(200, self.order)
        if request.method != "POST":
            return Answer(404)
        endpoint, line = request.path.removeprefix("/data/v3/"), request.body.decode()
        with self._lock:
            answer = self.write(endpoint, json.loads(line))
            self.log.append((endpoint, line, answer.status))
        return answer

    def write(self, endpoint: str, body: Json) -> Answer:
        if self.rng.random() < 0.002:
            return problem(500, "system", "Deadlock.")
        if (missing := self.district.missing(body)) is not None:
            text = f"The referenced '{missing}' item does not exist."
            return problem(409, "data-conflict:unresolved-reference", text)
        if not self.district.may_write(endpoint, body):
            return problem(403, "security:authorization:", "Not authorized.")
        self.district.add(endpoint, body)
        return Answer(201, headers={"location": f"/{len(self.log):032x}"})


def test_grand_bend_shuffled(
    make_ods: MakeOds, records: dict[str, list[str]], order: list[Json]
) -> None:
    rng = random.Random(19)
    expected = resolvable(records)
    district = District(list(records))
    server = StrictOds(district, rng.sample(order, len(order)), rng)
    ods = make_ods()
    ods.script, ods.serves_metadata, ods.one_at_a_time = server, True, False
    # Students that are there already, enrolled nowhere yet.
    old = rng.sample(records["ed-fi/students"], 40)
    for line in old:
        district.add("ed-fi/students", json.loads(line))
    frames = {
        name: pl.DataFrame({"payload": rng.sample(lines, len(lines))})
        for name, lines in rng.sample(list(records.items()), len(records))
    }
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    sent = client.send(frames, commit=True, workers=16, rounds=8, max_retries=8, retry_backoff=0.0)

    lines = pl.concat(frames.values())["payload"]
    assert sent.height == lines.len() == sum(map(len, records.values()))
    enrolled = district.reached["ed-fi/students"]
    there = expected - {one for one in old if json.loads(one)["studentUniqueId"] not in enrolled}
    assert sent["status"].is_null().to_list() == [line in there for line in lines]
    # Each answer is in the result, and each request in its attempts.
    tries = Counter((endpoint, line) for endpoint, line, _ in server.log)
    rows = list(zip(sent["endpoint"], lines, strict=True))
    twins = Counter(rows)
    for row, attempts in zip(rows, sent["attempts"], strict=True):
        assert twins[row] > 1 or tries[row] == attempts
    # A level waits for the one before it: what was refused lacked something of its own level, or
    # what the order does not tell.
    refused = sum(status == 409 for *_, status in server.log)
    assert refused < 0.2 * len(server.log)
