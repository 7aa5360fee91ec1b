"""What single proxies refused although others have it, or although it is nobody's doing: told, and nothing is held for it.

A policy that no proxy accepted yet is held back (``quarantine``). A form that others serve stays; the proxy that refuses it,
because a port is taken on its machine or its Envoy is an older one, keeps what it has. The same holds of load assignments:
they follow the pods, and no earlier form of a policy would help. Used by ``loop`` and ``statuses``; no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from fairlead_operator.api.meta import Ref
from fairlead_operator.quarantine import Refusal
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Snapshot, TypeUrl


class _Form(NamedTuple):
    type_url: TypeUrl
    name: str
    version: str


class LateRefusals:
    """Proxy -> what it has refused and still does, in Envoy's words."""

    def __init__(self, current: Callable[[str], Snapshot]) -> None:
        """*current* tells what is published for a key now."""
        self._current = current
        self._said: dict[Proxy, dict[_Form, str]] = {}

    def refuse(self, proxy: Proxy, type_url: TypeUrl, name: str, *, version: str, message: str) -> None:
        """*proxy* has refused this version of a resource."""
        self._said.setdefault(proxy, {})[_Form(type_url, name, version)] = message

    def accept(self, proxy: Proxy, type_url: TypeUrl, names: Iterable[str]) -> bool:
        """*proxy* has taken something under *names*. True: it refuses less than before."""
        said = self._said.get(proxy)
        if not said:
            return False
        taken = set(names)
        settled = [form for form in said if form.type_url is type_url and form.name in taken]
        for form in settled:
            del said[form]
        if not said:
            del self._said[proxy]
        return bool(settled)

    def forget(self, proxy: Proxy) -> None:
        """It is gone."""
        self._said.pop(proxy, None)

    def refusals(self, policy: Ref, keys: Iterable[str]) -> Refusal | None:
        """What proxies of *keys* refuse now of that which *policy* asks for."""
        found: Refusal | None = None
        asked = set(keys)
        for proxy, said in self._said.items():
            if proxy.key not in asked:
                continue
            snapshot = self._current(proxy.key)
            for form, message in said.items():
                path = _field(snapshot, form, policy)
                if path is not None:
                    found = found or Refusal(message, path)
                    found.proxies.add(proxy.node.id)
        return found


def _field(snapshot: Snapshot, form: _Form, policy: Ref) -> str | None:
    """The field of *policy* that *form* comes from; None: it is another's, or is not asked for any more."""
    resource = snapshot.get(form.type_url, form.name)
    if resource is None or resource.version != form.version:
        return None
    origins = resource.origins
    if form.type_url is TypeUrl.ENDPOINT:  # a load assignment is its cluster's, by name
        cluster = snapshot.get(TypeUrl.CLUSTER, form.name)
        origins = cluster.origins if cluster is not None else ()
    return next((origin.field for origin in origins if origin.owner == tuple(policy)), None)
