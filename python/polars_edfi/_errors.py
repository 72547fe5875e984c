"""The exceptions of this library."""

from __future__ import annotations


class EdFiError(Exception):
    """Wrong configuration or wrong arguments; the base of this library's exceptions.

    What goes wrong with one row or one district is not an exception: that row's ``status`` and
    ``message`` say so.

    Attributes
    ----------
    http_status
        The status of the answer that the exception is about; ``None`` where there was no answer.
    correlation_id
        What the server calls the request in its own log, where it says.
    """

    http_status: int | None = None
    correlation_id: str | None = None


class AuthError(EdFiError):
    """Credentials were refused where a call cannot go on without them."""


class HttpError(EdFiError):
    """The server answered with an error, or not at all, where a call cannot go on."""


class UnknownOptionError(EdFiError, TypeError):
    """A call was given an option that it does not have; the text names the nearest that it has.

    Python's own error for that is a ``TypeError``, this library's for wrong arguments an
    ``EdFiError``: it is both.
    """
