"""The cyclic collector as the commands that serve tune it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from fairlead_operator import collector
before = len(gc.get_objects())
collector.tune()
assert gc.get_threshold()[0] == collector.YOUNG
assert gc.get_freeze_count() >= before * 9 // 10, (gc.get_freeze_count(), before)
assert len(gc.get_objects()) < 500, "what the modules brought is still looked at"
a = []; a.append(a); del a
assert gc.collect() > 0, "what comes later is collected as ever"
"""


def test_modules_are_left_alone_and_the_rest_is_collected() -> None:
    """In a process of its own: it is for the life of one."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
