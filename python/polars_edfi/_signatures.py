"""Signatures and docstrings that show every option of a call.

A call takes ``**options: Unpack[...]``, which editors and type checkers read. ``help()`` and
``inspect.signature`` see its options one by one: types and meanings as they stand in
``polars_edfi.options``, defaults as the Rust side has them.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from polars_edfi import _native
from polars_edfi import options as described

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")


class Option(NamedTuple):
    """An option as ``polars_edfi.options`` has it."""

    kind: str
    meaning: str


def with_options(call: str, options: type) -> Callable[[Function], Function]:
    """Show the options of a call, or of a class, in place of ``**options``."""
    defaults = _native.defaults(call)
    known = _options().get(options.__name__, {})

    def show(target: Function) -> Function:
        function: Any = vars(target)["__init__"] if isinstance(target, type) else target
        signature = inspect.signature(function)
        keep = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        shown = [
            inspect.Parameter(name, keyword, default=defaults[name], annotation=option.kind)
            for name, option in known.items()
        ]
        function.__signature__ = signature.replace(parameters=[*keep, *shown])
        if target.__doc__ is not None:  # python -OO leaves none
            entries = "\n".join(
                f"{name} : {option.kind}, default {defaults[name]!r}\n"
                + textwrap.indent(option.meaning, "    ")
                for name, option in known.items()
            )
            doc = inspect.cleandoc(target.__doc__)
            target.__doc__ = re.sub(r"\*\*options\n    .*", lambda _: entries, doc)
        return target

    return show


@cache
def _options() -> dict[str, dict[str, Option]]:
    """Read the options of each TypedDict; where the source is not at hand, there are none."""
    try:
        tree = ast.parse(inspect.getsource(described))
    except OSError:
        return {}
    found: dict[str, dict[str, Option]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            known = found.setdefault(node.name, {})
            for base in node.bases:
                known |= found.get(ast.unparse(base), {})
            known |= _own(node)
    return found


def _own(node: ast.ClassDef) -> dict[str, Option]:
    """Read what stands in the body of a class: annotations, each followed by its meaning."""
    own = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            meaning = inspect.cleandoc(ast.literal_eval(text.value))
            own[ast.unparse(field.target)] = Option(ast.unparse(field.annotation), meaning)
    return own
