"""What a replica shows to those who connect: the certificate of the Secret, followed while it changes.

Every replica has one, whoever makes the certificate. What the Secret held last stays in use until something better
comes: neither its deletion nor nonsense in it ends a service.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from fairlead_operator.api.meta import Ref
from fairlead_operator.trust import storage
from fairlead_operator.trust.authority import Serving, text
from fairlead_operator.trust.pem import Unreadable

log = logging.getLogger(__name__)

#: Seconds for which handshakes wait when the certificate changes (see ``_Followed``).
CALM: Final = 0.1


@dataclass(frozen=True, slots=True)
class Shown:
    """PEM: the certificate with its chain, its key, and what proxies are to believe."""

    chain: str
    key: str = field(repr=False)
    bundle: str


class ServingCertificate:
    """The sink of a reflector of one Secret. All methods but the gRPC callback belong to the event loop's thread.

    Attributes:
        serving, shown: the newest that could be read; ``None``: there was none yet.
        ready: set as soon as there is one.
        on_change: called when it has changed, or when the Secret has.
    """

    def __init__(self, secret: str) -> None:
        self.serving: Serving | None = None
        self.shown: Shown | None = None
        self.ready = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        self._secret = secret
        self._contexts: list[ssl.SSLContext] = []

    def apply(self, raw: dict[str, Any]) -> None:
        """The Secret as it is now."""
        try:
            serving = storage.read_serving(raw)
        except Unreadable as error:
            kept = (
                "the certificate of before stays in use" if self.shown else "nothing can be served before it is right"
            )
            log.error("Secret %s: %s: %s", self._secret, error, kept)  # noqa: TRY400 - no traceback is needed
        else:
            shown = Shown(storage.chain(raw), serving.pair.key, text(serving.bundle))
            if shown != self.shown:
                self._take(serving, shown)
        for callback in self.on_change:
            callback()

    def delete(self, ref: Ref) -> None:  # noqa: ARG002 - there is one only
        """The Secret is gone."""
        log.warning("Secret %s is gone: the certificate of before stays in use", self._secret)
        for callback in self.on_change:
            callback()

    def _take(self, serving: Serving, shown: Shown) -> None:
        renewed = self.serving is not None and self.serving.certificate != serving.certificate
        self.serving, self.shown = serving, shown
        if renewed or not self.ready.is_set():
            log.info(
                "serving with a certificate for %s until %s",
                ", ".join(sorted(serving.certificate.names)),
                serving.certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
        for context in self._contexts:
            _load(context, shown)
        self.ready.set()

    def credentials(self) -> grpc.ServerCredentials:
        """For one gRPC server (TLS 1.2 and later), which follows. Wait for ``ready``."""
        return _Followed(lambda: self.shown).credentials()

    def ssl_context(self) -> ssl.SSLContext:
        """For servers of Python, as the webhook's: it follows too. Wait for ``ready``."""
        assert self.shown is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load(context, self.shown)
        self._contexts.append(context)
        return context


class _Followed:
    """The certificate of one gRPC server, asked for by each handshake, one at a time, in threads of gRPC's.

    gRPC (1.85: ``SslServerSecurityConnector::add_handshakers``) asks under a lock and takes the new certificate under
    it, but then begins the handshake outside: another thread that is just there uses what was freed, and the process
    ends. So a certificate is given only when it is new, and after a moment in which nobody else can get there: the lock
    keeps new handshakes waiting, and those that were past it are done. Two hundred changes during a thousand handshakes
    end a process without this, and none with it.
    """

    def __init__(self, shown: Callable[[], Shown | None], calm: Callable[[], None] = lambda: time.sleep(CALM)) -> None:
        self._shown, self._calm = shown, calm
        self._given: Shown | None = None

    def credentials(self) -> grpc.ServerCredentials:
        first = self._shown()
        assert first is not None
        self._given = first
        return grpc.dynamic_ssl_server_credentials(
            _configuration(first), self.newer, require_client_authentication=False
        )

    def newer(self) -> Any:
        """What gRPC is to use from now on; ``None``: what it has."""
        shown = self._shown()
        if shown is None or self._given is None or (shown.chain, shown.key) == (self._given.chain, self._given.key):
            return None
        self._calm()
        self._given = shown
        return _configuration(shown)


def _configuration(shown: Shown) -> Any:
    return grpc.ssl_server_certificate_configuration([(shown.key.encode(), shown.chain.encode())])


def _load(context: ssl.SSLContext, shown: Shown) -> None:
    """Python takes certificates by the names of files only. This one is memory, and never on a disk."""
    memory = os.memfd_create("fairlead-certificate")
    with contextlib.closing(open(memory, "wb", buffering=0)) as file:  # noqa: PTH123 - a number, no path
        file.write((shown.chain + shown.key).encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
