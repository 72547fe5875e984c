"""Levels, rounds, people, refusals: many resources to one ODS or to several."""

import json
import random
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from send.support import (
    CONTACTS,
    ENROLMENTS,
    KEYS,
    KIN,
    LEVELS,
    REFERENCES,
    SCHOOLS,
    STUDENTS,
    Json,
    MakeOds,
    client,
    document,
    enrolment,
    frame,
    kin,
    problem,
    school,
    send,
    serve,
    strict,
    student,
    writes,
)

RESULT = {
    "endpoint": pl.String,
    "key": pl.UInt32,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "resource_id": pl.String,
    "attempts": pl.UInt32,
    "round": pl.UInt32,
    "row_index": pl.get_index_type(),
    "row_id": pl.String,
}


def test_levels_wait_for_each_other(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post)
    names = [f"s{n}" for n in range(30)]
    sent = send(
        ods,
        {
            KIN: frame(kin("c", name) for name in names),
            ENROLMENTS: frame(enrolment(name, 1) for name in names),
            STUDENTS: frame(map(student, names)),
            CONTACTS: frame([{"contactUniqueId": "c"}]),
            SCHOOLS: frame([school(1)]),
        },
        workers=16,
    )
    assert sent.schema == RESULT
    assert sent["status"].null_count() == sent.height == 92
    assert sent["endpoint"].unique(maintain_order=True).to_list() == [
        KIN,
        ENROLMENTS,
        STUDENTS,
        CONTACTS,
        SCHOOLS,
    ]
    assert sent["row_index"].to_list() == [*range(30), *range(30), *range(30), 0, 0]
    assert (sent["key"] == sent["row_index"]).all()
    assert set(sent["round"]) == set(sent["attempts"]) == {1}
    assert set(sent["http_status"]) == {201}
    assert sent["resource_id"].str.len_chars().unique().to_list() == [32]
    order = list(dict.fromkeys(one.endpoint for one in server.log))
    assert order[0] == STUDENTS
    assert set(order[1:3]) == {SCHOOLS, CONTACTS}
    assert order[3:] == [ENROLMENTS, KIN]


def test_a_dry_run_sends_nothing_but_the_reading_of_the_order(ods: ScriptedOds) -> None:
    serve(ods, LEVELS, strict().post)
    frames = {
        ENROLMENTS: frame([enrolment("a", 1)]),
        STUDENTS: pl.DataFrame({"payload": ['{"a": 1}', "{", None]}),
    }
    dry = client(ods).send(frames)
    assert dry["status"].to_list() == ["dry_run", "dry_run", "error", "error"]
    assert dry["message"].to_list()[:2] == ["level 4", "level 2"]
    assert dry["message"][2].startswith("invalid JSON")
    assert dry["message"][3] == "missing 'payload'"
    assert set(dry["round"]) == set(dry["attempts"]) == {0}
    assert dry["key"].dtype == pl.String
    assert dry["key"].null_count() == 4
    asked = {request.path for request in ods.requests}
    assert asked <= {"/", "/metadata/data/v3/dependencies"}


def test_what_refers_to_something_later_comes_again(ods: ScriptedOds) -> None:
    server = strict()
    # An optional reference that stands in no order: a school that has a main school.
    serve(ods, LEVELS, server.post)
    chain = [school(n, n - 1 if n else None) for n in range(4)]
    sent = send(ods, {SCHOOLS: frame(reversed(chain))}, workers=1)
    assert sent["status"].null_count() == 4
    # Each round brings one more.
    assert sent["round"].to_list() == [4, 3, 2, 1]
    assert sent["attempts"].to_list() == [4, 3, 2, 1]


def test_rounds_end(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post)
    chain = [school(n, n - 1 if n else None) for n in range(6)]
    sent = send(ods, {SCHOOLS: frame(reversed(chain))}, workers=1, rounds=3)
    assert sent["round"].to_list() == [3, 3, 3, 3, 2, 1]
    assert sent["status"].to_list() == ["error"] * 3 + [None] * 3
    assert sent["http_status"].to_list() == [409] * 3 + [201] * 3


