"""ApiServerSource: what happens to objects, as CloudEvents.

As knative.dev/eventing `pkg/adapter/apiserver`: one event per change of a selected object in the
source's own namespace. Mode Reference (the default) sends an ObjectReference with the types
`dev.knative.apiserver.ref.{add,update,delete}`; mode Resource sends the whole object as
`dev.knative.apiserver.resource.*`. Objects that exist when the source starts are not announced.
An event that its sink refuses is tried again five times and then lost, as a real adapter loses it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from knative.local.kube.resources import API_SERVER_SOURCE, BY_TYPE, NAMESPACE
from knative.local.kube.selectors import expression_matcher
from knative.local.kube.store import Change, Object, Store

logger = logging.getLogger(__name__)
Publish = Callable[[Mapping[str, Any], Mapping[str, str], bytes], Awaitable[bool]]
"""(the ApiServerSource, headers, body) -> whether its sink took the event."""

SOURCE = "https://10.96.0.1:443"
_VERBS = {"ADDED": "add", "MODIFIED": "update", "DELETED": "delete"}
_TRIES = 6
_FIRST_PAUSE_S = 0.05


class ApiServerSources:
    """Follows the store for all ApiServerSources in it; sends in the order of the changes."""

    def __init__(self, store: Store, publish: Publish) -> None:
        self._store = store
        self._publish = publish
        self._events: asyncio.Queue[tuple[Object, dict[str, str], bytes]] = asyncio.Queue()
        store.listen(self._follow)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            source, headers, body = await self._events.get()
            await self._send(source, headers, body)

    async def _send(self, source: Object, headers: dict[str, str], body: bytes) -> None:
        for attempt in range(_TRIES):
            try:
                if await self._publish(source, headers, body):
                    return
            except Exception as error:
                logger.warning("the sink of %s: %s", source["metadata"]["name"], error)
            if attempt < _TRIES - 1:
                await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt)
        logger.error("lost %s of %s", headers["ce-type"], headers["ce-subject"])

    def _follow(self, change: Change) -> None:
        if change.key.kind in (API_SERVER_SOURCE.kind, NAMESPACE.kind):
            return
        for source in self._store.select(API_SERVER_SOURCE.kind):
            if "deletionTimestamp" not in source["metadata"] and _selects(source, change):
                self._events.put_nowait((source, *event(source, change)))


def _selects(source: Object, change: Change) -> bool:
    if not _watches_namespace(source, change.key.namespace):
        return False
    owner = source["spec"].get("owner")
    owners = change.object["metadata"].get("ownerReferences") or ()
    if owner and not any(
        one["apiVersion"] == owner["apiVersion"] and one["kind"] == owner["kind"] for one in owners
    ):
        return False
    labels = change.object["metadata"].get("labels") or {}
    return any(
        (one["apiVersion"], one["kind"]) == (change.object["apiVersion"], change.object["kind"])
        and expression_matcher(one.get("selector") or {})(labels)
        for one in source["spec"].get("resources") or ()
    )


def _watches_namespace(source: Object, namespace: str) -> bool:
    selector = source["spec"].get("namespaceSelector")
    if selector is None:
        return bool(source["metadata"]["namespace"] == namespace)
    return expression_matcher(selector)({"kubernetes.io/metadata.name": namespace})


def event(source: Object, change: Change) -> tuple[dict[str, str], bytes]:
    """The CloudEvent of a change in binary mode: headers and body."""
    body, metadata = change.object, change.object["metadata"]
    whole = source["spec"].get("mode") == "Resource"
    reference = {
        "kind": body["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "apiVersion": body["apiVersion"],
    }
    plural = BY_TYPE[body["apiVersion"], body["kind"]].kind.lower() + "s"
    place = f"namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
    overrides = (source["spec"].get("ceOverrides") or {}).get("extensions") or {}
    mode = "resource" if whole else "ref"
    headers = {
        "ce-specversion": "1.0",
        "ce-id": str(uuid.uuid4()),
        "ce-source": SOURCE,
        "ce-type": f"dev.knative.apiserver.{mode}.{_VERBS[change.type]}",
        "ce-subject": f"/apis/{body['apiVersion']}/{place}",
        "ce-time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "ce-apiversion": body["apiVersion"],
        "ce-kind": body["kind"],
        "ce-name": metadata["name"],
        "ce-namespace": metadata["namespace"],
        **{f"ce-{name}": value for name, value in overrides.items()},
        "content-type": "application/json",
    }
    return headers, json.dumps(body if whole else reference, separators=(",", ":")).encode()
