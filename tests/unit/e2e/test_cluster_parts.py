"""What of ``e2e/cluster`` can be judged without a cluster."""

import json
import pathlib
import subprocess
import sys

import pytest
import yaml

from e2e.cluster import install, kind, leftovers, lock, places, runc_wrapper
from e2e.cluster.shell import ClusterError, run


def test_the_wrapper_takes_the_capability_out_of_a_bundle(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "config.json"
    kinds = {kind: ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"] for kind in ("bounding", "effective")}
    config.write_text(json.dumps({"process": {"capabilities": kinds, "cwd": "/"}, "root": {"path": "rootfs"}}))
    runc_wrapper.strip(config, whole=True)
    assert json.loads(config.read_text()) == {
        "process": {"capabilities": {"bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]}, "cwd": "/"},
        "root": {"path": "rootfs"},
    }


def test_the_wrapper_leaves_a_process_without_capabilities_as_it_is(tmp_path: pathlib.Path) -> None:
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["true"]}))
    runc_wrapper.strip(process, whole=False)
    assert json.loads(process.read_text()) == {"args": ["true"]}


@pytest.mark.parametrize("words", [["create", "--bundle", "/b", "id"], ["create", "--bundle=/b", "id"]])
def test_the_wrapper_reads_both_forms_of_a_flag(words: list[str]) -> None:
    assert runc_wrapper.value_of("--bundle", words) == "/b"


def test_zones_are_labels_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOST_PORT", raising=False)
    control, *workers = kind.configuration()["nodes"]
    assert [worker["labels"]["topology.kubernetes.io/zone"] for worker in workers] == ["zone-a", "zone-b"]
    assert control["extraPortMappings"][0] | {"listenAddress": ""} == {
        "containerPort": 30080,
        "hostPort": 8080,
        "listenAddress": "",
    }


def test_no_host_port_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_PORT", "0")
    assert kind.configuration()["nodes"][0]["extraPortMappings"] == []


def test_the_nodes_port_is_the_one_that_the_values_ask_for() -> None:
    values = yaml.safe_load((places.ROOT / "e2e/cluster/values.yaml").read_text())
    ports = values["gatewayDefaults"]["service"]["ports"]
    assert [port.get("nodePort") for port in ports if port["port"] == 80] == [kind.NODE_PORT]


def test_the_second_version_differs_in_name_version_and_size_only() -> None:
    first, second = (one for one in install.manifests() if one["kind"] == "Deployment")
    text = json.dumps(second).replace("hello-v2", "hello-v1").replace('"v2"', '"v1"')
    assert json.loads(text.replace('"replicas": 1', '"replicas": 2')) == first


def test_a_failed_command_shows_its_last_words() -> None:
    with pytest.raises(ClusterError, match=r"exit 3\):\nout\nerr"):
        run(
            sys.executable,
            "-c",
            "import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.exit(3)",
        )


def test_end_takes_a_process_that_does_not_listen() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        leftovers.end(process.pid, grace=0.1)
        assert process.wait() == -9


def test_only_processes_of_the_folder_are_ended(tmp_path: pathlib.Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    code = "import sys; sys.stdin.read()"

    def child(folder: pathlib.Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code, f"--exec-root={folder}/exec"], stdin=subprocess.PIPE)

    with child(ours) as first, child(other) as second:
        leftovers.end_processes(ours)
        assert first.wait() == -15
        assert second.poll() is None
        second.kill()


def test_another_checkouts_cluster_is_not_taken(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_CACHE", str(tmp_path))
    other = tmp_path / "checkout"
    (other / ".cluster").mkdir(parents=True)
    (other / ".cluster/kubeconfig").touch()
    (tmp_path / "cluster-of").write_text(str(other))
    with pytest.raises(ClusterError, match="checkout runs: `make cluster-down` there first"):
        lock.claim()
    (other / ".cluster/kubeconfig").unlink()
    lock.claim()
    assert (tmp_path / "cluster-of").read_text() == str(places.ROOT)


def test_one_run_at_a_time(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_CACHE", str(tmp_path))
    monkeypatch.setattr(places, "STATE", tmp_path / "state")
    with lock.only_one(), pytest.raises(ClusterError, match="another `make cluster`"), lock.only_one():
        pass
    with lock.only_one():
        pass


def test_a_rule_is_deleted_with_its_quoted_comment() -> None:
    rule = '-A POSTROUTING -s 172.31.250.0/24 ! -o docker0 -m comment --comment "of the engine" -j MASQUERADE'
    assert leftovers.words(rule.removeprefix("-A ")) == [
        *("POSTROUTING", "-s", "172.31.250.0/24", "!", "-o", "docker0"),
        *("-m", "comment", "--comment", "of the engine", "-j", "MASQUERADE"),
    ]
