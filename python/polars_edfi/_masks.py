"""Messages without what may name people: what is quoted, has digits, or is no word of the trade."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

GAP = "…"
"""What stands for what is left out."""
LONGEST = 1000
"""The characters of a message that are looked at."""

# Words that no person is told by: those that names of resources and of their fields are made of,
_MODEL = """
    Absence Academic Accommodation Account Accountability Action Address Administration Agency Aid
    Applicant Application Assessment Assigning Assignment Association Attempt Attendance Attendee
    Battery Begin Behavior Birth Budget Calendar Candidate Category Center Certification Change
    Chart City Class Classification Classroom Code Cohort Community Competency Consent Contact
    Content Course Credential Crisis Data Date Demographics Department Descriptor Development Direct
    Directory Discipline Ed Edfi EdFi Education Educator Electronic Element Eligibility Email
    Employment End Entity Entry Equivalence Evaluation Event Exam Exit Experience Feeder Fi
    Fieldwork Financial Fiscal First Food Function Fund Goal Grade Gradebook Grading Graduation
    Health Hire Homeless Id Identification Identifier Identity Incident Indicator Institution
    Instruction Intervention Item Key Language Last Learning Leave Level License Limit Local
    Location Mail Mapping Measure Meeting Member Middle Migrant Milestone Minimum Maximum Name
    Namespace Network Number Object Objective Occurrence Of Offense Offering Offset Open
    Organization Page Parent Part Participation Path Payload Payroll Performance Period Person Phase
    Plan Position Post Postsecondary Preparation Prescription Primary Professional Profile Program
    Project Provider Quantitative Question Race Range Rating Reason Record Recruitment Reference
    Registration Relationship Report Reporting Requirement Resource Response Responsibility
    Restraint Result Room Rubric Schedule School Score Secondary Section Sequence Serial Service
    Session Sex Sheet Short Snapshot Source Special Staff Standard Start State Status Street Student
    Study Surname Survey System Target Teacher Telephone Term Title Token Total Transcript
    Transportation Type Unique Url Usi Validation Value Version Week Withdraw Year
"""
# and those that servers and this package begin a sentence with, or write large.
_WORDS = """
    A Accept Acceptable Access Allowed Already An And Another Any API Arguments Array As At
    Attribute
    Authentication Authorization Bad Body Both By Cannot Claim Claims Conflict Connection Constraint
    Content Could Data Decimal Delete DELETE Dependency Denied Duplicate Each Either Elements Empty
    Entry Error Errors Every Expected Expired Failed Field File For Forbidden Format Found Gateway
    Get GET Gone Has HTTP Hint If In Index Input Instance Integer Internal Invalid It Item
    JSON Large
    Length Like Long Many May Media Message Method Missing Modified More Must Name No None Not
    Nothing Null Object ODS On One Only Operation Or PATCH Parameter Payload Permission Please POST
    Precondition Processing Properties Property PUT Query Read Redirect Refused Related Request
    Requests Required Resolve Retry Row Rows See Server Service Size Some String Such Text That The
    There This Timeout TLS To Too Two Unable Unauthorized Unavailable Unexpected Unhandled Unknown
    Unprocessable Unsupported Update URI URL UTC Values Was We Were When While With You Your
"""
_OURS = "EdFi Token|oAuthKey|oAuthSecret|targetUrl|token_expires_at"


_FAR = r"\u{80}-\u{D7FF}\u{E001}-\u{10FFFF}"  # all but the mark
_WORD = rf"[A-Za-z0-9_{_FAR}]"
_EDGE = r"(?-u:\b)"
_HEADS = [rf"{_EDGE}HTTP [0-9]{{3}}{_EDGE}", rf"https?://[A-Za-z0-9.\-\[\]]+(?::[0-9]+)?{_EDGE}"]
# Digits, and letters that are not ASCII, with the word that they stand in.
_NUMBERS = rf"[A-Za-z_.\-]*[0-9{_FAR}](?:[A-Za-z0-9_.\-{_FAR}]*{_WORD})?"


def _pattern() -> str:
    model = "|".join(sorted(_MODEL.split(), key=len, reverse=True))
    words = "|".join(sorted({*_MODEL.split(), *_WORDS.split()}, key=len, reverse=True))
    ends = "Descriptors?|References?|Identifier|UniqueId|USI|Associations?"
    kept = [
        *_HEADS,
        rf"'(?:{_OURS})'",
        rf"'(?:(?i-u:{model})(?:e?s)?)+'",
        rf"'[A-Z][A-Za-z]*(?:{ends})'",
        rf"{_EDGE}[a-z]+'[a-z]+{_EDGE}",
        rf"{_EDGE}(?:(?:{words})(?:e?s)?)+{_EDGE}",
        rf"{_EDGE}[A-Z][A-Za-z]*(?:{ends}){_EDGE}",
    ]
    masked = [
        rf"(?:{_WORD}|[.+\-])+@(?:{_WORD}|[.\-])+",
        r"'[^']*(?:'[A-Za-z][^']*)*(?:'|$)",
        r'"[^"]*(?:"|$)',
        r"[\u{201C}\u{2018}«][^\u{201D}\u{2019}»]*(?:[\u{201D}\u{2019}»]|$)",
        _NUMBERS,
        rf"{_EDGE}[A-Z](?:{_WORD}|['\-])*",
    ]
    after = r"(?P<sign>=)\s*(?:\([^)]*\)?|\[[^\]]*\]?|'[^']*'?|\"[^\"]*\"?|[^\s,;)]+)"
    return f"(?P<kept>{'|'.join(kept)})|{after}|{'|'.join(masked)}"


_MARK = "\ue000"
_PATTERN = _pattern()


def without_numbers(text: pl.Expr) -> pl.Expr:
    """Leave out what has digits: cheap, and makes equal most messages that are alike."""
    return (
        text.str.slice(0, LONGEST)
        .str.replace_all(_MARK, "", literal=True)
        .str.replace_all(rf"(?P<kept>{'|'.join(_HEADS)})|{_NUMBERS}", f"${{kept}}{_MARK}")
    )


def masked(text: pl.Expr) -> pl.Expr:
    """Leave out what may name people or things, of messages without their numbers.

    Kept are lower-case words, the status, hosts, and the words of Ed-Fi's own model; what is quoted
    or given after ``=``, what has digits, and capitalized words that are none of the model become
    ``…``. A name in lower case that nothing quotes cannot be told from other words, and stays.
    """
    return (
        text.str.replace_all(_PATTERN, f"${{kept}}${{sign}}{_MARK}")
        # A mark right after a word is that of a word that was kept.
        .str.replace_all(rf"([A-Za-z0-9'\]]){_MARK}+", "$1")
        .str.replace_all(rf"{_MARK}(?:[\s\-]*{_MARK})*", GAP)
        .str.replace_all(r"[ \t\r\n]+", " ")
        .str.strip_chars()
    )
