"""The node image, made from packages where kind's public one cannot be had. Cached by the hash of all that goes in.

What kind's own Dockerfile does in a build (``images/base`` of its module), done to a debootstrapped root file system,
with Kubernetes from ``tools/build.py --set node`` and Debian's containerd.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from e2e.cluster import leftovers, rootfs, system_images
from e2e.cluster.engine import Engine
from e2e.cluster.shell import ClusterError, run, step
from tools import build

HERE = pathlib.Path(__file__).parent
NAME = "fairlead-node"
PACKAGES = (
    *("systemd", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod"),
    *("ca-certificates", "jq", "procps", "containerd", "runc", "containernetworking-plugins", "busybox-static"),
)
PLUGINS = ("host-local", "loopback", "ptp", "portmap")
#: As the Dockerfile beside kind's files: services that make no sense in a container.
NOT_WANTED = (
    *("lib/systemd/system/multi-user.target.wants/*", "etc/systemd/system/*.wants/*"),
    *("lib/systemd/system/local-fs.target.wants/*", "lib/systemd/system/sockets.target.wants/*udev*"),
    *("lib/systemd/system/sockets.target.wants/*initctl*", "lib/systemd/system/basic.target.wants/*"),
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
)
INSTRUCTIONS = (
    "ENV container=docker",
    "STOPSIGNAL SIGRTMIN+3",
    'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]',
)
NETWORK = """
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
  conf_template = "/etc/containerd/cni.conflist.template"
"""


def make(engine: Engine) -> str:
    """Name of the node image, made if the engine has it not."""
    binaries = build.folder_of(*build.SETS["node"])
    name = f"{NAME}:{_key()}"
    if engine.has_image(name):
        return name
    with step("node image from packages (once)"), rootfs.debian(PACKAGES) as root:
        files = kind_files()
        _copy_files(files, root)
        _trim(root)
        _containerd(root, system_images.pause_image(binaries))
        for program in ("kubelet", "kubectl", "kubeadm"):
            shutil.copy2(binaries / program, root / "usr/bin" / program)
        shutil.copy2(binaries / "crictl", root / "usr/local/bin/crictl")
        (root / "kind/version").write_text(build.K8S_VERSION)
        with rootfs.scratch_folder() as folder:
            _preload(system_images.write(binaries, root, folder), root, folder)
        rootfs.import_image(engine, root, name, *INSTRUCTIONS)
    return name


def _key() -> str:
    digest = hashlib.sha256(" ".join(PACKAGES).encode())
    sources = [*HERE.glob("node/*"), HERE / "node_image.py", HERE / "system_images.py", HERE / "rootfs.py"]
    for source in sorted(sources):
        digest.update(source.read_bytes())
    for module in ("kubernetes", "etcd", "coredns", "crictl", "kind"):
        digest.update(build.module_key(module).encode())
    return digest.hexdigest()[:12]


def kind_module() -> pathlib.Path:
    """Folder of kind's own module in Go's module cache: its node files and the name of its public image."""
    listed = run("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind", cwd=build.TOOLS / "kind").strip()
    if not listed:
        raise ClusterError("kind's module is not in Go's module cache: `go mod download` in tools/kind")
    return pathlib.Path(listed)


def kind_files() -> pathlib.Path:
    return kind_module() / "images/base/files"


def _copy_files(files: pathlib.Path, root: pathlib.Path) -> None:
    """kind's files with the modes of its Dockerfile, then ours."""
    for source in files.rglob("*"):
        if not source.is_file():
            continue
        place = source.relative_to(files)
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if place.parts[:2] in {("usr", "local"), ("kind", "bin")} else 0o644)
    (root / "kind/manifests").mkdir(exist_ok=True)
    for own, destination in (
        ("default-cni.yaml", "kind/manifests/default-cni.yaml"),
        ("default-storage.yaml", "kind/manifests/default-storage.yaml"),
        ("fairlead-routes.sh", "usr/local/bin/fairlead-routes.sh"),
        ("fairlead-routes.service", "etc/systemd/system/fairlead-routes.service"),
        ("cni.conflist.template", "etc/containerd/cni.conflist.template"),
    ):
        shutil.copyfile(HERE / "node" / own, root / destination)
    (root / "usr/local/bin/fairlead-routes.sh").chmod(0o755)
    (root / "etc/kubernetes/manifests").mkdir(parents=True, exist_ok=True)


def _trim(root: pathlib.Path) -> None:
    for pattern in NOT_WANTED:
        for path in root.glob(pattern):
            path.unlink()
    with (root / "etc/systemd/journald.conf").open("a") as journald:
        journald.write("ReadKMsg=no\n")
    with contextlib.suppress(FileExistsError):
        (root / "sbin/init").symlink_to("/lib/systemd/systemd")
    units = ("kubelet", "containerd", "undo-mount-hacks", "fairlead-routes")
    run("chroot", root, "systemctl", "enable", *(f"{unit}.service" for unit in units))
    run("chroot", root, "systemctl", "mask", "systemd-binfmt.service")


def _containerd(root: pathlib.Path, pause: str) -> None:
    for program in ("containerd", "containerd-shim-runc-v2", "ctr"):
        (root / "usr/local/bin" / program).symlink_to(f"/usr/bin/{program}")
    (root / "opt/cni/bin").mkdir(parents=True)
    for plugin in PLUGINS:
        shutil.copy2(root / "usr/lib/cni" / plugin, root / "opt/cni/bin" / plugin)
    config = root / "etc/containerd/config.toml"
    text = config.read_text()
    for old, new in (
        (r'sandbox_image = "registry.k8s.io/pause:3.10"', f'sandbox_image = "{pause}"'),
        # Where CAP_SYS_RESOURCE is missing, a lower score cannot be set and pods would hang.
        ("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"),
    ):
        if old not in text:
            raise ClusterError(f"kind's containerd configuration has changed: no {old!r} in it")
        text = text.replace(old, new)
    config.write_text(text + NETWORK)
    spec = json.loads(run("chroot", root, "ctr", "oci", "spec"))
    spec["process"].pop("rlimits", None)
    hooks = spec.setdefault("hooks", {}).setdefault("createContainer", [])
    hooks.append({"path": "/kind/bin/mount-product-files.sh"})
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))


def _preload(archives: list[pathlib.Path], root: pathlib.Path, folder: pathlib.Path) -> None:
    """Import the images into the node's own containerd store, by the machine's containerd."""
    address, state, store = folder / "c.sock", folder / "state", root / "var/lib/containerd"
    config = folder / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{store}"\nstate = "{state}"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
        f'[grpc]\n  address = "{address}"\n'
    )
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    with (folder / "containerd.log").open("wb") as log:
        command = ["containerd", "--config", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + 30
        while not run("ctr", "--address", address, "version", check=False).count("Server"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"containerd does not start:\n{(folder / 'containerd.log').read_text()[-1500:]}")
            time.sleep(0.2)
        for archive in archives:
            run("ctr", "--address", address, "-n", "k8s.io", "images", "import", "--no-unpack", archive)
    finally:
        leftovers.end(process.pid, grace=10)
        process.wait()
