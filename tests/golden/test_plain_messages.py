"""The product makes Envoy's messages without validators, these tests with: what comes out is the same, byte for byte."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from pydantic.dataclasses import is_pydantic_dataclass

from fairlead_operator import offline
from fairlead_operator.reconcile import reconcile
from fairlead_xds import messages
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.translate import translate

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parents[1] / "cases"

_PROGRAM = """
import json
import fairlead_xds
from tests.golden.test_plain_messages import digests, validated
print(json.dumps([validated(), digests()]))
"""


def validated() -> bool:
    """Whether the message classes of this process have validators."""
    return is_pydantic_dataclass(Cluster)


def digests() -> dict[str, str]:
    """A hash of the bytes of every resource of every golden."""
    found = {}
    for case in sorted(path.name for path in CASES.iterdir() if path.is_dir()):
        world = offline.read([("input.yaml", (CASES / case / "input.yaml").read_text("utf-8"))])
        for key, config in reconcile(world).proxies.items():
            snapshot = translate(config)
            for type_url in TypeUrl:
                for name, resource in snapshot.resources(type_url).items():
                    found[f"{case} {key} {type_url.short} {name}"] = hashlib.sha256(resource.body).hexdigest()
    return found


@pytest.mark.timeout(60)
def test_messages_without_validators_have_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(messages.VALIDATED, raising=False)
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    theirs_validated, theirs = json.loads(done.stdout)

    assert (validated(), theirs_validated) == (True, False)
    assert theirs == digests()
    assert len(theirs) > 100
