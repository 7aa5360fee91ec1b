#!/usr/bin/env python3
"""runc for machines that may not give CAP_SYS_RESOURCE: takes it out of what the engine asks for, then is runc.

A privileged container asks for every capability, and runc fails ("unable to apply caps: operation not permitted") where
the machine itself lacks one. `engine.py` names this file as the engine's runtime there. Standard library only.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

CAPABILITY = "CAP_SYS_RESOURCE"


def value_of(flag: str, arguments: list[str]) -> str:
    """Value of a flag, be it given as ``--flag value`` or ``--flag=value``."""
    for index, word in enumerate(arguments):
        if word == flag:
            return arguments[index + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def strip(path: pathlib.Path, *, whole: bool) -> None:
    """Remove the capability, and limits that only it may raise, from a bundle's config or an exec's process."""
    content = json.loads(path.read_text("utf-8"))
    process = content.get("process") or {} if whole else content
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names or [] if name != CAPABILITY]
    path.write_text(json.dumps(content), "utf-8")


def main(arguments: list[str]) -> None:
    if "create" in arguments or "run" in arguments:
        bundle = value_of("--bundle", arguments) or value_of("-b", arguments) or "."
        strip(pathlib.Path(bundle) / "config.json", whole=True)
    elif "exec" in arguments and (process := value_of("--process", arguments) or value_of("-p", arguments)):
        strip(pathlib.Path(process), whole=False)
    os.execvp("runc", ["runc", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
