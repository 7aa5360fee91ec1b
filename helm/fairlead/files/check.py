"""``helm test``: the operator is ready, and its xDS port shows a certificate that proxies trust.

Run by ``python3 -c`` in a pod (templates/tests/check.yaml); standard library only.
"""

import os
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable

XDS, METRICS = os.environ["XDS_SERVICE"], os.environ["METRICS_SERVICE"]
AUTHORITY = "/var/run/secrets/fairlead-ca/ca.crt"
PATIENCE = 60.0


def ready() -> str:
    url = f"http://{METRICS}:18001/readyz"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return f"{url}: {answer.read().decode().strip()}"


def encrypted() -> str:
    context = ssl.create_default_context(cafile=AUTHORITY)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((XDS, 18000), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=XDS) as tls,
    ):
        if tls.selected_alpn_protocol() != "h2":
            raise OSError(f"{XDS}:18000 chose {tls.selected_alpn_protocol()} by ALPN, not h2")
        until = (tls.getpeercert() or {}).get("notAfter")
        return f"{XDS}:18000: {tls.version()}, certificate valid until {until}"


def passes(check: Callable[[], str], deadline: float) -> bool:
    """Whether *check* works before *deadline*; says so."""
    while True:
        try:
            print(f"ok    {check()}", flush=True)
        except OSError as error:
            if time.monotonic() > deadline:
                print(f"FAIL  {check.__name__}: {error}", flush=True)
                return False
            time.sleep(1)
        else:
            return True


if __name__ == "__main__":
    sys.exit(not all(passes(check, time.monotonic() + PATIENCE) for check in (ready, encrypted)))
