"""fairlead-proxy: what it reads, and the rules that it writes."""

from __future__ import annotations

import argparse
import ast
import ipaddress
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fairlead_operator import pod_bootstrap
from proxy import fairlead_proxy
from proxy.fairlead_proxy import Target


def target(address: str, port: int) -> Target:
    return Target(ipaddress.ip_address(address), port)


def test_the_image_needs_no_other_python() -> None:
    tree = ast.parse(Path(fairlead_proxy.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_it_looks_where_the_bootstrap_says() -> None:
    assert pod_bootstrap.Files().admin == fairlead_proxy.ADMIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.96.1.2:80", [target("10.96.1.2", 80)]),
        ("10.96.1.2:80, [fd00::1]:443,", [target("10.96.1.2", 80), target("fd00::1", 443)]),
        ("", []),
    ],
)
def test_services(text: str, expected: list[Target]) -> None:
    assert fairlead_proxy.targets(text) == expected


@pytest.mark.parametrize(
    "text", ["web:80", "10.96.1.2", "10.96.1.2:", "10.96.1.2:0", "10.96.1.2:65536", "10.96.1.2:-1"]
)
def test_what_is_no_service_is_told(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"write 10\.96\.1\.2:80"):
        fairlead_proxy.targets(text)


def test_rules_replace_only_our_chain_and_exempt_envoy_first() -> None:
    wanted = [target("10.96.3.4", 443), target("10.96.1.2", 80), target("10.96.1.2", 80)]

    assert fairlead_proxy.rules(wanted, to=15001, uid=61337, jump=True).splitlines() == [
        "*nat",
        ":FAIRLEAD_OUTPUT - [0:0]",
        "-A OUTPUT -p tcp -j FAIRLEAD_OUTPUT",
        "-A FAIRLEAD_OUTPUT -m owner --uid-owner 61337 -j RETURN",
        "-A FAIRLEAD_OUTPUT -p tcp -d 10.96.1.2 --dport 80 -j REDIRECT --to-ports 15001",
        "-A FAIRLEAD_OUTPUT -p tcp -d 10.96.3.4 --dport 443 -j REDIRECT --to-ports 15001",
        "COMMIT",
    ]
    assert "OUTPUT -p tcp -j" not in fairlead_proxy.rules(wanted, to=15001, uid=61337, jump=False)


class Statistics(fairlead_proxy.Admin):
    def __init__(self, text: str) -> None:
        super().__init__("")
        object.__setattr__(self, "text", text)

    def ask(self, target: str, *, method: str = "GET") -> tuple[int, str]:
        return 200, str(self.text)  # type: ignore[attr-defined]


def test_connections_are_those_of_clients_each_once() -> None:
    text = """\
listener.0.0.0.0_8080.downstream_cx_active: 3
listener.0.0.0.0_8080.worker_0.downstream_cx_active: 3
listener.127.0.0.1_9000.downstream_cx_active: 2
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
listener.fairlead_status.downstream_cx_active: 4
listener.fairlead_status.worker_0.downstream_cx_active: 4
"""
    assert fairlead_proxy.connections(Statistics(text)) == 5


class Busy(fairlead_proxy.Admin):
    """Answers with these one after the other: a number of connections, or a failure."""

    def __init__(self, *answers: int | Exception) -> None:
        super().__init__("")
        object.__setattr__(self, "answers", list(answers))
        object.__setattr__(self, "asked", [])

    def ask(self, target: str, *, method: str = "GET") -> tuple[int, str]:
        self.asked.append(target.partition("?")[0])  # type: ignore[attr-defined]
        answer = self.answers.pop(0)  # type: ignore[attr-defined]
        if isinstance(answer, Exception):
            raise answer
        return 200, f"listener.0.0.0.0_8080.downstream_cx_active: {answer}\n"


SLOW, ENDED = fairlead_proxy.AdminError("timed out"), fairlead_proxy.EnvoyEndedError("nobody listens")


def test_an_envoy_that_is_slow_to_answer_goes_on_to_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the pod would end, and with it the connections of its clients."""
    monkeypatch.setattr(fairlead_proxy, "POLL", 0.0)
    envoy = Busy(SLOW, 0, SLOW, 0, 5, SLOW, 5, 0)

    assert fairlead_proxy.drain(envoy, 3600.0, 0.0) == 0
    fail, listeners, look = "/healthcheck/fail", "/drain_listeners", "/stats"
    assert envoy.asked == [fail, fail, listeners, listeners, look, look, look, look]  # type: ignore[attr-defined]


def test_an_envoy_that_has_ended_is_not_waited_for() -> None:
    assert fairlead_proxy.drain(Busy(0, 0, ENDED), 3600.0, 0.0) == 0
    assert fairlead_proxy.drain(fairlead_proxy.Admin("/nonexistent/admin.sock"), 3600.0, 3600.0) == 0


def test_the_time_to_drain_ends() -> None:
    assert fairlead_proxy.drain(Busy(SLOW), 0.0, 0.0) == 0
    assert fairlead_proxy.drain(Busy(0, 0, 7), 0.0, 0.0) == 0


GOOD = {"sds.ca.update_success": 1, "sds.token.update_success": 1}


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        ({}, "no CA bundle"),
        ({"sds.ca.update_success": 1}, "no service-account token"),
        (GOOD, "does not resolve"),
        ({**GOOD, "cluster.fairlead.membership_total": 1}, "does not accept connections"),
        ({**GOOD, "control_plane.connected_state": 1}, "has not sent all of it"),
    ],
)
def test_the_reason_is_the_first_thing_that_is_missing(statistics: Mapping[str, int], words: str) -> None:
    assert words in fairlead_proxy.why_not(dict(statistics))


def test_envoys_own_log_is_found_where_containers_share_their_processes(tmp_path: Path) -> None:
    for pid, name in ((1, "pause"), (7, "web"), (12, "envoy"), (30, "envoy")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")

    assert fairlead_proxy.container_log(str(tmp_path)) == str(tmp_path / "12" / "fd" / "2")
    (tmp_path / "12" / "comm").write_text("other\n")
    (tmp_path / "30" / "comm").unlink()
    assert fairlead_proxy.container_log(str(tmp_path)) == str(tmp_path / "1" / "fd" / "2")
