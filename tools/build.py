"""Build the Go tools that the tests need, once per ``go.sum``, into a cache outside the checkout.

Called by ``make test``; prints the folder with the binaries on standard output and progress on standard error.
Standard library only: it runs before the virtual environment exists.

``KUBEBUILDER_ASSETS``, where set, names a folder with ready binaries (envtest's convention) and nothing is built.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

TOOLS = pathlib.Path(__file__).resolve().parent
K8S_VERSION = "v1.34.4"
STAMP = "k8s.io/component-base/version"
LDFLAGS_K8S = f"-s -w -X {STAMP}.gitVersion={K8S_VERSION} -X {STAMP}.gitMajor=1 -X {STAMP}.gitMinor=34"

#: binary -> (module folder, package, linker flags, what a cold build takes on two cores)
BINARIES = {
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3", "-s -w", "about 1 minute"),
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", LDFLAGS_K8S, "6 to 10 minutes"),
    "kube-controller-manager": (
        "kubernetes",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        LDFLAGS_K8S,
        "about 2 minutes",
    ),
}


class ToolError(Exception):
    """A tool cannot be had; the message says what to do."""


def say(text: str) -> None:
    print(f"tools: {text}", file=sys.stderr, flush=True)


def cache_root() -> pathlib.Path:
    """``$FAIRLEAD_CACHE``, else ``$XDG_CACHE_HOME/fairlead``, else ``~/.cache/fairlead``."""
    if own := os.environ.get("FAIRLEAD_CACHE"):
        return pathlib.Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "fairlead"


def module_key(module: str) -> str:
    """Hash of everything that decides what the binaries of *module* are."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((TOOLS / module / name).read_bytes())
    digest.update(LDFLAGS_K8S.encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Two ``make test`` at once build once: the second waits for the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build holds the cache; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_with_progress(command: list[str], *, cwd: pathlib.Path, what: str, env: dict[str, str]) -> None:
    """Run *command*, saying every 30 s that it still runs. Raises ToolError with its last output."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, env=env)
        try:
            while True:
                try:
                    code = process.wait(timeout=30)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  {what}: still building, {time.monotonic() - started:.0f} s")
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if code:
            log.seek(0)
            tail = "".join(log.readlines()[-15:])
            raise ToolError(f"building {what} failed (exit {code}):\n{tail}")
    say(f"  {what}: built in {time.monotonic() - started:.0f} s")


def build(binary: str) -> pathlib.Path:
    """Path of *binary*, built if the cache does not hold it for this ``go.sum``."""
    module, package, ldflags, takes = BINARIES[binary]
    folder = cache_root() / "tools" / f"{module}-{module_key(module)}"
    target = folder / binary
    if target.exists():
        return target
    with locked(cache_root() / "tools" / f"{module}.lock"):
        if target.exists():
            return target
        go = shutil.which("go")
        if go is None:
            raise ToolError(
                f"{binary} must be built once and `go` is not on PATH: install Go (go.dev/dl), or set "
                "KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kube-controller-manager"
            )
        folder.mkdir(parents=True, exist_ok=True)
        say(f"building {binary} into {folder} (once; a cold build takes {takes} on two cores)")
        partial = folder / f".{binary}.partial"
        run_with_progress(
            [go, "build", "-trimpath", "-p", "2", "-ldflags", ldflags, "-o", str(partial), package],
            cwd=TOOLS / module,
            what=binary,
            env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
        )
        partial.replace(target)
    return target


def assets() -> pathlib.Path:
    """Folder that holds every binary of :data:`BINARIES`."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        folder = pathlib.Path(given)
        missing = [name for name in BINARIES if not (folder / name).exists()]
        if missing:
            raise ToolError(f"KUBEBUILDER_ASSETS={folder} lacks {', '.join(missing)}: add them or unset the variable")
        return folder
    built = [build(name) for name in BINARIES]
    bin_folder = cache_root() / "tools" / ("bin-" + "-".join(sorted({path.parent.name[-16:] for path in built})))
    bin_folder.mkdir(parents=True, exist_ok=True)
    for path in built:
        link = bin_folder / path.name
        if not link.exists():
            with contextlib.suppress(FileExistsError):
                link.symlink_to(path)
    return bin_folder


def main() -> int:
    try:
        print(assets())
    except ToolError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
