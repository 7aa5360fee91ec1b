"""The mounted volumes of a proxy's pod, changed as the kubelet changes them."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import trustme

from fairlead_operator.pod_bootstrap import Files


class Rotating:
    """Folders with a CA bundle and a token under *folder*, and the files by which Envoy finds them."""

    def __init__(self, folder: Path, *, ca: bytes | None = None, token: bytes = b"token-1") -> None:
        self._ca, self._token, sds = (folder / name for name in ("ca", "token", "sds"))
        for each in (self._ca, self._token, sds):
            each.mkdir(parents=True)
        self._numbers = itertools.count(1)
        self.ca(trustme.CA().cert_pem.bytes() if ca is None else ca)
        self.token(token)
        self.files = Files(ca=str(self._ca), token=str(self._token), sds=str(sds), admin=str(folder / "admin.sock"))
        self.files.write_sds()

    def ca(self, bundle: bytes) -> None:
        """The ConfigMap changes."""
        self._write(self._ca, "ca.crt", bundle)

    def token(self, token: bytes) -> None:
        """The kubelet renews the token."""
        self._write(self._token, "token", token)

    def _write(self, volume: Path, name: str, content: bytes) -> None:
        """As the kubelet's AtomicWriter: a new folder, ``..data`` renamed to it, links, the old folder removed."""
        link, target = volume / "..data", volume / f"..{next(self._numbers)}"
        old = link.resolve() if link.is_symlink() else None
        target.mkdir()
        (target / name).write_bytes(content)
        (volume / "..data_tmp").symlink_to(target.name)
        (volume / "..data_tmp").rename(link)
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)
