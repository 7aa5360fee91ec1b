"""Two statuses of a policy, one after the other -> what happened between them. Pure.

The status that was written last is in the API server: so whichever replica writes, each transition is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from fairlead_operator.api.lenient import child, children, text
from fairlead_operator.bindings import LISTED
from fairlead_operator.health import NEVER_READY

#: How a condition stands when all is well.
_WELL: Final = {"Accepted": "True", "ResolvedRefs": "True", "Programmed": "True", "Degraded": "False"}
#: On the way, or nothing to do with the policy: proxies come and go.
_PASSING: Final = frozenset({"Pending", "NoProxies", "NotUsed", "NotAccepted"})
#: How ``health`` begins the reason of a pod that ends.
_ENDS: Final = "terminating"
Status = Mapping[str, Any]


class Transition(NamedTuple):
    """One event.

    Attributes:
        warning: it is an event of type Warning; else Normal.
        reason: one word for programs (events.k8s.io/v1 ``reason``).
        note: for people.
    """

    warning: bool
    reason: str
    note: str


def transitions(before: Status, after: Status) -> list[Transition]:
    """What to tell. Of a policy that had no status yet only what is wrong."""
    return [*_conditions(before, after), *_endpoints(before, after), *_ejected(before, after)]


def _conditions(before: Status, after: Status) -> Iterator[Transition]:
    known = {text(one, "type"): one for one in children(before, "conditions")}
    for one in children(after, "conditions"):
        kind, reason, note = (text(one, name) for name in ("type", "reason", "message"))
        was = known.get(kind)
        well = text(one, "status") == _WELL.get(kind)
        was_well = was is None or text(was, "status") == _WELL.get(kind)
        if not well:
            if reason not in _PASSING and (was_well or (was is not None and _said(was) != _said(one))):
                yield Transition(True, reason, f"{kind}: {note}")
        elif was is not None and not was_well and text(was, "reason") not in _PASSING:
            yield Transition(
                False, _good(kind), f"{kind}: {note}" if note else f"{kind}: not {text(was, 'reason')} any more"
            )


def _said(condition: Mapping[str, Any]) -> tuple[str, str]:
    return text(condition, "status"), text(condition, "reason")


def _good(kind: str) -> str:
    return "Recovered" if kind == "Degraded" else kind


def _endpoints(before: Status, after: Status) -> Iterator[Transition]:
    if "unhealthyEndpoints" not in before:  # the first status: what starts is not ready, and that is no news
        return
    old = {_key(one): one for one in children(before, "unhealthyEndpoints")}
    new = {_key(one): one for one in children(after, "unhealthyEndpoints")}
    ready_before, ready = (_ready(status) for status in (before, after))
    if max(len(old), len(new)) >= LISTED:  # some may not be listed
        yield from _counted(before, after)
        return
    lost = [one for key, one in old.items() if key not in new]
    replaced = _replaced(lost, [one for key, one in new.items() if key not in old])
    ended = [one for one in lost if _ends(one)]
    in_doubt = 0 < ready <= len(ended)  # whoever ends may be what is ready now: allTerminating
    gone = [one for one in lost if one in replaced or (one in ended and not in_doubt)]
    # A pod that has just come is not ready yet, and that is no news. As many have come as there are more, and are gone.
    come = [one for key, one in new.items() if key not in old and text(one, "reason").endswith(NEVER_READY)]
    others = _total(after) - _total(before) + len(gone) - len(come)
    fell = 0
    for key, one in new.items():
        if one in come or (key in old and text(old[key], "health") == text(one, "health")):
            continue
        # Where no pod says since when, it may have just come, or be an old one that failed: told, and no warning.
        unsure = key not in old and others > 0 and not text(one, "since")
        fell += key not in old and not unsure
        # Ending is what pods do when they are told to.
        warning = not (unsure or _ends(one))
        yield Transition(warning, f"Endpoint{text(one, 'health')}", f"{_who(one)}: {text(one, 'reason')}")
    back = [one for one in lost if one not in replaced and one not in ended]
    # Whoever is not listed any more is healthy, or is not there: the count of the healthy tells which.
    if back and ready - ready_before + fell >= len(back):
        for one in back:
            yield Transition(False, "EndpointHealthy", f"{_who(one)}: healthy")


def _counted(before: Status, after: Status) -> Iterator[Transition]:
    """Of more than are listed: what each count has become, if that may be news. Who has just come is not ready, too."""
    was, now = (
        {name: _count(status, name) for name in ("ready", "degraded", "excluded")} for status in (before, after)
    )
    if (was["ready"], was["degraded"]) == (now["ready"], now["degraded"]) and now["excluded"] <= was["excluded"]:
        return
    worse = [now[name] < was[name] for name in ("ready", "degraded")]
    warning = worse[0] or (worse[1] and now["excluded"] > was["excluded"])
    others = "".join(
        f"; {now[name]} {name}, {was[name]} were" for name in ("degraded", "excluded") if now[name] != was[name]
    )
    summary = child(after, "endpoints").get("summary", now["ready"])
    yield Transition(warning, "EndpointsChanged", f"{summary} endpoints are healthy, {was['ready']} were{others}")


def _ejected(before: Status, after: Status) -> Iterator[Transition]:
    old = {_key(one): one for one in children(before, "ejectedEndpoints")}
    new = {_key(one): one for one in children(after, "ejectedEndpoints")}
    for key, one in new.items():
        if key not in old:
            yield Transition(True, "EndpointEjected", f"{_who(one)}: {text(one, 'reason')}")
    if len(old) < LISTED and len(new) < LISTED:
        # By address, for it may be another pod's by now.
        kept = {_place(one) for name in ("unhealthyEndpoints", "ejectedEndpoints") for one in children(after, name)}
        for one in old.values():
            if _place(one) not in kept:
                yield Transition(False, "EndpointReturned", f"{_who(one)}: no proxy that answers keeps it out any more")


def _replaced(lost: list[Mapping[str, Any]], come: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of *lost* whose address, or name, another one has."""
    places, names = {_place(one) for one in come}, {_named(one) for one in come if text(one, "pod")}
    return [one for one in lost if _place(one) in places or _named(one) in names]


def _ends(one: Mapping[str, Any]) -> bool:
    """It was told to, and is not listed until it is well again, but until it is gone."""
    return text(one, "health") == "Draining" or text(one, "reason").startswith(_ENDS)


def _key(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """An address that is free is soon another pod's."""
    return text(one, "backend"), text(one, "pod"), text(one, "address")


def _place(one: Mapping[str, Any]) -> tuple[str, str]:
    return text(one, "backend"), text(one, "address")


def _named(one: Mapping[str, Any]) -> tuple[str, str]:
    return text(one, "backend"), text(one, "pod")


def _ready(status: Status) -> int:
    return _count(status, "ready")


def _total(status: Status) -> int:
    return sum(_count(status, name) for name in ("ready", "draining", "degraded", "excluded"))


def _count(status: Status, name: str) -> int:
    found = child(status, "endpoints").get(name)
    return found if type(found) is int else 0


def _who(one: Mapping[str, Any]) -> str:
    pod = text(one, "pod")
    return f"{text(one, 'backend')}: {f'pod {pod} ' if pod else ''}({text(one, 'address')})"
