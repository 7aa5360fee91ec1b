"""What kopf does for Fairlead: it tells what happens to policies. Run by ``app`` in a thread of its own.

Handlers are ``on.event`` only: nothing is annotated, and no finalizer blocks a deletion. So kopf has no use for what an object
was before, and does not look for it either (``_NothingBefore``, ``_NoProgress``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from fairlead_operator.api.meta import GROUP, VERSION
from fairlead_operator.sources.client import Credentials
from fairlead_operator.sources.policies import PLURAL

#: ADDED, MODIFIED, DELETED, or None for what a list found; and the object.
Told = Callable[[str | None, dict[str, Any]], None]


def registry(told: Told, credentials: Callable[[], Awaitable[Credentials]]) -> kopf.OperatorRegistry:
    """The handlers."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection(await credentials())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def policy_changed(event: Any, **_: Any) -> None:
        told(event["type"], event["object"])

    return handlers


def connection(known: Credentials) -> kopf.ConnectionInfo:
    """The credentials in kopf's words."""
    scheme, _, token = known.authorization.rpartition(" ")
    return kopf.ConnectionInfo(
        server=known.server,
        ca_path=known.ca_path,
        insecure=known.insecure,
        scheme=scheme or None,
        token=token.strip() or None,
        certificate_path=known.certificate_path,
        private_key_path=known.key_path,
        proxy_url=known.proxy,
    )


class _NothingBefore(kopf.DiffBaseStorage):
    """kopf's own copies each object for each event, to compare it with what was handled last, which takes most of its time."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """``on.event`` handlers run once, and have no progress."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def settings() -> kopf.OperatorSettings:
    """Watches that notice a dead connection, and nothing written to the cluster."""
    result = kopf.OperatorSettings()
    result.persistence.diffbase_storage = _NothingBefore()
    result.persistence.progress_storage = _NoProgress()
    result.posting.enabled = False
    result.scanning.disabled = True  # the definition is there before kopf starts; see app
    result.watching.server_timeout = 290
    result.watching.client_timeout = 320
    result.watching.connect_timeout = 5
    result.watching.inactivity_timeout = 90
    result.networking.connect_timeout = 5
    result.networking.request_timeout = 30
    result.networking.error_backoffs = (0.2, 0.5, 1, 2)
    result.queueing.exit_timeout = 0.5
    # Else kopf kills the process ten minutes after its own unexpected end.
    result.process.ultimate_exiting_timeout = None
    return result


async def run(told: Told, credentials: Callable[[], Awaitable[Credentials]]) -> None:
    """kopf, until it is cancelled or fails. Without peering, liveness endpoint and events."""
    await kopf.operator(registry=registry(told, credentials), settings=settings(), standalone=True, clusterwide=True)
