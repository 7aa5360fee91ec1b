"""What the commands print and with which exit code they end."""

from __future__ import annotations

import argparse
import datetime
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead_operator.cli.main import main, seconds
from tests.support.manifests import (
    Raw,
    attached,
    endpoint,
    endpoint_slice,
    listener,
    placed,
    policy,
    running_pod,
    service,
    site,
)
from tests.support.static_bootstrap import complaint
from tests.support.worlds import backend

GOOD = [policy("site", site(listener(80), "web")), *backend("web")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "manifests.yaml"


def _write(file: Path, *objects: Raw) -> str:
    file.write_text(yaml.safe_dump_all(objects), "utf-8")
    return str(file)


def test_translate_shows_configuration_and_status(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", "-f", _write(file, *GOOD)]) == 0

    shown = yaml.safe_load(capsys.readouterr().out)
    assert [cluster["name"] for cluster in shown["xds"]["edge"]["Cluster"]] == ["shop/web:80"]
    assert list(shown["status"]) == ["shop/site"]


@pytest.mark.parametrize(("show", "keys"), [("xds", ["edge"]), ("status", ["shop/site"])])
def test_translate_shows_what_is_asked_for(
    file: Path, capsys: pytest.CaptureFixture[str], show: str, keys: list[str]
) -> None:
    assert main(["translate", "-f", _write(file, *GOOD), "--show", show]) == 0
    assert list(yaml.safe_load(capsys.readouterr().out)) == keys


@pytest.mark.parametrize(
    ("now", "unhealthy"),
    [
        ([], []),  # the newest time in the file: 31 s after the start of the one that restarted
        (["--now", "2026-01-01T00:00:29Z"], ["restarted 3 times within 10m: held back for 30 s after its last start"]),
        (["--now", "2026-01-01T01:00:31+01:00"], []),
    ],
    ids=["newest", "before", "after"],
)
def test_translate_judges_as_of_the_newest_time_or_of_the_one_that_is_asked_for(
    file: Path, capsys: pytest.CaptureFixture[str], now: list[str], unhealthy: list[str]
) -> None:
    begun = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
    slices = endpoint_slice("web", 8080, [placed(endpoint("10.0.0.1"), pod="a"), placed(endpoint("10.0.0.2"), pod="b")])
    ending = running_pod("c", started=0)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:10:00Z"  # when it has to have ended: not yet
    pods = [running_pod("a", restarts=3, started=begun), running_pod("b", started=begun + 31), ending]
    _write(file, *GOOD[:2], slices, *pods)

    assert main(["translate", "-f", str(file), "--show", "status", *now]) == 0

    found = yaml.safe_load(capsys.readouterr().out)["shop/site"]["unhealthyEndpoints"]
    assert [one["reason"] for one in found] == unhealthy


def test_translate_judges_unquoted_times_of_a_list_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pods = [running_pod("a", restarts=3, started=1_800_000_000), running_pod("b", started=1_800_000_031)]
    slices = endpoint_slice("web", 8080, [placed(endpoint("10.0.0.1"), pod="a")])
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [*GOOD[:2], slices, *pods]})
    file.write_text(text.replace("'2027", "2027").replace("+00:00'", "Z"), "utf-8")

    assert main(["translate", "-f", str(file), "--show", "status"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["shop/site"]["endpoints"]["summary"] == "1/1"


def test_translate_takes_no_time_that_is_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["translate", "-f", _write(file, *GOOD), "--now", "noon"])
    assert "must be a time such as 2026-01-01T12:00:00Z, not 'noon'" in capsys.readouterr().err


def test_translate_reads_standard_input_directories_and_several_files(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(file, *GOOD[:1])
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump_all(GOOD[1:])))

    assert main(["translate", "-f", str(file.parent), "-f", "-", "--show", "status"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["shop/site"]["endpoints"]["summary"] == "1/1"


@pytest.mark.parametrize(
    "objects",
    [
        [policy("site", site(listener(80), "gone"))],
        [*GOOD, policy("younger", site(listener(80), "web"))],
        [policy("over", attached("gone", loadBalancer={"type": "Random"}))],
    ],
    ids=["reference", "conflict", "target"],
)
def test_translate_ends_with_2_where_a_policy_is_not_accepted_or_resolved(file: Path, objects: list[Raw]) -> None:
    """So that the checks of a repository of policies fail."""
    assert main(["translate", "-f", _write(file, *objects)]) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"kind: Service\n", "manifests.yaml: line 1: Service default/: metadata.name: is missing"),
        (b"kind: [", "manifests.yaml: line 2: not YAML"),
        (b"\xff\xfe", "manifests.yaml: not UTF-8"),
        (None, "manifests.yaml: No such file or directory"),
    ],
)
def test_translate_ends_with_1_and_one_sentence_where_a_file_cannot_be_used(
    file: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    if content is not None:
        file.write_bytes(content)

    assert main(["translate", "-f", str(file)]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


COMMANDS = [["translate", "-f", "-"], ["inject", "-f", "-"]]
every_filter = pytest.mark.parametrize("command", COMMANDS, ids=[one[0] for one in COMMANDS])


def _fairlead(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fairlead_operator.cli.main", *command], stderr=subprocess.PIPE, **how
    )


@every_filter
def test_who_reads_only_the_beginning_hears_no_complaint(command: list[str], tmp_path: Path) -> None:
    """As ``head`` does."""
    file = tmp_path / "many.yaml"
    _write(file, *GOOD, *(service(f"other-{i}") for i in range(3000)))
    with file.open("rb") as given, _fairlead(command, stdin=given, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@every_filter
def test_a_stream_that_cannot_be_used_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "fairlead_operator.cli.main", *command]
    done = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "fairlead: standard input is closed: name a file, or pipe something in\n",
    )
    with (tmp_path / "a.yaml").open("w+") as given, open("/dev/full", "w") as full:  # noqa: PTH123
        given.write(yaml.safe_dump_all(GOOD))
        given.seek(0)
        process = _fairlead(command, stdin=given, stdout=full)
        _, said = process.communicate()
    assert (process.returncode, said) == (1, b"fairlead: standard output: No space left on device\n")


def test_translate_never_shows_a_private_key(capsys: pytest.CaptureFixture[str]) -> None:
    case = Path(__file__).parents[2] / "cases" / "https-sni" / "input.yaml"
    assert "PRIVATE KEY" in case.read_text("utf-8")

    assert main(["translate", "-f", str(case)]) == 0
    assert "PRIVATE KEY" not in capsys.readouterr().out


@pytest.mark.timeout(30)
@pytest.mark.parametrize("address", ["127.0.0.1:18000", "[::1]:18000", "fairlead.example.com:18000"])
def test_envoy_accepts_the_bootstrap(capsys: pytest.CaptureFixture[str], tmp_path: Path, address: str) -> None:
    command = ["bootstrap", "--gateway", "edge", "--node", "edge-1", "--xds-address", address, "--admin-port", "9901"]
    assert main(command) == 0

    config = json.loads(capsys.readouterr().out)
    assert config["node"] == {"id": "edge-1", "cluster": "edge"}
    assert not complaint(config, tmp_path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--gateway", "edge", "--pod", "--node", "n"], "--service-node $(POD_NAME)"),
        (["--sidecar", "--admin-port", "9901"], "/var/run/fairlead/admin.sock"),
        (["--gateway", "edge", "--server-name", "x"], "--server-name is for --pod"),
        (["--gateway", "edge", "--admin-port", "0"], "--admin-port 0 is no port"),
        (["--gateway", "edge", "--admin-port", "65536"], "--admin-port 65536 is no port"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["bootstrap", *more]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("address", ["18000", ":18000", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_one_sentence(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert main(["bootstrap", "--gateway", "edge", "--xds-address", address]) == 1
    assert capsys.readouterr().err == f"fairlead: {address!r} is not an address: write it as 127.0.0.1:18000\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30.0), ("2m", 120.0), ("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("0s", 0.0)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "s", "1.5s", "-1s", "1s ", "1d", "1sm"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration: write 30s"):
        seconds(text)
