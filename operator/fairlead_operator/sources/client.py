"""The Kubernetes API as raw JSON: one configured client for the reflectors, the policies and the status writer.

``kubernetes.aio`` knows how to reach and authenticate to a cluster; of it only that is used. Its typed models cost
more than everything that Fairlead does with an object, so bodies stay dictionaries.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
#: Lists names and versions only (API concepts, "Retrieving the metadata").
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#: A watch of the same: each event has one object's.
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#: Seconds for a connection, and for a request that is no watch.
CONNECT, REQUEST = 5.0, 30.0


class ConfigError(Exception):
    """No cluster can be reached by what the user said; the message says what to do."""


class ApiError(Exception):
    """An answer that is no success.

    Attributes:
        status: of HTTP, or the ``code`` of an ERROR event.
        retry_after: seconds that the server asks to be left alone; 0: it does not say.
    """

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.retry_after = status, message, retry_after


#: What a lost connection looks like: nothing is wrong with what was read before.
CONNECTION_ERRORS: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to reach the cluster, for clients other than this one. ``authorization`` is the whole header, or empty."""

    server: str
    ca_path: str | None
    insecure: bool
    authorization: str
    certificate_path: str | None
    key_path: str | None
    proxy: str | None


class KubeClient:
    """Requests to one API server."""

    def __init__(self, configuration: Any, reload: Callable[[], Awaitable[None]]) -> None:
        """Use *configuration*; *reload* brings its credentials up to date after they were refused."""
        self._configuration, self._reload = configuration, reload
        self._api: Any = kubernetes_client.ApiClient(configuration)
        self._api.user_agent = "fairlead"

    @property
    def api(self) -> Any:
        """The Kubernetes client itself, for what it brings along: the election of a leader."""
        return self._api

    @property
    def server(self) -> str:
        """Address of the API server."""
        return str(self._configuration.host)

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, accept: str = JSON) -> dict[str, Any]:
        """One object or list. Raises ApiError, or one of CONNECTION_ERRORS."""
        response = await self._request("GET", path, query or {}, accept=accept)
        return await _json(response)

    async def merge_patch(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply an RFC 7386 patch and return the object. Raises as ``get`` does."""
        response = await self._request("PATCH", path, {}, body=patch, content_type=MERGE_PATCH)
        return await _json(response)

    async def json_patch(self, path: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        """Apply an RFC 6902 patch and return the object. Raises as ``get`` does."""
        response = await self._request("PATCH", path, {}, body=patch, content_type=JSON_PATCH)
        return await _json(response)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST an object and return it as stored. Raises as ``get`` does: ApiError 409 where it exists."""
        return await _json(await self._request("POST", path, {}, body=body))

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """PUT an object and return it as stored. Raises as ``get`` does: ApiError 409 where it has changed meanwhile."""
        return await _json(await self._request("PUT", path, {}, body=body))

    async def apply(self, path: str, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        """Server-side apply: *manager* has what is in *manifest*, and nothing else any more. Raises as ``get`` does.

        ApiError 409: somebody else has one of the fields.
        """
        response = await self._request(
            "PATCH", path, {"fieldManager": manager}, body=manifest, content_type=APPLY_PATCH
        )
        return await _json(response)

    async def watch(
        self, path: str, query: Mapping[str, str], *, silence: float, accept: str = JSON
    ) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch until the server ends it; *silence* is how many seconds may pass without any.

        Raises ApiError, one of CONNECTION_ERRORS (TimeoutError after *silence*), or ValueError for what is no JSON.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=silence)
        response = await self._request("GET", path, {**query, "watch": "1"}, accept=accept, timeout=timeout)
        async with response:
            async for line in response.content:
                yield json.loads(line)

    async def credentials(self) -> Credentials:
        """For kopf, which brings a client of its own."""
        known = self._configuration
        return Credentials(
            server=self.server,
            ca_path=known.ssl_ca_cert,
            insecure=not known.verify_ssl,
            authorization=await known.get_api_key_with_prefix("BearerToken", alias="authorization") or "",
            certificate_path=known.cert_file,
            key_path=known.key_file,
            proxy=known.proxy,
        )

    async def close(self) -> None:
        await self._api.close()

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str = JSON,
        body: Any = None,
        content_type: str = JSON,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - aiohttp enforces it part by part
    ) -> aiohttp.ClientResponse:
        method, url, headers, body, _ = await self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = timeout or aiohttp.ClientTimeout(total=REQUEST, sock_connect=CONNECT)
        answer = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        if response.status >= 400:
            async with response:
                error = await _error(response)
            if response.status == 401:
                await self._reload()
            raise error
        return response


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    async with response:
        body = json.loads(await response.read())
    if not isinstance(body, dict):
        raise ValueError(f"an object was expected, not {type(body).__name__}")  # noqa: TRY004 - the peer's mistake
    return body


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    text = await response.text(errors="replace")
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, LookupError, TypeError):
        message = text.strip()[:200] or str(response.reason)
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, message, float(after) if after.isdecimal() else 0.0)


async def connect(kubeconfig: str | None = None, context: str | None = None) -> KubeClient:
    """A client for the cluster that *kubeconfig* and *context* name, else that of this pod, else kubectl's.

    Raises:
        ConfigError: there is none, or its configuration cannot be read.
    """
    configuration = kubernetes_client.Configuration()
    loader: Any = kubernetes_config  # its functions are not annotated
    inside = not (kubeconfig or context) and "KUBERNETES_SERVICE_HOST" in os.environ

    async def load() -> None:
        if inside:
            loader.load_incluster_config(client_configuration=configuration)
        else:
            await loader.load_kube_config(
                kubeconfig, context=context, client_configuration=configuration, persist_config=False
            )

    where = "the pod's service account" if inside else kubeconfig or "kubectl's configuration"
    try:
        _check(kubeconfig)
        await load()
    except (kubernetes_config.ConfigException, OSError, ValueError) as error:
        raise ConfigError(f"no cluster by {where}: {error}: name one with --kubeconfig and --context") from None
    return KubeClient(configuration, load)


def _check(kubeconfig: str | None) -> None:
    """Raises OSError: ``kubernetes.aio`` would take a missing file for an empty one."""
    if kubeconfig is not None:
        Path(kubeconfig).stat()
