"""The cross-origin check of every process: another site's page changes nothing here.

A browser sends a simple POST to any site, whatever page it shows, with headers that name the page's
origin. Brokers, functions and curl send no such headers.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers

_SAFE = ("GET", "HEAD", "OPTIONS")
_OF_BROWSERS = frozenset((b"sec-fetch-site", b"origin"))


def is_cross_origin(scope: Any) -> bool:
    """Does a request that may change something come from a page of another site?"""
    if scope["type"] != "http" or scope["method"] in _SAFE:
        return False
    # Few requests have these, and Starlette's headers are searched anew at each look.
    if _OF_BROWSERS.isdisjoint(dict(scope["headers"])):
        return False
    headers = Headers(scope=scope)
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    origin = headers.get("origin")
    # A mapped domain is rewritten on the way, and a page cannot forge the header of the original.
    hosts = (headers.get("host", ""), headers.get("x-forwarded-host", ""))
    return origin is not None and (
        not urlsplit(origin).netloc or urlsplit(origin).netloc.lower() not in map(str.lower, hosts)
    )


def host_of(scope: Any) -> str:
    """The host name that a request asks for, without its port; empty where it is none."""
    return _hostname(Headers(scope=scope).get("host", ""))


def is_from_outside(scope: Any, cluster_domain: str) -> bool:
    """Has a request come by way of the gateway to the outside?

    That knows a Service by its public names only, which the request has therefore used; a mapped
    domain is rewritten on the way, and the original is in a header besides.
    """
    headers = Headers(scope=scope)
    given = (headers.get(name) for name in ("host", "x-forwarded-host", "k-original-host"))
    return not all(_is_internal(host, cluster_domain) for host in given if host)


def is_hidden(scope: Any, public: tuple[str, ...], cluster_domain: str) -> bool:
    """Is a request from outside the cluster for a path that does not begin with a `public` one?

    Without `public` paths nothing is hidden: then the cluster decides who reaches the Service.
    """
    if not public or scope["path"].startswith(public):
        return False
    return is_from_outside(scope, cluster_domain)


def _hostname(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _is_internal(host: str, cluster_domain: str) -> bool:
    name = _hostname(host)
    if not name:
        return False
    if "." not in name or name.endswith((".svc", f".svc.{cluster_domain.lower()}")):
        return True
    return name.replace(".", "").isdigit()  # an address, which no gateway routes by
