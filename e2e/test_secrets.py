"""A certificate is rotated under load: new connections get the new one, open ones stay."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from e2e.support import objects
from e2e.support.site import Site


@pytest.mark.timeout(240)
def test_a_secret_rotated_under_load(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web")
    old, new = (objects.certificate(site.namespace, "site", site.hostname) for _ in range(2))
    site.cluster.apply(old)
    site.policy({"web": 1}, listener=objects.https("site"))
    kept = site.load("--rate", "50", scheme="https")
    fresh = site.load("--rate", "30", "--new-connections", scheme="https")
    for load in (kept, fresh):
        load.more(100)
    before = fresh.certificates()
    site.cluster.apply(new)
    site.cluster.wait_for(
        lambda: all(_print(new) in way for way in fresh.certificates()),
        "handshakes with the new certificate",
        seconds=20,
    )
    # Each gateway and each sidecar has its own moment; a second connection of all clients is after all of them.
    fresh.more(60)
    seen = fresh.certificates()
    for load in (kept, fresh):
        load.more(100)
    after = fresh.certificates()
    open_ones = kept.certificates()
    reports = kept.stop(), fresh.stop()

    assert all(set(way) == {_print(old)} for way in before)
    assert [way[_print(old)] for way in after] == [way[_print(old)] for way in seen], (
        "some still get the old certificate"
    )
    assert all(set(way) == {_print(old)} for way in open_ones), "open connections have been closed"
    for report in reports:
        assert not report.failed, report.words()
    handshakes = [sum(way[_print(secret)] for way in after) for secret in (old, new)]
    proved(
        f"a Secret rotated: {handshakes[0]} handshakes with the old certificate, then {handshakes[1]} with the new; "
        f"16 open connections stayed, {reports[0].words()}; a connection for each request, {reports[1].words()}"
    )


def _print(secret: dict[str, Any]) -> str:
    """Fingerprint of the leaf, as the load generator counts it."""
    pem = base64.b64decode(secret["data"]["tls.crt"]).decode()
    leaf = pem.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
