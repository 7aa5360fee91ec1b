"""Whose configuration each sidecar gets, and its move to another one when its pod or the policies change.

The key of a sidecar is its group's (``sidecars``). A proxy must never be without configuration between two keys, so it moves only
to one that is published; until then it keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from fairlead_operator import sidecars
from fairlead_operator.api.pods import Pod
from fairlead_operator.sidecars import Pods
from fairlead_xds.observer import Proxy


class SidecarKeys:
    """One for a control plane."""

    def __init__(
        self,
        pods: Pods,
        *,
        published: Callable[[], Collection[str]],
        lacking: Callable[[], None],
        proxies: Callable[[], Iterable[Proxy]],
        move: Callable[[Proxy, str], None],
    ) -> None:
        """*published*: the keys that there are; *lacking* is called when one should be there that is not."""
        self._pods, self._published, self._lacking = pods, published, lacking
        self._proxies, self._move = proxies, move

    def of_subject(self, namespace: str, pod: str, uid: str) -> str | None:
        """The key of a pod's sidecar, for the authenticator.

        Empty: the pod is not known yet, and its proxy is moved as soon as it is. None: it has no sidecar of ours.
        """
        known = self._pods.by_uid(uid)
        if known is None:
            return ""
        if (known.ref.namespace, known.ref.name) != (namespace, pod):
            return None
        return self.of(known) if known.injected else None

    def of(self, pod: Pod) -> str:
        """The key of *pod*, if its configuration is published already; else empty: somebody comes back to it."""
        group = self._pods.group(pod)
        if group is None:
            return ""
        if group.empty or group.key in self._published():
            return group.key
        self._lacking()
        return ""

    def move(self, uid: str = "") -> None:
        """Give the sidecar of pod *uid* (default: every one) the key that it should have, if that is not its own."""
        for proxy in self._proxies():
            subject = proxy.identity.pod_uid
            if not subject or (uid and uid != subject) or (proxy.key and not sidecars.is_sidecar(proxy.key)):
                continue
            pod = self._pods.by_uid(subject)
            if pod is None:  # it is gone, or ends: it keeps what it has
                self._move(proxy, "")
            elif key := self.of(pod):
                self._move(proxy, key)
