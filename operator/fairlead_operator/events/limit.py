"""How many events a policy may make: some at once, then one now and then; what is left out is counted and told. Pure."""

from __future__ import annotations

from typing import Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.bucket import Bucket
from fairlead_operator.events.transitions import Transition

#: Events at once, and seconds until there is room for one more. A rollout of ten pods fits; a flapping pod does not.
BURST: Final = 25
EVERY: Final = 30.0
#: Seconds in which the same words are not said twice in a row; after others they are news.
SAME: Final = 10.0
#: Events of one process: the API server keeps each for an hour.
ALL_BURST: Final = 200
ALL_EVERY: Final = 0.5
#: Longest note (events.k8s.io/v1 ``note``: 1 kB).
LONGEST: Final = 1024


class Limit:
    """One for a process. *now* is any clock in seconds that does not go back."""

    def __init__(self) -> None:
        self._all = Bucket(ALL_BURST, ALL_EVERY)
        self._policies: dict[Ref, Bucket] = {}
        self._left_out: dict[Ref, int] = {}
        self._last: dict[Ref, tuple[Transition, float]] = {}

    def admit(self, ref: Ref, one: Transition, now: float, *, room: bool = True) -> Transition | None:
        """*one* as it may be told of the policy *ref*; ``None``: not now. Without *room* it is left out whatever it is."""
        said, at = self._last.get(ref, (None, 0.0))
        if one == said and now < at + SAME:
            return None
        bucket = self._policies.setdefault(ref, Bucket(BURST, EVERY))
        # The policy's own comes last, and is taken then for sure: what others said costs it nothing.
        if not room or bucket.wait(now) > 0 or not self._all.take(now):
            self._left_out[ref] = self._left_out.get(ref, 0) + 1
            return None
        bucket.take(now)
        self._last[ref] = one, now
        return one._replace(note=_short(one.note, self._left_out.pop(ref, 0)))

    def forget(self, ref: Ref) -> None:
        """The policy is gone."""
        for kept in (self._policies, self._left_out, self._last):
            kept.pop(ref, None)


def _short(note: str, left_out: int) -> str:
    more = f" ({left_out} events before this one were left out: there were too many)" if left_out else ""
    room = LONGEST - len(more.encode())
    whole = note.encode()
    if len(whole) > room:
        note = whole[: room - 3].decode(errors="ignore") + "…"
    return note + more