def test_what_never_resolves_is_sent_twice(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post)
    frames = {
        SCHOOLS: frame([school(1)]),
        STUDENTS: frame([student("a")]),
        ENROLMENTS: frame([enrolment("a", 1), enrolment("a", 2), enrolment("b", 1)]),
    }
    sent = send(ods, frames).filter(endpoint=ENROLMENTS)
    assert sent["status"].to_list() == [None, "error", "error"]
    assert sent["round"].to_list() == [1, 2, 2]
    assert "does not exist" in sent["message"][1]
    assert sent["correlation_id"][1] == "c-1"
    assert len(server.sent(ENROLMENTS)) == 5


@pytest.mark.parametrize("old", [False, True])
def test_people_come_again_after_their_associations(ods: ScriptedOds, old: bool) -> None:
    server = strict(old=old)
    server.items[STUDENTS] = {("a",): {}, ("b",): {}, ("c",): {}}
    serve(ods, LEVELS, server.post)
    frames = {
        STUDENTS: frame([student("a", n=1), student("b", n=1), student("new", n=1)]),
        SCHOOLS: frame([school(1)]),
        ENROLMENTS: frame([enrolment("a", 1)]),
        KIN: frame([]),
    }
    sent = send(ods, frames)
    people = sent.filter(endpoint=STUDENTS)
    # b has no enrolment.
    assert people["status"].to_list() == [None, "error", None]
    assert people["http_status"].to_list() == [200, 403, 201]
    assert people["round"].to_list() == [2, 2, 1]
    order = [(one.endpoint, one.status) for one in server.log]
    assert order.index((STUDENTS, 200)) > order.index((ENROLMENTS, 201))
    assert Counter(one["studentUniqueId"] for one in server.sent(STUDENTS)) == {
        "a": 2,
        "b": 2,
        "new": 1,
    }


def test_people_wait_for_associations_that_come_late(ods: ScriptedOds) -> None:
    server = strict()
    server.items[STUDENTS] = {("a",): {}}
    levels = LEVELS | {"x/periods": 8}
    server.keys = {**KEYS, "x/periods": ("p",)}
    server.references = {**REFERENCES, "periodReference": ("x/periods",)}
    serve(ods, levels, server.post)
    frames = {
        STUDENTS: frame([student("a", n=1)]),
        SCHOOLS: frame([school(1)]),
        ENROLMENTS: frame([enrolment("a", 1) | {"periodReference": {"p": 1}}]),
        "x/periods": frame([{"p": 1}]),
    }
    sent = send(ods, frames)
    assert sent["status"].null_count() == 4
    assert sent["round"].to_list() == [2, 1, 2, 1]


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (problem(403, "security:authorization:", "No."), 2),
        (problem(403, "security:authorization:access-denied:resource", "No."), 1),
        (problem(403, "security:authorization:access-denied:action", "No."), 1),
        (problem(403, "security:authorization:namespace:access-denied:namespace-mismatch", ""), 1),
        (Answer(403, {"message": "Access could not be authorized. Are you missing a claim?"}), 1),
        (problem(409, "data-conflict:non-unique-identity", "No."), 1),
        (problem(409, "data-conflict:dependent-item-exists", "No."), 1),
        (problem(400, "bad-request:data-validation-failed", "No."), 1),
        (problem(412, "optimistic-lock-failed", "No."), 1),
        (Answer(409, {"message": "A natural key conflict occurred."}), 1),
        (problem(409, "data-conflict:multi-user-conflict", "Busy."), 3),
        (problem(500, "system", "Deadlock."), 3),
        (Answer(503, ""), 3),
        (
            problem(
                400,
                "bad-request:data-validation-failed",
                "Data validation failed.",
                errors=["40P01: deadlock detected"],
            ),
            2,
        ),
    ],
)
def test_each_refusal_leads_to_one_thing(ods: ScriptedOds, answer: Answer, times: int) -> None:
    serve(ods, LEVELS, lambda _request: answer)
    sent = send(ods, {SCHOOLS: frame([school(1)])})
    assert sent["status"].to_list() == ["error"]
    assert sent["http_status"].to_list() == [answer.status]
    assert sent["attempts"].to_list() == [times]
    assert len(writes(ods)) == times


