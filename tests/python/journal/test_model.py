"""Whatever was sent, refused, deleted or lost before: what is sent is what a plain model says."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows

if TYPE_CHECKING:
    from pathlib import Path

    import polars_edfi as edfi

STUDENTS = "ed-fi/students"
DOCUMENT: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "x", "version": "3"},
    "definitions": {
        "edFi_student": {
            "type": "object",
            "required": ["studentUniqueId"],
            "properties": {
                "id": {"type": "string"},
                "studentUniqueId": {"type": "string", "x-Ed-Fi-isIdentity": True},
                "v": {"type": "integer"},
            },
        }
    },
    "paths": {
        "/ed-fi/students": {
            "get": {
                "parameters": [
                    {
                        "name": "studentUniqueId",
                        "in": "query",
                        "type": "string",
                        "x-Ed-Fi-isIdentity": True,
                    }
                ],
                "responses": {
                    "200": {
                        "description": "ok",
                        "schema": {
                            "type": "array",
                            "items": {"$ref": "#/definitions/edFi_student"},
                        },
                    }
                },
            }
        }
    },
}


@dataclass
class Ods:
    """A server that keeps one item for each student, under ids that come back or do not."""

    scripted: ScriptedOds
    has_document: bool
    keeps_ids: bool
    items: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By student: its id and its payload."""
    fate: dict[str, str] = field(default_factory=dict)
    """What becomes of the next writes, by their text or id."""
    seen: list[str] = field(default_factory=list)
    made: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, request: Request) -> Answer | None:
        if request.path == "/metadata/" and self.has_document:
            url = f"{self.scripted.url}/metadata/data/v3/resources/swagger.json"
            return Answer(200, [{"name": "Resources", "endpointUri": url, "prefix": ""}])
        if request.path.endswith("swagger.json") and self.has_document:
            return Answer(200, DOCUMENT)
        if request.path == "/" or request.path.startswith("/metadata"):
            return Answer(404)
        name = request.path.rpartition("/")[2]
        what = request.body.decode() if request.method == "POST" else name
        with self.lock:
            self.seen.append(what)
            return self.write(request.method, what, self.fate.get(what, "applied"))

    def write(self, method: str, what: str, fate: str) -> Answer:
        if fate == "refused":
            return Answer(409)
        if fate == "lost":
            return Answer(close=True)
        if method == "POST":
            student = json.loads(what)["studentUniqueId"]
            if student not in self.items:
                self.made += 1
                name = f"{student:0>31}f" if self.keeps_ids else f"{self.made:032x}"
                self.items[student] = (name, what)
            self.items[student] = (self.items[student][0], what)
            answer = Answer(201, headers={"location": f"/x/{self.items[student][0]}"})
        else:
            gone = [student for student, (name, _) in self.items.items() if name == what]
            for student in gone:
                del self.items[student]
            answer = Answer(204 if gone else 404)
        return Answer(close=True) if fate == "applied, and lost" else answer


@dataclass
class Model:
    """What a journal has to know, told as plainly as can be."""

    confirmed: dict[str, str] = field(default_factory=dict)
    """By student: the payload that the ODS is known to have."""
    doubt: dict[str, str] = field(default_factory=dict)
    """By student: the payload of which nobody knows whether the ODS has it."""

    def posted(self, student: str, payload: str, fate: str, insists: bool) -> str | None:
        """Tell what becomes of a row, and take it in; nothing where it is not sent."""
        if self.confirmed.get(student) == payload:
            return "confirmed before"
        if self.doubt.get(student) == payload and not insists:
            return "in doubt"
        if fate == "applied":
            self.doubt.pop(student, None)
            self.confirmed[student] = payload
        elif fate != "refused":
            self.confirmed.pop(student, None)
            self.doubt[student] = payload
        elif self.doubt.get(student) == payload:
            self.doubt.pop(student)
        return None


FATES = ["applied"] * 6 + ["refused", "lost", "applied, and lost"]


@dataclass
class Story:
    """Batches of one runner with one journal, beside the model of it."""

    ods: Ods
    runner: edfi.StudentAssessment
    shared: dict[str, Any]
    chance: random.Random
    model: Model = field(default_factory=Model)

    def post(self, students: list[str]) -> None:
        """Post something of each of these students."""
        chance, insists = self.chance, self.chance.random() < 0.5
        payloads = [json.dumps({"studentUniqueId": s, "v": chance.randint(0, 2)}) for s in students]
        self.ods.fate = {payload: chance.choice(FATES) for payload in payloads}
        df = rows(self.ods.scripted, pl.Series("payload", payloads), key=students)
        result = self.runner.batch_post_payload(
            df, payload_col="payload", retry_broken=insists, **self.shared
        )
        sent = set()
        for student, payload, row in zip(students, payloads, result.to_dicts(), strict=True):
            if is_silent(row):
                continue
            fate = self.ods.fate[payload]
            kept = self.model.posted(student, payload, fate, insists)
            if kept is None:
                sent.add(payload)
            succeeds = kept == "confirmed before" or (kept is None and fate == "applied")
            assert row["status"] == (None if succeeds else "error"), row
            assert (row["attempts"] > 0) == (kept is None), row
        assert set(self.ods.seen) == sent

    def delete(self, students: list[str]) -> None:
        """Delete what the server has of these students."""
        items = self.ods.items
        ids = {items[student][0]: student for student in students if student in items}
        fate = self.chance.choice(FATES)
        if fate == "applied, and lost":
            fate = "applied"  # it would be sent again by itself
        self.ods.fate = dict.fromkeys(ids, fate)
        df = rows(self.ods.scripted, pl.Series("id", list(ids), dtype=pl.String))
        result = self.runner.batch_delete_by_id(df, id_col="id", **self.shared)
        sent = {row["id"] for row in result.to_dicts() if not is_silent(row)}
        assert set(self.ods.seen) == sent
        if fate != "refused":
            for name in sent:
                self.model.confirmed.pop(ids[name], None)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_sent_is_what_the_model_says(
    make_ods: Any, runner: edfi.StudentAssessment, tmp_path: Path, seed: int
) -> None:
    scripted = make_ods()
    ods = Ods(scripted, has_document=seed % 2 == 0, keeps_ids=seed % 4 < 2)
    scripted.script, scripted.serves_metadata, scripted.one_at_a_time = ods.script, True, False
    journal, chance = tmp_path / "run.edfi", random.Random(seed)
    shared = {"endpoint": STUDENTS, "key_col": "key", "commit": True, "journal": journal}
    story = Story(ods, runner, shared, chance)
    for _ in range(30):
        ods.seen.clear()
        students = chance.sample("abcdef", chance.randint(1, 6))
        if chance.random() < 0.25:
            story.delete(students)
        else:
            story.post(students)
        for student, payload in story.model.confirmed.items():
            assert ods.items[student][1] == payload


def is_silent(row: dict[str, Any]) -> bool:
    """Whether a row stayed at home because the server had lost three requests in a row."""
    return "does not answer" in (row["message"] or "")
