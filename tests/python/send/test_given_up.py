"""What stands behind a row that is given up."""

from conftest import ScriptedOds

from send.support import (
    ENROLMENTS,
    KEYS,
    LEVELS,
    SCHOOLS,
    STUDENTS,
    enrolment,
    frame,
    school,
    send,
    serve,
    strict,
    student,
)


def test_rows_that_need_what_stands_behind_a_row_that_is_given_up(ods: ScriptedOds) -> None:
    """The vendor's first row of a school refers to nothing, the second one is right."""
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    frames = {
        SCHOOLS: frame([school(1, 99), school(1), school(2, 1), school(3, 98), school(4, 3)]),
        STUDENTS: frame([student("a")]),
        ENROLMENTS: frame([enrolment("a", 1), enrolment("a", 2), enrolment("a", 3)]),
    }
    sent = send(ods, frames)
    assert sent["status"].to_list() == [
        *("error", None, None, "error", "error"),
        *(None,),
        *(None, None, "error"),
    ]
    assert sent["round"].max() <= 5
    assert set(server.items[ENROLMENTS]) == {(1, "a"), (2, "a")}
    # Rows of a level go side by side, so that what one of them needs may come a round later.
    assert len(server.sent(SCHOOLS)) <= 17