def test_passing_troubles_pass(ods: ScriptedOds) -> None:
    server = strict()
    seen: Counter[int] = Counter()

    def first(_endpoint: str, body: Json) -> Answer | None:
        number = body["schoolId"]
        seen[number] += 1
        if seen[number] > 1:
            return None
        return [
            problem(500, "system", "Deadlock."),
            problem(409, "data-conflict:multi-user-conflict", "Busy."),
            problem(
                400,
                "bad-request:data-validation-failed",
                "Data validation failed.",
                errors=["Execution Timeout Expired."],
            ),
        ][number % 3]

    server.first = first
    serve(ods, LEVELS, server.post)
    sent = send(ods, {SCHOOLS: frame(school(n) for n in range(30))})
    assert sent["status"].null_count() == 30
    assert set(sent["attempts"]) == {2}
    assert set(sent["round"]) == {1}


def test_a_descriptor_that_is_there_is_done(ods: ScriptedOds) -> None:
    serve(ods, {"ed-fi/sexDescriptors": 1}, lambda _request: Answer(409, {"message": "Exists."}))
    sent = send(ods, {"ed-fi/sexDescriptors": frame([{"codeValue": "x"}])})
    assert sent.select("status", "http_status", "attempts").row(0) == (None, 409, 1)


def test_descriptors_that_are_missing_may_come(ods: ScriptedOds) -> None:
    """The Data Management Service tells them by a text alone."""
    there = threading.Event()

    def post(request: Request) -> Answer:
        if "Descriptors" in request.path:
            there.set()
            return Answer(201)
        if there.is_set():
            return Answer(201)
        text = "SexDescriptor value 'uri://a#b' does not exist."
        kind = "bad-request:data-validation-failed"
        return problem(400, kind, "Failed.", validationErrors={"$.sexDescriptor": [text]})

    # The wrong way round.
    serve(ods, {"ed-fi/sexDescriptors": 9, STUDENTS: 2}, post)
    frames = {
        STUDENTS: frame([student("a")]),
        "ed-fi/sexDescriptors": frame([{"codeValue": "b"}]),
    }
    sent = send(ods, frames)
    assert sent["status"].null_count() == 2
    assert sent["round"].to_list() == [2, 1]


@pytest.mark.parametrize("workers", [1, 16])
def test_rows_of_one_item_keep_their_order(ods: ScriptedOds, workers: int) -> None:
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    names = [f"{n % 10}" for n in range(300)]
    bodies = [student(name, n=n) for n, name in enumerate(names)]
    # Students may be seen by the time that they are written again.
    server.items[ENROLMENTS] = {(1, f"{n}"): {} for n in range(10)}
    sent = send(ods, {STUDENTS: frame(bodies)}, workers=workers)
    assert sent["status"].null_count() == 300
    for name in set(names):
        came = [body["n"] for body in server.sent(STUDENTS) if body["studentUniqueId"] == name]
        assert came == sorted(came)
        assert server.items[STUDENTS][name,]["n"] == came[-1]


