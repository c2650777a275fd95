"""A list of objects: by their selectors, page by page, as a query asks."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from knative.local.kube import status
from knative.local.kube.resources import Resource
from knative.local.kube.route import Route
from knative.local.kube.selectors import Match, matcher
from knative.local.kube.store import Object, Store

Query = Mapping[str, str]


def page(store: Store, where: Route, query: Query) -> Object:
    """The list, or one page of it: `limit` objects after the place that `continue` holds."""
    match = matching(where, query)
    found = [one for one in store.select(where.resource.kind, where.namespace) if match(one)]
    metadata: Object = {"resourceVersion": str(store.version)}
    after = _continued(query.get("continue"))
    if after is not None:
        found = [one for one in found if _place(one) > after]
    limit = integer(query, "limit")
    if limit and len(found) > limit:
        metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
        token = json.dumps(_place(found[-1])).encode()
        metadata["continue"] = base64.urlsafe_b64encode(token).decode()
    return {
        "kind": f"{where.resource.kind}List",
        "apiVersion": where.resource.api_version,
        "metadata": metadata,
        "items": [_in_list(where.resource, one) for one in found],
    }


def matching(where: Route, query: Query) -> Match:
    """Does an object fit the query's selectors?"""
    labels, fields = query.get("labelSelector") or "", query.get("fieldSelector") or ""
    return matcher(where.resource, labels, fields)


def integer(query: Query, name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not text.isdigit():
        raise status.bad_request(f"{name}: Invalid value: {text!r}: must be a whole number")
    return int(text)


def _in_list(resource: Resource, body: Object) -> Object:
    """Built-in kinds do not repeat their type in a list's items; custom resources do."""
    if resource.custom:
        return body
    return {k: v for k, v in body.items() if k not in ("apiVersion", "kind")}


def _place(body: Object) -> list[str]:
    return [body["metadata"].get("namespace", ""), body["metadata"]["name"]]


def _continued(token: str | None) -> list[str] | None:
    if not token:
        return None
    try:
        return list(json.loads(base64.urlsafe_b64decode(token)))
    except ValueError as error:
        raise status.bad_request("continue key is not valid") from error
