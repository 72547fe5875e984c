"""A strict ODS that is no sandbox: it has its own rules, its own log, and its own order."""

from __future__ import annotations

import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

Json = dict[str, Any]
PROBLEM = "urn:ed-fi:api:"
#: Create, then Update, by endpoint.
Levels = Mapping[str, int | tuple[int, int]]


def problem(status: int, kind: str, detail: str, **more: object) -> Answer:
    """An answer of ODS/API 7.2 or later."""
    body = {"type": PROBLEM + kind, "detail": detail, "status": status, "correlationId": "c-1"}
    return Answer(status, body | more)


def document(levels: Levels) -> list[Json]:
    """A document of dependencies, unsorted as that of ODS/API 6.1."""
    entries = []
    for endpoint, level in levels.items():
        steps = [(level, ["Create", "Update"])]
        if isinstance(level, tuple):
            steps = [(level[0], ["Create"]), (level[1], ["Update"])]
        entries += [{"resource": f"/{endpoint}", "order": o, "operations": w} for o, w in steps]
    random.Random(len(entries)).shuffle(entries)
    return entries


def frame(bodies: Iterable[Json], **columns: object) -> pl.DataFrame:
    """One row per body, with a number as its key."""
    texts = [json.dumps(body) for body in bodies]
    df = pl.DataFrame({"payload": pl.Series(texts, dtype=pl.String)})
    return df.with_row_index("k").with_columns(**{n: pl.lit(v) for n, v in columns.items()})


@dataclass
class Sent:
    """A write that was answered."""

    endpoint: str
    body: Json
    status: int
    token: str | None


@dataclass
class Strict:
    """What a strict ODS knows, and what it answered."""

    keys: Mapping[str, tuple[str, ...]]
    """The natural key of each resource, as paths."""
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The resources that a reference may lead to, by its name."""
    associations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By which associations a person may be seen."""
    old: bool = False
    """Whether it answers as ODS/API 6.1 does."""
    first: Callable[[str, Json], Answer | None] = lambda _endpoint, _body: None
    """Answers before anything else, if it likes."""

    def __post_init__(self) -> None:
        self.items: dict[str, dict[tuple[object, ...], Json]] = defaultdict(dict)
        self.log: list[Sent] = []
        self._lock = threading.Lock()

    def post(self, request: Request) -> Answer:
        endpoint = request.path.removeprefix("/data/v3/")
        body = json.loads(request.body)
        with self._lock:
            answer = self.first(endpoint, body) or self.upsert(endpoint, body)
            self.log.append(Sent(endpoint, body, answer.status, request.token))
        return answer

    def upsert(self, endpoint: str, body: Json) -> Answer:
        key = self.key(endpoint, body)
        for name, target in self.missing(body):
            if self.old:
                text = f"Validation of '{endpoint}' failed.\n\t{name} could not be resolved."
                return Answer(400, {"message": text})
            detail = f"The referenced '{target}' item does not exist."
            return problem(409, "data-conflict:unresolved-reference", detail)
        known = key in self.items[endpoint]
        if known and not self.reaches(endpoint, key):
            if self.old:
                text = "Authorization denied. No relationships have been established."
                return Answer(403, {"message": text})
            kind = "security:authorization:relationships:access-denied:element-required"
            return problem(403, kind, "Access to the resource could not be authorized.")
        self.items[endpoint][key] = body
        headers = {"location": f"http://wrong.example.org/{endpoint}/{abs(hash(key)):032x}"}
        return Answer(200 if known else 201, headers=headers)

    def key(self, endpoint: str, body: Json) -> tuple[object, ...]:
        def value(path: str) -> object:
            inner: Any = body
            for name in path.split("."):
                inner = inner[name]
            return inner

        return tuple(value(path) for path in self.keys[endpoint])

    def missing(self, body: Json) -> Iterable[tuple[str, str]]:
        for name, value in body.items():
            targets = self.references.get(name)
            if targets is not None:
                found = tuple(value.values())
                if not any(found in self.items[target] for target in targets):
                    yield name, targets[0]

    def reaches(self, endpoint: str, key: tuple[object, ...]) -> bool:
        associations = self.associations.get(endpoint)
        return associations is None or any(
            key[0] in item for association in associations for item in self.items[association]
        )

    def sent(self, endpoint: str) -> list[Json]:
        """The bodies that came to a resource, in the order of their answers."""
        return [sent.body for sent in self.log if sent.endpoint == endpoint]


