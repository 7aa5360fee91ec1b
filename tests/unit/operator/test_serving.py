"""What a replica shows follows its Secret, and what is worse than before is not taken."""

from __future__ import annotations

import base64
import datetime
import socket
import ssl
import threading
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.trust import pem, storage
from fairlead_operator.trust.authority import Serving
from fairlead_operator.trust.serving import ServingCertificate, Shown, _Followed

NOW = datetime.datetime.now(datetime.UTC)
LIFE = datetime.timedelta(days=1)
AUTHORITY = pem.make_authority(NOW, LIFE)
Json = dict[str, Any]


def secret() -> Json:
    serving = Serving(pair=pem.issue(AUTHORITY, {"localhost"}, NOW, LIFE), bundle=(AUTHORITY.certificate,))
    return storage.write_serving(serving, None, name="fairlead-xds-tls", namespace="fairlead-system")


def text(raw: Json, name: str) -> str:
    return base64.b64decode(raw["data"][name]).decode()


async def test_the_newest_that_can_be_read_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    serving, changes = ServingCertificate("fairlead-system/fairlead-xds-tls"), []
    serving.on_change.append(lambda: changes.append(serving.shown))
    broken = secret()
    broken["data"]["tls.key"] = base64.b64encode(b"oops").decode()
    serving.apply(broken)
    assert not serving.ready.is_set()
    assert "fairlead-system/fairlead-xds-tls: data[tls.key] holds no unencrypted PEM private key" in caplog.text
    first, second = secret(), secret()
    for raw in (first, broken, second):
        serving.apply(raw)
    serving.delete(Ref("Secret", "fairlead-system", "fairlead-xds-tls"))
    assert serving.ready.is_set()
    chains = [shown.chain if shown else None for shown in changes]
    one, two = text(first, "tls.crt"), text(second, "tls.crt")
    assert chains == [None, one, one, two, two]
    assert serving.shown is not None
    assert serving.shown.bundle == AUTHORITY.certificate.pem
    assert "PRIVATE" not in repr(serving.shown)
    assert "PRIVATE" not in caplog.text


def test_grpc_gets_a_certificate_only_when_it_is_new_and_nothing_else_happens() -> None:
    calm: list[str] = []
    raws = [secret(), secret()]
    shown = [Shown(text(raw, "tls.crt"), text(raw, "tls.key"), "") for raw in raws]
    now = shown[0]
    followed = _Followed(lambda: now, lambda: calm.append("waited"))
    followed.credentials()
    assert followed.newer() is None
    assert calm == []
    now = shown[1]
    assert followed.newer() is not None
    assert calm == ["waited"]
    assert followed.newer() is None


async def test_a_server_of_python_follows_too() -> None:
    serving = ServingCertificate("x")
    first, second = secret(), secret()
    serving.apply(first)
    context = serving.ssl_context()
    assert handshake(context) == ssl.PEM_cert_to_DER_cert(text(first, "tls.crt"))
    serving.apply(second)
    assert handshake(context) == ssl.PEM_cert_to_DER_cert(text(second, "tls.crt"))


def handshake(context: ssl.SSLContext) -> bytes | None:
    client = ssl.create_default_context(cadata=AUTHORITY.certificate.pem)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        context.wrap_socket(theirs, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(ours, server_hostname="localhost") as one:
        found = one.getpeercert(binary_form=True)
    thread.join()
    return found
