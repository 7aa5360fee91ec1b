"""A certificate is rotated under load: new connections get the new one, open ones stay."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from e2e.support import objects
from e2e.support.site import GATEWAY, Site


@pytest.mark.timeout(240)
def test_a_secret_rotated_under_load(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web")
    old, new = _certificate(site), _certificate(site)
    site.cluster.apply(old)
    policy = objects.policy(site.namespace, {"web": 1}, hostname=site.hostname)
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "site"}]}
    policy["spec"]["listeners"][0].update(name="https", port=443, protocol="HTTPS", tls=tls)
    site.cluster.programmed(policy)
    url = ("--url", f"{GATEWAY.replace('http', 'https', 1)}/")
    kept, fresh = site.load(*url, "--rate", "50"), site.load(*url, "--rate", "30", "--new-connections")
    for load in (kept, fresh):
        load.more(100)
    before = set(fresh.certificates())
    site.cluster.apply(new)
    site.cluster.wait_for(
        lambda: _print(new) in fresh.certificates(), "a handshake with the new certificate", seconds=20
    )
    fresh.more(30)
    seen = fresh.certificates()
    for load in (kept, fresh):
        load.more(100)
    after = fresh.certificates()
    reports = kept.stop(), fresh.stop()

    assert before == {_print(old)}
    assert after[_print(old)] == seen[_print(old)], "some still get the old certificate"
    assert set(kept.certificates()) == {_print(old)}, "open connections have been closed"
    for report in reports:
        assert not report.failed, report.words()
    proved(
        f"a Secret rotated: {after[_print(old)]} handshakes with the old certificate, then {after[_print(new)]} with the new; "
        f"8 open connections stayed, {reports[0].words()}; a connection for each request, {reports[1].words()}"
    )


def _certificate(site: Site) -> dict[str, Any]:
    made = trustme.CA().issue_cert(site.hostname)
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    data = {"tls.crt": chain, "tls.key": made.private_key_pem.bytes()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "site", "namespace": site.namespace},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def _print(secret: dict[str, Any]) -> str:
    """Fingerprint of the leaf, as the load generator counts it."""
    pem = base64.b64decode(secret["data"]["tls.crt"]).decode()
    leaf = pem.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
