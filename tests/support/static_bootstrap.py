"""A snapshot as a bootstrap without a control plane, for ``envoy --mode validate``: everything inlined where it is used."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from fairlead_operator.bootstrap import bootstrap
from fairlead_operator.envoy import find
from fairlead_xds import readable
from fairlead_xds.snapshot import Snapshot, TypeUrl

Json = dict[str, Any]


def static_bootstrap(snapshot: Snapshot) -> Json:
    """RDS, EDS and SDS give way to inline parts; the runtime is that of the real bootstrap."""
    parts = {type_url: _messages(snapshot, type_url) for type_url in TypeUrl}
    for cluster in parts[TypeUrl.CLUSTER].values():
        if cluster.pop("eds_cluster_config", None) is not None:
            cluster |= {"type": "STATIC", "load_assignment": parts[TypeUrl.ENDPOINT][cluster["name"]]}
    for listener in parts[TypeUrl.LISTENER].values():
        for chain in listener["filter_chains"]:
            for one in chain.get("filters", ()):
                manager = one["typed_config"]
                if "rds" in manager:  # the others are for TCP
                    manager["route_config"] = parts[TypeUrl.ROUTE][manager.pop("rds")["route_config_name"]]
            if "transport_socket" in chain:
                context = chain["transport_socket"]["typed_config"]["common_tls_context"]
                names = [entry["name"] for entry in context.pop("tls_certificate_sds_secret_configs")]
                context["tls_certificates"] = [parts[TypeUrl.SECRET][name]["tls_certificate"] for name in names]
    real = bootstrap(gateway="edge", node="test", xds_host="127.0.0.1", xds_port=1)
    return {
        "node": real["node"],
        "layered_runtime": real["layered_runtime"],
        "static_resources": {
            "clusters": list(parts[TypeUrl.CLUSTER].values()),
            "listeners": list(parts[TypeUrl.LISTENER].values()),
        },
    }


def complaint(config: Json, folder: Path) -> str:
    """What ``envoy --mode validate`` has against *config*; empty: nothing."""
    path = folder / "envoy.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [find(), "--mode", "validate", "-c", str(path), "--log-level", "error", "--use-dynamic-base-id"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stdout}{done.stderr}"


def _messages(snapshot: Snapshot, type_url: TypeUrl) -> dict[str, Json]:
    """By name, in the JSON form that Envoy reads; unlike ``readable`` with private keys."""
    message = readable.TYPES[type_url]
    return {
        name: MessageToDict(message.FromString(resource.body), preserving_proto_field_name=True)
        for name, resource in snapshot.resources(type_url).items()
    }
