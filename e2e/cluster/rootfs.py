"""Root file systems from Debian packages, for images where no image registry is: made in scratch, imported, removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from e2e.cluster import leftovers, places
from e2e.cluster.engine import Engine
from e2e.cluster.shell import pipe, run, step
from tools import build

SUITE = "bookworm"
#: Of every image that runs the project's Python; `Dockerfile` takes it as its argument BASE.
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
BASE_NAME = "fairlead-base"


@contextlib.contextmanager
def debian(packages: Sequence[str]) -> Iterator[pathlib.Path]:
    """A fresh minimal Debian with *packages*, in a folder that is gone afterwards. Its archive stays in the cache.

    ``DEBIAN_MIRROR`` names another mirror than debootstrap's own.
    """
    key = hashlib.sha256(f"{SUITE} {sorted(packages)}".encode()).hexdigest()[:12]
    kept = build.cache_root() / f"debian-{key}.tar"
    with scratch_folder() as folder:
        root = folder / "root"
        root.mkdir()
        if not kept.exists():
            _debootstrap(packages, root, folder / "kept.tar")
            (folder / "kept.tar").replace(kept)
        run("tar", "-C", root, "-xf", kept)
        yield root


def _debootstrap(packages: Sequence[str], root: pathlib.Path, target: pathlib.Path) -> None:
    mirror = [os.environ["DEBIAN_MIRROR"]] if os.environ.get("DEBIAN_MIRROR") else []
    include = f"--include={','.join(packages)}"
    run("debootstrap", "--variant=minbase", include, SUITE, root, *mirror, env={"PATH": _path()})
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    for lists in (root / "var/lib/apt/lists").glob("*"):
        shutil.rmtree(lists) if lists.is_dir() else lists.unlink()
    for documents in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / documents, ignore_errors=True)
    run("tar", "-C", root, "-cf", target, ".")
    shutil.rmtree(root)
    root.mkdir()


@contextlib.contextmanager
def scratch_folder() -> Iterator[pathlib.Path]:
    """A folder on the disk of the cache; what is mounted below it is unmounted before it is removed."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=places.scratch()))
    try:
        yield folder
    finally:
        leftovers.unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove what killed runs left in scratch."""
    leftovers.unmount(places.scratch())
    for folder in places.scratch().iterdir():
        shutil.rmtree(folder, ignore_errors=True)


def import_image(engine: Engine, root: pathlib.Path, name: str, *instructions: str) -> None:
    """Make an image of the files below *root*; *instructions* are those of a Dockerfile (`docker import` knows some)."""
    client = f"{places.RUN}/bin/docker" if engine.own else "docker"
    files = f"{name}-files" if instructions else name
    pipe(["tar", "-C", str(root), "-c", "."], [client, "import", "-", files], env=engine.environment)
    if instructions:
        with scratch_folder() as folder:
            (folder / "Dockerfile").write_text("\n".join([f"FROM {files}", *instructions]) + "\n")
            buildkit = {**engine.environment, "DOCKER_BUILDKIT": "1"}
            run(client, "build", "--quiet", "-t", name, str(folder), env=buildkit)
        engine.docker("rmi", "--no-prune", files)


def base_image(engine: Engine) -> str:
    """Name of the base image with Python, made if the engine has it not."""
    key = hashlib.sha256(f"{SUITE} {BASE_PACKAGES}".encode()).hexdigest()[:12]
    name = f"{BASE_NAME}:{key}"
    if not engine.has_image(name):
        with step("base image from packages (once)"), debian(BASE_PACKAGES) as root:
            import_image(engine, root, name)
    return name


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
