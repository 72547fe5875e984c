"""Signatures and docstrings of the reference as ``help()`` shows them, with every option.

A call takes ``**options: Unpack[...]``, which the library shows one by one when it is imported.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`~?([\w.]+)`")


class AsHelpShows(griffe.Extension):
    """Takes signatures and docstrings of functions and classes from the imported package."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Show a function's options."""
        found = imported(func.path)
        if found is None:
            return
        described(func, found)
        try:
            signature = inspect.signature(found)
        except (TypeError, ValueError):
            return
        func.parameters = parameters(signature, func.parameters)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Show a class's options."""
        found = imported(cls.path)
        if found is None:
            return
        described(cls, found)
        init = cls.members.get("__init__")
        if isinstance(init, griffe.Function):
            init.parameters = parameters(inspect.signature(found.__init__), init.parameters)

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Write references of properties and of options as the site does."""
        described(attr, None)


def imported(path: str) -> Any:
    """Find what a path means."""
    names = path.split(".")
    for end in range(len(names), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(names[:end]))
        except ImportError:
            continue
        for name in names[end:]:
            found = inspect.getattr_static(found, name, None)
            found = getattr(found, "__func__", found)
        return getattr(found, "fget", found)
    return None


def described(shown: griffe.Object | griffe.Attribute, found: Any) -> None:
    """Take the docstring of what is imported."""
    if shown.docstring:
        text = getattr(found, "__doc__", None) or shown.docstring.value
        inside = shown.parent is not None and shown.parent.path.partition("._")[2] != ""
        shown.docstring.value = ROLE.sub(
            lambda match: linked(match[1], of_a_client=inside), inspect.cleandoc(text)
        )


def linked(name: str, *, of_a_client: bool) -> str:
    """Make a reference of the site from one of Sphinx, mostly to a call of a client."""
    import polars_edfi

    short = f"`{name.rpartition('.')[2]}`"
    if name.startswith("polars."):
        return short
    if name.startswith("polars_edfi"):
        return f"[{short}][{name}]"
    for owner in [polars_edfi.EdFiClient, polars_edfi][:: 1 if of_a_client else -1]:
        if hasattr(owner, name.partition(".")[0]):
            place = "polars_edfi" if owner is polars_edfi else "polars_edfi.EdFiClient"
            return f"[{short}][{place}.{name}]"
    return f"[{short}][polars_edfi._namespaces.LazyFrameNamespace.{name}]"


def parameters(signature: inspect.Signature, known: griffe.Parameters) -> griffe.Parameters:
    """Translate a signature; what stands in the source already keeps its type as it is written."""
    written = {parameter.name: parameter.annotation for parameter in known}
    kinds = {
        inspect.Parameter.POSITIONAL_ONLY: griffe.ParameterKind.positional_only,
        inspect.Parameter.POSITIONAL_OR_KEYWORD: griffe.ParameterKind.positional_or_keyword,
        inspect.Parameter.VAR_POSITIONAL: griffe.ParameterKind.var_positional,
        inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
        inspect.Parameter.VAR_KEYWORD: griffe.ParameterKind.var_keyword,
    }
    shown = []
    for parameter in signature.parameters.values():
        empty = inspect.Parameter.empty
        kind = None if parameter.annotation is empty else str(parameter.annotation)
        shown.append(
            griffe.Parameter(
                parameter.name,
                annotation=written.get(parameter.name, kind),
                kind=kinds[parameter.kind],
                default=None if parameter.default is empty else repr(parameter.default),
            )
        )
    return griffe.Parameters(*shown)
