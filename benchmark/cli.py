"""Command-line flags from dataclasses, with errors of one line.

tyro makes the flags and the help; this file only shortens its messages and finds the nearest flag for a wrong one.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from difflib import get_close_matches
from typing import Any, TypeVar

import tyro

from benchmark.errors import UserError

Options = TypeVar("Options")

_CEREMONY = re.compile(
    r"^(Parsing error|Value error|Required options|Unrecognized options) |Argument helptext:.*|For full helptext.*"
)
_FRAME = re.compile(r"[─-╿]+|-{3,}|[+|]")


def parse(kind: type[Options], arguments: list[str], program: str, default: Any = None) -> Options:
    """An instance of the dataclass ``kind`` from flags. ``--help`` prints and exits with 0.

    Raises ``UserError`` for an unknown flag (with the nearest one) or a bad value.
    """
    extra: dict[str, Any] = {} if default is None else {"default": default}
    if not {"-h", "--help"} & set(arguments):
        _refuse_unknown_flags(kind, arguments, extra)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=arguments, prog=program, **extra)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        words = " ".join(_FRAME.sub(" ", said.getvalue()).split())
        words = _CEREMONY.sub("", words)
        raise UserError(f"{words} (--help lists all flags)") from None


def _refuse_unknown_flags(kind: type, arguments: list[str], extra: dict[str, Any]) -> None:
    with warnings.catch_warnings():  # deprecated, yet the only way to ask for the names of all flags
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind, **extra)
    known = [
        option.replace("_", "-")
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    ]
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in known:
            near = get_close_matches(flag, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"unknown flag {argument.partition('=')[0]}{hint} (--help lists all)")
