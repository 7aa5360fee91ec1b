"""Standard input and output of a command; what goes wrong with them is one sentence."""

from __future__ import annotations

import sys

from fairlead_operator.options import StartError


def read() -> str:
    """All of standard input. Raises StartError, UnicodeDecodeError."""
    if sys.stdin is None:  # closed, as by `<&-`
        raise StartError("standard input is closed: name a file, or pipe something in")
    try:
        return sys.stdin.read()
    except OSError as error:
        raise StartError(f"standard input: {error.strerror}") from None


def write(text: str) -> None:
    """*text* to standard output. Raises StartError; BrokenPipeError: whoever reads it has had enough."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StartError(f"standard output: {error.strerror}") from None
