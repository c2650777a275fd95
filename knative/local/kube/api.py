"""The HTTP side: one ASGI application that answers as kube-apiserver does.

RBAC is not enforced: who gets past `knative.local.access` owns the laptop. Bodies are JSON (YAML
too for server-side apply).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from knative.local.kube import status
from knative.local.kube.bodies import APPLY, PATCHES, read_body
from knative.local.kube.collector import DeleteOptions
from knative.local.kube.discovery import document
from knative.local.kube.kubelet import Kubelet
from knative.local.kube.listing import integer, matching, page
from knative.local.kube.logs import LogRequest, read_log
from knative.local.kube.objects import Objects
from knative.local.kube.resources import POD
from knative.local.kube.route import Route, route
from knative.local.kube.store import Key, Object, Store
from knative.local.kube.stream import Stream, Streams
from knative.local.kube.watch import Watch

logger = logging.getLogger(__name__)
_HEALTH = ("/healthz", "/livez", "/readyz")
_ORPHAN_WARNING = (
    '299 - "child pods are preserved by default when jobs are deleted; set '
    "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
    'this warning"'
)


class Api:
    """Turns requests into operations on the objects."""

    def __init__(self, store: Store, objects: Objects, kubelet: Kubelet) -> None:
        self._store, self._objects, self._kubelet = store, objects, kubelet
        self._streams = Streams()
        self._closed = False

    def close(self) -> None:
        """End all streams, and answer nothing more."""
        self._closed = True
        self._streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except status.ApiError as error:
            answer = _refusal(error)
        except ClientDisconnect:
            return
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.scope["path"])
            message = f"Internal error occurred: {type(error).__name__}"
            answer = _refusal(status.ApiError(500, "InternalError", message))
        if isinstance(answer, Response):
            await answer(scope, receive, send)
        else:
            await self._streams.send(answer, receive, send)

    async def _answer(self, request: Request) -> Response | Stream:
        path = request.scope["path"].removeprefix(request.scope.get("root_path") or "")
        if self._closed:
            message = "the local Kubernetes API is shutting down"
            raise status.ApiError(503, "ServiceUnavailable", message)
        if request.method in ("GET", "HEAD"):
            if path in _HEALTH:
                return PlainTextResponse("ok")
            if (found := document(path)) is not None:
                return JSONResponse(found)
        where = route(path)
        verb = _verb(request, where)
        if where.subresource == "log":
            return self._log(where, request)
        if verb not in where.resource.verbs and not where.subresource:
            raise status.method_not_allowed(
                "the server does not allow this method on the requested resource: "
                f"{verb} {where.resource.qualified}"
            )
        if verb in ("get", "list", "watch"):
            return self._read(verb, where, request)
        body = await read_body(request)
        return self._write(verb, where, request, body)

    def _read(self, verb: str, where: Route, request: Request) -> Response | Stream:
        if verb == "get":
            return JSONResponse(
                self._objects.get(where.resource, where.namespace or "", where.name)
            )
        if verb == "watch":
            return self._watch(where, request)
        return JSONResponse(page(self._store, where, request.query_params))

    def _watch(self, where: Route, request: Request) -> Stream:
        query = request.query_params
        since = integer(query, "resourceVersion")
        if since is not None and since > self._store.version:
            message = f"Too large resource version: {since}, current: {self._store.version}"
            raise status.ApiError(504, "Timeout", message)
        namespace = where.namespace if where.resource.namespaced else None
        watch = Watch(self._store, where.resource.kind, namespace, matching(where, query), since)
        timeout_s = integer(query, "timeoutSeconds")
        return Stream(watch.lines(), watch.close, "application/json", timeout_s)

    def _log(self, where: Route, request: Request) -> Stream:
        if request.method != "GET":
            raise status.method_not_allowed("a log can only be read")
        pod = self._objects.get(POD, where.namespace or "", where.name)
        wanted = LogRequest.read(pod, self._kubelet.folder_of(pod), request.query_params)
        key = Key(POD.kind, where.namespace or "", where.name)
        ended = asyncio.Event()

        def is_running() -> bool:
            return not ended.is_set() and _is_running(self._store.get(key), wanted.container)

        return Stream(read_log(wanted, is_running), ended.set, "text/plain", None)

    def _write(self, verb: str, where: Route, request: Request, body: Any) -> Response:
        resource, namespace, name = where.resource, where.namespace or "", where.name
        dry_run = bool(request.query_params.get("dryRun"))
        if verb in ("delete", "deletecollection"):
            options = DeleteOptions.read(body, request.query_params)
            if verb == "delete":
                return self._delete(where, options, dry_run=dry_run)
            found = page(self._store, where, request.query_params)
            for one in found["items"]:
                metadata = one["metadata"]
                if not dry_run:
                    self._objects.delete(
                        resource, metadata.get("namespace", ""), metadata["name"], options
                    )
            return JSONResponse(found)
        if verb == "patch":
            return self._patch(where, request, body, dry_run=dry_run)
        if not isinstance(body, Mapping):
            raise status.bad_request("the body must be a JSON object")
        if verb == "create":
            if resource.namespaced and where.namespace is None:
                raise status.method_not_allowed("POST needs a namespace in its path")
            made = self._objects.create(resource, namespace, body, dry_run=dry_run)
            return JSONResponse(made, 201)
        return JSONResponse(
            self._objects.update(
                resource, namespace, name, body, subresource=where.subresource, dry_run=dry_run
            )
        )

    def _patch(self, where: Route, request: Request, body: Any, *, dry_run: bool) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind not in PATCHES:
            message = (
                "the body of the request was in an unknown format - accepted media types include: "
                f"{', '.join(PATCHES)}"
            )
            raise status.ApiError(415, "UnsupportedMediaType", message)
        resource, namespace, name = where.resource, where.namespace or "", where.name
        held = self._store.get(self._objects.key(resource, namespace, name))
        if kind == APPLY and held is None and isinstance(body, Mapping):
            body = {**body, "metadata": {**(body.get("metadata") or {}), "name": name}}
            made = self._objects.create(resource, namespace, body, dry_run=dry_run)
            return JSONResponse(made, 201)
        return JSONResponse(
            self._objects.patch(
                resource,
                namespace,
                name,
                kind,
                body,
                subresource=where.subresource,
                dry_run=dry_run,
            )
        )

    def _delete(self, where: Route, options: DeleteOptions, *, dry_run: bool) -> Response:
        resource, namespace, name = where.resource, where.namespace or "", where.name
        body = self._objects.get(resource, namespace, name)
        left = body if dry_run else self._objects.delete(resource, namespace, name, options)
        headers = {}
        if resource.kind == "Job" and options.policy is None:
            headers["Warning"] = _ORPHAN_WARNING
        # A pod's delete always answers the pod; others answer what a finalizer still holds.
        if left is None and resource != POD:
            left = status.success(resource, name, body["metadata"]["uid"])
        return JSONResponse(left or body, headers=headers)


def _verb(request: Request, where: Route) -> str:
    watching = request.query_params.get("watch") in ("true", "True", "1")
    collection = {"GET": "watch" if watching else "list", "POST": "create"}
    collection["DELETE"] = "deletecollection"
    single = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if where.subresource == "status":
        del single["DELETE"]
    verb = (single if where.name else collection).get(request.method)
    if verb is None:
        message = "the server does not allow this method on the requested resource"
        raise status.method_not_allowed(message)
    return verb


def _is_running(pod: Object | None, container: str) -> bool:
    if pod is None or pod["status"].get("phase") in ("Succeeded", "Failed"):
        return False
    held = pod["status"]
    entries = [*held.get("initContainerStatuses", ()), *held.get("containerStatuses", ())]
    return any(one["name"] == container and "running" in one["state"] for one in entries)


def _refusal(error: status.ApiError) -> Response:
    return JSONResponse(error.body(), error.code)
