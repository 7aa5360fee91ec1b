"""What plain round robin without health checks goes by: the addresses of all pods, whatever they are like.

It is what a client has that asks DNS for a headless Service with ``publishNotReadyAddresses`` as often as DNS lets it.
"""

from __future__ import annotations

import contextlib
from typing import Self

from e2e.support.load import Load
from e2e.support.repeating import Repeating
from e2e.support.running import RunningCluster
from tests.support.kube import ApiError

#: Seconds: what CoreDNS lets clients keep an answer for.
EVERY = 5.0


class AllPods(Repeating):
    """Tells a load every few seconds which pods there are. A context manager."""

    def __init__(self, cluster: RunningCluster, namespace: str, app: str, load: Load) -> None:
        super().__init__(EVERY)
        self._cluster, self._namespace, self._app, self._load = cluster, namespace, app, load

    def __enter__(self) -> Self:
        self._tell()
        return super().__enter__()

    def again(self) -> None:
        with contextlib.suppress(ApiError, OSError):  # the API server is busy: the old list goes on
            self._tell()

    def _tell(self) -> None:
        pods = self._cluster.pods(self._namespace, f"app={self._app}")
        addresses = [address for pod in pods if (address := pod["status"].get("podIP"))]
        self._load.targets([f"{address}:8080" for address in sorted(addresses)])
