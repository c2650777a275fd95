"""The Kubernetes API, for functions that make Jobs or schedules: objects as plain JSON.

The official client signs requests and knows kubeconfigs and service accounts; it is imported on
first use (it costs 0.3 s and 50 MB) and blocks, so it works in threads. What the API answers
becomes one of our two errors, with a message for the user.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import Field

from functions.kit.clients import transaction_guard, url_path
from functions.kit.clients.kubernetes_errors import (
    Forbidden as Forbidden,  # functions know one module
)
from functions.kit.clients.kubernetes_errors import NoRight as NoRight
from functions.kit.clients.kubernetes_errors import QuotaUsedUp as QuotaUsedUp
from functions.kit.clients.kubernetes_errors import refusal
from functions.kit.clients.kubernetes_stream import LogPart, lines_of, part_of
from functions.kit.errors import TemporaryError, shortened
from functions.kit.settings import Settings
from functions.kit.telemetry import trace

Object = dict[str, Any]
T = TypeVar("T")


class ClusterSettings(Settings):
    """How a function reaches the Kubernetes API."""

    kubernetes_namespace: str = Field(
        "default", description="namespace of the objects that the function makes"
    )
    kubeconfig: str = Field("", description="a kubeconfig file; none means the service account's")
    kubernetes_timeout_s: float = Field(
        10, gt=0, description="timeout of one call to the Kubernetes API, seconds"
    )


@dataclass(frozen=True)
class Change:
    """What a watch saw: `ADDED`, `MODIFIED` or `DELETED`, and the object as it is or last was."""

    type: str
    object: Object


@dataclass
class _Link:
    """The official client, connected on first use."""

    client: Any = None


class Cluster:
    """The objects of one namespace, of any API group.

    `plural` is the resource's name in paths: `jobs`, `pingsources`.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._link = _Link()
        self._until = math.inf

    def until(self, moment: float) -> Cluster:
        """The same for a limited time, which ends at a moment of the monotonic clock: a call's
        timeout is what remains of it; `TemporaryError` where nothing does."""
        limited = copy.copy(self)
        limited._until = moment
        return limited

    @property
    def namespace(self) -> str:
        return self._settings.kubernetes_namespace

    async def create(self, plural: str, manifest: Mapping[str, Any]) -> Object:
        """Create; `Conflict` where the name is in use, `NotFound` without the namespace."""
        path = self._path(manifest["apiVersion"], plural)
        return await self._json("POST", path, body=dict(manifest))

    async def get(self, api_version: str, plural: str, name: str) -> Object:
        return await self._json("GET", self._path(api_version, plural, name))

    async def list(
        self, api_version: str, plural: str, selector: str = "", *, fields: str = ""
    ) -> list[Object]:
        """All objects whose labels match `selector`, and fields `fields`, page by page."""
        found: list[Object] = []
        after = ""
        while True:
            query = {"labelSelector": selector, "limit": "500", "continue": after}
            query |= {"fieldSelector": fields} if fields else {}
            page = await self._json("GET", self._path(api_version, plural), query=query)
            found += page.get("items") or []
            after = page.get("metadata", {}).get("continue") or ""
            if not after:
                return found

    async def patch(self, api_version: str, plural: str, name: str, change: Object) -> Object:
        """Merge `change` into an object (RFC 7386)."""
        return await self._json("PATCH", self._path(api_version, plural, name), body=change)

    async def delete(
        self, api_version: str, plural: str, name: str, *, grace_s: int | None = None
    ) -> None:
        """Delete an object and, in the background, what it owns; a pod within `grace_s`."""
        path = self._path(api_version, plural, name)
        grace = {} if grace_s is None else {"gracePeriodSeconds": str(grace_s)}
        await self._json("DELETE", path, query={"propagationPolicy": "Background", **grace})

    async def log(self, pod: str, *, tail: int | None = None, max_bytes: int | None = None) -> str:
        """The log of a pod so far, its last `tail` lines."""
        query = _log_query(tail) | ({"limitBytes": str(max_bytes)} if max_bytes else {})
        where = f"{self._path('v1', 'pods', pod)}/log"
        raw = await self._threaded(lambda: self._call("GET", where, query).read())
        return bytes(raw).decode(errors="replace")

    async def log_part(
        self, pod: str, *, skip: int, max_bytes: int, tail: int | None = None
    ) -> LogPart:
        """A piece of the log of a pod: from byte `skip` on, or its last `tail` lines."""
        where = f"{self._path('v1', 'pods', pod)}/log"

        def read() -> LogPart:
            with self._call("GET", where, streams=True).response as body:
                return part_of(body, skip, max_bytes, tail)

        return await self._threaded(read)

    async def watch(
        self, api_version: str, plural: str, selector: str, *, for_s: int
    ) -> AsyncIterator[Change]:
        """What there is, as `ADDED`, and then each change, for so many seconds: then watch again.

        Ends early where Kubernetes closes; `TemporaryError` where it is lost.
        """
        query = {"watch": "true", "labelSelector": selector, "timeoutSeconds": str(for_s)}
        path = self._path(api_version, plural)
        answer = await self._threaded(
            lambda: self._call("GET", path, query, streams=True, silence_s=for_s + 10)
        )
        async for line in lines_of(answer.response):
            change = json.loads(line)
            if change["type"] == "ERROR":
                raise TemporaryError(f"the watch of {plural} ended: {change['object']}")
            yield Change(change["type"], change["object"])

    async def close(self) -> None:
        if self._link.client is not None:
            self._link.client.close()
            self._link.client = None

    def _path(self, api_version: str, plural: str, name: str = "") -> str:
        root = "apis" if "/" in api_version else "api"
        names = (plural, name) if name else (plural,)
        return f"/{root}/{api_version}{url_path.path('namespaces', self.namespace, *names)}"

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        raw = await self._threaded(lambda: self._call(method, path, query, body).read())
        answer: Object = json.loads(raw)
        return answer

    async def _threaded(self, work: Callable[[], T]) -> T:
        import urllib3

        transaction_guard.network_call("Kubernetes")
        remaining_s = self._remaining_s()
        try:
            async with asyncio.timeout(None if remaining_s == math.inf else remaining_s):
                return await asyncio.to_thread(work)
        except TimeoutError:
            raise self._too_late() from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if time.monotonic() >= self._until:
                raise self._too_late() from error
            reason = getattr(error, "reason", None) or error
            raise TemporaryError(
                f"Kubernetes cannot be reached: {shortened(str(reason))}"
            ) from error

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        streams: bool = False,
        silence_s: float = 0,
    ) -> Any:
        """One request, in a thread; once more with fresh credentials where ours have expired."""
        for last in (False, True):
            if self._link.client is None:
                self._link.client = _connect(self._settings.kubeconfig)
            response = self._request(
                method, path, query, body, streams=streams, silence_s=silence_s
            )
            if response.status == 401 and not last:
                self._link.client = None
                continue
            if response.status >= 300:
                raise refusal(method, path, response.status, response.headers, response.read())
            return response
        raise AssertionError("unreachable: the second answer is final")

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Object | None,
        *,
        streams: bool,
        silence_s: float,
    ) -> Any:
        patching = method == "PATCH"
        headers = {
            "Accept": "*/*" if streams else "application/json, */*",
            "Content-Type": "application/merge-patch+json" if patching else "application/json",
        }
        chosen = [(name, value) for name, value in (query or {}).items() if value]
        client = self._link.client
        timeout_s = min(self._settings.kubernetes_timeout_s, self._remaining_s())
        with trace.calling(method, f"{client.configuration.host}{path}") as call:
            request = client.param_serialize(
                method,
                path,
                query_params=chosen,
                header_params={**headers, **call.headers},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = client.call_api(
                *request, _request_timeout=(timeout_s, silence_s) if silence_s else timeout_s
            )
            call.answered(response.status)
        return response

    def _remaining_s(self) -> float:
        remaining_s = self._until - time.monotonic()
        if remaining_s <= 0:
            raise self._too_late()
        return remaining_s

    def _too_late(self) -> TemporaryError:
        return TemporaryError("Kubernetes did not answer in the time that there was", delay_s=10)


def _connect(kubeconfig: str) -> Any:
    from kubernetes import client, config

    load: Any = config  # its functions have no annotations
    configuration = client.Configuration()
    try:
        if kubeconfig:
            load.load_kube_config(
                kubeconfig, client_configuration=configuration, persist_config=False
            )
        else:
            load.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise TemporaryError(
            f"no way to Kubernetes: {shortened(str(error))}; set KUBECONFIG, or run in a cluster "
            "with a service account token",
            delay_s=30,
        ) from error
    # A request that may have arrived is not repeated behind our back.
    configuration.retries = False
    return client.ApiClient(configuration)


def _log_query(tail: int | None) -> dict[str, str]:
    return {} if tail is None else {"tailLines": str(tail)}