def test_the_last_row_of_an_item_wins_over_one_that_had_to_wait(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    bodies = [
        school(1, 2) | {"n": "first"},
        school(1) | {"n": "second"},
        school(3, 99) | {"n": "first"},
        school(3) | {"n": "second"},
        school(2),
    ]
    sent = send(ods, {SCHOOLS: frame(bodies)}, workers=1)
    assert sent["status"].to_list() == [None, None, "error", None, None]
    # The second round brought something, so there was a third.
    assert sent["round"].to_list() == [2, 1, 3, 1, 1]
    assert server.items[SCHOOLS][1,]["n"] == "second"
    # What stood behind a row that is refused for good is sent all the same.
    assert server.items[SCHOOLS][3,]["n"] == "second"


def test_frames_may_be_lazy(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    names = [f"s{n}" for n in range(50)]
    frames = {
        ENROLMENTS: frame(enrolment(name, 1) for name in names).lazy(),
        STUDENTS: frame(map(student, names)),
        SCHOOLS: frame([school(1)]).lazy(),
    }
    sent = send(ods, frames, row_id_col="k")
    assert sent["status"].null_count() == sent.height == 101
    assert sent["row_index"].to_list() == [*range(50), *range(50), 0]
    assert (sent["row_id"] == sent["key"]).all()


def test_lazy_frames_are_read_in_batches(ods: ScriptedOds, monkeypatch: Any) -> None:
    monkeypatch.setattr("polars_edfi._sends.BATCH", 7)
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    bodies = [school(n % 20, (n % 20) - 1 if n % 20 else None) | {"n": n} for n in range(60)]
    sent = send(ods, {SCHOOLS: frame(bodies).lazy()}, rounds=20)
    assert sent["status"].null_count() == 60
    assert sent["row_index"].to_list() == [*range(60)]
    assert [server.items[SCHOOLS][n,]["n"] for n in range(20)] == [*range(40, 60)]


def test_a_lazy_frame_that_fails_loses_no_answer(ods: ScriptedOds) -> None:
    def fail(_: pl.DataFrame) -> pl.DataFrame:
        msg = "no more"
        raise RuntimeError(msg)

    server = strict()
    serve(ods, LEVELS, server.post)
    broken = frame([school(1)]).lazy().map_batches(fail, schema=frame([]).schema)
    frames = {STUDENTS: frame([student("a")]), SCHOOLS: broken, ENROLMENTS: frame([{"a": 1}])}
    runner = client(ods)
    with pytest.raises(Exception, match="no more"):
        runner.send(frames, commit=True)
    rows = runner.rows
    assert rows is not None
    assert rows["endpoint"].to_list() == [STUDENTS, ENROLMENTS]
    assert rows["status"].to_list() == [None, "error"]
    assert rows["message"][1] == f"not sent: frames[{SCHOOLS!r}] could not be read".replace(
        "'", '"'
    )
    assert rows["attempts"].to_list() == [1, 0]


def test_each_ods_goes_its_own_way(make_ods: MakeOds) -> None:
    """Another order, other credentials; and one that is silent keeps nobody waiting."""
    servers = [strict(), strict()]
    odses = [make_ods(), make_ods()]
    orders = [LEVELS, {ENROLMENTS: 9, STUDENTS: 8, SCHOOLS: 1}]
    for ods, server, levels in zip(odses, servers, orders, strict=True):
        serve(ods, levels, server.post)
        ods.tokens = {f"token of {ods.url}"}
    off = make_ods()
    serve(off, None, strict().post)

    def everywhere(bodies: list[Json]) -> pl.DataFrame:
        parts = [
            frame(bodies, **{"targetUrl": ods.url, "EdFi Token": f"token of {ods.url}"})
            for ods in [*odses, off]
        ]
        return pl.concat(parts)

    frames = {
        ENROLMENTS: everywhere([enrolment("a", 1)]),
        STUDENTS: everywhere([student("a")]).lazy(),
        SCHOOLS: everywhere([school(1)]),
    }
    sent = edfi.EdFiClient(api_version="v3").send(frames, commit=True, key_col="targetUrl")
    assert sent["key"].to_list() == [ods.url for ods in [*odses, off]] * 3
    assert sent["status"].to_list() == [None, None, "error"] * 3
    [message] = sent.drop_nulls("message")["message"].unique()
    assert message == (
        "dependencies: HTTP 404 Not Found: this ODS serves no document of dependencies; the "
        "feature is switched off; give order=, a list of endpoints, or of lists of them"
    )
    orders = [[one.endpoint for one in server.log] for server in servers]
    assert orders == [[STUDENTS, SCHOOLS, ENROLMENTS], [SCHOOLS, STUDENTS, ENROLMENTS]]
    for ods, server in zip(odses, servers, strict=True):
        assert {one.token for one in server.log} == {f"token of {ods.url}"}


def test_an_order_may_be_given(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, None, server.post)
    frames = {
        ENROLMENTS: frame([enrolment("a", 1)]),
        STUDENTS: frame([student("a")]),
        SCHOOLS: frame([school(1)]),
    }
    with pytest.warns(UserWarning, match=f"{ENROLMENTS} is not in the document"):
        sent = send(ods, frames, order=[[SCHOOLS, f"/{STUDENTS}/"]])
    assert sent["status"].null_count() == 3
    assert server.log[-1].endpoint == ENROLMENTS
    dry = client(ods).send(frames, order=[SCHOOLS, STUDENTS, ENROLMENTS])
    assert dry["message"].to_list() == ["level 3", "level 2", "level 1"]
    with pytest.raises(edfi.EdFiError, match="stands there twice"):
        send(ods, frames, order=[SCHOOLS, [SCHOOLS]])
    with pytest.raises(edfi.EdFiError, match="order must be a list"):
        send(ods, frames, order=SCHOOLS)


def test_what_the_order_does_not_list_comes_last(ods: ScriptedOds) -> None:
    server = strict()
    server.keys = {**KEYS, "x/y": ("a",)}
    serve(ods, LEVELS, server.post)
    frames = {"x/y": frame([{"a": 1}]), KIN: frame([]), SCHOOLS: frame([school(1)])}
    with pytest.warns(UserWarning, match="^x/y is not in the document"):
        sent = send(ods, frames)
    assert [one.endpoint for one in server.log] == [SCHOOLS, "x/y"]
    assert sent["status"].null_count() == 2


def test_a_circle_is_said(ods: ScriptedOds) -> None:
    circle = [*document({STUDENTS: 2, SCHOOLS: 3}), *document({STUDENTS: 5})]

    def script(request: Request) -> Answer | None:
        if request.path == "/metadata/data/v3/dependencies":
            return Answer(200, circle)
        return Answer(404)

    ods.script, ods.serves_metadata = script, True
    sent = send(ods, {STUDENTS: frame([student("a")])})
    assert sent["message"].to_list() == [
        "dependencies: a circle: ed-fi/students is written at 2 and at 5"
    ]
    assert writes(ods) == []


def test_bad_input_is_refused_before_anything_is_sent(ods: ScriptedOds) -> None:
    serve(ods, LEVELS, strict().post)
    good = {SCHOOLS: frame([school(1)])}
    for frames, error, text in [
        ([1], edfi.EdFiError, "dict of endpoints"),
        ({1: frame([])}, edfi.EdFiError, "endpoint is a text"),
        (good | {"a b": frame([])}, edfi.EdFiError, "not a resource path"),
        (good | {f"/{SCHOOLS}": frame([])}, edfi.EdFiError, "stands there twice"),
        (good | {STUDENTS: frame([]).drop("payload")}, pl.exceptions.ColumnNotFoundError, STUDENTS),
        (
            good | {STUDENTS: frame([]).lazy().drop("payload")},
            pl.exceptions.ColumnNotFoundError,
            STUDENTS,
        ),
        (good | {STUDENTS: frame([]).drop("k")}, pl.exceptions.ColumnNotFoundError, "key_col"),
        (
            good | {STUDENTS: pl.DataFrame({"k": [1], "payload": [1]})},
            pl.exceptions.SchemaError,
            STUDENTS,
        ),
        (good | {STUDENTS: [1]}, TypeError, "DataFrame"),
    ]:
        with pytest.raises(error, match=text):  # type: ignore[arg-type]
            send(ods, frames)
    for options, text in [
        ({"rounds": 0}, "rounds"),
        ({"workers": 0}, "workers"),
        ({"retry_statuses": [401]}, "401"),
        ({"endpoint": SCHOOLS}, "unknown option"),
    ]:
        with pytest.raises((edfi.EdFiError, TypeError), match=text):
            send(ods, good, **options)
    assert ods.requests == []
    assert send(ods, {}).schema == RESULT | {"key": pl.String}


def test_keys_of_different_dtypes_become_texts(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post)
    text = frame([student("a")]).with_columns(k=pl.lit(" x "))
    sent = send(ods, {STUDENTS: text, SCHOOLS: frame([school(1)])})
    assert sent["key"].to_list() == ["x", "0"]


def test_details_tell_single_errors(ods: ScriptedOds) -> None:
    refused = problem(400, "bad-request:data-validation-failed", "No.", errors=["wrong"])
    serve(ods, LEVELS, lambda _request: refused)
    sent = send(ods, {SCHOOLS: frame([school(1)])}, details=True)
    assert sent.columns[-2:] == ["problem", "errors"]
    assert sent["problem"][0].endswith("data-validation-failed")
    assert sent["errors"].to_list() == [[{"path": None, "message": "wrong"}]]


def test_allowed_statuses_are_rounds_all_the_same(ods: ScriptedOds) -> None:
    server = strict()
    serve(ods, LEVELS, server.post)
    frames = {ENROLMENTS: frame([enrolment("a", 1)])}
    sent = send(ods, frames, allow_statuses={409: "warning"})
    assert sent.select("status", "round").row(0) == ("warning", 2)


@pytest.mark.parametrize("seed", range(30))
def test_random_worlds_come_out_as_a_slow_and_careful_sender_would_have_them(
    make_ods: MakeOds, seed: int
) -> None:
    """What can be resolved is there in the end, what cannot is an error, nothing is lost."""
    rng = random.Random(seed)
    server = strict(old=rng.random() < 0.3)
    ods = make_ods()
    flaky = rng.random() < 0.5

    def first(_endpoint: str, _body: Json) -> Answer | None:
        return problem(500, "system", "Deadlock.") if flaky and rng.random() < 0.1 else None

    server.first = first
    keys = KEYS if rng.random() < 0.7 else None
    serve(ods, LEVELS, server.post, keys=keys)
    schools = [school(n, rng.choice([None, None, n - 1, 999])) for n in range(12)]
    names = [f"s{n}" for n in range(20)]
    known = set(rng.sample(names, 5))
    server.items[STUDENTS] = {(name,): {} for name in known}
    frames = {
        SCHOOLS: schools,
        STUDENTS: [student(name) for name in names],
        ENROLMENTS: [enrolment(rng.choice([*names, "x"]), rng.randrange(14)) for _ in range(25)],
        CONTACTS: [{"contactUniqueId": "c"}],
        KIN: [kin("c", rng.choice(names)) for _ in range(5)],
    }
    unique = {
        name: list({server.key(name, body): body for body in bodies}.values())
        for name, bodies in frames.items()
    }
    order = rng.sample(list(unique), len(unique))
    for bodies in unique.values():
        rng.shuffle(bodies)
    lazy = rng.random() < 0.3
    given = {
        name: frame(unique[name]).lazy() if lazy and rng.random() < 0.5 else frame(unique[name])
        for name in order
    }
    sent = send(ods, given, workers=rng.choice([1, 4, 16]), rounds=20, max_retries=20)
    assert sent.height == sum(map(len, unique.values()))
    # What is there by the rules alone.
    there = set(range(12))
    while True:
        kept = {
            n
            for n in there
            if (main := schools[n].get("mainSchoolReference")) is None or main["schoolId"] in there
        }
        if kept == there:
            break
        there = kept
    enrolled = {
        body["studentReference"]["studentUniqueId"]
        for body in unique[ENROLMENTS]
        if body["schoolReference"]["schoolId"] in there
    } & set(names)
    for row in sent.iter_rows(named=True):
        body = unique[row["endpoint"]][row["row_index"]]
        good = {
            SCHOOLS: lambda body=body: body["schoolId"] in there,
            STUDENTS: lambda body=body: (
                body["studentUniqueId"] not in known or body["studentUniqueId"] in enrolled
            ),
            ENROLMENTS: lambda body=body: (
                body["schoolReference"]["schoolId"] in there
                and body["studentReference"]["studentUniqueId"] in names
            ),
            CONTACTS: lambda: True,
            KIN: lambda: True,
        }[row["endpoint"]]()
        assert (row["status"] is None) == good, (row, body)
        assert row["round"] >= 1
    counts = Counter((one.endpoint, json.dumps(one.body, sort_keys=True)) for one in server.log)
    for row in sent.iter_rows(named=True):
        body = unique[row["endpoint"]][row["row_index"]]
        assert counts[row["endpoint"], json.dumps(body, sort_keys=True)] == row["attempts"]


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (pl.Series([[1, 2]]), "[1,2]"),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2)), "[1,2]"),
        (pl.Series([timedelta(days=1)]), "1d"),
        (pl.Series([b"\xff"]), None),
    ],
)
def test_rows_are_told_whatever_their_row_ids_are(
    ods: ScriptedOds, cells: pl.Series, text: str | None
) -> None:
    serve(ods, LEVELS, strict().post, keys=KEYS)
    frames = {
        SCHOOLS: frame([school(1)]).with_columns(cells.alias("r")),
        STUDENTS: frame([student("a")]).with_columns(r=pl.lit("text")),
    }
    sent = send(ods, frames, row_id_col="r")
    assert sent["status"].null_count() == 2
    first, second = sent["row_id"].to_list()
    assert isinstance(first, str)
    assert (text or first, second) == (first, "text")
