"""Build the Go tools that tests, chart and clusters need, once per ``go.sum``, into a cache outside the checkout.

``python tools/build.py --set api`` (what ``make test`` calls), ``--set helm``, ``--set kind``, or names of binaries; several
go together. Prints the folder with the binaries on standard output and progress on standard error.
Standard library only: it runs before the virtual environment exists.

``KUBEBUILDER_ASSETS``, where set, names a folder with ready binaries (envtest's convention) and nothing of the set ``api`` is
built.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

TOOLS = pathlib.Path(__file__).resolve().parent
K8S_VERSION = "v1.34.4"
STAMP = "k8s.io/component-base/version"
LDFLAGS_K8S = f"-s -w -X {STAMP}.gitVersion={K8S_VERSION} -X {STAMP}.gitMajor=1 -X {STAMP}.gitMinor=34"
LDFLAGS_HELM = "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"
LDFLAGS_CRICTL = "-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=v1.36.0"


@dataclasses.dataclass(frozen=True)
class Tool:
    """Where a binary comes from: module folder under ``tools/``, package, what a cold build takes on two cores."""

    module: str
    package: str
    takes: str
    ldflags: str = "-s -w"


def _kubernetes(name: str, takes: str) -> Tool:
    return Tool("kubernetes", f"k8s.io/kubernetes/cmd/{name}", takes, LDFLAGS_K8S)


BINARIES = {
    "etcd": Tool("etcd", "go.etcd.io/etcd/server/v3", "about 1 minute"),
    "kube-apiserver": _kubernetes("kube-apiserver", "6 to 10 minutes"),
    "kube-controller-manager": _kubernetes("kube-controller-manager", "about 2 minutes"),
    "kube-scheduler": _kubernetes("kube-scheduler", "half a minute"),
    "kubelet": _kubernetes("kubelet", "half a minute"),
    "kube-proxy": _kubernetes("kube-proxy", "half a minute"),
    "kubectl": _kubernetes("kubectl", "half a minute to 2 minutes"),
    "kubeadm": _kubernetes("kubeadm", "half a minute"),
    "helm": Tool("helm", "helm.sh/helm/v4/cmd/helm", "3 to 6 minutes", LDFLAGS_HELM),
    "kind": Tool("kind", "sigs.k8s.io/kind", "10 seconds"),
    "coredns": Tool("coredns", "github.com/coredns/coredns", "3 to 6 minutes"),
    "crictl": Tool("crictl", "sigs.k8s.io/cri-tools/cmd/crictl", "1 to 2 minutes", LDFLAGS_CRICTL),
}

API = ("etcd", "kube-apiserver", "kube-controller-manager")
SETS = {
    "api": API,  # tests/api
    "helm": ("helm",),  # tests of the chart
    "kind": ("kind", "kubectl", "helm"),  # a cluster on a ready node image
    "node": (*API, "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "kubeadm", "coredns", "crictl"),  # its image
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
    tool = BINARIES[binary]
    folder = cache_root() / "tools" / f"{tool.module}-{module_key(tool.module)}"
    target = folder / binary
    if target.exists():
        return target
    with locked(cache_root() / "tools" / f"{tool.module}.lock"):
        if target.exists():
            return target
        go = shutil.which("go")
        if go is None:
            raise ToolError(
                f"{binary} must be built once and `go` is not on PATH: install Go (go.dev/dl)"
                + (f", or set KUBEBUILDER_ASSETS to a folder with {', '.join(API)}" if binary in API else "")
            )
        folder.mkdir(parents=True, exist_ok=True)
        say(f"building {binary} into {folder} (once; a cold build takes {tool.takes} on two cores)")
        partial = folder / f".{binary}.partial"
        run_with_progress(
            [go, "build", "-trimpath", "-p", "2", "-ldflags", tool.ldflags, "-o", str(partial), tool.package],
            cwd=TOOLS / tool.module,
            what=binary,
            env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
        )
        partial.replace(target)
    return target


def given(names: Iterable[str]) -> pathlib.Path | None:
    """The folder that ``KUBEBUILDER_ASSETS`` names, for whoever asks for nothing but API-server binaries."""
    if not (folder := os.environ.get("KUBEBUILDER_ASSETS")) or not set(names) <= set(API):
        return None
    if missing := [name for name in names if not (pathlib.Path(folder) / name).exists()]:
        raise ToolError(f"KUBEBUILDER_ASSETS={folder} lacks {', '.join(missing)}: add them or unset the variable")
    return pathlib.Path(folder)


def folder_of(*names: str) -> pathlib.Path:
    """A folder that holds the binaries *names*, each built if the cache lacks it."""
    if ready := given(names):
        return ready
    built = sorted(build(name) for name in set(names))
    key = hashlib.sha256("\n".join(map(str, built)).encode()).hexdigest()[:16]
    folder = cache_root() / "tools" / f"bin-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in built:
        with contextlib.suppress(FileExistsError):
            (folder / path.name).symlink_to(path)
    return folder


def assets() -> pathlib.Path:
    """Folder with what ``tests/api`` needs."""
    return folder_of(*API)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/build.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--set", choices=SETS, action="append", default=[], dest="sets", help="a named set of binaries")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {' '.join(BINARIES)}")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.names) - set(BINARIES)):
        parser.error(f"no such binary: {', '.join(unknown)}")
    names = [*asked.names, *(name for one in asked.sets for name in SETS[one])]
    try:
        print(folder_of(*names) if names else assets())
    except ToolError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
