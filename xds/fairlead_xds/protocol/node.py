"""Who a client says it is: the ``node`` of its first message (envoy.config.core.v3.Node)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format


@dataclass(frozen=True, slots=True)
class Node:
    """What a client says about itself. None of it is proof of anything.

    Attributes:
        id: one proxy.
        cluster: the group that it belongs to; the gateway's name in a bootstrap written by Fairlead.
        metadata: free form.
        user_agent_name: ``envoy``, ``gRPC Python``.
        user_agent_version: ``1.40.0``; empty if it does not say.
        client_features: capabilities, as ``envoy.lb.does_not_support_overprovisioning``.
    """

    id: str = ""
    cluster: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    user_agent_name: str = ""
    user_agent_version: str = ""
    client_features: tuple[str, ...] = ()


def decode(message: Any) -> Node:
    """The parts of a Node message that Fairlead looks at; its long list of extensions is dropped."""
    build = message.user_agent_build_version.version
    numbers = f"{build.major_number}.{build.minor_number}.{build.patch}"
    return Node(
        id=message.id,
        cluster=message.cluster,
        metadata=json_format.MessageToDict(message.metadata),
        user_agent_name=message.user_agent_name,
        user_agent_version=numbers if message.HasField("user_agent_build_version") else message.user_agent_version,
        client_features=tuple(message.client_features),
    )
