"""What a user did wrong, in one line and with exit code 2; everything else keeps its traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_USAGE = 2


class UserError(Exception):
    """Bad input. The message names the value, what is allowed and the fix."""


@contextmanager
def user_input() -> Iterator[None]:
    """A ``ValueError`` or ``TypeError`` in this block is about what the user gave, so it becomes one line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error


def command(main: Callable[[list[str]], None]) -> Callable[..., None]:
    """Wraps the ``main`` of a command: a ``UserError`` is printed without a traceback and ends with code 2."""

    @functools.wraps(main)
    def wrapped(arguments: list[str] | None = None) -> None:
        try:
            main(sys.argv[1:] if arguments is None else arguments)
        except UserError as error:
            print("error: " + " ".join(str(error).split()), file=sys.stderr)
            sys.exit(EXIT_USAGE)
        except BrokenPipeError:  # whoever read the output has seen enough
            sys.stderr.close()
        except KeyboardInterrupt:
            print("interrupted; run the same command again to continue", file=sys.stderr)
            sys.exit(130)

    return wrapped
