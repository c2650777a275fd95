"""GitHub as far as the demo needs it: its list has a delivery that it could not bring."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from knative.local.manifests.core import Secret
from knative.local.manifests.load import World
from knative.local.manifests.meta import Metadata
from knative.local.random_secrets import ANNOTATION
from knative.local.server import Server, bind

REPOSITORY = "acme/shop"
HOOK = f"repos/{REPOSITORY}/hooks/1"
NAME = "github.outside"  # of the cluster, as --map maps it
_SECRET, _NAMESPACE = "github", "dsm"


class Github:
    """A hook's list of deliveries, between `start` and `stop`."""

    def __init__(self) -> None:
        self._made: dict[int, dict[str, Any]] = {}
        listener = bind(0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        routes = [
            Route(f"/{HOOK}/deliveries", self._deliveries),
            Route(f"/{HOOK}/deliveries/{{id:int}}", self._delivery),
            Route(f"/repos/{REPOSITORY}/issues", self._issues),
            Route(f"/repos/{REPOSITORY}/collaborators/octocat/permission", self._permission),
        ]
        self._server = Server(Starlette(routes=routes), listener)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    def made(
        self, headers: Mapping[str, str], payload: Mapping[str, Any], *, status: int = 0
    ) -> None:
        """The one attempt to deliver an event was answered with a status; 0 is not at all."""
        id = time.time_ns() // 1_000_000  # later than those of earlier runs
        self._made[id] = {
            "id": id,
            "guid": headers["X-GitHub-Delivery"],
            "delivered_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "redelivery": False,
            "duration": 0.1 if status else 10.0,
            "status": "OK" if status else "timed out",
            "status_code": status,
            "event": headers["X-GitHub-Event"],
            "action": payload["action"],
            "request": {"headers": dict(headers), "payload": payload},
        }

    async def _deliveries(self, _: Request) -> Response:
        newest_first = sorted(self._made.items(), reverse=True)
        return _json([{k: v for k, v in one.items() if k != "request"} for _, one in newest_first])

    async def _delivery(self, request: Request) -> Response:
        found = self._made.get(request.path_params["id"])
        if found is None:
            raise HTTPException(404, "Not Found")
        return _json(found)

    async def _issues(self, _: Request) -> Response:
        return _json([])

    async def _permission(self, _: Request) -> Response:
        return _json({"permission": "write", "role_name": "write", "user": None})


def _json(found: Any) -> Response:
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    return JSONResponse(found, headers={"Date": now})


def asked(world: World) -> World:
    """The world with the Secret by which webhook-receiver asks this GitHub, unless it has one."""
    held = world.get(Secret, _NAMESPACE, _SECRET)
    # The laptop's own has a random token and nothing else.
    if held is not None and ANNOTATION not in held.metadata.annotations:
        return world
    settings = {
        "api-url": f"http://{NAME}.svc.cluster.local",
        "hooks": HOOK,
        "token": uuid4().hex,
    }
    secret = Secret.model_construct(
        api_version="v1",
        kind="Secret",
        metadata=Metadata(name=_SECRET, namespace=_NAMESPACE),
        string_data=settings,
    )
    others = (one for one in world.objects if one is not held)
    return replace(world, objects=(*others, secret))


def is_asked(world: World) -> bool:
    """Does the receiver ask this GitHub?"""
    secret = world.get(Secret, _NAMESPACE, _SECRET)
    return secret is not None and secret.files().get("hooks") == HOOK.encode()


def as_text(payload: Mapping[str, Any]) -> bytes:
    """A payload as GitHub writes and signs it."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
