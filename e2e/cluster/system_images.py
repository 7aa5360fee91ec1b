"""The images of the control plane, made of static binaries under the names that kubeadm asks for.

``node_image`` puts them into the node image, so that kubeadm finds every image there and pulls none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import tarfile

from e2e.cluster.shell import ClusterError, run

#: Component -> where its image has the binary. kubeadm's manifests call most of them by name, from PATH.
STATIC = {
    "kube-apiserver": "usr/local/bin/kube-apiserver",
    "kube-controller-manager": "usr/local/bin/kube-controller-manager",
    "kube-scheduler": "usr/local/bin/kube-scheduler",
    "etcd": "usr/local/bin/etcd",
    "coredns": "coredns",
}
#: kube-proxy calls these.
PROXY_NEEDS = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(binaries: pathlib.Path, root: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """Archives of all images that ``kubeadm config images list`` names, in *folder*.

    Args:
        binaries: folder of ``tools/build.py --set node``.
        root: the node's root file system, whence iptables and the pause image's only program are taken.
        folder: where to write.
    """
    version = run(binaries / "kubeadm", "version", "-o", "short").strip()
    names = run(binaries / "kubeadm", "config", "images", "list", f"--kubernetes-version={version}").split()
    archives = []
    for name in names:
        component = name.rpartition(":")[0].rpartition("/")[2]
        layer = folder / f"{component}-layer"
        entrypoint = _fill(component, layer, binaries, root)
        archives.append(_archive(name, layer, entrypoint, folder / f"{component}.tar"))
        shutil.rmtree(layer)
    return archives


def pause_image(binaries: pathlib.Path) -> str:
    """Name of the sandbox image that kubeadm expects, for containerd's configuration."""
    names = run(binaries / "kubeadm", "config", "images", "list").split()
    return next(name for name in names if "/pause:" in name)


def _fill(component: str, layer: pathlib.Path, binaries: pathlib.Path, root: pathlib.Path) -> list[str]:
    if component in STATIC:
        _copy(binaries / component, layer / STATIC[component])
        return [f"/{STATIC[component]}"]
    if component == "pause":
        _copy(root / "bin/busybox", layer / "bin/busybox")
        # It must end when told to, or the stop of a node waits for it in vain.
        wait = "trap 'exit 0' TERM INT; while :; do /bin/busybox sleep 86400 & wait $!; done"
        return ["/bin/busybox", "sh", "-c", wait]
    if component == "kube-proxy":
        _copy(binaries / component, layer / "usr/local/bin/kube-proxy")
        _copy_with_libraries(root, layer, [*(f"/usr/sbin/{name}" for name in PROXY_NEEDS), "/usr/sbin/conntrack"])
        return ["/usr/local/bin/kube-proxy"]
    raise ClusterError(f"kubeadm asks for an image that nothing here makes: {component}")


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _copy_with_libraries(root: pathlib.Path, layer: pathlib.Path, programs: list[str]) -> None:
    """*programs* of *root*, their symbolic links followed one by one, with all that they load."""
    plugins = [f"/{path.relative_to(root)}" for path in root.glob("usr/lib/*/xtables/*.so")]
    libraries = re.findall(r"(/\S+\.so\S*) \(", run("chroot", root, "ldd", *programs, *plugins))
    wanted = [*programs, *plugins, *libraries, "/etc/protocols", "/etc/services"]
    for name in dict.fromkeys(wanted):
        path = pathlib.PurePosixPath("/") / name
        real = pathlib.PurePosixPath(run("chroot", root, "readlink", "-f", str(path)).strip())
        _copy(root / real.relative_to("/"), layer / path.relative_to("/"))


def _archive(name: str, layer: pathlib.Path, entrypoint: list[str], target: pathlib.Path) -> pathlib.Path:
    """One image of one layer, in the format of ``docker save``."""
    layer_tar = target.with_suffix(".layer")
    for known in ("etc", "tmp", "var/run", "run"):
        (layer / known).mkdir(parents=True, exist_ok=True)
    run("tar", "-C", layer, "--owner=0", "--group=0", "-cf", layer_tar, ".")
    digest = hashlib.sha256(layer_tar.read_bytes()).hexdigest()
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": [PATH]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "fairlead e2e"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as tar:
        for file, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(file)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        tar.add(layer_tar, "layer.tar")
    layer_tar.unlink()
    return target


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
