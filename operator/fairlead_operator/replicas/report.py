"""What one replica says of the proxies that it serves: a value, and its form in a ConfigMap. Pure.

Small, because it is written again with every change: how many proxies of each key, and for each policy which generation
how many of them have. A policy that none of them has is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fairlead_operator.api.meta import Ref

#: Bytes. An object of Kubernetes may have 1 MiB, metadata included; beyond, what matters least is left out.
LARGEST: Final = 900_000
#: Refused by so many is not told by name; and Envoy's words end here.
_NAMES: Final = 20
_WORDS: Final = 1000

_KIND: Final = "LoadBalancerPolicy"


class Share(NamedTuple):
    """How far the proxies of one replica are with one policy.

    Attributes:
        generation: that the replica has published to them.
        programmed: how many have acknowledged all of it.
        rejected: names of those that refused some of it; ``refusal`` is what they said.
    """

    generation: int
    programmed: int
    rejected: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def tells(self) -> bool:
        return bool(self.programmed or self.rejected)


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The proxies of one replica: how many of each key, and how far they are with each policy.

    Attributes:
        slowest: seconds that the slowest change of endpoints took to reach them all (``propagation``), in tenths.
    """

    connected: Mapping[str, int] = field(default_factory=dict)
    policies: Mapping[Ref, Share] = field(default_factory=dict)
    slowest: float = 0.0


NOBODY: Final = FleetReport()


def encode(report: FleetReport, *, largest: int = LARGEST) -> str:
    """Text of at most *largest* bytes: then first the words of refusals go, then whole policies, which so count as behind."""
    rows = {f"{ref.namespace}/{ref.name}": _row(share) for ref, share in sorted(report.policies.items()) if share.tells}
    text = _text(report, rows)
    if len(text) > largest:
        rows = {name: [*row[:3], row[3][:100]] if row[3:] else row for name, row in rows.items()}
        text = _text(report, rows)
    while len(text) > largest and rows:
        kept = len(rows) * largest // len(text) * 9 // 10
        rows = dict(list(rows.items())[:kept])
        text = _text(report, rows)
    return text


def _row(share: Share) -> list[Any]:
    if not share.rejected:
        return [share.generation, share.programmed]
    return [share.generation, share.programmed, list(share.rejected[:_NAMES]), share.refusal[:_WORDS]]


def _text(report: FleetReport, rows: Mapping[str, list[Any]]) -> str:
    connected = {key: count for key, count in sorted(report.connected.items()) if count}
    # Escaped, so that characters are bytes; readable, because people look at it too.
    slowest = {"slowest": report.slowest} if report.slowest else {}
    return json.dumps({"connected": connected, "policies": rows, **slowest}, separators=(",", ":"))


def decode(text: str) -> FleetReport:
    """The report in *text*. Raises ValueError: some other version wrote it, or somebody else."""
    try:
        raw = json.loads(text)
        connected = {str(key): int(count) for key, count in raw["connected"].items()}
        policies = {_ref(name): _share(*row) for name, row in raw["policies"].items()}
        slowest = float(raw.get("slowest", 0))
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"no report of a replica: {error!r}") from None
    return FleetReport(connected, policies, slowest if 0 <= slowest < math.inf else 0.0)


def _ref(name: str) -> Ref:
    namespace, _, rest = name.partition("/")
    return Ref(_KIND, namespace, rest)


def _share(generation: int, programmed: int, rejected: list[str] | None = None, refusal: str = "") -> Share:
    return Share(int(generation), int(programmed), tuple(map(str, rejected or ())), str(refusal))