def identities(keys: Mapping[str, tuple[str, ...]]) -> Json:
    """An OpenAPI document that tells natural keys."""
    paths: Json = {}
    schemas: Json = {}
    for number, (endpoint, key) in enumerate(keys.items()):
        properties: Json = {}
        for path in key:
            name, _, inner = path.partition(".")
            value: Json = {"type": "string"}
            if inner:
                reference = f"{name}_{number}"
                schema = schemas.setdefault(reference, {"type": "object", "properties": {}})
                schema["properties"][inner] = value
                value = {"$ref": f"#/components/schemas/{reference}"}
            properties[name] = value
        schemas[f"s{number}"] = {"type": "object", "properties": properties}
        parameters = [
            {"name": path.split(".")[-1], "in": "query", "x-Ed-Fi-isIdentity": True} for path in key
        ]
        items = {"$ref": f"#/components/schemas/s{number}"}
        content = {"application/json": {"schema": {"type": "array", "items": items}}}
        answers = {"200": {"content": content}}
        paths[f"/{endpoint}"] = {"get": {"parameters": parameters, "responses": answers}}
        paths[f"/{endpoint}/{{id}}"] = {"get": {}}
    return {"openapi": "3.0.1", "paths": paths, "components": {"schemas": schemas}}


def serve(
    ods: ScriptedOds, levels: Levels | None, post: Callable[[Request], Answer], *, keys: Any = None
) -> None:
    """Have an ODS serve an order (``None``: 404), natural keys if there are any, and writes."""
    listing = [{"name": "Resources", "endpointUri": f"{ods.url}/metadata/r.json", "prefix": ""}]

    def script(request: Request) -> Answer | None:
        if request.path == "/metadata/data/v3/dependencies" and levels is not None:
            return Answer(200, document(levels))
        if keys is not None and request.path.rstrip("/") == "/metadata":
            return Answer(200, listing)
        if keys is not None and request.path == "/metadata/r.json":
            return Answer(200, identities(keys))
        if request.method in {"POST", "DELETE"} and request.path.startswith("/data/"):
            return post(request)
        if request.path == "/" or request.path.startswith("/metadata"):
            return Answer(404)
        return None

    ods.script, ods.serves_metadata, ods.one_at_a_time = script, True, False


def writes(ods: ScriptedOds) -> list[Request]:
    return [request for request in ods.paths() if request.method != "GET"]


SCHOOLS, STUDENTS, ENROLMENTS = "ed-fi/schools", "ed-fi/students", "ed-fi/studentSchoolAssociations"
CONTACTS, KIN = "ed-fi/contacts", "ed-fi/studentContactAssociations"
LEVELS = {STUDENTS: (2, 5), SCHOOLS: 3, ENROLMENTS: 4, CONTACTS: (3, 7), KIN: 6}
KEYS = {
    SCHOOLS: ("schoolId",),
    STUDENTS: ("studentUniqueId",),
    CONTACTS: ("contactUniqueId",),
    ENROLMENTS: ("schoolReference.schoolId", "studentReference.studentUniqueId"),
    KIN: ("contactReference.contactUniqueId", "studentReference.studentUniqueId"),
}
REFERENCES = {
    "schoolReference": (SCHOOLS,),
    "studentReference": (STUDENTS,),
    "contactReference": (CONTACTS,),
    "mainSchoolReference": (SCHOOLS,),
}
ASSOCIATIONS = {STUDENTS: (ENROLMENTS,), CONTACTS: (KIN,)}
MakeOds = Callable[..., ScriptedOds]


def strict(**options: Any) -> Strict:
    return Strict(KEYS, REFERENCES, ASSOCIATIONS, **options)


def school(number: int, main: int | None = None) -> Json:
    body: Json = {"schoolId": number, "n": number}
    return body if main is None else body | {"mainSchoolReference": {"schoolId": main}}


def student(name: str, **more: object) -> Json:
    return {"studentUniqueId": name} | more


def enrolment(name: str, number: int) -> Json:
    return {"schoolReference": {"schoolId": number}, "studentReference": {"studentUniqueId": name}}


def kin(contact: str, name: str) -> Json:
    return {
        "contactReference": {"contactUniqueId": contact},
        "studentReference": {"studentUniqueId": name},
    }


def seven_schools(count: int = 40) -> dict[str, list[Json]]:
    """Schools of which three have the next one for their main school, students, enrolments."""
    names = [f"s{n}" for n in range(count)]
    return {
        ENROLMENTS: [enrolment(name, n % 7) for n, name in enumerate(names)],
        SCHOOLS: [school(n, n + 1 if n < 3 else None) for n in range(7)],
        STUDENTS: [student(name) for name in names],
    }


def client(ods: ScriptedOds, **options: Any) -> edfi.EdFiClient:
    return edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3", **options)


def send(ods: ScriptedOds, frames: Any, **options: Any) -> pl.DataFrame:
    given = {"commit": True, "retry_backoff": 0.0, "key_col": "k"} | options
    return client(ods).send(frames, **given)
